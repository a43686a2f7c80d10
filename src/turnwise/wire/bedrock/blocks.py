"""Content blocks of a Converse answer as they begin, grow and end, into decoder events.

Blocks are numbered in the order in which they appear. Text and reasoning begin with their first delta, calls with an event of
their own. Text, thinking and calls become deltas; what Bedrock runs itself, and what the API adds later, is kept whole as an
`Opaque` block to be returned unchanged. The blocks of a whole answer are read as if they had arrived in pieces (rule S5).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from contextlib import suppress

import msgspec
from msgspec import Raw

from ...core.content import Image, Inline, Native, Opaque, Text, Thinking
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .shapes import (
    NULL,
    Citations,
    Delta,
    InputPart,
    LooseDeltaEvent,
    Picture,
    Reasoning,
    ReasoningPart,
    ToolUse,
)

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What reading raises on bytes that are not what they should be."""

SERVER_CALL = "server_tool_use"
_BEGUN_BY_DELTA = ("", "text", "reasoningContent", "citationsContent")
"""Blocks that begin with their first delta, whatever was said before."""

_encode = msgspec.json.encode
_decode_text = msgspec.json.Decoder(str).decode
_decode_call = msgspec.json.Decoder(ToolUse).decode
_decode_reasoning = msgspec.json.Decoder(Reasoning).decode
_decode_citations = msgspec.json.Decoder(Citations).decode
_decode_picture = msgspec.json.Decoder(Picture).decode
_decode_loose = msgspec.json.Decoder(LooseDeltaEvent).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class _Open(msgspec.Struct):
    """A block that has begun. `number` is ours; `kind` is `text`, `thinking`, `redacted`, `call`, `image` or `opaque`. `name`
    is what an opaque block is called, or the format of a picture; `has_text` whether text or arguments were told."""

    number: int
    kind: str
    name: str = ""
    has_text: bool = False
    citations: list[bytes] = []
    pieces: list[str] = []
    items: list[bytes] = []
    fields: dict[str, Raw] = {}


class Blocks:
    """The open blocks of one answer. Every method appends its events to `out`.

    More text for block `text_index` needs no call: it is a `TextDelta` of block `text_number`. Anything that does not fit raises
    one of `UNREADABLE`.
    """

    __slots__ = ("_attempt", "_begun", "_calls", "_open", "_origin", "_step", "text_index", "text_number")

    def __init__(self, step: str, attempt: int, origin: str) -> None:
        self._origin = origin
        self._step = step
        self._attempt = attempt
        self._open: dict[int, _Open] = {}
        self._begun = 0
        self._calls = 0
        self.text_index = -1
        self.text_number = 0

    # --- a stream -----------------------------------------------------------------------------------------------

    def start(self, index: int, start: dict[str, Raw], out: list[DecoderEvent]) -> None:
        """A block begins that says so."""
        name, raw = next(iter(start.items()), ("", Raw(b"{}")))
        self.stop(index, out)
        if name == "toolUse" and (call := _decode_call(raw)).type != SERVER_CALL:
            self._begin(index, "call")
            self._announce(call, out)
        elif name == "image":
            self._begin(index, "image").name = _decode_picture(raw).format
        elif name not in _BEGUN_BY_DELTA:
            block = self._begin(index, "opaque")
            block.name, block.fields = name, _decode_fields(raw)

    def delta(self, index: int, delta: Delta, payload: bytes, out: list[DecoderEvent]) -> None:
        """More of a block. `payload` is the whole event, for blocks that keep everything."""
        block = self._open.get(index)
        if block is not None and block.kind in ("opaque", "image"):
            _grow(block, _decode_loose(payload).delta)
        elif delta.text is not None:
            self._text(index, delta.text, out)
        elif delta.toolUse is not None:
            self._arguments(index, delta.toolUse, out)
        elif delta.reasoningContent is not None:
            self._reasoning(index, delta.reasoningContent, out)
        elif delta.citation is not NULL:
            self._of_kind(index, "text", out).citations.append(bytes(delta.citation))

    def stop(self, index: int, out: list[DecoderEvent]) -> None:
        """A block is whole; nothing happens if none of that index is open."""
        block = self._open.pop(index, None)
        if block is None:
            return
        if index == self.text_index:
            self.text_index = -1
        number = block.number
        if block.kind == "call" and not block.has_text:
            # A call without arguments: some models send `{}`, others nothing.
            out.append(ToolCallDelta("{}", number, self._attempt))
        elif block.kind == "text" and block.citations:
            native = _native({"citations": _array(block.citations)}, self._origin)
            sealed = BlockSealed(number, native=native)
            out.append(sealed if block.has_text else BlockAdded(number, Text("", native)))
        elif block.kind == "redacted":
            out.append(BlockAdded(number, Thinking("", _joined(block.pieces), True, self._origin)))
        elif block.kind == "image" and block.pieces:
            out.append(BlockAdded(number, Image(Inline(_bytes(block.pieces), f"image/{block.name}"))))
        elif block.kind == "opaque":
            out.append(BlockAdded(number, _opaque(block, self._origin)))

    def stop_all(self, out: list[DecoderEvent]) -> None:
        """The answer is whole, and with it every block that was not ended."""
        for index in list(self._open):
            self.stop(index, out)

    # --- a whole answer -----------------------------------------------------------------------------------------

    def whole(self, index: int, block: dict[str, Raw], out: list[DecoderEvent]) -> None:
        """A block that is there at once."""
        name, raw = next(iter(block.items()), ("", Raw(b"{}")))
        if name == "text":
            self._text(index, _decode_text(raw), out)
        elif name == "toolUse" and (call := _decode_call(raw)).type != SERVER_CALL:
            self._begin(index, "call")
            self._announce(call, out)
            if bytes(call.input).strip() not in (b"{}", b"null"):
                self._arguments(index, InputPart(bytes(call.input).decode()), out)
        elif name == "reasoningContent":
            said = _decode_reasoning(raw)
            if (told := said.reasoningText) is not None:
                self._reasoning(index, ReasoningPart(told.text, told.signature), out)
            if said.redactedContent is not None:
                self._reasoning(index, ReasoningPart(None, None, said.redactedContent), out)
        elif name == "citationsContent":
            cited = _decode_citations(raw)
            made = self._of_kind(index, "text", out)
            made.citations += [bytes(c) for c in cited.citations]
            for part in cited.content:
                self._text(index, part.text, out)
        elif name == "image" and (picture := _decode_picture(raw)).source is not None and picture.source.bytes:
            made = self._begin(index, "image")
            made.name = picture.format
            made.pieces.append(picture.source.bytes)
        elif name:
            made = self._begin(index, "opaque")
            made.name, made.fields = name, _decode_fields(raw)
        self.stop(index, out)

    # --- what blocks are made of --------------------------------------------------------------------------------

    def _begin(self, index: int, kind: str) -> _Open:
        made = self._open[index] = _Open(self._begun, kind)
        self._begun += 1
        return made

    def _of_kind(self, index: int, kind: str, out: list[DecoderEvent]) -> _Open:
        """The open block, if it is of that kind; else a new one, which ends it."""
        block = self._open.get(index)
        if block is not None and block.kind == kind:
            return block
        self.stop(index, out)
        return self._begin(index, kind)

    def _announce(self, call: ToolUse, out: list[DecoderEvent]) -> None:
        id = f"{self._step}.c{self._calls}"
        self._calls += 1
        out.append(ToolCallStarted(id, call.name, self._begun - 1, self._attempt, call.toolUseId))

    def _text(self, index: int, text: str, out: list[DecoderEvent]) -> None:
        block = self._of_kind(index, "text", out)
        if text:
            block.has_text = True
            self.text_index, self.text_number = index, block.number
            out.append(TextDelta(text, block.number, self._attempt))

    def _arguments(self, index: int, part: InputPart, out: list[DecoderEvent]) -> None:
        block = self._open.get(index)
        if block is None or block.kind != "call":
            raise ValueError("arguments of no call")
        if part.input:
            block.has_text = True
            out.append(ToolCallDelta(part.input, block.number, self._attempt))

    def _reasoning(self, index: int, part: ReasoningPart, out: list[DecoderEvent]) -> None:
        if part.redactedContent is not None:
            self._of_kind(index, "redacted", out).pieces.append(part.redactedContent)
            return
        number = self._of_kind(index, "thinking", out).number
        if part.text:
            out.append(ThinkingDelta(part.text, number, self._attempt))
        if part.signature:
            out.append(BlockSealed(number, part.signature, self._origin))


