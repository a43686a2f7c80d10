"""The kinds of hosts, one row each, from each host's own API reference. What the fields mean is in `profile`.

Each row names its host's reference; tests hold the rows against requests that the hosts have taken.
"""

from __future__ import annotations

import msgspec

from ...core.request import Effort
from .profile import COMPATIBLE, OPENAI, Profile

_TO_HIGH: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high")
_LOW_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")

AZURE = msgspec.structs.replace(OPENAI, name="Azure OpenAI", origin="azure.chat", file_origins=("azure",))
"""https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference"""

OPENROUTER = Profile(
    "OpenRouter",
    "openrouter",
    max_tokens_field="max_completion_tokens",
    effort="reasoning",
    efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
    budget="reasoning",
    reasoning_field="reasoning",
    returned_fields=("reasoning_details",),
    strict=True,
    document_urls=True,
)
"""https://openrouter.ai/docs/api-reference/parameters and /docs/use-cases/reasoning-tokens"""

GROQ = Profile(
    "Groq",
    "groq",
    max_tokens_field="max_completion_tokens",
    max_stops=4,
    efforts=("none", "low", "medium", "high"),
    with_reasoning=(("reasoning_format", "parsed"),),
    reasoning_field="reasoning",
    audio=False,
    documents=None,
    refused_extras=("logit_bias", "top_k"),
)
"""https://console.groq.com/docs/api-reference#chat and /docs/openai"""

MISTRAL = Profile(
    "Mistral",
    "mistral",
    stream_usage=False,
    seed_field="random_seed",
    efforts=("none", "high"),
    thinking_parts=True,
    required_word="any",
    strict=True,
    call_ids="nine",
    documents="document_url",
    document_urls=True,
    refused_extras=("logit_bias", "service_tier", "user", "safety_identifier", "verbosity", "top_k", "store"),
)
"""Unknown fields are refused by the host. https://docs.mistral.ai/api/#tag/chat"""

DEEPSEEK = Profile(
    "DeepSeek",
    "deepseek",
    seed_field=None,
    max_stops=16,
    efforts=("low", "high", "max"),
    switch="thinking",
    reasoning_field="reasoning_content",
    parallel_tool_calls=False,
    output="object",
    images=False,
    audio=False,
    documents=None,
)
"""https://api-docs.deepseek.com/api/create-chat-completion and /guides/thinking_mode"""

XAI = Profile(
    "xAI",
    "xai",
    max_tokens_field="max_completion_tokens",
    efforts=("none", "low", "medium", "high"),
    audio=False,
    documents=None,
    refused_extras=("logit_bias",),
)
"""https://docs.x.ai/docs/api-reference#chat-completions"""

TOGETHER = Profile(
    "Together",
    "together",
    efforts=_LOW_TO_HIGH,
    switch="reasoning",
    parallel_tool_calls=False,
    audio=False,
    documents=None,
)
"""https://docs.together.ai/reference/chat-completions"""

FIREWORKS = Profile(
    "Fireworks",
    "fireworks",
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
    budget="thinking",
    reasoning_field="reasoning_content",
    audio=False,
    documents=None,
)
"""https://docs.fireworks.ai/api-reference/post-chatcompletions and /guides/reasoning"""

CEREBRAS = Profile(
    "Cerebras",
    "cerebras",
    max_tokens_field="max_completion_tokens",
    max_stops=4,
    efforts=("none", "low", "medium", "high"),
    reasoning_field="reasoning",
    strict=True,
    images=False,
    audio=False,
    documents=None,
    refused_extras=("logit_bias", "frequency_penalty", "presence_penalty"),
)
"""https://inference-docs.cerebras.ai/api-reference/chat-completions and /resources/openai"""

PERPLEXITY = Profile(
    "Perplexity",
    "perplexity",
    stream_usage=False,
    seed_field=None,
    efforts=("minimal", "low", "medium", "high"),
    tools=False,
    audio=False,
    documents="file_url",
    document_urls=True,
    alternates=True,
)
"""https://docs.perplexity.ai/api-reference/chat-completions-post"""

HUGGINGFACE = Profile(
    "The Hugging Face router",
    "huggingface",
    max_stops=4,
    efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
    parallel_tool_calls=False,
    audio=False,
    documents=None,
)
"""https://huggingface.co/docs/inference-providers/tasks/chat-completion"""

VLLM = Profile(
    "vLLM",
    "vllm",
    efforts=("none", "low", "medium", "high"),
    reasoning_field="reasoning",
    documents=None,
)
"""https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"""

