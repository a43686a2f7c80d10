"""How providers say what failed: data for `errors.kind_of`, one row per fact, each with its source.

Tables are asked in this order and their first row that fits decides: WORDS (types and codes that mean one thing whatever the
status), PHRASES (parts of messages whose status and type say less), STATUSES, WEAK_WORDS (types that say what a status says
better). A row of PHRASES or WORDS may be bound to one status. All is lower case. `tests/wire/error_examples.py` holds, for
each row, an answer as its provider sends it.
"""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """One class of provider failure."""

    code: str
    retryable: bool
    hint: str


AUTH = Kind("auth", False, "Check the API key: it is missing, mistyped, revoked, or for another endpoint.")
PERMISSION = Kind(
    "permission", False, "The key is valid but may not do this: check its project, model access and region."
)
NOT_FOUND = Kind(
    "not_found", False, "Check the model's name and the base URL; the provider lists the models it serves."
)
OVERFLOW = Kind("context_overflow", False, "The conversation is longer than the model can read: shorten it.")
QUOTA = Kind("quota", False, "The account's credit or quota is used up: check billing with the provider.")
RATE_LIMIT = Kind("rate_limit", True, "Too many requests: wait, or lower the concurrency.")
OVERLOADED = Kind("overloaded", True, "The provider is overloaded: wait, or use another model.")
TIMEOUT = Kind("provider_timeout", True, "The provider took too long: try again.")
SERVER = Kind("server", True, "The provider failed on its side: try again later.")
FILTER = Kind("content_filter", False, "The provider refused the content.")
TOO_LARGE = Kind(
    "too_large", False, "The request is larger than the provider accepts: send less or smaller attachments."
)
NO_TOOLS = Kind(
    "tools_unsupported",
    False,
    'The model or its server has no tool calling: Model(…, tools="prompted") speaks of tools in text instead.',
)
INVALID = Kind("invalid_request", False, "The provider refused the request as it is; its message says why.")
PROTOCOL = Kind("protocol", True, "The answer is not what the API promises: check that the base URL is the API's.")
TRUNCATED = Kind("truncated", True, "The connection ended before the answer did: try again.")
REDIRECT = Kind("redirect", False, "Redirects are not followed, so that keys go nowhere else: correct the base URL.")


class Row(msgspec.Struct, frozen=True):
    """`said` (a word, or a phrase; empty in a row of STATUSES) under `status` (0: any) means `kind`, says `source`."""

    said: str
    kind: Kind
    source: str
    status: int = 0


