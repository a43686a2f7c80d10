"""OpenAI Chat Completions, served: `chat.completion.chunk` events, `chat.completion` bodies and error bodies.

Field order and fields follow platform.openai.com/docs/api-reference/chat and /chat-streaming. Reasoning goes into
`reasoning_content`, as compatible hosts send it; OpenAI's own API shows none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...core.usage import Usage
from .response import (
    ApiError,
    CallPart,
    ErrorPart,
    Exchange,
    Response,
    ServeCodec,
    TextPart,
    ThinkingPart,
    call_id,
    steps,
    stop_of,
    usage_of,
)

_STOP = {"stop_sequence": "stop", "refusal": "content_filter", "pause": "stop"}
_TYPE = {429: "requests", 500: "server_error", 502: "server_error", 503: "server_error", 504: "server_error"}
_CODE = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_MESSAGE = {
    401: "Incorrect API key provided.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request.",
    503: "The engine is currently overloaded, please try again later.",
}
_encode = msgspec.json.encode


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The events of a streamed completion, `data: {...}` and a blank line each, ending with `[DONE]`.

    The usage chunk comes only if the request asked for it with `stream_options.include_usage`.
    """
    head = _head(response, exchange, "chat.completion.chunk")
    calls: dict[int, int] = {}
    sent = 0

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "choices": [choice], **({"usage": None} if exchange.include_usage else {})})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for step in steps(response):
        match step.part:
            case ErrorPart(error=error):
                yield error_event(error, exchange)
                return
            case CallPart() as part:
                if step.kind == "start":
                    calls[step.index] = len(calls)
                    yield chunk({"tool_calls": [_call_start(part, calls[step.index], exchange)]})
                elif step.kind == "delta":
                    sent += 1
                    yield chunk({"tool_calls": [_call_delta(part, calls[step.index], exchange, step.fragment)]})
            case TextPart() if step.kind == "delta":
                sent += 1
                yield chunk({"content": step.fragment})
            case ThinkingPart(redacted=False) if step.kind == "delta":
                sent += 1
                yield chunk({"reasoning_content": step.fragment})
            case _:
                pass
    if response.missing == "end":
        return
    yield chunk({}, stop_of(response, _STOP))
    usage = usage_of(response, exchange, sent)
    if exchange.include_usage and usage is not None:
        yield _event({**head, "choices": [], "usage": _usage(usage)})
    if response.missing is None:
        yield b"data: [DONE]\n\n"


def body(response: Response, exchange: Exchange) -> bytes:
    """The completion in one JSON document; the error alone if the response breaks off with one."""
    if (error := response.error) is not None:
        return error_body(error, exchange)
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    sent = 0
    for part in response.parts:
        if isinstance(part, ErrorPart) or (isinstance(part, ThinkingPart) and part.redacted):
            continue
        fragments = list(part.fragments)
        sent += len(fragments)
        match part:
            case TextPart():
                text += fragments
            case ThinkingPart():
                reasoning += fragments
            case CallPart():
                made = _call_start(part, len(calls), exchange)
                made.pop("index", None)
                made["function"]["arguments"] = "".join(fragments)
                calls.append(made)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(text) if text else None}
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    if calls:
        message["tool_calls"] = calls
    message |= {"refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": stop_of(response, _STOP)}
    document = {**_head(response, exchange, "chat.completion"), "choices": [choice]}
    if (usage := usage_of(response, exchange, sent)) is not None:
        document["usage"] = _usage(usage)
    return _encode(document)


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body as of platform.openai.com/docs/guides/error-codes."""
    return _encode({"error": _error(error)})


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream."""
    return _event({"error": _error(error)})


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type."""
    return {"x-request-id": f"req_{exchange.number:024d}", "openai-version": "2020-10-01", "openai-processing-ms": "12"}


def _error(error: ApiError) -> dict[str, Any]:
    status = error.status
    return {
        "message": error.message or _MESSAGE.get(status, f"The request failed with status {status}."),
        "type": error.type or _TYPE.get(status, "invalid_request_error" if 400 <= status < 500 else "server_error"),
        "param": error.param,
        "code": error.code if error.code is not None or error.type else _CODE.get(status),
    }


def _head(response: Response, exchange: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": response.id or f"chatcmpl-{exchange.number:024d}",
        "object": kind,
        "created": exchange.created,
        "model": response.model or exchange.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _call_start(part: CallPart, index: int, exchange: Exchange) -> dict[str, Any]:
    made: dict[str, Any] = {"index": index} if part.has_index else {}
    if id := call_id(part, exchange, index, "call_"):
        made["id"] = id
    return made | {"type": "function", "function": {"name": part.name, "arguments": ""}}


def _call_delta(part: CallPart, index: int, exchange: Exchange, fragment: str) -> dict[str, Any]:
    made: dict[str, Any] = {"index": index} if part.has_index else {}
    if part.repeats_id:
        made["id"] = call_id(part, exchange, index, "call_")
    return made | {"function": {"arguments": fragment}}


def _usage(usage: Usage) -> dict[str, Any]:
    read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens
    prompt: dict[str, int] = {"cached_tokens": read, "audio_tokens": 0}
    if write is not None:
        prompt["cache_write_tokens"] = write
    return {
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens or 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + _encode(document) + b"\n\n"


CODEC = ServeCodec(
    "openai.chat",
    ("/v1/chat/completions", "/openai/v1/chat/completions", "/openai/deployments/{model}/chat/completions"),
    stream,
    body,
    error_body,
    error_event,
    headers,
    base="/v1",
    key_headers=("authorization", "api-key"),
    overflow=ApiError(
        400,
        "This model's maximum context length is {limit} tokens. However, your messages resulted in {used} tokens.",
        code="context_length_exceeded",
        param="messages",
    ),
)
