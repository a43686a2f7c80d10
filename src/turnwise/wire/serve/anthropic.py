"""Anthropic Messages, served: the events from `message_start` to `message_stop`, message bodies and error bodies.

Fields follow docs.claude.com/en/api/messages, /streaming and /errors.
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
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
_TYPE = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_MESSAGE = {401: "invalid x-api-key", 429: "Number of requests has exceeded your rate limit.", 529: "Overloaded"}
_encode = msgspec.json.encode


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The events of a streamed message, each with its `event:` line."""
    started = usage_of(response, exchange, 0)
    calls: dict[int, str] = {}
    sent, pinged = 0, False
    yield _event({"type": "message_start", "message": _message(response, exchange, [], None, started)})
    for step in steps(response):
        if isinstance(step.part, ErrorPart):
            yield error_event(step.part.error, exchange)
            return
        if isinstance(step.part, CallPart) and step.kind == "start":
            calls[step.index] = call_id(step.part, exchange, len(calls), "toolu_")
        sent += step.kind == "delta"
        yield from _block_events(step, calls.get(step.index, ""))
        if not pinged:
            pinged = True
            yield _event({"type": "ping"})
    if response.missing == "end":
        return
    end: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_of(response, _STOP), "stop_sequence": response.stop_sequence},
    }
    if (usage := usage_of(response, exchange, sent)) is not None:
        end["usage"] = _usage(usage)
    yield _event(end)
    if response.missing is None:
        yield _event({"type": "message_stop"})


def body(response: Response, exchange: Exchange) -> bytes:
    """The message in one JSON document; the error alone if the response breaks off with one.

    Arguments that are not JSON cannot be said in a document: they are sent as a JSON string.
    """
    if (error := response.error) is not None:
        return error_body(error, exchange)
    content: list[dict[str, Any]] = []
    sent = calls = 0
    for part in response.parts:
        if isinstance(part, ErrorPart):
            continue
        fragments = list(part.fragments)
        sent += len(fragments)
        whole = "".join(fragments)
        match part:
            case TextPart():
                content.append({"type": "text", "text": whole})
            case ThinkingPart(redacted=True):
                content.append({"type": "redacted_thinking", "data": whole})
            case ThinkingPart(signature=signature):
                content.append({"type": "thinking", "thinking": whole, "signature": signature or ""})
            case CallPart(name=name):
                id = call_id(part, exchange, calls, "toolu_")
                content.append({"type": "tool_use", "id": id, "name": name, "input": _input(whole)})
                calls += 1
    usage = usage_of(response, exchange, sent)
    return _encode(_message(response, exchange, content, stop_of(response, _STOP), usage))


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body as of docs.claude.com/en/api/errors."""
    return _encode({"type": "error", "error": _error(error), "request_id": _request_id(exchange)})


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream."""
    return _event({"type": "error", "error": _error(error)})


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type."""
    return {"request-id": _request_id(exchange)}


def _block_events(step: Step, id: str) -> Iterator[bytes]:
    index, part = step.index, step.part
    match step.kind:
        case "start":
            yield _event({"type": "content_block_start", "index": index, "content_block": _block_start(part, id)})
            if isinstance(part, CallPart):
                yield _event({"type": "content_block_delta", "index": index, "delta": _delta(part, "")})
        case "delta":
            if (delta := _delta(part, step.fragment)) is not None:
                yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        case _:
            if isinstance(part, ThinkingPart) and part.signature and not part.redacted:
                delta = {"type": "signature_delta", "signature": part.signature}
                yield _event({"type": "content_block_delta", "index": index, "delta": delta})
            yield _event({"type": "content_block_stop", "index": index})


def _block_start(part: object, id: str) -> dict[str, Any]:
    match part:
        case CallPart(name=name):
            return {"type": "tool_use", "id": id, "name": name, "input": {}}
        case ThinkingPart(redacted=True, fragments=fragments):
            return {"type": "redacted_thinking", "data": "".join(fragments)}
        case ThinkingPart():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case _:
            return {"type": "text", "text": ""}


def _delta(part: object, fragment: str) -> dict[str, Any] | None:
    """The API begins the arguments of every call with an empty fragment, and sends no other for a call without any."""
    match part:
        case CallPart(fragments=("{}",)) if fragment:
            return None
        case CallPart():
            return {"type": "input_json_delta", "partial_json": fragment}
        case ThinkingPart(redacted=redacted):
            return None if redacted else {"type": "thinking_delta", "thinking": fragment}
        case _:
            return {"type": "text_delta", "text": fragment}


def _message(
    response: Response, exchange: Exchange, content: list[dict[str, Any]], stop: str | None, usage: Usage | None
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": response.id or f"msg_{exchange.number:024d}",
        "type": "message",
        "role": "assistant",
        "model": response.model or exchange.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": response.stop_sequence if stop else None,
    }
    if usage is not None:
        counted = usage if stop else msgspec.structs.replace(usage, output_tokens=1, reasoning_tokens=None)
        made["usage"] = _usage(counted) | {"service_tier": "standard"}
    return made


def _usage(usage: Usage) -> dict[str, Any]:
    """The API's `input_tokens` exclude what was read from or written to the cache."""
    read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    made: dict[str, Any] = {
        "input_tokens": max(0, (usage.input_tokens or 0) - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens is not None:
        made["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return made


def _input(arguments: str) -> msgspec.Raw:
    if not arguments.strip():
        return msgspec.Raw(b"{}")
    raw = arguments.encode()
    try:
        msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return msgspec.Raw(_encode(arguments))
    return msgspec.Raw(raw)


def _error(error: ApiError) -> dict[str, str]:
    status = error.status
    kind = error.type or _TYPE.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
    return {"type": kind, "message": error.message or _MESSAGE.get(status, f"The request failed with status {status}.")}


def _request_id(exchange: Exchange) -> str:
    return f"req_{exchange.number:024d}"


def _event(document: dict[str, Any]) -> bytes:
    return b"event: " + document["type"].encode() + b"\ndata: " + _encode(document) + b"\n\n"


CODEC = ServeCodec(
    "anthropic.messages",
    ("/v1/messages",),
    stream,
    body,
    error_body,
    error_event,
    headers,
    key_headers=("x-api-key", "authorization"),
    overflow=ApiError(400, "prompt is too long: {used} tokens > {limit} maximum"),
)
