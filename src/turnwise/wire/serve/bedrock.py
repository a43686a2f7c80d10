"""AWS Bedrock Converse and ConverseStream, served: messages of the event stream, whole answers and error bodies.

Fields follow docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse and API_runtime_ConverseStreamOutput; a text block
begins with its first delta, and the stream ends with `messageStop` and then `metadata`, as recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...core.usage import Usage
from ..framing.event_stream import write_message
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
    "content_filter": "guardrail_intervened",
    "pause": "pause_turn",
}
_TYPE = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_TYPE_IN_STREAM = {
    400: "validationException",
    408: "modelTimeoutException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
}
_MESSAGE = {
    401: "The security token included in the request is invalid.",
    429: "Too many requests, please wait before trying again.",
    503: "Bedrock is unable to process your request.",
}
_PADDING = "abcdefghijk"
"""Every event holds some, of varying length, so that its size tells nothing."""
_encode = msgspec.json.encode


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The messages of a streamed answer."""
    calls: dict[int, str] = {}
    sent = 0
    yield _event("messageStart", {"role": "assistant"})
    for step in steps(response):
        if isinstance(step.part, ErrorPart):
            yield error_event(step.part.error, exchange)
            return
        if isinstance(step.part, CallPart) and step.kind == "start":
            calls[step.index] = call_id(step.part, exchange, len(calls), "tooluse_")
        sent += step.kind == "delta"
        yield from _block_events(step, calls.get(step.index, ""))
    if response.missing is None:
        yield _event("messageStop", {"stopReason": stop_of(response, _STOP)})
    usage = usage_of(response, exchange, sent)
    if response.missing != "end" and usage is not None:
        yield _event("metadata", {"usage": _usage(usage), "metrics": {"latencyMs": 12}})


def body(response: Response, exchange: Exchange) -> bytes:
    """The answer in one JSON document; the error alone if the response breaks off with one.

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
                content.append({"text": whole})
            case ThinkingPart(redacted=True):
                content.append({"reasoningContent": {"redactedContent": whole}})
            case ThinkingPart(signature=signature):
                sealed = {"text": whole} | ({"signature": signature} if signature else {})
                content.append({"reasoningContent": {"reasoningText": sealed}})
            case CallPart(name=name):
                id = call_id(part, exchange, calls, "tooluse_")
                content.append({"toolUse": {"toolUseId": id, "name": name, "input": _input(whole)}})
                calls += 1
    document: dict[str, Any] = {
        "metrics": {"latencyMs": 12},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": stop_of(response, _STOP),
    }
    if (usage := usage_of(response, exchange, sent)) is not None:
        document["usage"] = _usage(usage)
    return _encode(document)


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body; what kind of error it is stands in a header."""
    return _encode({"message": _message(error)})


def error_headers(error: ApiError) -> dict[str, str]:
    """The header that names the kind of error, with where AWS defines it."""
    status = error.status
    kind = error.type or _TYPE.get(status, "ValidationException" if status < 500 else "InternalServerException")
    kind = kind[:1].upper() + kind[1:]
    return {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An exception inside a stream."""
    status = error.status
    kind = error.type or _TYPE_IN_STREAM.get(
        status, "validationException" if 400 <= status < 500 else "internalServerException"
    )
    headers = {
        ":exception-type": kind[:1].lower() + kind[1:],
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return write_message(headers, _encode({"message": _message(error)}))


def headers(exchange: Exchange) -> dict[str, str]:
    """Headers of every response beside the content type."""
    return {"x-amzn-requestid": f"00000000-0000-4000-8000-{exchange.number:012d}"}


def _block_events(step: Step, id: str) -> Iterator[bytes]:
    index, part = step.index, step.part
    match step.kind:
        case "start":
            if isinstance(part, CallPart):
                start = {"toolUse": {"toolUseId": id, "name": part.name}}
                yield _event("contentBlockStart", {"contentBlockIndex": index, "start": start})
            elif isinstance(part, ThinkingPart) and part.redacted:
                yield _delta(index, {"reasoningContent": {"redactedContent": "".join(part.fragments)}})
        case "delta":
            if isinstance(part, CallPart):
                yield _delta(index, {"toolUse": {"input": step.fragment}})
            elif isinstance(part, TextPart):
                yield _delta(index, {"text": step.fragment})
            elif isinstance(part, ThinkingPart) and not part.redacted:
                yield _delta(index, {"reasoningContent": {"text": step.fragment}})
        case _:
            if isinstance(part, ThinkingPart) and part.signature and not part.redacted:
                yield _delta(index, {"reasoningContent": {"signature": part.signature}})
            yield _event("contentBlockStop", {"contentBlockIndex": index})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})


def _event(kind: str, document: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return write_message(headers, _encode({**document, "p": _PADDING}))


def _usage(usage: Usage) -> dict[str, int]:
    """The API's `inputTokens` exclude what was read from or written to the cache, its total does not."""
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    made = {
        "inputTokens": max(0, (usage.input_tokens or 0) - (read or 0) - (write or 0)),
        "outputTokens": usage.output_tokens or 0,
        "totalTokens": usage.total_tokens or 0,
    }
    if read is not None:
        made["cacheReadInputTokens"] = read
    if write is not None:
        made["cacheWriteInputTokens"] = write
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


def _message(error: ApiError) -> str:
    return error.message or _MESSAGE.get(error.status, f"The request failed with status {error.status}.")


CODEC = ServeCodec(
    "bedrock.converse",
    ("/model/{model}/converse",),
    stream,
    body,
    error_body,
    error_event,
    headers,
    stream_paths=("/model/{model}/converse-stream",),
    key_headers=("authorization",),
    stream_type="application/vnd.amazon.eventstream",
    error_headers=error_headers,
    overflow=ApiError(400, "Input is too long for requested model."),
)
