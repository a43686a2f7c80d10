"""Google's generateContent, served: chunks of `streamGenerateContent`, whole responses and error bodies.

Chunks are server-sent events, or the elements of one JSON array if the request's query says `alt=json`. The API shows no
signature on thoughts: it is sent where Google sends it, on the first part that follows them (and not at all if none does), and
so is the sealed data of redacted thoughts. A call comes whole. Fields follow https://ai.google.dev/api/generate-content and …/docs/thought-signatures.
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
    steps,
    stop_of,
    usage_of,
)

_STOP = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "STOP",
}
_WORD = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGE = {
    401: "Request had invalid authentication credentials.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred.",
    503: "The model is overloaded. Please try again later.",
}
_encode = msgspec.json.encode
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The chunks of a streamed response. The last has the finish reason; without it the stream is cut off."""
    framed = _Array() if _is_array(exchange) else _Events()
    calls = sent = 0
    seal = ""
    for step in steps(response):
        part, parts = step.part, list[dict[str, Any]]()
        match part:
            case ErrorPart(error=error):
                yield framed.chunk({"error": _error(error)})
                return
            case CallPart(fragments=fragments) if step.kind == "stop":
                parts, seal = [_call(part, "".join(fragments), exchange, calls) | _sealed(seal)], ""
                calls += 1
            case CallPart():
                sent += step.kind == "delta"
            case ThinkingPart(redacted=redacted, signature=signature):
                if step.kind == "delta" and not redacted:
                    parts = [{"text": step.fragment, "thought": True}]
                    sent += 1
                elif step.kind == "stop":
                    seal = ("".join(part.fragments) if redacted else signature) or seal
            case TextPart() if step.kind == "delta":
                parts = [{"text": step.fragment}]
                sent += 1
            case TextPart() if seal:
                if step.kind == "stop":
                    parts, seal = [{"text": "", **_sealed(seal)}], ""
            case _:
                pass
        if parts:
            yield framed.chunk(_chunk(response, exchange, parts, None, usage_of(response, exchange, sent)))
    if response.missing is None:
        usage = usage_of(response, exchange, sent)
        yield framed.chunk(_chunk(response, exchange, [{"text": ""}], stop_of(response, _STOP), usage))
        if end := framed.end():
            yield end


def body(response: Response, exchange: Exchange) -> bytes:
    """The response in one JSON document; the error alone if the response breaks off with one.

    Arguments that are not a JSON object cannot be said: they are sent as a JSON string.
    """
    if (error := response.error) is not None:
        return error_body(error, exchange)
    parts: list[dict[str, Any]] = []
    calls = sent = 0
    seal = ""
    for part in response.parts:
        if isinstance(part, ErrorPart):
            continue
        fragments = list(part.fragments)
        sent += 0 if isinstance(part, ThinkingPart) and part.redacted else len(fragments)
        whole = "".join(fragments)
        match part:
            case ThinkingPart(redacted=True):
                seal = whole or seal
            case ThinkingPart(signature=signature):
                parts += [{"text": whole, "thought": True}] if whole else []
                seal = signature or seal
            case TextPart():
                parts.append({"text": whole} | _sealed(seal))
                seal = ""
            case CallPart():
                parts.append(_call(part, whole, exchange, calls) | _sealed(seal))
                calls += 1
                seal = ""
    return _encode(_chunk(response, exchange, parts, stop_of(response, _STOP), usage_of(response, exchange, sent)))


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body; in an array if the request asked for one, as the API does."""
    written = _encode({"error": _error(error)})
    return b"[" + written + b"]" if _is_array(exchange) else written


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream."""
    return _Events().chunk({"error": _error(error)})


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type."""
    return {"server": "scaffolding on HTTPServer2", "server-timing": f"gfet4t7; dur={exchange.number}"}


# --- framing ----------------------------------------------------------------------------------------------------------


class _Events:
    """Server-sent events."""

    def chunk(self, document: dict[str, Any]) -> bytes:
        return b"data: " + _encode(document) + b"\n\n"

    def end(self) -> bytes:
        return b""


class _Array:
    """The elements of an indented JSON array."""

    def __init__(self) -> None:
        self._before = b"["

    def chunk(self, document: dict[str, Any]) -> bytes:
        before, self._before = self._before, b",\r\n"
        return before + msgspec.json.format(_encode(document)) + b"\n"

    def end(self) -> bytes:
        return b"]"


def _is_array(exchange: Exchange) -> bool:
    return "alt=json" in exchange.query.split("&")


# --- documents --------------------------------------------------------------------------------------------------------


def _chunk(
    response: Response, exchange: Exchange, parts: list[dict[str, Any]], stop: str | None, usage: Usage | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if stop:
        candidate["finishReason"] = stop
    candidate["index"] = 0
    made: dict[str, Any] = {"candidates": [candidate]}
    if usage is not None:
        made["usageMetadata"] = _usage(usage)
    made["modelVersion"] = response.model or exchange.model
    made["responseId"] = response.id or f"resp{exchange.number:024d}"
    return made


def _call(part: CallPart, whole: str, exchange: Exchange, nth: int) -> dict[str, Any]:
    """A call; the API gives it an id of eight characters, if any."""
    id = f"c{exchange.number % 1000:03d}{nth:04d}" if part.id is None else part.id
    function: dict[str, Any] = {"name": part.name}
    if whole:
        try:
            _JSON_OBJECT.decode(whole)
            function["args"] = msgspec.Raw(whole.encode())
        except (msgspec.MsgspecError, ValueError, RecursionError):
            function["args"] = whole
    return {"functionCall": function | ({"id": id} if id else {})}


def _sealed(seal: str) -> dict[str, str]:
    return {"thoughtSignature": seal} if seal else {}


def _usage(usage: Usage) -> dict[str, Any]:
    """Counts as the API gives them: thoughts apart from the rest of the output."""
    given, made, thought = usage.input_tokens or 0, usage.output_tokens or 0, usage.reasoning_tokens
    out: dict[str, Any] = {"promptTokenCount": given, "candidatesTokenCount": made - (thought or 0)}
    if usage.cache_read_tokens is not None:
        out["cachedContentTokenCount"] = usage.cache_read_tokens
    if thought is not None:
        out["thoughtsTokenCount"] = thought
    out["totalTokenCount"] = given + made
    out["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": given}]
    return out


def _error(error: ApiError) -> dict[str, Any]:
    status = error.status
    message = error.message or _MESSAGE.get(status, f"The request failed with status {status}.")
    made: dict[str, Any] = {"code": status, "message": message, "status": error.type or _WORD.get(status, "UNKNOWN")}
    if error.code:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        made["details"] = [{"@type": kind, "reason": error.code, "domain": "googleapis.com"}]
    return made


CODEC = ServeCodec(
    "gemini.generateContent",
    ("/v1beta/models/{model}:generateContent",),
    stream,
    body,
    error_body,
    error_event,
    headers,
    stream_paths=("/v1beta/models/{model}:streamGenerateContent",),
    base="/v1beta",
    key_headers=("x-goog-api-key", "authorization"),
    stream_type="text/event-stream",
    overflow=ApiError(400, "The input token count ({used}) exceeds the maximum number of tokens allowed ({limit})."),
)
