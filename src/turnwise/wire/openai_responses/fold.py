"""Events in, decoder events out: what one response of the Responses API says, streamed or as one document.

A document is read as if its items had been done one after another (rule S5); what becomes of items is in
`items`, bytes and framing are the reader's business (`reader`). Source:
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.decoded import DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta
from ...core.messages import StopReason
from ...core.usage import Provenance, Usage
from ..errors import PROTOCOL, TRUNCATED, broken, excerpt
from ..openai_chat.errors import inner_error, response_error
from ..openai_chat.parts import field_of
from ..openai_chat.shapes import Counts
from ..openai_chat.usage import usage_of
from ..reader import Failed
from .events import (
    MEANT,
    PASSED,
    UNREADABLE,
    Arguments,
    Completed,
    Created,
    CustomInput,
    Error,
    Failure,
    Incomplete,
    ItemAdded,
    ItemDone,
    OutputText,
    ReasoningText,
    Response,
    StreamEvent,
    SummaryText,
    counts_of,
    decode_event,
    decode_outline,
    decode_response,
)
from .items import Items

DONE = b"[DONE]"
"""A payload with which some hosts end their streams, after the last event of the API's own."""

THOUGHTS = (SummaryText, ReasoningText)

_INCOMPLETE: dict[str, StopReason] = {
    "max_output_tokens": "length",
    "max_prompt_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "max_tool_calls": "pause",
}
"""Reasons in `incomplete_details`."""


