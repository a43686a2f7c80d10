"""Providers by name: where they are, how they want the key, which environment variables their users already have.

Data only. How a host's requests differ from its API's standard is in its `profile` (wire/openai_chat/profiles.py); for a host of the
Responses API it is the signature family, if that is not OpenAI's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec


class Host(msgspec.Struct, frozen=True):
    """One provider.

    `key_variables` and `url_variables` are looked up in order; `auth` names the header that carries the key. `endpoint` names the
    module of `models` that works out address and credentials where a base URL and a key are not enough, `options` is the
    prefix of the connection's fields that it reads. `models_path` is where the host lists its models, if it does.
    `api` is "" for a host without chat, which embeds or reranks.
    """

    name: str
    api: str
    base_url: str
    auth: str = "bearer"
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    needs_key: bool = True
    profile: str = ""
    local: bool = False
    label: str = ""
    endpoint: str = ""
    options: str = ""
    models_path: str = "/models"


def _chat(name: str, label: str, base_url: str, *key_variables: str, **fields: Any) -> Host:
    """A host that speaks Chat Completions with a profile of its own name."""
    return Host(name, "openai.chat", base_url, "bearer", key_variables, profile=name, label=label, **fields)


HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            "anthropic",
            "anthropic.messages",
            "https://api.anthropic.com",
            "x-api-key",
            ("ANTHROPIC_API_KEY",),
            ("ANTHROPIC_BASE_URL",),
            label="Anthropic",
            models_path="/v1/models",
        ),
        Host(
            "openai",
            "openai.chat",
            "https://api.openai.com/v1",
            "bearer",
            ("OPENAI_API_KEY",),
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            profile="openai",
            label="OpenAI",
            endpoint="azure",
            options="azure_",
        ),
        Host(
            "openai-responses",
            "openai.responses",
            "https://api.openai.com/v1",
            "bearer",
            ("OPENAI_API_KEY",),
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            label="OpenAI Responses",
            endpoint="azure",
            options="azure_",
        ),
        Host(
            "azure",
            "openai.chat",
            "",
            "api-key",
            ("AZURE_OPENAI_API_KEY",),
            ("AZURE_OPENAI_ENDPOINT",),
            profile="azure",
            label="Azure OpenAI",
            endpoint="azure",
            options="azure_",
            models_path="",
        ),
        Host(
            "azure-responses",
            "openai.responses",
            "",
            "api-key",
            ("AZURE_OPENAI_API_KEY",),
            ("AZURE_OPENAI_ENDPOINT",),
            profile="azure.responses",
            label="Azure OpenAI Responses",
            endpoint="azure",
            options="azure_",
            models_path="",
        ),
        _chat("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        _chat("groq", "Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        _chat("mistral", "Mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        _chat("deepseek", "DeepSeek", "https://api.deepseek.com", "DEEPSEEK_API_KEY"),
        _chat("xai", "xAI", "https://api.x.ai/v1", "XAI_API_KEY"),
        _chat("together", "Together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
        _chat("fireworks", "Fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        _chat("cerebras", "Cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        _chat("perplexity", "Perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", models_path=""),
        _chat("huggingface", "Hugging Face", "https://router.huggingface.co/v1", "HF_TOKEN"),
        _chat("nvidia", "NVIDIA NIM", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
        _chat("github", "GitHub Models", "https://models.github.ai/inference", "GITHUB_TOKEN", models_path=""),
        _chat("sambanova", "SambaNova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
        _chat("moonshot", "Moonshot AI", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
        _chat("zai", "Z.ai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "ZHIPU_API_KEY"),
        _chat(
            "alibaba",
            "Alibaba Model Studio",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "DASHSCOPE_API_KEY",
        ),
        _chat("minimax", "MiniMax", "https://api.minimax.io/v1", "MINIMAX_API_KEY", models_path=""),
        _chat("nebius", "Nebius", "https://api.tokenfactory.nebius.com/v1", "NEBIUS_API_KEY"),
        _chat(
            "ovhcloud",
            "OVHcloud",
            "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
            "OVHCLOUD_API_KEY",
            "OVH_AI_ENDPOINTS_ACCESS_TOKEN",
        ),
        _chat("vllm", "vLLM", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", needs_key=False, local=True),
        _chat(
            "litellm",
            "LiteLLM proxy",
            "http://127.0.0.1:4000",
            "LITELLM_PROXY_API_KEY",
            needs_key=False,
            url_variables=("LITELLM_PROXY_API_BASE",),
        ),
        Host(
            "cohere",
            "cohere.v2.chat",
            "https://api.cohere.com",
            "bearer",
            ("CO_API_KEY", "COHERE_API_KEY"),
            ("CO_API_URL",),
            label="Cohere",
            models_path="/v1/models",
        ),
        Host(
            "ollama",
            "ollama.chat",
            "http://127.0.0.1:11434",
            "bearer",
            ("OLLAMA_API_KEY",),
            ("OLLAMA_HOST",),
            needs_key=False,
            local=True,
            label="Ollama",
            endpoint="ollama",
            models_path="/api/tags",
        ),
        Host(
            "ollama-openai",
            "openai.chat",
            "http://127.0.0.1:11434/v1",
            "bearer",
            ("OLLAMA_API_KEY",),
            ("OLLAMA_HOST",),
            needs_key=False,
            profile="ollama",
            label="Ollama (OpenAI's API)",
            endpoint="ollama",
        ),
        Host(
            "lmstudio",
            "openai.chat",
            "http://127.0.0.1:1234/v1",
            needs_key=False,
            profile="lmstudio",
            local=True,
            label="LM Studio",
        ),
        Host(
            "llamacpp",
            "openai.chat",
            "http://127.0.0.1:8080/v1",
            needs_key=False,
            profile="llamacpp",
            local=True,
            label="llama.cpp server",
        ),
        Host(
            "gemini",
            "gemini.generateContent",
            "https://generativelanguage.googleapis.com/v1beta",
            "x-goog-api-key",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            label="Google Gemini",
        ),
        Host(
            "vertex",
            "vertex.generateContent",
            "https://aiplatform.googleapis.com/v1",
            "x-goog-api-key",
            label="Google Vertex AI",
            endpoint="vertex",
            options="vertex_",
            models_path="",
        ),
        Host(
            "bedrock",
            "bedrock.converse",
            "https://bedrock-runtime.{region}.{domain}",
            "bearer",
            ("AWS_BEARER_TOKEN_BEDROCK",),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME",),
            label="AWS Bedrock",
            endpoint="bedrock",
            options="bedrock_",
            models_path="",
        ),
        Host(
            "jina",
            "",
            "https://api.jina.ai/v1",
            "bearer",
            ("JINA_API_KEY",),
            label="Jina",
            models_path="",
        ),
        Host(
            "voyage",
            "",
            "https://api.voyageai.com/v1",
            "bearer",
            ("VOYAGE_API_KEY",),
            label="Voyage",
            models_path="",
        ),
    )
}


def is_here(url: str) -> bool:
    """Whether an address is one of this machine."""
    name = urlsplit(url).hostname or ""
    return name in ("localhost", "::1") or name.endswith(".localhost") or name.startswith("127.")
