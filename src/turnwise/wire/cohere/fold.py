"""Events in, events out: what the events of a Cohere chat answer mean.

A whole answer is read as if its parts had arrived one after another, so both ways of answering meet in the same code (rule
S5). `tool_plan`, what the model says before it calls tools, is reasoning that goes back under its own name; citations belong to the
text that they are of. Bytes and framing are the reader's business (`reader`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
from msgspec import Raw

from ...core.content import Native, Opaque
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ...core.messages import StopReason
from ...core.usage import Provenance, Usage
from ..errors import PROTOCOL, TIMEOUT, body_error, broken, http_error
from ..framing.limits import MAX_BODY_BYTES
from ..reader import Failed
from ..unreadable import UNREADABLE, unreadable, unreadable_document
from .shapes import (
    KNOWN,
    PASSED,
    Call,
    CallDelta,
    CallStart,
    CitationStart,
    ContentDelta,
    ContentStart,
    Counts,
    EndDelta,
    Event,
    MessageEnd,
    MessageStart,
    Part,
    PlanDelta,
    decode_answer,
    decode_event,
    decode_kind,
    decode_outline,
    decode_part,
    decode_place,
)

ORIGIN = "cohere"
PLAN = Native(ORIGIN, '{"type":"tool_plan"}')
"""Marks reasoning that is a `tool_plan`."""

_STOPS: dict[str, StopReason] = {
    "COMPLETE": "stop",
    "MAX_TOKENS": "length",
    "STOP_SEQUENCE": "stop_sequence",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}
_BREAKS = ("ERROR", "TIMEOUT")
"""Finish reasons that say that the answer is not an answer."""
_DONE = b"[DONE]"
_NO_TEXT = (-1, -1)
"""Of the text that had the last: its index and block, if there is none."""


class CohereFold:
    """What is known of one answer so far: its open content and calls by their index, citations, the end. See `reader.Fold`.

    Cohere counts content and calls apart, each from 0; blocks are numbered as they begin.
    """

    __slots__ = (
        "_attempt",
        "_block",
        "_call_blocks",
        "_calls",
        "_citations",
        "_cited_bytes",
        "_content",
        "_counts",
        "_headers",
        "_is_started",
        "_plan",
        "_step",
        "_stop",
        "_text",
        "_texts",
        "_thoughts",
        "is_done",
    )

    def __init__(self, step: str, attempt: int, headers: Mapping[str, str]) -> None:
        self._step = step
        self._attempt = attempt
        self._headers = headers
        self._is_started = False
        self._block = -1
        self._content: dict[int, tuple[str, int]] = {}
        self._text = _NO_TEXT
        self._call_blocks: dict[int, int] = {}
        self._calls = 0
        self._plan = -1
        self._texts: list[int] = []
        self._thoughts: list[int] = []
        self._citations: list[Raw] = []
        self._cited_bytes = 0
        self._counts: Counts | None = None
        self._stop: str | None = None
        self.is_done = False

    @property
    def may_end(self) -> bool:
        """`message-end` ends an answer; `[DONE]` behind it says nothing new."""
        return self.is_done

    def fold(self, payloads: list[bytes], out: list[DecoderEvent]) -> None:
        """Append the events of a stream's payloads. More text for the block that had the last is the hot path."""
        attempt, add = self._attempt, out.append
        index, block = self._text
        for payload in payloads:
            try:
                event = decode_event(payload)
            except UNREADABLE as problem:
                self._unusual(payload, problem)
                continue
            if type(event) is ContentDelta and event.index == index and (text := event.delta.message.content.text):
                add(TextDelta(text, block, attempt))
                continue
            if type(event) in PASSED:
                continue
            self._event(event, out)
            if self.is_done:
                return
            index, block = self._text

    def fold_document(self, body: bytes, out: list[DecoderEvent]) -> None:
        """Append the events of a whole answer, the end included."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as problem:
            with suppress(*UNREADABLE):
                outline = decode_outline(body)
                if outline.error or isinstance(outline.message, str):
                    raise Failed(self._inner_error(body)) from None
            raise unreadable_document(problem, body) from None
        message = answer.message
        out.append(ResponseStarted("", answer.id))
        if message.tool_plan:
            self._planned(message.tool_plan, out)
        for index, raw in enumerate(message.content or ()):
            self._begin(index, raw, out)
        for index, call in enumerate(message.tool_calls or ()):
            self._call(index, call, out)
        for citation in message.citations or ():
            self._cite(citation)
        self._finish(EndDelta(answer.finish_reason, answer.usage, answer.error, answer.error_type))
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        """The answer is whole: what belongs to its blocks is known now."""
        out += [BlockSealed(b, origin=ORIGIN, native=PLAN if b == self._plan else None) for b in self._thoughts]
        if self._texts:
            for block, cited in self._citations_by_block().items():
                out.append(BlockSealed(block, native=_native(b'{"citations":[' + b",".join(cited) + b"]}")))
        out.append(ResponseEnded(_STOPS.get(self._stop or "", "unknown"), self._stop, self.usage("reported")))

    def usage(self, provenance: Provenance) -> Usage | None:
        """Token counts in normal form: Cohere's input includes cached tokens already, its output reasoning."""
        counts = self._counts
        if counts is None:
            return None
        tokens = counts.tokens
        given, made, reasoning = (
            (None, None, None)
            if tokens is None
            else (tokens.input_tokens, tokens.output_tokens, tokens.reasoning_tokens)
        )
        cached = counts.cached_tokens
        if given is None and made is None and cached is None:
            return None
        return Usage(_whole(given), _whole(made), _whole(cached), None, _whole(reasoning), provenance)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        return body_error(status, headers, body, provider=ORIGIN)

    # --- events -------------------------------------------------------------------------------------------------

    def _event(self, event: Event, out: list[DecoderEvent]) -> None:
        started, self._is_started = self._is_started, True
        if type(event) is ContentDelta:
            self._more(event.index, event.delta.message.content, out)
        elif type(event) is CallDelta:
            block = self._call_blocks.get(event.index)
            if block is None:
                raise Failed(broken(PROTOCOL, f"The answer goes on with call {event.index}, which never began."))
            if arguments := event.delta.message.tool_calls.function.arguments:
                out.append(ToolCallDelta(arguments, block, self._attempt))
        elif type(event) is PlanDelta:
            if plan := event.delta.message.tool_plan:
                self._planned(plan, out)
        elif type(event) is CitationStart:
            self._cite(event.delta.message.citations)
        elif type(event) is ContentStart:
            self._begin(event.index, event.delta.message.content, out)
        elif type(event) is CallStart:
            self._call(event.index, event.delta.message.tool_calls, out)
        elif type(event) is MessageStart:
            if not started:
                out.append(ResponseStarted("", event.id))
        elif type(event) is MessageEnd:
            self._finish(event.delta)

    def _unusual(self, payload: bytes, problem: Exception) -> None:
        """What the typed decoder refused: events of types that carry nothing for us, or came later, are passed over."""
        if payload.strip() in (b"", _DONE):
            return
        with suppress(*UNREADABLE):
            outline = decode_outline(payload)
            if outline.type not in KNOWN:
                if outline.error or (outline.type in (None, "error") and outline.message):
                    raise Failed(self._inner_error(payload)) from None
                if outline.type:
                    return
        raise unreadable("An event of the answer", problem, payload) from None

    def _inner_error(self, payload: bytes) -> ErrorInfo:
        """An error inside an answer that began with status 200 (rule S3)."""
        return body_error(0, self._headers, payload, provider=ORIGIN)

    # --- blocks -------------------------------------------------------------------------------------------------

    def _begin(self, index: int, raw: Raw, out: list[DecoderEvent]) -> None:
        """A content block begins, with as much of it as is already there. A type that we do not know is kept as it is."""
        self._text = _NO_TEXT
        try:
            kind = decode_kind(raw).type
            if kind not in (None, "text", "thinking"):
                self._block += 1
                self._content[index] = ("opaque", self._block)
                out.append(BlockAdded(self._block, Opaque(kind, _native(raw))))
                return
            part = decode_part(raw)
        except UNREADABLE as problem:
            raise unreadable("A content block of the answer", problem, bytes(raw)) from None
        self._content.pop(index, None)
        if part.text or part.thinking:
            self._more(index, part, out)

    def _more(self, index: int, part: Part, out: list[DecoderEvent]) -> None:
        """More of a content block; it gets its number with the first that it says."""
        kind, text = ("thinking", part.thinking) if part.thinking else ("text", part.text)
        known, block = self._content.get(index, ("", -1))
        if not text or known == "opaque":
            return
        if known != kind:
            self._block = block = self._block + 1
            self._content[index] = (kind, block)
            (self._texts if kind == "text" else self._thoughts).append(block)
        delta = TextDelta if kind == "text" else ThinkingDelta
        out.append(delta(text, block, self._attempt))
        self._text = (index, block) if kind == "text" else _NO_TEXT

    def _planned(self, text: str, out: list[DecoderEvent]) -> None:
        if self._plan < 0:
            self._block = self._plan = self._block + 1
            self._thoughts.append(self._plan)
        out.append(ThinkingDelta(text, self._plan, self._attempt))

    def _call(self, index: int, call: Call, out: list[DecoderEvent]) -> None:
        self._block += 1
        self._call_blocks[index] = self._block
        id, self._calls = f"{self._step}.c{self._calls}", self._calls + 1
        out.append(ToolCallStarted(id, call.function.name or "", self._block, self._attempt, call.id or None))
        if call.function.arguments:
            out.append(ToolCallDelta(call.function.arguments, self._block, self._attempt))

    # --- what is said at the end --------------------------------------------------------------------------------

    def _cite(self, citation: Raw) -> None:
        """Hold on to a citation, within bounds (rule S8)."""
        self._cited_bytes += len(bytes(citation))
        if self._cited_bytes > MAX_BODY_BYTES:
            raise Failed(broken(PROTOCOL, f"The answer holds more than {MAX_BODY_BYTES} bytes of citations."))
        self._citations.append(citation.copy())

    def _citations_by_block(self) -> dict[int, list[bytes]]:
        """The citations of each text. One that names no content block, or none that is text, is of the last."""
        found: dict[int, list[bytes]] = {}
        for citation in self._citations:
            block = self._texts[-1]
            with suppress(*UNREADABLE):
                index = decode_place(citation).content_index
                kind, named = self._content.get(index, ("", -1)) if index is not None else ("", -1)
                block = named if kind == "text" else block
            found.setdefault(block, []).append(bytes(citation))
        return found

    def _finish(self, said: EndDelta) -> None:
        self._stop = said.finish_reason
        self._counts = said.usage or self._counts
        if said.error or self._stop in _BREAKS:
            message = said.error or f"The provider broke the answer off, with finish reason {self._stop!r}."
            if self._stop == "TIMEOUT":
                raise Failed(broken(TIMEOUT, message, provider=ORIGIN))
            raise Failed(http_error(0, self._headers, message, type=said.error_type or "", provider=ORIGIN))
        self.is_done = True


def _native(written: bytes | Raw) -> Native:
    """JSON in one spelling, so that a streamed block and the same block in a whole answer are equal."""
    made = bytes(written)
    with suppress(OverflowError):  # an integer that can be read but not written: the provider's spelling stays
        made = msgspec.json.encode(msgspec.json.decode(made))
    return Native(ORIGIN, made.decode())


def _whole(count: float | None) -> int | None:
    return int(count) if count is not None and abs(count) < 1e15 else None
