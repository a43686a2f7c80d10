"""How hosts of the Chat Completions API differ in the requests they take: data, one row per kind of host.

Responses need no profile: the decoder reads them all. A field is here only if the encoder looks at it. What a host says no
word about is as OpenAI's API has it; what it is known to refuse, or to pass over in silence, is refused before sending.
Each row names its host's reference; tests hold the rows against requests that the hosts have taken.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ...core.request import Effort

Choice = Literal["auto", "none", "required", "one"]

LEVELS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All effort levels, least first."""
_TO_HIGH: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high")
_LOW_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")


class Profile(msgspec.Struct, frozen=True):
    """One kind of host. The defaults describe a server about which nothing is known but that it speaks the API.

    name               as errors call the host
    origin             its signature family: whose sealed reasoning and native items it gets back
    file_origins       whose uploaded files it can read
    max_tokens_field   the field that bounds the output
    instructions_role  the role of the message that holds the instructions
    stream_usage       takes `stream_options: {"include_usage": true}`; others send usage unasked or not at all
    seed_field         the field of the seed; None: it takes none
    max_stops          how many stop sequences it takes; None: nothing is known of a bound

    effort             where reasoning effort goes: the field `reasoning_effort`, the object `reasoning`, or nowhere
    efforts            the levels it knows, least first; what is asked for is sent as the nearest of them
    switch             the field that turns thinking on and off, beside or in place of a level
    budget             the field that takes a budget in tokens; None: it takes none
    with_reasoning     further fields that go with any wish for reasoning
    reasoning_field    the field of an assistant message in which its own reasoning text goes back; None: it does not
    thinking_parts     its own reasoning goes back as parts of the content instead
    returned_fields    further fields of an assistant message that go back as they came

    tools              takes tools at all
    tool_choices       the choices it honours; `one` is a tool by name
    required_word      what "required" is called
    parallel_tool_calls, strict
                       whether requests may hold these fields
    call_ids           "plain": up to 40 characters; "nine": nine letters and digits

    output             "schema": structured output by JSON Schema; "object": JSON without a schema; None: neither
    images, audio      whether messages may hold these
    documents          the kind of content part that holds a document; None: it takes none
    document_urls      whether a document may be a URL
    alternates         refuses two user messages in a row
    refused_extras     fields of `OpenAIExtra` that it does not take
    """

    name: str
    origin: str
    file_origins: tuple[str, ...] = ()
    max_tokens_field: str = "max_tokens"
    instructions_role: Literal["system", "developer"] = "system"
    stream_usage: bool = True
    seed_field: str | None = "seed"
    max_stops: int | None = None
    effort: Literal["reasoning_effort", "reasoning"] | None = "reasoning_effort"
    efforts: tuple[Effort, ...] = LEVELS
    switch: Literal["thinking", "enable_thinking", "reasoning"] | None = None
    budget: Literal["reasoning", "thinking", "thinking_budget"] | None = None
    with_reasoning: tuple[tuple[str, Any], ...] = ()
    reasoning_field: str | None = None
    thinking_parts: bool = False
    returned_fields: tuple[str, ...] = ()
    tools: bool = True
    tool_choices: tuple[Choice, ...] = ("auto", "none", "required", "one")
    required_word: str = "required"
    parallel_tool_calls: bool = True
    strict: bool = False
    call_ids: Literal["plain", "nine"] = "plain"
    output: Literal["schema", "object"] | None = "schema"
    images: bool = True
    audio: bool = True
    documents: Literal["file", "document_url", "file_url"] | None = "file"
    document_urls: bool = False
    alternates: bool = False
    refused_extras: tuple[str, ...] = ()


OPENAI = Profile(
    "OpenAI",
    "openai.chat",
    file_origins=("openai",),
    max_tokens_field="max_completion_tokens",
    max_stops=4,
    returned_fields=("refusal",),
    strict=True,
    refused_extras=("top_k",),
)
"""OpenAI itself. Instructions go as `system`, which all its models take; `developer` is refused by some.
https://platform.openai.com/docs/api-reference/chat/create"""

COMPATIBLE = Profile("The OpenAI-compatible server", "openai.compatible")
"""Any other server: what it cannot do, it says itself."""

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


def nearest(asked: Effort, known: tuple[Effort, ...]) -> Effort:
    """The level that comes nearest to what is asked for; of two that are equally near, the higher one. A wish to think is
    not answered with `none`, unless there is nothing else."""
    if asked in known:
        return asked
    at = LEVELS.index(asked)
    willing: list[Effort] = [level for level in known if level != "none"] or list(known)
    return min(willing, key=lambda level: (abs(LEVELS.index(level) - at), -LEVELS.index(level)))
