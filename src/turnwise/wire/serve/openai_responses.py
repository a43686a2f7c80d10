"""OpenAI Responses, served: the events from `response.created` to `response.completed`, response bodies and error bodies.

Each part of a response is an output item: reasoning with its summary and encrypted content, a message, a function call. Fields
follow platform.openai.com/docs/api-reference/responses and /responses-streaming.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...core.usage import Usage
from .openai_chat import CODEC as CHAT
from .response import (
    ApiError,
    CallPart,
    ErrorPart,
    Exchange,
    Response,
    ServeCodec,
    Step,
    ThinkingPart,
    call_id,
    steps,
    stop_of,
    usage_of,
)

_STATUS = {
    "stop": "completed",
    "tool_calls": "completed",
    "stop_sequence": "completed",
    "pause": "completed",
    "length": "incomplete",
    "refusal": "incomplete",
    "content_filter": "incomplete",
}
_REASON = {"length": "max_output_tokens", "refusal": "content_filter", "content_filter": "content_filter"}
_encode = msgspec.json.encode


class _Writer:
    """One response in the making: its items so far, and the events' running number."""

    def __init__(self, response: Response, exchange: Exchange) -> None:
        self.response = response
        self.exchange = exchange
        self.items: dict[int, dict[str, Any]] = {}
        self.places: dict[int, int] = {}
        self.texts: dict[int, list[str]] = {}
        self.calls = 0
        self.sent = 0
        self.number = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        document = {"type": kind, "sequence_number": self.number, **fields}
        self.number += 1
        return _event(document)

    def start(self, step: Step) -> Iterator[bytes]:
        place = self.places[step.index] = len(self.places)
        self.texts[step.index] = []
        part, id = step.part, f"{self.exchange.number:06d}{place:018d}"
        item: dict[str, Any]
        if isinstance(part, CallPart):
            made = call_id(part, self.exchange, self.calls, "call_")
            self.calls += 1
            item = {
                "id": f"fc_{id}",
                "type": "function_call",
                "status": "in_progress",
                "arguments": "",
                "call_id": made,
            }
            item["name"] = part.name
        elif isinstance(part, ThinkingPart):
            item = {"id": f"rs_{id}", "type": "reasoning", "summary": []}
        else:
            item = {"id": f"msg_{id}", "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
        self.items[place] = item
        yield self.event("response.output_item.added", output_index=place, item=item)
        if item["type"] == "message":
            at: dict[str, Any] = {"item_id": item["id"], "output_index": place, "content_index": 0}
            yield self.event("response.content_part.added", **at, part=_text(""))

    def delta(self, step: Step) -> Iterator[bytes]:
        self.sent += 1
        first = not self.texts[step.index]
        self.texts[step.index].append(step.fragment)
        place = self.places[step.index]
        item = self.items[place]
        at: dict[str, Any] = {"item_id": item["id"], "output_index": place}
        if item["type"] == "function_call":
            yield self.event("response.function_call_arguments.delta", **at, delta=step.fragment, obfuscation="x")
        elif item["type"] == "message":
            where = {**at, "content_index": 0}
            yield self.event(
                "response.output_text.delta", **where, delta=step.fragment, logprobs=[], obfuscation="xyzxyzxyz"
            )
        elif isinstance(step.part, ThinkingPart) and not step.part.redacted:
            where = {**at, "summary_index": 0}
            if first:
                empty = {"type": "summary_text", "text": ""}
                yield self.event("response.reasoning_summary_part.added", **where, part=empty)
            yield self.event("response.reasoning_summary_text.delta", **where, delta=step.fragment, obfuscation="xyz")

    def stop(self, step: Step) -> Iterator[bytes]:
        place, whole = self.places[step.index], "".join(self.texts.pop(step.index))
        item = self.items[place]
        at: dict[str, Any] = {"item_id": item["id"], "output_index": place}
        item = self.items[place] = _done(item, step.part, whole)
        if item["type"] == "function_call":
            yield self.event("response.function_call_arguments.done", **at, arguments=whole)
        elif item["type"] == "message":
            at["content_index"] = 0
            yield self.event("response.output_text.done", **at, text=whole, logprobs=[])
            yield self.event("response.content_part.done", **at, part=_text(whole))
        elif item["summary"]:
            at["summary_index"] = 0
            yield self.event("response.reasoning_summary_text.done", **at, text=whole)
            yield self.event("response.reasoning_summary_part.done", **at, part=item["summary"][0])
        yield self.event("response.output_item.done", output_index=place, item=item)

    def document(self, status: str, usage: Usage | None) -> dict[str, Any]:
        """The response object; its items are those that were begun so far."""
        response, exchange = self.response, self.exchange
        reason = _REASON.get(response.stop or "") if status == "incomplete" else None
        return {
            "id": response.id or f"resp_{exchange.number:024d}",
            "object": "response",
            "created_at": exchange.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": None,
            "max_output_tokens": None,
            "model": response.model or exchange.model,
            "output": list(self.items.values()) if status != "in_progress" else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": None if usage is None else _usage(usage),
            "metadata": {},
        }


def stream(response: Response, exchange: Exchange) -> Iterator[bytes]:
    """The events of a streamed response, each with its `event:` line. There is one terminator, the last event, so both kinds
    of `missing` leave it out."""
    writer = _Writer(response, exchange)
    for kind in ("response.created", "response.in_progress"):
        yield writer.event(kind, response=writer.document("in_progress", None))
    for step in steps(response):
        match step.kind:
            case "start":
                yield from writer.start(step)
            case "delta":
                yield from writer.delta(step)
            case "stop":
                yield from writer.stop(step)
            case _:
                if isinstance(step.part, ErrorPart):
                    yield _error_event(step.part.error, writer.number)
                return
    if response.missing is not None:
        return
    status = stop_of(response, _STATUS)
    end = status if status in ("incomplete", "failed") else "completed"
    document = writer.document(status, usage_of(response, exchange, writer.sent))
    yield writer.event(f"response.{end}", response=document)


def body(response: Response, exchange: Exchange) -> bytes:
    """The response in one JSON document; the error alone if it breaks off with one."""
    if (error := response.error) is not None:
        return error_body(error, exchange)
    writer = _Writer(response, exchange)
    for step in steps(response):
        for _ in {"start": writer.start, "delta": writer.delta, "stop": writer.stop}[step.kind](step):
            pass
    return _encode(writer.document(stop_of(response, _STATUS), usage_of(response, exchange, writer.sent)))


def error_body(error: ApiError, exchange: Exchange) -> bytes:
    """An error body as of platform.openai.com/docs/guides/error-codes: that of Chat Completions."""
    return CHAT.error_body(error, exchange)


def error_event(error: ApiError, exchange: Exchange) -> bytes:
    """An error inside a stream. The API nests the fields under `error`; its reference shows them flat."""
    return _error_event(error, 0)


def _error_event(error: ApiError, number: int) -> bytes:
    nested = msgspec.json.decode(CHAT.error_body(error, Exchange(0, "")))
    return _event({"type": "error", **nested, "sequence_number": number})


def _done(item: dict[str, Any], part: object, whole: str) -> dict[str, Any]:
    match part:
        case CallPart():
            return {**item, "status": "completed", "arguments": whole}
        case ThinkingPart(redacted=True):
            return {**item, "encrypted_content": whole}
        case ThinkingPart(signature=signature):
            summary = [{"type": "summary_text", "text": whole}] if whole else []
            return {**item, "summary": summary} | ({} if signature is None else {"encrypted_content": signature})
        case _:
            return {**item, "status": "completed", "content": [_text(whole)]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens or 0,
    }


def _event(document: dict[str, Any]) -> bytes:
    return b"event: " + document["type"].encode() + b"\ndata: " + _encode(document) + b"\n\n"


CODEC = ServeCodec(
    "openai.responses",
    ("/v1/responses", "/openai/v1/responses", "/openai/responses"),
    stream,
    body,
    error_body,
    error_event,
    CHAT.headers,
    base="/v1",
    key_headers=CHAT.key_headers,
    overflow=ApiError(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        code="context_length_exceeded",
        param="input",
    ),
)
