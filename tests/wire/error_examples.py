"""Errors as providers send them: status, body and the class that they belong to. At least one for each row of `error_tables`.

Bodies are written by hand in each provider's form; the wording is the provider's, where the row says.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Example(msgspec.Struct, frozen=True):
    """One error response. Status 0: inside a stream that began with status 200."""

    provider: str
    status: int
    body: str
    kind: str


def _openai(message: str, type: str | None = "invalid_request_error", code: Any = None) -> str:
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}})


def _anthropic(type: str, message: str, **details: Any) -> str:
    return json.dumps({"type": "error", "error": {"type": type, "message": message, **details}, "request_id": "req_1"})


def _google(code: int, status: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message, "status": status}})


def _plain(**fields: Any) -> str:
    return json.dumps(fields)


def _aws(type: str, message: str) -> str:
    """AWS says the type in the header `x-amzn-errortype`, or in that of the event; here it stands in the body."""
    return json.dumps({"message": message, "type": type})


OVERFLOWS = (
    ("OpenAI", 400, _openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded")),
    ("OpenAI Responses", 400, _openai("Your input exceeds the context window of this model.", code=None)),
    ("Azure OpenAI", 400, _openai("This model's maximum context length is 128000 tokens.", None, "context_length_exceeded")),
    ("Groq", 400, _openai("Please reduce the length of the messages or completion.", code="context_length_exceeded")),
    ("Cerebras", 400, _plain(message="Please reduce the length.", type="invalid_request_error", code="context_length_exceeded")),
    ("llama.cpp", 400, _plain(error={"code": 400, "message": "too big", "type": "exceed_context_size_error", "n_ctx": 4096})),
    ("llama.cpp, older", 500, _openai("the request exceeds the available context size, try increasing it", "server_error")),
    ("Perplexity", 400, _plain(error={"message": "The messages are too long.", "type": "too_many_prompt_tokens", "code": 400})),
    ("GitHub Models", 413, _openai("Request body too large for gpt-4o model. Max size: 8000 tokens.", None, "tokens_limit_reached")),
    ("Anthropic", 400, _anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    ("Anthropic", 400, _anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000")),
    ("Fireworks", 400, _openai("The prompt is too long: 40177, model maximum context length: 32767", code="invalid_request_error")),
    ("Bedrock", 400, _plain(message="Input is too long for requested model.")),
    ("Bedrock", 400, _aws("ValidationException", "too many total text bytes: 27000000 > 25000000")),
    ("Mistral", 400, _plain(object="error", message="Prompt contains 40022 tokens and 0 draft tokens, too large for model with 32768 maximum context length", type="invalid_request_prompt", param=None, code="3051")),
    ("vLLM", 400, _plain(object="error", message="This model's maximum context length is 4096 tokens. However, you requested 6379 tokens (6029 in the messages, 350 in the completion).", type="BadRequestError", param=None, code=400)),
    ("vLLM", 400, _plain(error={"message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", "type": "BadRequestError", "code": 400})),
    ("DeepSeek", 400, _openai("This model's maximum context length is 65536 tokens. However, you requested 70000 tokens.", code="invalid_request_error")),
    ("OpenRouter", 400, _plain(error={"message": "This endpoint's maximum context length is 200000 tokens. However, you requested about 250000 tokens.", "code": 400})),
    ("xAI", 400, _plain(code="Client specified an invalid argument", error="This model's maximum prompt length is 131072 but the request contains 136973 tokens.")),
    ("Gemini", 400, _google(400, "INVALID_ARGUMENT", "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).")),
    ("Vertex AI", 400, _google(400, "INVALID_ARGUMENT", "Unable to submit request because the input token count is 40000 but the model only supports up to 32768.")),
    ("Cohere", 400, _plain(message="too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs.")),
    ("OpenRouter, Cerebras behind it", 400, _plain(error={"message": "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000", "code": 400})),
    ("Together", 422, _openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 80125 `inputs` tokens")),
    ("Together", 400, _openai("The input (516368 tokens) is longer than the model's context length (262144 tokens).")),
    ("Hugging Face router", 422, _plain(error="Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3474", error_type="validation")),
    ("LM Studio", 400, _plain(error="The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= n_ctx: 4096).")),
    ("LM Studio, older", 400, _plain(error="Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context length of only 7866 tokens")),
    ("Ollama", 400, _plain(error="prompt too long; exceeded max context length by 4 tokens")),
    ("Moonshot AI", 400, _openai("Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)")),
    ("MiniMax", 400, _plain(type="error", error={"type": "bad_request_error", "message": "invalid params, context window exceeds limit (2013)"})),
    ("Z.ai", 400, _plain(error={"code": "1261", "message": "Prompt exceeds max length"})),
    ("Alibaba", 400, _openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", code="invalid_parameter_error")),
)  # fmt: skip

QUOTAS = (
    ("OpenAI", 429, _openai("You exceeded your current quota, please check your plan.", "insufficient_quota", "insufficient_quota")),
    ("OpenAI", 429, _openai("No credits left.", "insufficient_quota_error", "credit_balance_exhausted")),
    ("OpenAI", 400, _openai("Billing hard limit has been reached", code="billing_hard_limit_reached")),
    ("OpenAI", 429, _openai("Your account is not active, please check your billing details.", "billing", "billing_not_active")),
    ("Anthropic", 402, _anthropic("billing_error", "There is an issue with your billing.")),
    ("Anthropic", 429, _anthropic("rate_limit_error", "Spend limit reached.", details={"error_code": "enforced_spend_limit_reached"})),
    ("Anthropic", 400, _anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API.")),
    ("Anthropic", 400, _anthropic("invalid_request_error", "You have reached your specified API usage limits.")),
    ("Moonshot AI", 429, _openai("Your account is suspended, please check your plan.", "exceeded_current_quota_error")),
    ("Alibaba", 400, _openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage")),
    ("DeepSeek", 402, _openai("Insufficient Balance", "unknown_error", "invalid_request_error")),
    ("Z.ai", 429, _plain(error={"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."})),
    ("xAI", 403, _plain(code="permission-denied", error="Your newly created team doesn't have any credits yet.")),
    ("xAI", 429, _plain(code="resource-exhausted", error="Your team has either used all available credits or reached its monthly spending limit.")),
    ("Cohere", 429, _plain(message="You are using a Trial key, which is limited to 1000 API calls / month.")),
    ("Bedrock", 400, _aws("ServiceQuotaExceededException", "Your request exceeds the service quota for your account.")),
    ("Bedrock", 429, _aws("ThrottlingException", "Too many tokens per day, please wait before trying again.")),
    ("OpenRouter", 402, _plain(error={"code": 402, "message": "Insufficient credits. Add more and retry."})),
    ("Hugging Face router", 402, _plain(error="You have exceeded your monthly included credits for Inference Providers.")),
)  # fmt: skip

RATE_LIMITS = (
    ("OpenAI", 429, _openai("Rate limit reached for gpt-5 on tokens per min (TPM)", "tokens", "rate_limit_exceeded")),
    ("OpenAI", 429, _openai("Rate limit reached on tokens per min: maximum context length is not the matter", "tokens")),
    ("OpenAI, in a stream", 0, _openai("Rate limit reached", "tokens", "rate_limit_exceeded")),
    ("OpenAI", 503, _openai("Slow down", "rate_limit_error", "slow_down")),
    ("Anthropic", 429, _anthropic("rate_limit_error", "This request would exceed your organization's rate limit")),
    ("Anthropic, in a stream", 0, _anthropic("rate_limit_error", "Too many tokens")),
    ("Azure OpenAI", 429, _plain(error={"code": "429", "message": "Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds."})),
    ("Groq", 429, _openai("Rate limit reached for model `x` on tokens per minute (TPM): Limit 6000, Used 5900", "tokens", "rate_limit_exceeded")),
    ("Gemini", 429, _google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.")),
    ("Bedrock", 429, _plain(message="Too many tokens, please wait before trying again.")),
    ("Bedrock, in a stream", 0, _aws("throttlingException", "Too many tokens, please wait before trying again.")),
    ("Mistral", 429, _plain(object="error", message="Requests rate limit exceeded", type="rate_limited", code="1300")),
    ("OpenRouter", 429, _plain(error={"message": "Rate limit exceeded: free-models-per-min.", "code": 429})),
    ("Cohere", 429, _plain(message="You are past the per minute request limit, please wait and try again later.")),
)  # fmt: skip

TOOLS = (
    ("Ollama", 400, _plain(error="registry.ollama.ai/library/gemma3:4b does not support tools")),
    ("Ollama at /v1", 400, _openai("registry.ollama.ai/library/llama2:13b does not support tools", "api_error")),
    ("OpenRouter", 404, _plain(error={"message": "No endpoints found that support tool use. To learn more, visit the docs", "code": 404})),
    ("Bedrock", 400, _plain(message="This model doesn't support tool use in streaming mode.")),
    ("vLLM", 400, _openai('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "BadRequestError", 400)),
    ("llama.cpp", 500, _openai("tools param requires --jinja flag", "server_error", 500)),
    ("Groq", 400, _openai("`tool calling` is not supported with this model")),
    ("Mistral", 400, _plain(object="error", message="Function calling is not enabled for this model", type="invalid_request_error", code="3051")),
    ("Gemini", 400, _google(400, "INVALID_ARGUMENT", "Function calling is not enabled for models/gemma-3-27b-it")),
    ("OpenAI", 400, _openai("Unsupported parameter: 'tools' is not supported with this model.", code="unsupported_parameter")),
)  # fmt: skip

CONTENT = (
    ("Azure OpenAI", 400, _plain(error={"message": "Filtered.", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}})),
    ("Azure OpenAI", 400, _openai("The response was filtered.", None, "ResponsibleAIPolicyViolation")),
    ("Azure OpenAI", 400, _openai("The prompt triggered Azure OpenAI's content management policy.", None, None)),
    ("OpenAI", 400, _openai("Your request was rejected by the safety system.", code="content_policy_violation")),
    ("OpenAI", 400, _openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code=None)),
    ("Anthropic", 400, _anthropic("invalid_request_error", "Output blocked by content filtering policy")),
    ("DeepSeek", 400, _openai("Content Exists Risk", code="invalid_request_error")),
    ("OpenRouter", 403, _plain(error={"code": 403, "message": "The model requires moderation and your input was flagged"})),
    ("Alibaba", 400, _openai("Input data may contain inappropriate content.", "data_inspection_failed", "data_inspection_failed")),
)  # fmt: skip

OTHERS = (
    Example("Anthropic", 529, _anthropic("overloaded_error", "Overloaded"), "overloaded"),
    Example("Anthropic, in a stream", 0, _anthropic("overloaded_error", "Overloaded"), "overloaded"),
    Example("a proxy before Anthropic", 529, "Overloaded", "overloaded"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_prompt"), "content_filter"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "bio_policy"), "content_filter"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "misalignment_policy_violation"), "content_filter"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_content_policy_violation"), "content_filter"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "vector_store_timeout"), "provider_timeout"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_image"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_image_format"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_base64_image"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_image_url"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_too_large"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_too_small"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_parse_error"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_image_mode"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_file_too_large"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "unsupported_image_media_type"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "empty_image_file"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "failed_to_download_image"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "image_file_not_found"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "data_residency_mismatch"), "invalid_request"),
    Example("OpenAI Responses, in a stream", 0, _openai("The response failed.", None, "invalid_encrypted_content"), "invalid_request"),
    Example("OpenAI", 503, _openai("Busy", "server_error", "server_is_overloaded"), "overloaded"),
    Example("OpenAI", 503, _openai("Busy", "service_unavailable_error"), "overloaded"),
    Example("Moonshot AI", 429, _openai("The engine is currently overloaded", "engine_overloaded_error"), "overloaded"),
    Example("Cerebras", 429, _plain(message="We're experiencing high traffic right now!", type="too_many_requests_error", param="queue", code="queue_exceeded"), "overloaded"),
    Example("Mistral", 429, _plain(object="error", message="Service tier capacity exceeded for this model.", type="service_tier_capacity_exceeded", code="3505"), "overloaded"),
    Example("Groq", 498, _openai("Flex tier capacity exceeded", None), "overloaded"),
    Example("Gemini", 503, _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), "overloaded"),
    Example("Anthropic", 413, _anthropic("request_too_large", "Request exceeds the maximum size"), "too_large"),
    Example("nginx", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "too_large"),
    Example("Groq", 413, _openai("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000", "tokens", "rate_limit_exceeded"), "too_large"),
    Example("OpenAI", 429, _openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run successfully.", "tokens", "rate_limit_exceeded"), "too_large"),
    Example("OpenAI", 401, _openai("Incorrect API key provided: sk-***.", code="invalid_api_key"), "auth"),
    Example("xAI", 400, _plain(code="invalid-argument", error="Incorrect API key provided."), "auth"),
    Example("Gemini", 400, _google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), "auth"),
    Example("Together", 400, _openai("Invalid API key provided.", None), "auth"),
    Example("Azure OpenAI", 401, _plain(error={"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}), "auth"),
    Example("Anthropic, in a stream", 0, _anthropic("authentication_error", "invalid x-api-key"), "auth"),
    Example("Anthropic", 403, _anthropic("permission_error", "Your key may not use this."), "permission"),
    Example("Anthropic, in a stream", 0, _anthropic("permission_error", "Your key may not use this."), "permission"),
    Example("OpenAI", 400, _openai("The requested model 'x' does not exist.", code="model_not_found"), "not_found"),
    Example("Azure OpenAI", 404, _openai("The API deployment for this resource does not exist.", None, "DeploymentNotFound"), "not_found"),
    Example("Azure OpenAI", 404, _plain(error={"code": "404", "message": "Resource not found"}), "not_found"),
    Example("Anthropic, in a stream", 0, _anthropic("not_found_error", "model: x"), "not_found"),
    Example("Anthropic", 504, _anthropic("timeout_error", "Timed out"), "provider_timeout"),
    Example("Anthropic, in a stream", 0, _anthropic("timeout_error", "Timed out"), "provider_timeout"),
    Example("a proxy", 408, "", "provider_timeout"),
    Example("Anthropic", 400, _anthropic("invalid_request_error", "messages: field required"), "invalid_request"),
    Example("Anthropic, in a stream", 0, _anthropic("invalid_request_error", "messages: field required"), "invalid_request"),
    Example("Anthropic", 409, _anthropic("conflict_error", "The resource changed."), "server"),
    Example("Anthropic, in a stream", 0, _anthropic("conflict_error", "The resource changed."), "server"),
    Example("Anthropic", 500, _anthropic("api_error", "Internal server error"), "server"),
    Example("OpenAI", 500, _openai("The server had an error", "server_error"), "server"),
    Example("vLLM", 500, _openai("boom", "internal_server_error", 500), "server"),
    Example("Groq", 424, _openai("Failed dependency", None), "server"),
    Example("a proxy", 425, "Too Early", "server"),
    Example("Bedrock", 429, _aws("ModelNotReadyException", "Model is not ready for inference. Wait and try again."), "overloaded"),
    Example("Bedrock, in a stream", 0, _aws("serviceUnavailableException", "Bedrock is unable to process your request."), "overloaded"),
    Example("Bedrock", 403, _aws("ExpiredTokenException", "The security token included in the request is expired"), "auth"),
    Example("Bedrock", 403, _aws("UnrecognizedClientException", "The security token included in the request is invalid."), "auth"),
    Example("Bedrock", 403, _aws("InvalidSignatureException", "The request signature we calculated does not match."), "auth"),
    Example("Bedrock", 403, _aws("IncompleteSignatureException", "Authorization header requires 'Signature' parameter."), "auth"),
    Example("Bedrock", 403, _aws("MissingAuthenticationTokenException", "Missing Authentication Token"), "auth"),
    Example("Bedrock", 403, _aws("AccessDeniedException", "Authentication failed: Please make sure your API Key is valid."), "auth"),
    Example("Bedrock", 403, _aws("AccessDeniedException", "You don't have access to the model."), "permission"),
    Example("Bedrock, in a stream", 0, _aws("accessDeniedException", "You don't have access to the model."), "permission"),
    Example("Bedrock", 400, _aws("ValidationException", "The provided model identifier is invalid."), "not_found"),
    Example("Bedrock, in a stream", 0, _aws("resourceNotFoundException", "The specified resource was not found."), "not_found"),
    Example("Bedrock, in a stream", 0, _aws("modelTimeoutException", "The request took too long to process."), "provider_timeout"),
    Example("Bedrock, in a stream", 0, _aws("validationException", "The value at 'messages.0' is not valid."), "invalid_request"),
)  # fmt: skip

EXAMPLES = (
    *[Example(*row, kind="context_overflow") for row in OVERFLOWS],
    *[Example(*row, kind="quota") for row in QUOTAS],
    *[Example(*row, kind="rate_limit") for row in RATE_LIMITS],
    *[Example(*row, kind="tools_unsupported") for row in TOOLS],
    *[Example(*row, kind="content_filter") for row in CONTENT],
    *OTHERS,
)
