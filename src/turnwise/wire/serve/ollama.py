"""Ollama's own chat API, served: JSON lines, whole answers and error bodies.

Fields follow docs.ollama.com/api/chat and /api/errors. A call is sent whole, on a line of its own; the API has no place for
signatures or redacted reasoning, and its end is one line, so a stream without its terminator lacks usage and stop reason as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
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

_STOP = {"tool_calls": "stop", "stop_sequence": "stop", "content_filter": "stop", "refusal": "stop", "pause": "stop"}
_MESSAGE = {
    401: "unauthorized",
    404: "model not found",
    429: "too many requests",
    500: "the model failed to generate a response",
    503: "server busy, please try again.  maximum pending requests exceeded",
}
_encode = msgspec.json.encode


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The lines of a streamed answer; the last one has `done`, the stop reason and the counts."""
    calls = sent = 0
    arguments: list[str] = []
    for step in steps(msgspec.structs.replace(response, interleaved=False)):
        match step.part:
            case ErrorPart(error=error):
                yield error_event(error, exchange)
                return
            case CallPart() as part:
                if step.kind == "start":
                    arguments = []
                elif step.kind == "delta":
                    sent += 1
                    arguments.append(step.fragment)
                else:
                    made = _call(part, "".join(arguments), calls, exchange)
                    calls += 1
                    yield _line(response, exchange, {"content": "", "tool_calls": [made]})
            case TextPart() if step.kind == "delta":
                sent += 1
                yield _line(response, exchange, {"content": step.fragment})
            case ThinkingPart(redacted=False) if step.kind == "delta":
                sent += 1
                yield _line(response, exchange, {"content": "", "thinking": step.fragment})
            case _:
                pass
    if response.missing is None:
        yield _line(response, exchange, {"content": ""}, _end(response, exchange, sent))


def body(response: Response, exchange: Exchange) -> bytes:
    """The answer in one JSON document; the error alone if the response breaks off with one."""
    if (error := response.error) is not None:
        return error_body(error, exchange)
    text: list[str] = []
    thinking: list[str] = []
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
                thinking += fragments
            case CallPart():
                calls.append(_call(part, "".join(fragments), len(calls), exchange))
    message: dict[str, Any] = {"content": "".join(text)}
    if thinking:
        message["thinking"] = "".join(thinking)
    if calls:
        message["tool_calls"] = calls
    return _line(response, exchange, message, _end(response, exchange, sent)).rstrip(b"\n")


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body as of docs.ollama.com/api/errors."""
    status = error.status
    return _encode({"error": error.message or _MESSAGE.get(status, f"the request failed with status {status}")})


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream: a line with nothing else on it."""
    return error_body(error, exchange) + b"\n"


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type: none."""
    return {}


def _line(response: Response, exchange: Exchange, message: dict[str, Any], end: dict[str, Any] | None = None) -> bytes:
    made = {
        "model": response.model or exchange.model,
        "created_at": datetime.fromtimestamp(exchange.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "message": {"role": "assistant", **message},
        "done": end is not None,
    }
    return _encode(made | (end or {})) + b"\n"


def _end(response: Response, exchange: Exchange, sent: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "done_reason": stop_of(response, _STOP),
        "total_duration": 4_000_000,
        "load_duration": 1_000,
    }
    usage: Usage | None = usage_of(response, exchange, sent)
    if usage is not None:
        made |= {"prompt_eval_count": usage.input_tokens or 0, "prompt_eval_duration": 2_000_000}
        made |= {"eval_count": usage.output_tokens or 0, "eval_duration": 1_000_000}
    return made


def _call(part: CallPart, arguments: str, index: int, exchange: Exchange) -> dict[str, Any]:
    """Arguments that are not JSON cannot be said as they are: they are sent as a JSON string."""
    function = {"index": index, "name": part.name, "arguments": _arguments(arguments)}
    id = call_id(part, exchange, index, "call_")
    return {"id": id, "function": function} if id else {"function": function}


def _arguments(text: str) -> msgspec.Raw:
    if not text.strip():
        return msgspec.Raw(b"{}")
    raw = text.encode()
    try:
        msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return msgspec.Raw(_encode(text))
    return msgspec.Raw(raw)


CODEC = ServeCodec(
    "ollama.chat",
    ("/api/chat",),
    stream,
    body,
    error_body,
    error_event,
    headers,
    key_headers=(),
    stream_type="application/x-ndjson",
    streams_unasked=True,
    overflow=ApiError(400, "prompt too long; exceeded max context length by {over} tokens"),
)