def _grow(block: _Open, delta: dict[str, Raw]) -> None:
    """A delta of a block that is kept whole: lists are appended to its content, pieces of JSON are its input, all else is set."""
    for raw in delta.values():
        if block.kind == "image":
            if (source := _decode_picture(raw).source) is not None and source.bytes:
                block.pieces.append(source.bytes)
        elif bytes(raw).lstrip().startswith(b"["):
            block.items += [bytes(i) for i in _decode_items(raw)]
        elif bytes(raw).lstrip().startswith(b"{"):
            for name, value in _decode_fields(raw).items():
                if name == "input" and bytes(value).startswith(b'"'):
                    block.pieces.append(_decode_text(value))
                else:
                    block.fields[name] = value


def _opaque(block: _Open, origin: str) -> Opaque:
    fields = dict(block.fields)
    if block.pieces:
        fields["input"] = _input("".join(block.pieces))
    if block.items:
        fields["content"] = _array(block.items)
    return Opaque(block.name, _native({block.name: Raw(_encode(fields))}, origin))


def _native(fields: dict[str, Raw], origin: str) -> Native:
    """Fields as JSON in one spelling, so that a streamed block and the same block in a whole answer are equal."""
    written = _encode(fields)
    with suppress(OverflowError):  # an integer that can be read but not written: the provider's spelling stays
        written = _encode(msgspec.json.decode(written), order="sorted")
    return Native(origin, written.decode())


def _array(items: list[bytes]) -> Raw:
    return Raw(b"[" + b",".join(items) + b"]")


def _input(text: str) -> Raw:
    try:
        msgspec.json.decode(text)
    except UNREADABLE:
        return Raw(_encode({"_invalid": text}))
    return Raw(text.encode())


def _joined(pieces: list[str]) -> str:
    """Sealed data as base64. Each piece is encoded by itself."""
    return pieces[0] if len(pieces) == 1 else b64encode(_bytes(pieces)).decode()


def _bytes(pieces: list[str]) -> bytes:
    try:
        return b"".join([b64decode(p, validate=True) for p in pieces])
    except Base64Error:
        raise ValueError("data that is not base64") from None