LM_STUDIO = Profile(
    "LM Studio",
    "lmstudio",
    efforts=_LOW_TO_HIGH,
    tool_choices=("auto", "none", "required"),
    parallel_tool_calls=False,
    audio=False,
    documents=None,
)
"""https://lmstudio.ai/docs/developer/openai-compat/chat-completions"""

LLAMA_CPP = Profile(
    "The llama.cpp server",
    "llamacpp",
    effort=None,
    efforts=(),
    reasoning_field="reasoning_content",
    tool_choices=("auto", "none", "required"),
    documents=None,
)
"""https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"""

OLLAMA = Profile(
    "Ollama's OpenAI endpoint",
    "ollama.openai",
    efforts=("none", "low", "medium", "high"),
    reasoning_field="reasoning",
    tool_choices=("auto",),
    parallel_tool_calls=False,
    audio=False,
    documents=None,
    refused_extras=("logit_bias", "user"),
)
"""https://docs.ollama.com/api/openai-compatibility"""

LITELLM = Profile("The LiteLLM proxy", "litellm", reasoning_field="reasoning_content", strict=True)
"""It speaks for many providers and drops or refuses what the one behind it cannot take. https://docs.litellm.ai/docs/completion/input"""

NVIDIA = Profile(
    "NVIDIA NIM", "nvidia", effort=None, efforts=(), parallel_tool_calls=False, audio=False, documents=None
)
"""Each model's schema is closed, and no reasoning field is common to all. https://docs.api.nvidia.com/nim/reference/llm-apis"""

GITHUB = msgspec.structs.replace(
    OPENAI, name="GitHub Models", origin="github", file_origins=(), audio=False, documents=None
)
"""https://docs.github.com/en/rest/models/inference"""

SAMBANOVA = Profile("SambaNova", "sambanova", efforts=_LOW_TO_HIGH, seed_field=None, audio=False, documents=None)
"""https://docs.sambanova.ai/docs/en/api-reference/chat"""

MOONSHOT = Profile(
    "Moonshot AI",
    "moonshot",
    seed_field=None,
    max_stops=5,
    effort=None,
    efforts=(),
    switch="thinking",
    reasoning_field="reasoning_content",
    parallel_tool_calls=False,
    output="object",
    audio=False,
    documents=None,
)
"""Models that think refuse to be made to call a tool; others do not. https://platform.moonshot.ai/docs/api/chat"""

ZAI = Profile(
    "Z.ai",
    "zai",
    seed_field=None,
    max_stops=1,
    effort=None,
    efforts=(),
    switch="thinking",
    reasoning_field="reasoning_content",
    tool_choices=("auto",),
    parallel_tool_calls=False,
    output="object",
    audio=False,
    documents=None,
)
"""https://docs.z.ai/api-reference/llm/chat-completion"""

ALIBABA = Profile(
    "Alibaba Model Studio",
    "alibaba",
    effort=None,
    efforts=(),
    switch="enable_thinking",
    budget="thinking_budget",
    audio=False,
    documents=None,
)
"""Models that think refuse to be made to call a tool; others do not.
https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions"""

MINIMAX = Profile(
    "MiniMax",
    "minimax",
    seed_field=None,
    effort=None,
    efforts=(),
    parallel_tool_calls=False,
    output=None,
    audio=False,
    documents=None,
)
"""https://platform.minimax.io/docs/api-reference/text-openai-api"""

NEBIUS = Profile("Nebius", "nebius", efforts=_LOW_TO_HIGH, audio=False, documents=None)
"""https://docs.tokenfactory.nebius.com/api-reference/inference/create-chat-completion"""

OVHCLOUD = Profile("OVHcloud", "ovhcloud", efforts=_TO_HIGH, audio=False, documents=None)
"""https://www.ovhcloud.com/en/public-cloud/ai-endpoints/"""

PROFILES: dict[str, Profile] = {
    "openai": OPENAI,
    "compatible": COMPATIBLE,
    "azure": AZURE,
    "openrouter": OPENROUTER,
    "groq": GROQ,
    "mistral": MISTRAL,
    "deepseek": DEEPSEEK,
    "xai": XAI,
    "together": TOGETHER,
    "fireworks": FIREWORKS,
    "cerebras": CEREBRAS,
    "perplexity": PERPLEXITY,
    "huggingface": HUGGINGFACE,
    "vllm": VLLM,
    "lmstudio": LM_STUDIO,
    "llamacpp": LLAMA_CPP,
    "ollama": OLLAMA,
    "litellm": LITELLM,
    "nvidia": NVIDIA,
    "github": GITHUB,
    "sambanova": SAMBANOVA,
    "moonshot": MOONSHOT,
    "zai": ZAI,
    "alibaba": ALIBABA,
    "minimax": MINIMAX,
    "nebius": NEBIUS,
    "ovhcloud": OVHCLOUD,
}
