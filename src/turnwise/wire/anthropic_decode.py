"""Responses of the Anthropic Messages API, streamed or whole, into decoder events.

A whole answer is read as if its blocks had arrived one after another, so both forms meet in the same code (rule S5). What
kind of body it is, is told by its first byte rather than by its content type, which proxies get wrong. Typed
values of the wire are in `anthropic_events`, what becomes of blocks is in `anthropic_blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ..core.errors import ErrorInfo
from ..core.events import (
    DecoderEvent,
    ResponseEnded,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
)
from .anthropic_blocks import UNREADABLE, Blocks
from .anthropic_events import (
    KNOWN_EVENTS,
    STOP_REASONS,
    BlockDelta,
    BlockStart,
    BlockStop,
    Counts,
    Failure,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Outline,
    StreamEvent,
    TextDeltaPart,
    later_counts,
    read_counts,
    usage_of,
)
from .anthropic_messages import ORIGIN
from .errors import MAX_ERROR_BYTES, PROTOCOL, TRUNCATED, body_error, broken, excerpt
from .framing import MAX_BODY_BYTES, MAX_EVENT_BYTES, FramingError, SseFramer

_decode_event = msgspec.json.Decoder(StreamEvent).decode
_decode_outline = msgspec.json.Decoder(Outline).decode
_decode_message = msgspec.json.Decoder(Message).decode

_BOM = b"\xef\xbb\xbf"
_DELTA = b"event: content_block_delta\ndata: "
"""How the API writes the beginning of a delta."""
_CR = 0x0D  # as a number: looking for bytes in bytes costs ten times as much
Form = Literal["unknown", "stream", "body", "error"]


class AnthropicDecoder:
    """Reads one response. See `wire.base.Decoder` for what it promises."""

    __slots__ = (
        "_attempt",
        "_between",
        "_blocks",
        "_body",
        "_counted",
        "_counts",
        "_done",
        "_form",
        "_framer",
        "_headers",
        "_size",
        "_started",
        "_status",
        "_stop_word",
    )

    def __init__(self, status: int, headers: Mapping[str, str], step: str, attempt: int) -> None:
        self._status = status
        self._headers = headers
        self._attempt = attempt
        self._done = False
        self._form: Form = "unknown" if 200 <= status < 300 else "error"
        self._framer = SseFramer()
        self._between = False
        self._body: list[bytes] = []
        self._size = 0
        self._started = False
        self._blocks = Blocks(step, attempt)
        self._counts: Counts | None = None
        self._counted = False
        self._stop_word: str | None = None

    def feed(self, data: bytes) -> list[DecoderEvent]:
        if self._done:
            return []
        if self._form != "stream":
            return self._collect(data)
        one_event = self._between and data.startswith(_DELTA) and data.find(b"\n\n") == len(data) - 2
        if one_event and (text := self._one_text(data[len(_DELTA) :])) is not None:
            return text
        try:
            payloads = self._frame(data)
        except FramingError as error:
            return [self._broken(str(error))]
        return self._read(payloads)

    def finish(self) -> list[DecoderEvent]:
        if self._done:
            return []
        if self._form != "stream":
            return self._whole(b"".join(self._body))
        try:
            # The last event may have been cut anywhere: one that is not JSON is part of what is missing.
            out = self._read([p for p in self._framer.finish() if _is_json(p)])
        except FramingError as error:
            return [self._broken(str(error))]
        if not self._done:
            error = broken(TRUNCATED, "The stream ended before the message did.", provider=ORIGIN)
            out.append(self._fail(error))
        return out

    def _one_text(self, payload: bytes) -> list[DecoderEvent] | None:
        """A read that is one event: the usual case, so the shortest way. None if it is not simply more text."""
        if payload.count(b"\n") != 2 or _CR in payload:
            return None
        try:
            event = _decode_event(payload)
        except UNREADABLE:
            return None
        if type(event) is BlockDelta and event.index == self._blocks.text_index:
            delta = event.delta
            if type(delta) is TextDeltaPart:
                return [TextDelta(delta.text, self._blocks.text_number, self._attempt)] if delta.text else []
        return None

    def _frame(self, data: bytes) -> list[bytes]:
        """The payloads in a read. A run of deltas written in the API's usual way is cut in one go; whatever stands before
        and after it, and everything that is written otherwise, goes through the framer. Both give the same (rule S1)."""
        feed = self._framer.feed
        between, plain = self._between, _CR not in data and len(data) <= MAX_EVENT_BYTES
        # An empty line ends whatever event was open, so the framer then holds nothing back.
        self._between = plain and data.endswith(b"\n\n")
        first = data.find(_DELTA)
        if first < 0 or not plain or not (between if first == 0 else data[first - 2 : first] == b"\n\n"):
            return feed(data)
        last = data.rfind(_DELTA)
        end = data.find(b"\n\n", last) + 2
        if end < 2:
            end = last  # the last delta is not all there yet
        run = data[first + len(_DELTA) : end - 2].split(b"\n\n" + _DELTA)
        # Three line ends per event and no more: none is inside a payload, no other line is among them.
        if not data.endswith(b"\n\n", first, end) or data.count(b"\n", first, end) != 3 * len(run):
            return feed(data)
        before = feed(data[:first]) if first else []
        return before + run + (feed(data[end:]) if end < len(data) else [])

    # --- streams: more text for the block that had the last is the hot path, everything else is rare ---

    def _read(self, payloads: list[bytes]) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        attempt, blocks = self._attempt, self._blocks
        text_index, text_number = blocks.text_index, blocks.text_number
        for payload in payloads:
            try:
                event = _decode_event(payload)
                if type(event) is BlockDelta:
                    delta = event.delta
                    if type(delta) is TextDeltaPart and event.index == text_index:
                        if delta.text:
                            out.append(TextDelta(delta.text, text_number, attempt))
                        continue
                    blocks.delta(event.index, delta, payload, out)
                else:
                    self._event(event, payload, out)
            except UNREADABLE:
                self._unusual(payload, out)
            if self._done:
                break
            text_index, text_number = blocks.text_index, blocks.text_number
        return out

    def _event(self, event: StreamEvent, payload: bytes, out: list[DecoderEvent]) -> None:
        if isinstance(event, BlockStart):
            self._started = True
            self._blocks.start(event.index, event.content_block, out)
        elif isinstance(event, BlockStop):
            self._blocks.stop(event.index, out)
        elif isinstance(event, MessageStart):
            message = event.message
            self._counts = later_counts(self._counts, read_counts(message.usage))
            if not self._started:
                self._started = True
                out.append(ResponseStarted(message.model or "", message.id))
        elif isinstance(event, MessageDelta):
            self._stop_word = event.delta.stop_reason or self._stop_word
            counts = read_counts(event.usage)
            self._counted = self._counted or counts is not None
            self._counts = later_counts(self._counts, counts)
        elif isinstance(event, MessageStop):
            self._end(out)
        elif isinstance(event, Failure):
            out.append(self._fail(body_error(0, self._headers, payload, provider=ORIGIN)))

    def _unusual(self, payload: bytes, out: list[DecoderEvent]) -> None:
        """What the typed decoder refused: events and deltas of types added to the API later are passed over."""
        if not payload or payload.isspace():
            return  # out of a run: the framer lets no such event through
        try:
            outline = _decode_outline(payload)
            if outline.type not in KNOWN_EVENTS:
                if bytes(outline.error) != b"null":
                    out.append(self._fail(body_error(0, self._headers, payload, provider=ORIGIN)))
                    return
                if outline.type:
                    return
            if outline.type == "content_block_delta":
                self._blocks.unknown_delta(payload)
                return
        except UNREADABLE:
            pass
        out.append(self._broken(f"An event of the stream is not what the API promises: {excerpt(payload)}"))

    # --- the end, and bodies that are not streams ---

    def _end(self, out: list[DecoderEvent]) -> None:
        self._blocks.stop_all(out)
        self._done = True
        word = self._stop_word
        usage = usage_of(self._counts, "reported" if self._counted else "partial")
        out.append(ResponseEnded(STOP_REASONS.get(word or "", "unknown"), word, usage))

    def _collect(self, data: bytes) -> list[DecoderEvent]:
        """Bytes of a body that is not a stream, or is not yet known to be one."""
        if self._form == "unknown":
            return self._sniff(data)
        if self._form == "error" and self._size >= MAX_ERROR_BYTES:
            return []
        self._body.append(data)
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            return [self._broken(f"The answer is larger than {MAX_BODY_BYTES} bytes.")]
        return []

    def _sniff(self, data: bytes) -> list[DecoderEvent]:
        """Tell a stream from a JSON body by the first byte that is neither white space nor a byte order mark."""
        head = b"".join((*self._body, data)).lstrip()
        while head.startswith(_BOM):
            head = head[len(_BOM) :].lstrip()
        self._body = []
        if _BOM.startswith(head):
            self._body = [head]
            return []
        declared = "event-stream" in self._headers.get("content-type", "").lower()
        stream = head[:1] in b"deir:" or (declared and head[:1] not in b"{[<")
        self._form = "stream" if stream else "body"
        return self.feed(head)

    def _whole(self, body: bytes) -> list[DecoderEvent]:
        if self._form == "error":
            return [self._fail(body_error(self._status, self._headers, body, provider=ORIGIN))]
        out: list[DecoderEvent] = []
        try:
            message = _decode_message(body)
            if bytes(message.error) != b"null":
                return [self._fail(body_error(0, self._headers, body, provider=ORIGIN))]
            if message.content is None:
                return [self._broken(f"The answer is not a message: {excerpt(body)}")]
            self._counts = read_counts(message.usage)
            self._counted = True
            self._stop_word = message.stop_reason
            out.append(ResponseStarted(message.model or "", message.id))
            for index, raw in enumerate(message.content):
                self._blocks.start(index, raw, out)
                self._blocks.stop(index, out)
        except UNREADABLE as error:
            out.append(self._unreadable(body, error))
            return out
        self._end(out)
        return out

    def _unreadable(self, body: bytes, error: Exception) -> ResponseFailed:
        if not body:
            return self._broken(f"The answer (status {self._status}) has no body.")
        if body.startswith(b"{") and "truncated" in str(error):
            return self._fail(broken(TRUNCATED, "The answer ended in the middle of its JSON.", provider=ORIGIN))
        return self._broken(f"The answer is not a message: {excerpt(body)}")

    def _broken(self, message: str) -> ResponseFailed:
        return self._fail(broken(PROTOCOL, message, provider=ORIGIN))

    def _fail(self, error: ErrorInfo) -> ResponseFailed:
        self._done = True
        return ResponseFailed(error, usage_of(self._counts, "partial"))


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except UNREADABLE:
        return False
    return True
