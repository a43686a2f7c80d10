"""Content blocks of an Anthropic response as they begin, grow and end, into decoder events.

Blocks are numbered in the order in which they begin. Text, thinking and calls become deltas; everything else (what the provider
runs itself, what the API adds later) is kept whole, as an `Opaque` block to be returned unchanged. What the bytes are
framed in is the reader's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
from msgspec import Raw

from ...core.content import Native, Opaque, Text, Thinking
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .events import (
    KNOWN_DELTAS,
    CitationDeltaPart,
    ContentBlock,
    DeltaPart,
    JsonDeltaPart,
    LooseDelta,
    SignatureDeltaPart,
    TextDeltaPart,
    ThinkingDeltaPart,
)
from .messages import ORIGIN

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What reading raises on bytes that are not what they should be."""

_decode_loose = msgspec.json.Decoder(LooseDelta).decode
_CALL_FIELDS = ("type", "id", "name", "input")
WITHOUT_FIELDS = ("text", "thinking", "redacted_thinking")
"""Kinds of blocks of which nothing is kept but what `ContentBlock` names."""


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


class Blocks:
    """The open blocks of one response. Every method appends its events to `out`.

    A delta of kind `takes` for block `current` needs no call: it adds to block `number`. Anything that does not
    fit raises one of `UNREADABLE`.
    """

    __slots__ = ("_attempt", "_begun", "_calls", "_open", "_step", "current", "number", "takes")

    def __init__(self, step: str, attempt: int) -> None:
        self._step = step
        self._attempt = attempt
        self._open: dict[int, _Open] = {}
        self._begun = 0
        self._calls = 0
        self.current = -1
        self.number = 0
        self.takes: type[DeltaPart] = TextDeltaPart

    def start(self, index: int, begun: ContentBlock, fields: Mapping[str, Raw], out: list[DecoderEvent]) -> None:
        """A block begins, with as much of it as is already there. `fields` is all of it, for kinds not in `WITHOUT_FIELDS`."""
        if index in self._open:
            self.stop(index, out)
        kind = begun.type
        number, self._begun = self._begun, self._begun + 1
        block = self._open[index] = _Open(number, kind)
        if kind == "text":
            if begun.citations:
                block.citations = [bytes(c) for c in begun.citations]
            if begun.text:
                block.any_text = True
                out.append(TextDelta(begun.text, number, self._attempt))
        elif kind == "thinking":
            if begun.thinking:
                out.append(ThinkingDelta(begun.thinking, number, self._attempt))
            if begun.signature:
                out.append(BlockSealed(number, begun.signature, ORIGIN))
        elif kind == "tool_use":
            self._start_call(block, begun, fields, out)
        elif kind == "redacted_thinking":
            block.kind = "done"
            out.append(BlockAdded(number, Thinking("", begun.data or "", True, ORIGIN)))
        else:
            block.kind, block.fields = "opaque", dict(fields)

    def delta(self, index: int, delta: DeltaPart, payload: bytes, out: list[DecoderEvent]) -> None:
        """More of a block. `payload` is the whole event, for blocks that keep everything."""
        block = self._open.get(index)
        if block is None:
            raise ValueError("a delta of no open block")
        kind = block.kind
        if kind == "opaque":
            if type(delta) is JsonDeltaPart:
                block.partial.append(delta.partial_json)
            else:
                _grow(block, _decode_loose(payload).delta)
        elif kind == "text" and isinstance(delta, TextDeltaPart):
            if delta.text:
                block.any_text = True
                self._expect(index, block, TextDeltaPart)
                out.append(TextDelta(delta.text, block.number, self._attempt))
        elif kind == "thinking" and isinstance(delta, ThinkingDeltaPart):
            if delta.thinking:
                self._expect(index, block, ThinkingDeltaPart)
                out.append(ThinkingDelta(delta.thinking, block.number, self._attempt))
        elif kind == "tool_use" and isinstance(delta, JsonDeltaPart):
            if delta.partial_json:
                block.input = b""
                self._expect(index, block, JsonDeltaPart)
                out.append(ToolCallDelta(delta.partial_json, block.number, self._attempt))
        elif kind == "thinking" and isinstance(delta, SignatureDeltaPart):
            out.append(BlockSealed(block.number, delta.signature, ORIGIN))
        elif kind == "text" and isinstance(delta, CitationDeltaPart):
            block.citations.append(bytes(delta.citation))
        else:
            raise ValueError("a delta of another kind than its block")

    def _expect(self, index: int, block: _Open, takes: type[DeltaPart]) -> None:
        self.current, self.number, self.takes = index, block.number, takes

    def unknown_delta(self, payload: bytes) -> None:
        """A delta of a type that the API added later: kept if its block is kept whole, else passed over."""
        event = _decode_loose(payload)
        block = self._open.get(event.index)
        if block is None or msgspec.json.decode(event.delta.get("type", b"null"), type=str) in KNOWN_DELTAS:
            raise ValueError("a delta that is not what the API promises")
        if block.kind == "opaque":
            _grow(block, event.delta)

    def stop(self, index: int, out: list[DecoderEvent]) -> None:
        """A block is whole; nothing happens if none of that index is open."""
        block = self._open.pop(index, None)
        if block is None:
            return
        if index == self.current:
            self.current = -1
        if block.kind == "tool_use" and block.input:
            out.append(ToolCallDelta(block.input.decode(), block.number, self._attempt))
        elif block.kind == "text" and block.citations:
            native = _native({"citations": _array(block.citations)})
            sealed = BlockSealed(block.number, native=native)
            out.append(sealed if block.any_text else BlockAdded(block.number, Text("", native)))
        elif block.kind == "opaque":
            out.append(BlockAdded(block.number, _opaque(block)))

    def stop_all(self, out: list[DecoderEvent]) -> None:
        """The response is whole, and with it every block that was not ended."""
        for index in list(self._open):
            self.stop(index, out)

    def _start_call(
        self, block: _Open, begun: ContentBlock, fields: Mapping[str, Raw], out: list[DecoderEvent]
    ) -> None:
        id = f"{self._step}.c{self._calls}"
        self._calls += 1
        out.append(ToolCallStarted(id, begun.name or "", block.number, self._attempt, begun.id))
        # A filled input counts if no fragments follow; an empty one is what they grow from.
        if (input := bytes(begun.input)) != b"{}" and input.strip() not in (b"{}", b"null"):
            block.input = input
        if extras := {k: v for k, v in fields.items() if k not in _CALL_FIELDS}:
            out.append(BlockSealed(block.number, native=_native(extras)))


def _grow(block: _Open, delta: Mapping[str, Raw]) -> None:
    """A delta of a block we do not know: pieces of JSON are its input, text is appended, all else is set."""
    for name, raw in delta.items():
        value = msgspec.json.decode(raw)
        before = msgspec.json.decode(block.fields[name]) if name in block.fields else None
        if name == "type":
            continue
        if name == "partial_json" and isinstance(value, str):
            block.partial.append(value)
        elif name == "citation":
            block.citations.append(bytes(raw))
        elif isinstance(before, str) and isinstance(value, str):
            block.fields[name] = Raw(msgspec.json.encode(before + value))
        else:
            block.fields[name] = raw


def _opaque(block: _Open) -> Opaque:
    fields = block.fields
    if block.partial:
        fields["input"] = _input("".join(block.partial))
    if block.citations:
        fields["citations"] = _array(block.citations)
    return Opaque(msgspec.json.decode(fields["type"], type=str), _native(fields))


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
    except UNREADABLE:
        return Raw(msgspec.json.encode({"_invalid": text}))
    return Raw(text.encode())
