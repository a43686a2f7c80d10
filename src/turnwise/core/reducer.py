"""Decoder events in, one assistant message out: the only place where a response becomes a message (rule S5).

A streamed response and the same response in one body go through here alike. The reducer holds the text of the step and
nothing else: events are folded as they come and forgotten.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .content import AssistantBlock, Native, Text, Thinking, ToolCall
from .decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed, ResponseStarted
from .errors import ErrorInfo
from .events import Event, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .messages import AssistantMessage, ResponseInfo
from .usage import Usage

SHOWN = frozenset((TextDelta, ThinkingDelta, ToolCallStarted, ToolCallDelta))
"""The decoder events that watchers see."""


class _Open(msgspec.Struct):
    """A block in the making."""

    kind: Literal["text", "thinking", "tool_call"]
    parts: list[str]
    id: str = ""
    name: str = ""
    provider_id: str | None = None
    signature: str | None = None
    origin: str = ""
    native: Native | None = None

    def close(self) -> AssistantBlock:
        text = "".join(self.parts)
        if self.kind == "text":
            return Text(text, self.native)
        if self.kind == "thinking":
            return Thinking(text, self.signature, False, self.origin, self.native)
        return ToolCall(self.id, self.name, text, self.provider_id, self.native)


class Reduced(msgspec.Struct, frozen=True):
    """A finished response: the message so far, and the error if it failed. Both are set when it broke off."""

    message: AssistantMessage | None
    error: ErrorInfo | None
    usage: Usage | None


class Reducer:
    """Folds the events of one attempt. `shown` turns true with the first delta: from then on watchers have seen output."""

    __slots__ = ("_blocks", "_hidden", "_last", "_last_parts", "ended", "failed", "model", "response_id", "shown")

    def __init__(self) -> None:
        self._blocks: dict[int, _Open | AssistantBlock] = {}
        self._last = -1
        self._last_parts: list[str] = []
        self.model = ""
        self.response_id: str | None = None
        self.ended: ResponseEnded | None = None
        self.failed: ResponseFailed | None = None
        self.shown = False
        self._hidden = False

    def feed(self, events: list[DecoderEvent]) -> list[Event]:
        """Fold a batch and return those of it that watchers see. The common case, more for the block of the event before, is
        one append; a batch with nothing to hide is returned as it is."""
        last, parts = self._last, self._last_parts
        for event in events:
            if (type(event) is TextDelta or type(event) is ThinkingDelta) and event.block == last:
                parts.append(event.text)
            elif type(event) is ToolCallDelta and event.block == last:
                parts.append(event.arguments)
            else:
                self._fold(event)
                last, parts = self._last, self._last_parts
        if self._hidden:
            self._hidden = False
            return [event for event in events if type(event) in SHOWN]  # type: ignore[misc]
        return events  # type: ignore[return-value]

    def _fold(self, event: DecoderEvent) -> None:
        if type(event) is TextDelta:
            self._append("text", event.block, event.text)
        elif type(event) is ThinkingDelta:
            self._append("thinking", event.block, event.text)
        elif type(event) is ToolCallDelta:
            self._append("tool_call", event.block, event.arguments)
        else:
            self._fold_rare(event)

    def _fold_rare(self, event: DecoderEvent) -> None:
        if type(event) is ToolCallStarted:
            self.shown = True
            self._blocks[event.block] = _Open("tool_call", [], event.id, event.name, event.provider_id)
            return
        if type(event) is ResponseStarted:
            self.model, self.response_id = event.model, event.response_id
        elif type(event) is ResponseEnded:
            self.ended = event
        elif type(event) is BlockSealed:
            self._seal(event)
        elif type(event) is BlockAdded:
            self.shown = True
            self._blocks[event.block] = event.content
        elif type(event) is ResponseFailed:
            self.failed = event
        else:
            return
        self._hidden = True

    def _append(self, kind: Literal["text", "thinking", "tool_call"], block: int, text: str) -> None:
        self.shown = True
        made = self._open(kind, block)
        made.parts.append(text)
        self._last, self._last_parts = block, made.parts

    def _open(self, kind: Literal["text", "thinking", "tool_call"], block: int) -> _Open:
        made = self._blocks.get(block)
        if not isinstance(made, _Open):
            made = self._blocks[block] = _Open(kind, [])
        return made

    def _seal(self, event: BlockSealed) -> None:
        made = self._open("thinking", event.block)
        if event.signature is not None:
            made.signature = event.signature
        if event.origin is not None:
            made.origin = event.origin
        if event.native is not None:
            made.native = event.native

    def blocks(self) -> tuple[AssistantBlock, ...]:
        """The content so far, in block order; blocks that stayed empty are left out."""
        out: list[AssistantBlock] = []
        blocks = self._blocks
        for index in blocks if len(blocks) == 1 else sorted(blocks):
            made = blocks[index]
            block = made.close() if isinstance(made, _Open) else made
            if type(block) is Text and not block.text and block.native is None:
                continue
            if type(block) is Thinking and not (block.text or block.signature or block.native):
                continue
            out.append(block)
        return tuple(out)

    def so_far(self) -> tuple[AssistantBlock, ...]:
        """The content so far by position, so that deltas can go on from it: a block without content is an empty text."""
        made = {index: b.close() if isinstance(b, _Open) else b for index, b in self._blocks.items()}
        return tuple([made.get(index, Text("")) for index in range(max(made, default=-1) + 1)])

    def finish(self, provider: str = "", model: str = "", completed_at: float | None = None) -> Reduced:
        """The response as a message; call once, after the decoder's last event."""
        blocks = self.blocks()
        end, failed = self.ended, self.failed
        error = failed.error if failed else None
        usage = failed.usage if failed else end.usage if end else None
        if failed is not None and not blocks:
            return Reduced(None, error, usage)
        info = ResponseInfo(
            provider,
            self.model or model,
            self.response_id,
            end.stop_reason if end else "unknown",
            end.raw_stop_reason if end else None,
            usage,
            completed_at,
            error,
        )
        message = AssistantMessage(_compact(blocks), partial=failed is not None, response=info)
        return Reduced(message, error, usage)

    def partial(self) -> str | None:
        """What may be kept of a response that was interrupted: its text alone (rule T2); None if there is none."""
        text = "".join([b.text for b in self.blocks() if type(b) is Text])
        return text if text.strip() else None


def _compact(blocks: tuple[AssistantBlock, ...]) -> str | tuple[AssistantBlock, ...]:
    """Plain text alone is kept as a string: see core/messages.py."""
    if not blocks:
        return ""
    first = blocks[0]
    if len(blocks) == 1 and type(first) is Text and first.native is None:
        return first.text
    return blocks