WORDS: tuple[Row, ...] = (
    Row("context_length_exceeded", OVERFLOW, "OpenAI, error codes; Groq, Cerebras, Azure OpenAI alike"),
    Row("exceed_context_size_error", OVERFLOW, "llama.cpp, tools/server/README"),
    Row("too_many_prompt_tokens", OVERFLOW, "Perplexity, recorded"),
    Row("tokens_limit_reached", OVERFLOW, "GitHub Models, error responses"),
    Row("insufficient_quota", QUOTA, "OpenAI, error codes"),
    Row("credit_balance_exhausted", QUOTA, "OpenAI, error codes"),
    Row("billing_hard_limit_reached", QUOTA, "OpenAI, error codes"),
    Row("billing_not_active", QUOTA, "OpenAI, error codes"),
    Row("billing_error", QUOTA, "Anthropic, errors"),
    Row("enforced_spend_limit_reached", QUOTA, "Anthropic, errors"),
    Row("exceeded_current_quota_error", QUOTA, "Moonshot AI, error codes"),
    Row("arrearage", QUOTA, "Alibaba Model Studio, error codes"),
    Row("servicequotaexceededexception", QUOTA, "Bedrock, API error codes"),
    Row("overloaded_error", OVERLOADED, "Anthropic, errors"),
    Row("server_is_overloaded", OVERLOADED, "OpenAI, error codes"),
    Row("service_unavailable_error", OVERLOADED, "OpenAI, error codes"),
    Row("engine_overloaded_error", OVERLOADED, "Moonshot AI, error codes"),
    Row("queue_exceeded", OVERLOADED, "Cerebras, error codes"),
    Row("service_tier_capacity_exceeded", OVERLOADED, "Mistral, error responses"),
    Row("content_filter", FILTER, "Azure OpenAI, content filtering"),
    Row("content_policy_violation", FILTER, "OpenAI, error codes"),
    Row("responsibleaipolicyviolation", FILTER, "Azure OpenAI, content filtering"),
    Row("data_inspection_failed", FILTER, "Alibaba Model Studio, error codes"),
    Row("invalid_prompt", FILTER, "OpenAI Responses, ResponseError.code"),
    Row("bio_policy", FILTER, "OpenAI Responses, ResponseError.code"),
    Row("misalignment_policy_violation", FILTER, "OpenAI Responses, ResponseError.code"),
    Row("image_content_policy_violation", FILTER, "OpenAI Responses, ResponseError.code"),
    Row("vector_store_timeout", TIMEOUT, "OpenAI Responses, ResponseError.code"),
    Row("invalid_image", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("invalid_image_format", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("invalid_base64_image", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("invalid_image_url", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("image_too_large", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("image_too_small", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("image_parse_error", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("invalid_image_mode", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("image_file_too_large", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("unsupported_image_media_type", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("empty_image_file", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("failed_to_download_image", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("image_file_not_found", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("data_residency_mismatch", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("invalid_encrypted_content", INVALID, "OpenAI Responses, ResponseError.code"),
    Row("slow_down", RATE_LIMIT, "OpenAI, error codes"),
    Row("request_too_large", TOO_LARGE, "Anthropic, errors"),
    Row("invalid_api_key", AUTH, "OpenAI, error codes"),
    Row("model_not_found", NOT_FOUND, "OpenAI, error codes"),
    Row("deploymentnotfound", NOT_FOUND, "Azure OpenAI, recorded"),
    Row("modelnotreadyexception", OVERLOADED, "Bedrock, Converse"),
    Row("expiredtokenexception", AUTH, "Bedrock, recorded"),
    Row("unrecognizedclientexception", AUTH, "Bedrock, API error codes"),
    Row("invalidsignatureexception", AUTH, "AWS, common errors"),
    Row("incompletesignatureexception", AUTH, "AWS, common errors"),
    Row("missingauthenticationtokenexception", AUTH, "AWS, common errors"),
)
"""Types and codes that mean one thing whatever the status."""

PHRASES: tuple[Row, ...] = (
    # Context overflow
    Row("prompt is too long", OVERFLOW, "Anthropic, context windows; Fireworks alike"),
    Row("input is too long", OVERFLOW, "Bedrock, validation errors"),
    Row("too large for model with", OVERFLOW, "Mistral, error responses"),
    Row("maximum context length", OVERFLOW, "OpenAI, error codes; vLLM, DeepSeek, OpenRouter, SambaNova alike"),
    Row("maximum prompt length is", OVERFLOW, "xAI, error responses (cline#3120)"),
    Row("exceed context limit", OVERFLOW, "Anthropic, context windows"),
    Row("exceeds the context window", OVERFLOW, "OpenAI Responses, recorded"),
    Row("exceeds the maximum number of tokens allowed", OVERFLOW, "Gemini, error responses"),
    Row("input token count is", OVERFLOW, "Vertex AI, error responses"),
    Row("too many tokens: ", OVERFLOW, "Cohere, errors"),
    Row("reduce the length of the messages or completion", OVERFLOW, "Groq and Cerebras, quoted by routers"),
    Row("`inputs` tokens + `max_new_tokens` must be", OVERFLOW, "Together (litellm#4934), Hugging Face TGI"),
    Row("longer than the model's context length", OVERFLOW, "Together, error responses"),
    Row("longer than the maximum model length", OVERFLOW, "vLLM, v1/engine/processor.py"),
    Row("exceeds the available context size", OVERFLOW, "llama.cpp, tools/server/server-context.cpp"),
    Row("greater than the context length", OVERFLOW, "LM Studio, error responses (opencode#2259)"),
    Row("when context the overflows", OVERFLOW, "LM Studio before 0.3.20 (lmstudio-bug-tracker#237)"),
    Row("prompt too long; exceeded", OVERFLOW, "Ollama, server errors"),
    Row("exceeded model token limit", OVERFLOW, "Moonshot AI, error responses"),
    Row("context window exceeds limit", OVERFLOW, "MiniMax, error responses"),
    Row("prompt exceeds max length", OVERFLOW, "Z.ai, error codes (1261)"),
    Row("range of input length should be", OVERFLOW, "Alibaba Model Studio, error codes"),
    Row("too many total text bytes", OVERFLOW, "Bedrock, validation errors (strands-agents)"),
    # Quota
    Row("credit balance is too low", QUOTA, "Anthropic, recorded"),
    Row("specified api usage limits", QUOTA, "Anthropic, recorded"),
    Row("insufficient balance", QUOTA, "DeepSeek, error codes; Z.ai (1113) alike"),
    Row("doesn't have any credits", QUOTA, "xAI, error responses"),
    Row("used all available credits", QUOTA, "xAI, error responses"),
    Row("api calls / month", QUOTA, "Cohere, trial keys"),
    Row("too many tokens per day", QUOTA, "Bedrock, ThrottlingException (agent-book#29)"),
    # Content
    Row("content management policy", FILTER, "Azure OpenAI, content filtering"),
    Row("content filtering policy", FILTER, "Anthropic, recorded"),
    Row("content exists risk", FILTER, "DeepSeek, error responses"),
    Row("flagged as potentially violating", FILTER, "OpenAI, reasoning models (invalid_prompt)"),
    Row("your input was flagged", FILTER, "OpenRouter, errors (403)"),
    # Tools
    Row("does not support tools", NO_TOOLS, "Ollama (ollama#11131)"),
    Row("support tool use", NO_TOOLS, "OpenRouter (mastra#2839); Bedrock alike"),
    Row("requires --enable-auto-tool-choice", NO_TOOLS, "vLLM (vllm#9986)"),
    Row("tools param requires --jinja", NO_TOOLS, "llama.cpp, tools/server/utils.hpp"),
    Row("`tool calling` is not supported", NO_TOOLS, "Groq, error responses"),
    Row("function calling is not enabled", NO_TOOLS, "Mistral and Gemini, error responses"),
    Row("'tools' is not supported with this model", NO_TOOLS, "OpenAI, error responses"),
    # Limits that waiting does not lift
    Row("tokens must be reduced in order to run", TOO_LARGE, "OpenAI, rate limits", 429),
    # Keys
    Row("incorrect api key", AUTH, "OpenAI, error codes; xAI (with status 400), Cohere alike"),
    Row("api key not valid", AUTH, "Gemini, recorded"),
    Row("make sure your api key is valid", AUTH, "Bedrock, API keys"),
    Row("model identifier is invalid", NOT_FOUND, "Bedrock, recorded"),
    Row("invalid api key", AUTH, "Groq, Together and others, error responses"),
)
"""Parts of messages whose status and type say less. A rate limit is never taken for an overflow."""

STATUSES: tuple[Row, ...] = (
    Row("", AUTH, "RFC 9110", 401),
    Row("", QUOTA, "RFC 9110; DeepSeek, OpenRouter, Together, Hugging Face", 402),
    Row("", PERMISSION, "RFC 9110", 403),
    Row("", NOT_FOUND, "RFC 9110", 404),
    Row("", TIMEOUT, "RFC 9110", 408),
    Row("", SERVER, "Anthropic, errors", 409),
    Row("", TOO_LARGE, "RFC 9110; Groq for more tokens than a minute allows", 413),
    Row("", SERVER, "Groq, errors; Bedrock, ModelErrorException", 424),
    Row("", SERVER, "RFC 8470", 425),
    Row("", RATE_LIMIT, "RFC 6585", 429),
    Row("", OVERLOADED, "Groq, errors (flex tier)", 498),
    Row("", OVERLOADED, "RFC 9110", 503),
    Row("", TIMEOUT, "RFC 9110", 504),
    Row("", OVERLOADED, "Anthropic, errors", 529),
)

WEAK_WORDS: tuple[Row, ...] = (
    Row("authentication_error", AUTH, "Anthropic, errors"),
    Row("permission_error", PERMISSION, "Anthropic, errors"),
    Row("not_found_error", NOT_FOUND, "Anthropic, errors"),
    Row("rate_limit_error", RATE_LIMIT, "Anthropic, errors"),
    Row("rate_limit_exceeded", RATE_LIMIT, "OpenAI, error codes"),
    Row("timeout_error", TIMEOUT, "Anthropic, errors"),
    Row("invalid_request_error", INVALID, "Anthropic, errors; OpenAI, error codes"),
    Row("conflict_error", SERVER, "Anthropic, errors"),
    Row("api_error", SERVER, "Anthropic, errors"),
    Row("server_error", SERVER, "OpenAI, error codes"),
    Row("internal_server_error", SERVER, "vLLM, entrypoints/openai/protocol.py"),
    Row("throttlingexception", RATE_LIMIT, "Bedrock, ConverseStream"),
    Row("serviceunavailableexception", OVERLOADED, "Bedrock, ConverseStream"),
    Row("modeltimeoutexception", TIMEOUT, "Bedrock, Converse"),
    Row("validationexception", INVALID, "Bedrock, ConverseStream"),
    Row("accessdeniedexception", PERMISSION, "Bedrock, API error codes"),
    Row("resourcenotfoundexception", NOT_FOUND, "Bedrock, API error codes"),
)
"""Types that say what the status says: they count inside a 200 stream and where the status is a vague one."""
