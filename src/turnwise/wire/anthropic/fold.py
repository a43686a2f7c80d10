"""Events and messages of the Anthropic API into decoder events.

A whole answer is read as if its blocks had arrived one after another, so both forms meet in the same code (rule S5). Typed
values of the wire are in `events`, what becomes of blocks is in `blocks`; bytes and framing are the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ...core.decoded import DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta
from ...core.usage import Provenance, Usage
from ..errors import PROTOCOL, TRUNCATED, body_error, broken, excerpt
from ..reader import Failed
from .blocks import UNREADABLE, WITHOUT_FIELDS, Blocks
from .events import (
    KNOWN_EVENTS,
    STOP_REASONS,
    BlockDelta,
    BlockFields,
    BlockStart,
    BlockStop,
    ContentBlock,
    Counts,
    Failure,
    JsonDeltaPart,
    LooseUsage,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Outline,
    StreamEvent,
    TextDeltaPart,
    ThinkingDeltaPart,
    later_counts,
    read_counts,
    usage_of,
)
from .messages import ORIGIN

_decode_event = msgspec.json.Decoder(StreamEvent).decode
_decode_outline = msgspec.json.Decoder(Outline).decode
_decode_start = msgspec.json.Decoder(BlockFields).decode
_decode_block = msgspec.json.Decoder(ContentBlock).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_loose = msgspec.json.Decoder(LooseUsage).decode
_decode_message = msgspec.json.Decoder(Message).decode


class AnthropicFold:
    """What one response has said so far; see `reader.Fold`. A stream is whole at `message_stop` and not before."""

    __slots__ = ("_attempt", "_blocks", "_counted", "_counts", "_headers", "_started", "_stop_word", "is_done")

    def __init__(self, step: str, attempt: int, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._attempt = attempt
        self._blocks = Blocks(step, attempt)
        self._started = False
        self._counts: Counts | None = None
        self._counted = False
        self._stop_word: str | None = None
        self.is_done = False

    @property
    def may_end(self) -> bool:
        return self.is_done

    def fold(self, payloads: list[bytes], out: list[DecoderEvent]) -> None:
        """The hot path: a delta of the kind that its block takes, for the block that had the last one."""
        attempt, blocks, add, decode = self._attempt, self._blocks, out.append, _decode_event
        index, number, takes = blocks.current, blocks.number, blocks.takes
        for payload in payloads:
            try:
                event = decode(payload)
                if type(event) is BlockDelta:
                    delta = event.delta
                    if type(delta) is takes and event.index == index:
                        if type(delta) is TextDeltaPart:
                            if delta.text:
                                add(TextDelta(delta.text, number, attempt))
                        elif type(delta) is JsonDeltaPart:
                            if delta.partial_json:
                                add(ToolCallDelta(delta.partial_json, number, attempt))
                        elif type(delta) is ThinkingDeltaPart and delta.thinking:
                            add(ThinkingDelta(delta.thinking, number, attempt))
                        continue
                    blocks.delta(event.index, delta, payload, out)
                else:
                    self._event(event, payload, out)
                    if self.is_done:
                        return
            except UNREADABLE:
                self._unusual(payload, out)
            index, number, takes = blocks.current, blocks.number, blocks.takes

    def fold_document(self, body: bytes, out: list[DecoderEvent]) -> None:
        try:
            message = _decode_message(body)
            if bytes(message.error) != b"null":
                raise Failed(body_error(0, self._headers, body, provider=ORIGIN))
            if message.content is None:
                raise Failed(_broken(f"The answer is not a message: {excerpt(body)}"))
            self._counts = read_counts(message.usage)
            self._counted = True
            self._stop_word = message.stop_reason
            out.append(ResponseStarted(message.model or "", message.id))
            for index, raw in enumerate(message.content):
                begun = _decode_block(raw)
                self._blocks.start(index, begun, {} if begun.type in WITHOUT_FIELDS else _decode_fields(raw), out)
                self._blocks.stop(index, out)
        except UNREADABLE as error:
            raise Failed(_unreadable(body, error)) from None
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        self._blocks.stop_all(out)
        word = self._stop_word
        usage = self.usage("reported" if self._counted else "partial")
        out.append(ResponseEnded(STOP_REASONS.get(word or "", "unknown"), word, usage))

    def usage(self, provenance: Provenance) -> Usage | None:
        return usage_of(self._counts, provenance)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        return body_error(status, headers, body, provider=ORIGIN)

    def _event(self, event: StreamEvent, payload: bytes, out: list[DecoderEvent]) -> None:
        if type(event) is BlockStart:
            self._started = True
            begun = event.content_block
            fields = {} if begun.type in WITHOUT_FIELDS else _decode_start(payload).content_block
            self._blocks.start(event.index, begun, fields, out)
        elif type(event) is BlockStop:
            self._blocks.stop(event.index, out)
        elif type(event) is MessageStart:
            self._start(event.message.model, event.message.id, event.message.usage, out)
        elif type(event) is MessageDelta:
            self._count(event.delta.stop_reason, event.usage)
        elif type(event) is MessageStop:
            self.is_done = True
        elif type(event) is Failure:
            raise Failed(body_error(0, self._headers, payload, provider=ORIGIN))

    def _start(self, model: str | None, id: str | None, counts: Counts | None, out: list[DecoderEvent]) -> None:
        self._counts = later_counts(self._counts, counts)
        if not self._started:
            self._started = True
            out.append(ResponseStarted(model or "", id))

    def _count(self, stop_word: str | None, counts: Counts | None) -> None:
        self._stop_word = stop_word or self._stop_word
        self._counted = self._counted or counts is not None
        self._counts = later_counts(self._counts, counts)

    def _unusual(self, payload: bytes, out: list[DecoderEvent]) -> None:
        """What the typed decoder refused: usage that cannot be read, which is never worth a failed answer;
        events and deltas of types added to the API later, which are passed over."""
        try:
            outline = _decode_outline(payload)
            if outline.type not in KNOWN_EVENTS:
                if bytes(outline.error) != b"null":
                    raise Failed(body_error(0, self._headers, payload, provider=ORIGIN))
                if outline.type:
                    return
            if outline.type == "content_block_delta":
                self._blocks.unknown_delta(payload)
                return
            if outline.type in ("message_start", "message_delta"):
                loose = _decode_loose(payload)
                if (message := loose.message) is not None:
                    self._start(message.model, message.id, read_counts(message.usage), out)
                    return
                if loose.delta is not None:
                    self._count(loose.delta.stop_reason, read_counts(loose.usage))
                    return
        except UNREADABLE:
            pass
        raise Failed(_broken(f"An event of the stream is not what the API promises: {excerpt(payload)}"))


def _unreadable(body: bytes, error: Exception) -> ErrorInfo:
    if body.startswith(b"{") and "truncated" in str(error):
        return broken(TRUNCATED, "The answer ended in the middle of its JSON.", provider=ORIGIN)
    return _broken(f"The answer is not a message: {excerpt(body)}")


def _broken(message: str) -> ErrorInfo:
    return broken(PROTOCOL, message, provider=ORIGIN)
