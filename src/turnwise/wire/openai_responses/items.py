"""Output items of the Responses API, into content blocks and decoder events.

Text, reasoning and calls arrive in pieces and are sealed when their item is done; every other item is kept whole, as an
`Opaque` block that goes back unchanged. A picture that the model made is an `Image`, whose native part is its item without
the bytes. An item that no piece was seen of is read as a whole, so that both forms of a response meet here (rule S5). What
goes back is written in `messages`. Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw

from ...core.content import Image, Inline, Native, Opaque
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .events import (
    Arguments,
    CustomInput,
    Item,
    ReasoningText,
    SummaryText,
    decode_fields,
    decode_item,
)

IMAGE_CALL = "image_generation_call"
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Calls of tools that we run, and the field that holds what they are called with."""
_CALL_FIELDS = frozenset(("type", "id", "call_id", "name", "status", "arguments", "input"))


class _Open(msgspec.Struct):
    """An item that has begun. `block` is -1 until something of it is shown; a message has a block for each of its `parts`
    instead, by content index."""

    kind: str
    block: int = -1
    parts: dict[int, int] = {}
    has_summary: bool = False
    has_content: bool = False
    has_input: bool = False


class Items:
    """The items of one response. Every method appends its events to `out`; what does not fit raises one of `UNREADABLE`.

    More text for part `text_part` of item `text_item` needs no call: it is a `TextDelta` of block `text_block`. Nor does an
    event of type `more_kind` for item `more_item`: it is more reasoning, or more of a call, of block `more_block`.
    """

    __slots__ = (
        "_attempt",
        "_begun",
        "_calls",
        "_done",
        "_done_count",
        "_done_ids",
        "_open",
        "_origin",
        "_step",
        "is_refused",
        "more_block",
        "more_item",
        "more_kind",
        "text_block",
        "text_item",
        "text_part",
    )

    def __init__(self, step: str, attempt: int, origin: str) -> None:
        self._step = step
        self._attempt = attempt
        self._origin = origin
        self._open: dict[int, _Open] = {}
        self._done: set[int] = set()
        self._done_count = 0
        self._done_ids: set[str] = set()
        self._begun = 0
        self._calls = 0
        self.is_refused = False
        self.text_item: int | None = None
        self.text_part = 0
        self.text_block = 0
        self.more_kind: type | None = None
        self.more_item = 0
        self.more_block = 0

    @property
    def any_calls(self) -> bool:
        return self._calls > 0

    @property
    def any_blocks(self) -> bool:
        return self._begun > 0

    def add(self, index: int, item: Item, out: list[DecoderEvent]) -> None:
        """An item begins. A call is told of as soon as its name is known."""
        kind = item.type
        opened = self._open[index] = _Open(kind)
        self.more_kind = None
        if kind in CALLS:
            if item.name:
                self._start_call(opened, item.name, item.call_id, out)
        elif kind != "message":
            opened.block = self._next_block()

    def text(self, index: int, part: int, text: str, out: list[DecoderEvent]) -> None:
        if not text:
            return
        parts = self._opened(index, "message").parts
        block = parts.get(part)
        if block is None:
            block = parts[part] = self._next_block()
        self.text_item, self.text_part, self.text_block = index, part, block
        out.append(TextDelta(text, block, self._attempt))

    def summary(self, event: SummaryText, out: list[DecoderEvent]) -> None:
        opened = self._opened(event.output_index, "reasoning")
        opened.has_summary = True
        self._think(opened, event, out)

    def reasoning(self, event: ReasoningText, out: list[DecoderEvent]) -> None:
        opened = self._opened(event.output_index, "reasoning")
        opened.has_content = True
        self._think(opened, event, out)

    def input(self, event: Arguments | CustomInput, out: list[DecoderEvent]) -> None:
        """More of what a call is called with; of a call without a name nothing is told before it is done."""
        opened = self._open.get(event.output_index)
        if event.delta and opened is not None and opened.kind in CALLS and opened.block >= 0:
            opened.has_input = True
            self.more_kind, self.more_item, self.more_block = type(event), event.output_index, opened.block
            out.append(ToolCallDelta(event.delta, opened.block, self._attempt))

    def done(self, index: int, item: dict[str, Any], out: list[DecoderEvent]) -> None:
        """An item as it finally is: what was not shown of it yet is shown, and what it needs to go back is kept."""
        kind, id = item.get("type"), item.get("id")
        if not isinstance(kind, str):
            raise ValueError("an item without a type")
        opened = self._open.pop(index, None)
        if opened is None or opened.kind != kind:
            opened = _Open(kind)
        self._done.add(index)
        self._done_count += 1
        if isinstance(id, str):
            self._done_ids.add(id)
        if index == self.text_item:
            self.text_item = None
        self.more_kind = None
        if kind == "message":
            self._finish_message(opened, item, out)
        elif kind == "reasoning":
            self._finish_reasoning(opened, item, out)
        elif kind in CALLS:
            self._finish_call(opened, item, out)
        else:
            self._finish_other(opened, item, out)

    def finish(self, items: list[Raw], out: list[DecoderEvent]) -> None:
        """The response is whole, and these are its items: those that were not done yet are done now. Some hosts number all items
        0 and name them anew at the end, so what is counted to be there is not looked for."""
        if self._done_count >= len(items):
            items = []
        done = frozenset(self._done_ids)  # of the stream: within one response, xAI gives several items the same id
        for index, raw in enumerate(items):
            if index not in self._done and decode_item(raw).id not in done:
                self.done(index, decode_fields(raw), out)
        unsealed = [o.block for o in self._open.values() if o.kind == "reasoning" and o.block >= 0]
        out += [BlockSealed(block, origin=self._origin) for block in unsealed]

    # --- reasoning ----------------------------------------------------------------------------------------------

    def _think(self, opened: _Open, event: SummaryText | ReasoningText, out: list[DecoderEvent]) -> None:
        if event.delta:
            block = self._block_of(opened)
            self.more_kind, self.more_item, self.more_block = type(event), event.output_index, block
            out.append(ThinkingDelta(event.delta, block, self._attempt))

    def _finish_reasoning(self, opened: _Open, item: dict[str, Any], out: list[DecoderEvent]) -> None:
        """The encrypted content is the seal; without it, and without the reasoning itself, an item says nothing to the
        provider that made it, unless the provider kept a copy."""
        block = self._block_of(opened)
        summary, content = _texts(item.get("summary")), _texts(item.get("content"))
        unseen = ("" if opened.has_summary else summary) + ("" if opened.has_content else content)
        if unseen:
            out.append(ThinkingDelta(unseen, block, self._attempt))
        seal = item.pop("encrypted_content", None)
        seal = seal if isinstance(seal, str) and seal else None
        native = self._native(item) if seal or content else None
        if native or summary or opened.has_summary or opened.has_content:
            out.append(BlockSealed(block, seal, self._origin, native))

    # --- messages -----------------------------------------------------------------------------------------------

    def _finish_message(self, opened: _Open, item: dict[str, Any], out: list[DecoderEvent]) -> None:
        """Each part becomes a block. Blocks carry their item and their part only where these say more than text does."""
        raw_parts = item.pop("content", None)
        parts: list[Any] = cast("list[Any]", raw_parts) if isinstance(raw_parts, list) else []
        own = {n: v for n, v in item.items() if n not in ("type", "role")}
        says_more = bool(own.get("phase")) or any(_says_more(p) for p in parts)
        for number, part in enumerate(parts):
            if not isinstance(part, dict):
                continue
            fields = cast("dict[str, Any]", part)
            kind, text = fields.get("type"), fields.get("text")
            if kind != "output_text" or not isinstance(text, str):
                self.is_refused = self.is_refused or kind == "refusal"
                native = self._native({"item": own, "part": fields})
                out.append(BlockAdded(self._next_block(), Opaque(str(kind), native)))
                continue
            block = opened.parts.get(number)
            if block is None and text:
                block = self._next_block()
                out.append(TextDelta(text, block, self._attempt))
            if block is not None and says_more:
                rest = {n: v for n, v in fields.items() if n != "text"}
                out.append(BlockSealed(block, native=self._native({"item": own, "part": rest})))

    # --- calls and all the rest ---------------------------------------------------------------------------------

    def _start_call(self, opened: _Open, name: Any, id: Any, out: list[DecoderEvent]) -> None:
        opened.block = self._next_block()
        call_id = f"{self._step}.c{self._calls}"
        self._calls += 1
        given = id if isinstance(id, str) else None
        out.append(ToolCallStarted(call_id, name if isinstance(name, str) else "", opened.block, self._attempt, given))

    def _finish_call(self, opened: _Open, item: dict[str, Any], out: list[DecoderEvent]) -> None:
        if opened.block < 0:
            self._start_call(opened, item.get("name"), item.get("call_id"), out)
        given = item.get(CALLS[opened.kind])
        if not opened.has_input and given not in (None, ""):
            text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
            out.append(ToolCallDelta(text, opened.block, self._attempt))
        extras = {n: v for n, v in item.items() if n not in _CALL_FIELDS and v is not None}
        if opened.kind != "function_call":
            extras["type"] = opened.kind
        if extras:
            out.append(BlockSealed(opened.block, native=self._native(extras)))

    def _finish_other(self, opened: _Open, item: dict[str, Any], out: list[DecoderEvent]) -> None:
        block = self._block_of(opened)
        if opened.kind == IMAGE_CALL and (source := _picture(item)) is not None:
            del item["result"]
            out.append(BlockAdded(block, Image(source, native=self._native(item))))
        else:
            out.append(BlockAdded(block, Opaque(opened.kind, self._native(item))))

    # --- blocks -------------------------------------------------------------------------------------------------

    def _opened(self, index: int, kind: str) -> _Open:
        opened = self._open.get(index)
        if opened is None:
            opened = self._open[index] = _Open(kind)
        elif opened.kind != kind:
            raise ValueError(f"a piece of a {kind} for an item that is a {opened.kind}")
        return opened

    def _block_of(self, opened: _Open) -> int:
        if opened.block < 0:
            opened.block = self._next_block()
        return opened.block

    def _next_block(self) -> int:
        self._begun += 1
        return self._begun - 1

    def _native(self, fields: Mapping[str, Any]) -> Native:
        """Fields as JSON in one spelling, so that an item in a stream and the same item in a document are equal."""
        return Native(self._origin, msgspec.json.encode(fields).decode())


def _texts(parts: Any) -> str:
    """The texts of a summary, or of a content, one after the other."""
    if not isinstance(parts, list):
        return ""
    texts = [cast("dict[str, Any]", p).get("text") for p in cast("list[Any]", parts) if isinstance(p, dict)]
    return "".join([t for t in texts if isinstance(t, str)])


def _says_more(part: Any) -> bool:
    """Whether a content part is more than its text."""
    if not isinstance(part, dict):
        return False
    fields = cast("dict[str, Any]", part)
    return fields.get("type") != "output_text" or any(v for n, v in fields.items() if n not in ("type", "text"))


def _picture(fields: Mapping[str, Any]) -> Inline | None:
    """The picture of an image item, if its base64 form can be told from the bytes again."""
    result, form = fields.get("result"), fields.get("output_format")
    if not isinstance(result, str) or not result:
        return None
    try:
        data = b64decode(result, validate=True)
    except ValueError:
        return None
    kind = form if isinstance(form, str) and form else "png"
    media_type = "image/svg+xml" if kind == "svg" else f"image/{kind}"
    return Inline(data, media_type) if b64encode(data).decode() == result else None
