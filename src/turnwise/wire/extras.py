"""Typed settings that only one API has. Public through `turnwise.models`.

Fields are named as in the API and go into the request body as they are unless their docstring says otherwise; None leaves
a field out. What is not here goes through `ModelSettings.patch`. Sources: the reference of each API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..core.request import Extra


class OpenAIExtra(Extra, frozen=True, omit_defaults=True):
    """OpenAI Chat Completions and hosts that speak it. https://platform.openai.com/docs/api-reference/chat/create"""

    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, int] | None = None
    top_k: int | None = None
    metadata: Mapping[str, str] | None = None
    store: bool | None = None


class AnthropicExtra(Extra, frozen=True, omit_defaults=True):
    """Anthropic Messages. `betas` are sent as the `anthropic-beta` header; `server_tools` are tools that Anthropic runs itself (web
    search, code execution …), added to the tools of the agent; `cache_ttl` is how long cached prefixes live.
    https://platform.claude.com/docs/en/api/messages"""

    top_k: int | None = None
    metadata: Mapping[str, str] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Any = None
    mcp_servers: Sequence[Mapping[str, Any]] | None = None
    betas: tuple[str, ...] = ()
    server_tools: tuple[Mapping[str, Any], ...] = ()
    cache_ttl: Literal["5m", "1h"] | None = None


class CohereExtra(Extra, frozen=True, omit_defaults=True):
    """Cohere Chat, version 2. `documents` are what the model may cite, texts or objects with `data` and `id`; `strict_tools`
    None follows the tools: true if all of them are strict. https://docs.cohere.com/reference/chat"""

    safety_mode: Literal["CONTEXTUAL", "STRICT", "OFF"] | None = None
    documents: Sequence[str | Mapping[str, Any]] | None = None
    citation_options: Mapping[str, Any] | None = None
    strict_tools: bool | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    k: int | None = None
    priority: int | None = None


class OllamaExtra(Extra, frozen=True, omit_defaults=True):
    """Ollama's own chat API. `think` is sent in place of what `reasoning` says; `truncate=True` lets the server drop the beginning
    of a conversation that is too long, where Turnwise has it refused. `num_ctx` (the context length, in tokens), `top_k`,
    `min_p` and `repeat_penalty` go into the request's `options`, beside those given as `options` by their own names.
    https://docs.ollama.com/api/chat and /modelfile#parameter"""

    think: bool | str | None = None
    keep_alive: str | float | None = None
    truncate: bool | None = None
    shift: bool | None = None
    num_ctx: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    options: Mapping[str, Any] | None = None


class ResponsesExtra(Extra, frozen=True, omit_defaults=True):
    """OpenAI Responses and hosts that speak it. `server_tools` are tools that the provider runs itself (web search, file search, code
    interpreter, MCP …), added to the tools of the agent; `summary` is `reasoning.summary` (`"off"`: none, where reasoning
    was asked for), `verbosity` is `text.verbosity`; `include` is added to what the codec asks for; `store` lets the provider
    keep a copy, which nothing here reads. https://platform.openai.com/docs/api-reference/responses/create"""

    server_tools: tuple[Mapping[str, Any], ...] = ()
    summary: Literal["auto", "concise", "detailed", "off"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    include: tuple[str, ...] = ()
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    metadata: Mapping[str, str] | None = None
    max_tool_calls: int | None = None
    top_logprobs: int | None = None
    truncation: Literal["auto", "disabled"] | None = None
    context_management: Sequence[Mapping[str, Any]] | None = None


class GeminiExtra(Extra, frozen=True, omit_defaults=True):
    """Google Gemini and Vertex AI; names are the API's with `_` for its capitals. `server_tools` are tools that Google runs itself
    (`{"googleSearch": {}}`, `{"codeExecution": {}}` …), added to the tools of the agent; `include_thoughts` shows or hides
    what the model thinks. https://ai.google.dev/api/generate-content"""

    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_modalities: Sequence[str] | None = None
    media_resolution: str | None = None
    speech_config: Mapping[str, Any] | None = None
    image_config: Mapping[str, Any] | None = None
    include_thoughts: bool | None = None
    safety_settings: Sequence[Mapping[str, Any]] | None = None
    cached_content: str | None = None
    service_tier: str | None = None
    labels: Mapping[str, str] | None = None
    model_armor_config: Mapping[str, Any] | None = None
    retrieval_config: Mapping[str, Any] | None = None
    include_server_side_tool_invocations: bool | None = None
    server_tools: tuple[Mapping[str, Any], ...] = ()


class BedrockExtra(Extra, frozen=True, omit_defaults=True):
    """AWS Bedrock Converse. `additionalModelRequestFields` are in the model's own words and win over ours; `system_tools` are tools
    that Bedrock runs itself (`nova_grounding` …), added to the tools of the agent; `top_k` goes where the model's family wants it;
    `cache_ttl` is how long cached prefixes live.
    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

    additionalModelRequestFields: Mapping[str, Any] | None = None
    additionalModelResponseFieldPaths: Sequence[str] | None = None
    guardrailConfig: Mapping[str, Any] | None = None
    performanceConfig: Mapping[str, Any] | None = None
    promptVariables: Mapping[str, Any] | None = None
    requestMetadata: Mapping[str, str] | None = None
    serviceTier: Mapping[str, str] | None = None
    system_tools: tuple[str, ...] = ()
    top_k: int | None = None
    cache_ttl: Literal["5m", "1h"] | None = None
