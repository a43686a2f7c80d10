"""Responses of the Anthropic Messages API, streamed or whole, into decoder events.

A whole answer is read as if its blocks had arrived one after another, so both forms meet in the same code (rule S5). What
kind of body it is, is told by its first byte rather than by its content type, which proxies get wrong. Typed
values of the wire are in `anthropic_events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import msgspec
from msgspec import Raw

from ..core.content import Native, Opaque, Text, Thinking
from ..core.errors import ErrorInfo
from ..core.events import (
    BlockAdded,
    BlockSealed,
    DecoderEvent,
    ResponseEnded,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from .anthropic_events import (
    KNOWN_DELTAS,
    KNOWN_EVENTS,
    STOP_REASONS,
    BlockDelta,
    BlockStart,
    BlockStop,
    CitationDeltaPart,
    ContentBlock,
    Counts,
    DeltaPart,
    Failure,
    JsonDeltaPart,
    LooseDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Outline,
    SignatureDeltaPart,
    StreamEvent,
    TextDeltaPart,
    ThinkingDeltaPart,
    later_counts,
    read_counts,
    usage_of,
)
from .anthropic_messages import ORIGIN
from .errors import MAX_ERROR_BYTES, PROTOCOL, TRUNCATED, body_error, broken, excerpt
from .framing import MAX_BODY_BYTES, MAX_EVENT_BYTES, FramingError, SseFramer

_decode_event = msgspec.json.Decoder(StreamEvent).decode
_decode_outline = msgspec.json.Decoder(Outline).decode
_decode_loose = msgspec.json.Decoder(LooseDelta).decode
_decode_block = msgspec.json.Decoder(ContentBlock).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_message = msgspec.json.Decoder(Message).decode

_BAD = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises on bytes that are not what they should be."""
_BOM = b"\xef\xbb\xbf"
_DELTA = b"event: content_block_delta\ndata: "
"""How the API writes the beginning of a delta."""
_CR = 0x0D  # as a number: looking for bytes in bytes costs ten times as much
_CALL_FIELDS = ("type", "id", "name", "input")


Form = Literal["unknown", "stream", "body", "error"]


class _Open(msgspec.Struct):
    """A block that has begun. `number` is ours; `kind` is `text`, `thinking`, `tool_use`, `done` (nothing more to come)
    or `opaque` (`fields` holds what is known of it)."""

    number: int
    kind: str
    any_text: bool = False
    citations: list[bytes] = []
    input: bytes = b""
    partial: list[str] = []
    fields: dict[str, Raw] = {}