class ResponsesFold:
    """What is known of one response so far. `status` is the response's own word for how it ended."""

    __slots__ = ("_attempt", "_counts", "_headers", "_is_started", "_items", "_reason", "is_done", "status")

    def __init__(self, step: str, attempt: int, origin: str, headers: Mapping[str, str]) -> None:
        self._attempt = attempt
        self._headers = headers
        self._items = Items(step, attempt, origin)
        self._counts: Counts | None = None
        self._reason = ""
        self._is_started = False
        self.status = ""
        self.is_done = False

    def fold(self, payloads: list[bytes], out: list[DecoderEvent], /) -> None:
        """Append the events of a stream's payloads to `out`. Raises `Failed`; what came before it stands in `out`."""
        items, attempt, add, decode = self._items, self._attempt, out.append, decode_event
        item, part, block = items.text_item, items.text_part, items.text_block
        for payload in payloads:
            try:
                event = decode(payload)
                # The hot path: more text for the part that had the last, more reasoning, more of a call.
                if type(event) is OutputText and event.output_index == item and event.content_index == part:
                    if event.delta:
                        add(TextDelta(event.delta, block, attempt))
                    continue
                if type(event) in PASSED:
                    continue
                if type(event) is items.more_kind and event.output_index == items.more_item:
                    if event.delta:
                        delta = ThinkingDelta if type(event) in THOUGHTS else ToolCallDelta
                        add(delta(event.delta, items.more_block, attempt))
                    continue
                self._fold_event(event, out)
            except UNREADABLE as problem:
                self._fold_unknown(payload, problem, out)
            if self.is_done:
                return
            item, part, block = items.text_item, items.text_part, items.text_block

    def fold_document(self, body: bytes, out: list[DecoderEvent], /) -> None:
        """Append the events of a whole response in one JSON document, the end included. Raises `Failed`."""
        try:
            response = decode_response(body)
        except UNREADABLE as problem:
            # A document has no other terminator than its last brace.
            kind = TRUNCATED if "truncated" in str(problem) and body[:1] == b"{" else PROTOCOL
            raise Failed(_unreadable(kind, "The answer", problem, body)) from None
        if response.output is None:
            said: dict[str, Any] = {"message": response.message, "detail": response.detail}
            if response.error or any(said.values()):
                raise Failed(inner_error(self._headers, {"error": response.error} if response.error else said))
            raise Failed(broken(PROTOCOL, f"The answer holds no output. It begins: {excerpt(body, 120)!r}"))
        try:
            self._finish(response, response.status or "completed", out)
        except UNREADABLE as problem:
            raise Failed(_unreadable(PROTOCOL, "An item of the answer", problem, body)) from None
        self.end(out)

    def end(self, out: list[DecoderEvent], /) -> None:
        """The response is whole: append its end."""
        out.append(ResponseEnded(self._stop_reason(), self.status, self.usage("reported")))

    def usage(self, provenance: Provenance, /) -> Usage | None:
        """Token counts in normal form; None if nothing was said."""
        return None if self._counts is None else usage_of(self._counts, provenance)

    @property
    def may_end(self) -> bool:
        """A stream is whole when its last event was seen."""
        return self.is_done

    def error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> ErrorInfo:
        return response_error(status, headers, body)

    # --- one event ----------------------------------------------------------------------------------------------

    def _fold_event(self, event: StreamEvent, out: list[DecoderEvent]) -> None:
        items = self._items
        if type(event) is OutputText:
            items.text(event.output_index, event.content_index, event.delta, out)
        elif type(event) is SummaryText:
            items.summary(event, out)
        elif type(event) is Arguments or type(event) is CustomInput:
            items.input(event, out)
        elif type(event) is ReasoningText:
            items.reasoning(event, out)
        elif type(event) is ItemAdded:
            items.add(event.output_index, event.item, out)
        elif type(event) is ItemDone:
            items.done(event.output_index, event.item, out)
        elif type(event) is Created:
            self._start(event.response.model, event.response.id, out)
        elif type(event) is Error:
            said = {"code": event.code, "message": event.message, "param": event.param}
            raise Failed(inner_error(self._headers, {"error": event.error or said}))
        elif type(event) is Completed:
            self._finish(event.response, event.response.status or "completed", out)
        elif type(event) is Incomplete:
            self._finish(event.response, event.response.status or "incomplete", out)
        elif type(event) is Failure:
            self._finish(event.response, "failed", out)

    def _fold_unknown(self, payload: bytes, problem: Exception, out: list[DecoderEvent]) -> None:
        """An event of a type that the API added later is passed over; anything else that cannot be read is a failure."""
        if len(payload) < 64 and payload.strip() == DONE:
            return
        try:
            outline = decode_outline(payload)
        except UNREADABLE:
            raise Failed(_unreadable(PROTOCOL, "An event of the answer", problem, payload)) from None
        if isinstance(outline.type, str) and outline.type in MEANT:
            raise Failed(_unreadable(PROTOCOL, "An event of the answer", problem, payload)) from None
        if outline.error:
            raise Failed(inner_error(self._headers, {"error": outline.error})) from None

    def _start(self, model: Any, id: Any, out: list[DecoderEvent]) -> None:
        """Say who answers, once, before anything else."""
        if not self._is_started:
            self._is_started = True
            out.append(ResponseStarted(model if isinstance(model, str) else "", id if isinstance(id, str) else None))

    # --- the end ------------------------------------------------------------------------------------------------

    def _finish(self, response: Response, status: str, out: list[DecoderEvent]) -> None:
        """The last event of a stream, or the document."""
        if not self._items.any_blocks:
            self._start(response.model, response.id, out)
        self._counts = counts_of(response.usage)
        self._items.finish(response.output or [], out)
        self.status = status
        reason = field_of(response.incomplete_details, "reason")
        self._reason = reason if isinstance(reason, str) else ""
        if status == "failed" or response.error:
            error = response.error or {"code": "server_error", "message": "The provider failed to answer."}
            raise Failed(inner_error(self._headers, {"error": error}))
        if status == "cancelled":
            raise Failed(broken(TRUNCATED, "The answer was cancelled at the provider."))
        self.is_done = True

    def _stop_reason(self) -> StopReason:
        if self.status == "completed":
            return "tool_calls" if self._items.any_calls else "refusal" if self._items.is_refused else "stop"
        return _INCOMPLETE.get(self._reason, "unknown")


def _unreadable(kind: Any, what: str, problem: Exception, body: bytes) -> ErrorInfo:
    return broken(kind, f"{what} cannot be read: {problem}. It begins: {excerpt(body, 120)!r}")
