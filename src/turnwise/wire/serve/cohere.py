"""Cohere's chat API, version 2, served: the events from `message-start` to `[DONE]`, whole answers and error bodies.

Fields follow docs.cohere.com/reference/chat, /reference/chat-stream and /reference/errors. Content and calls are counted apart, each
from 0. Reasoning is sent as `thinking` content; the API has no place for signatures or redacted reasoning, and does not say
which model answers.
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
    Step,
    TextPart,
    ThinkingPart,
    call_id,
    steps,
    stop_of,
    usage_of,
)

_STOP = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "stop_sequence": "STOP_SEQUENCE",
    "content_filter": "ERROR_TOXIC",
    "refusal": "COMPLETE",
    "pause": "COMPLETE",
}
_MESSAGE = {
    401: "invalid api token",
    404: "model not found, make sure the correct model ID was used and that you have access to the model.",
    429: "You are past the per minute request limit, please wait and try again later.",
    500: "internal server error, this has been reported to our developers.",
    503: "service unavailable",
}
_encode = msgspec.json.encode


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The events of a streamed answer, each with its `event:` line."""
    started: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event({"id": _id(response, exchange), "type": "message-start", "delta": {"message": started}})
    places: dict[int, int] = {}
    calls = content = sent = 0
    for step in steps(response):
        part = step.part
        if isinstance(part, ErrorPart):
            yield error_event(part.error, exchange)
            return
        if isinstance(part, ThinkingPart) and part.redacted:
            continue
        if step.kind == "start":
            if isinstance(part, CallPart):
                places[step.index], calls = calls, calls + 1
            else:
                places[step.index], content = content, content + 1
        sent += step.kind == "delta"
        yield _event(_part_event(step, places[step.index], exchange))
    if response.missing == "end":
        return
    end: dict[str, Any] = {"finish_reason": stop_of(response, _STOP)}
    if (usage := usage_of(response, exchange, sent)) is not None:
        end["usage"] = _usage(usage)
    yield _event({"type": "message-end", "delta": end})
    if response.missing is None:
        yield b"data: [DONE]\n\n"


def body(response: Response, exchange: Exchange) -> bytes:
    """The answer in one JSON document; the error alone if the response breaks off with one."""
    if (error := response.error) is not None:
        return error_body(error, exchange)
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    sent = 0
    for part in response.parts:
        if isinstance(part, ErrorPart) or (isinstance(part, ThinkingPart) and part.redacted):
            continue
        fragments = list(part.fragments)
        sent += len(fragments)
        whole = "".join(fragments)
        match part:
            case TextPart():
                content.append({"type": "text", "text": whole})
            case ThinkingPart():
                content.append({"type": "thinking", "thinking": whole})
            case CallPart():
                calls.append(_call(part, whole, len(calls), exchange))
    message: dict[str, Any] = {"role": "assistant"}
    if content:
        message["content"] = content
    if calls:
        message["tool_calls"] = calls
    made: dict[str, Any] = {
        "id": _id(response, exchange),
        "message": message,
        "finish_reason": stop_of(response, _STOP),
    }
    if (usage := usage_of(response, exchange, sent)) is not None:
        made["usage"] = _usage(usage)
    return _encode(made)


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body as of docs.cohere.com/reference/errors."""
    return _encode({"id": f"{exchange.number:032x}", "message": _said(error)})


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream: it ends the message."""
    delta: dict[str, Any] = {
        "finish_reason": "ERROR",
        "usage": {},
        "error": _said(error),
        "error_type": error.type or "INTERNAL",
    }
    return _event({"type": "message-end", "delta": delta})


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type."""
    return {"x-debug-trace-id": f"{exchange.number:032x}"}


def _said(error: ApiError) -> str:
    return error.message or _MESSAGE.get(error.status, f"the request failed with status {error.status}")


def _part_event(step: Step, index: int, exchange: Exchange) -> dict[str, Any]:
    part = step.part
    kind = "tool-call" if isinstance(part, CallPart) else "content"
    if step.kind == "stop":
        return {"type": f"{kind}-end", "index": index}
    begins = step.kind == "start"
    match part:
        case CallPart():
            made = _call(part, "", index, exchange) if begins else {"function": {"arguments": step.fragment}}
            said: dict[str, Any] = {"tool_calls": made}
        case ThinkingPart():
            said = {"content": {"type": "thinking", "thinking": ""} if begins else {"thinking": step.fragment}}
        case _:
            said = {"content": {"type": "text", "text": ""} if begins else {"text": step.fragment}}
    return {"type": f"{kind}-{'start' if begins else 'delta'}", "index": index, "delta": {"message": said}}


def _call(part: CallPart, arguments: str, index: int, exchange: Exchange) -> dict[str, Any]:
    id = call_id(part, exchange, index, f"{part.name}_")
    return {"id": id, "type": "function", "function": {"name": part.name, "arguments": arguments}}


def _id(response: Response, exchange: Exchange) -> str:
    return response.id or f"00000000-0000-4000-8000-{exchange.number:012x}"


def _usage(usage: Usage) -> dict[str, Any]:
    """`tokens` is what the model read and wrote, `billed_units` what is paid for."""
    given, made, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_tokens
    tokens = {"input_tokens": given, "output_tokens": made}
    if usage.reasoning_tokens is not None:
        tokens["reasoning_tokens"] = usage.reasoning_tokens
    out: dict[str, Any] = {"billed_units": {"input_tokens": given, "output_tokens": made}, "tokens": tokens}
    if cached is not None:
        out["cached_tokens"] = cached
    return out


def _event(document: dict[str, Any]) -> bytes:
    return b"event: " + document["type"].encode() + b"\ndata: " + _encode(document) + b"\n\n"


CODEC = ServeCodec(
    "cohere.v2.chat",
    ("/v2/chat",),
    stream,
    body,
    error_body,
    error_event,
    headers,
    overflow=ApiError(
        400, "too many tokens: total number of tokens in the prompt cannot exceed {limit} - received {used}."
    ),
)