class AnthropicDecoder:
    """Reads one response. See `wire.base.Decoder` for what it promises."""

    __slots__ = (
        "_attempt",
        "_between",
        "_blocks",
        "_body",
        "_calls",
        "_counted",
        "_counts",
        "_done",
        "_form",
        "_framer",
        "_headers",
        "_numbers",
        "_size",
        "_status",
        "_step",
        "_stop_word",
        "_text_index",
        "_text_number",
    )

    def __init__(self, status: int, headers: Mapping[str, str], step: str, attempt: int) -> None:
        self._status = status
        self._headers = headers
        self._step = step
        self._attempt = attempt
        self._done = False
        self._form: Form = "unknown" if 200 <= status < 300 else "error"
        self._framer = SseFramer()
        self._between = False
        self._body: list[bytes] = []
        self._size = 0
        self._blocks: dict[int, _Open] = {}
        self._numbers = 0
        self._calls = 0
        self._text_index = -1
        self._text_number = 0
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
        except _BAD:
            return None
        if type(event) is BlockDelta and event.index == self._text_index:
            delta = event.delta
            if type(delta) is TextDeltaPart:
                return [TextDelta(delta.text, self._text_number, self._attempt)] if delta.text else []
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
        attempt, text_index, text_number = self._attempt, self._text_index, self._text_number
        for payload in payloads:
            try:
                event = _decode_event(payload)
                if type(event) is BlockDelta:
                    delta = event.delta
                    if type(delta) is TextDeltaPart and event.index == text_index:
                        if delta.text:
                            out.append(TextDelta(delta.text, text_number, attempt))
                        continue
                    self._delta(event.index, delta, payload, out)
                else:
                    self._event(event, payload, out)
            except _BAD:
                self._unusual(payload, out)
            if self._done:
                break
            text_index, text_number = self._text_index, self._text_number
        return out

    def _event(self, event: StreamEvent, payload: bytes, out: list[DecoderEvent]) -> None:
        if isinstance(event, BlockStart):
            self._start(event.index, event.content_block, out)
        elif isinstance(event, BlockStop):
            self._stop(event.index, out)
        elif isinstance(event, MessageStart):
            message = event.message
            self._counts = later_counts(self._counts, read_counts(message.usage))
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

    def _delta(self, index: int, delta: DeltaPart, payload: bytes, out: list[DecoderEvent]) -> None:
        block = self._blocks.get(index)
        kind = type(delta)
        if block is None:
            out.append(self._broken("A delta belongs to no open block."))
        elif block.kind == "opaque":
            self._grow(block, _decode_loose(payload).delta)
        elif isinstance(delta, ThinkingDeltaPart) and block.kind == "thinking":
            if delta.thinking:
                out.append(ThinkingDelta(delta.thinking, block.number, self._attempt))
        elif isinstance(delta, JsonDeltaPart) and block.kind == "tool_use":
            if delta.partial_json:
                block.input = b""
                out.append(ToolCallDelta(delta.partial_json, block.number, self._attempt))
        elif isinstance(delta, SignatureDeltaPart) and block.kind == "thinking":
            out.append(BlockSealed(block.number, delta.signature, ORIGIN))
        elif isinstance(delta, TextDeltaPart) and block.kind == "text":
            if delta.text:
                block.any_text = True
                self._text_index, self._text_number = index, block.number
                out.append(TextDelta(delta.text, block.number, self._attempt))
        elif isinstance(delta, CitationDeltaPart) and block.kind == "text":
            block.citations.append(bytes(delta.citation))
        else:
            out.append(self._broken(f"A block of type {block.kind} got a {kind.__name__}."))

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
                event = _decode_loose(payload)
                block = self._blocks.get(event.index)
                if block is not None and block.kind == "opaque":
                    self._grow(block, event.delta)
                    return
                if block is not None and msgspec.json.decode(event.delta["type"], type=str) not in KNOWN_DELTAS:
                    return
        except (*_BAD, KeyError):
            pass
        out.append(self._broken(f"An event of the stream is not what the API promises: {excerpt(payload)}"))

    # --- blocks, streamed or whole ---

    def _start(self, index: int, raw: Raw, out: list[DecoderEvent]) -> None:
        begun = _decode_block(raw)
        if index in self._blocks:
            self._stop(index, out)
        number, self._numbers = self._numbers, self._numbers + 1
        block = _Open(number, begun.type)
        self._blocks[index] = block
        if begun.type == "text":
            block.citations = [bytes(c) for c in begun.citations or ()]
            if begun.text:
                block.any_text = True
                out.append(TextDelta(begun.text, number, self._attempt))
        elif begun.type == "thinking":
            if begun.thinking:
                out.append(ThinkingDelta(begun.thinking, number, self._attempt))
            if begun.signature:
                out.append(BlockSealed(number, begun.signature, ORIGIN))
        elif begun.type == "redacted_thinking":
            block.kind = "done"
            out.append(BlockAdded(number, Thinking("", begun.data or "", True, ORIGIN)))
        elif begun.type == "tool_use":
            self._start_call(block, begun, raw, out)
        else:
            block.kind, block.fields = "opaque", _decode_fields(raw)

    def _start_call(self, block: _Open, begun: ContentBlock, raw: Raw, out: list[DecoderEvent]) -> None:
        call_id = f"{self._step}.c{self._calls}"
        self._calls += 1
        out.append(ToolCallStarted(call_id, begun.name or "", block.number, self._attempt, begun.id))
        if bytes(begun.input).strip() not in (b"{}", b"null"):
            block.input = bytes(begun.input)
        extras = {k: v for k, v in _decode_fields(raw).items() if k not in _CALL_FIELDS}
        if extras:
            out.append(BlockSealed(block.number, native=_native(extras)))

    def _grow(self, block: _Open, delta: Mapping[str, Raw]) -> None:
        """A delta of a block we do not know: pieces of JSON are its input, text is appended, all else is set."""
        for name, raw in delta.items():
            value = msgspec.json.decode(raw)
            if name == "partial_json" and isinstance(value, str):
                block.partial.append(value)
            elif name == "citation":
                block.citations.append(bytes(raw))
            elif name != "type":
                before = msgspec.json.decode(block.fields[name]) if name in block.fields else None
                whole = before + value if isinstance(before, str) and isinstance(value, str) else value
                block.fields[name] = Raw(msgspec.json.encode(whole))

    def _stop(self, index: int, out: list[DecoderEvent]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if index == self._text_index:
            self._text_index = -1
        if block.kind == "tool_use" and block.input:
            out.append(ToolCallDelta(block.input.decode(), block.number, self._attempt))
        elif block.kind == "text" and block.citations:
            native = _native({"citations": _array(block.citations)})
            sealed = BlockSealed(block.number, native=native)
            out.append(sealed if block.any_text else BlockAdded(block.number, Text("", native)))
        elif block.kind == "opaque":
            fields = block.fields
            if block.partial:
                fields["input"] = _input("".join(block.partial))
            if block.citations:
                fields["citations"] = _array(block.citations)
            kind = msgspec.json.decode(fields["type"], type=str)
            out.append(BlockAdded(block.number, Opaque(kind, _native(fields))))

    # --- the end, and bodies that are not streams ---

    def _end(self, out: list[DecoderEvent]) -> None:
        for index in list(self._blocks):
            self._stop(index, out)
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
                self._start(index, raw, out)
                self._stop(index, out)
        except _BAD as error:
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
    except _BAD:
        return False
    return True


def _native(fields: Mapping[str, Raw]) -> Native:
    """Fields as JSON in one spelling, so that a streamed block and the same block in a whole answer are equal."""
    written = msgspec.json.encode(fields)
    with suppress(OverflowError):  # an integer that can be read but not written: the provider's spelling stays
        written = msgspec.json.encode(msgspec.json.decode(written))
    return Native(ORIGIN, written.decode())


def _array(items: list[bytes]) -> Raw:
    return Raw(b"[" + b",".join(items) + b"]")


def _input(text: str) -> Raw:
    try:
        msgspec.json.decode(text)
    except _BAD:
        return Raw(msgspec.json.encode({"_invalid": text}))
    return Raw(text.encode())
