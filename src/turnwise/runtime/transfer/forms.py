"""What is told of a session, walked once for all readable forms: which pieces there are, and in which order. How each of them looks, `markdown`,
`html` and `plain` say. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from ...core.content import Audio, BlobRef, Block, Document, Image, Opaque, Text, Thinking, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import ModelSaid, Remark, Told, TurnBegins, UserSaid
from .words import file_of, when, who


class Embed(msgspec.Struct, frozen=True):
    """A place for the bytes of a blob, in base64, between `before` and `after`; `instead` is shown if they cannot be had."""

    ref: BlobRef
    before: str
    after: str
    instead: str


Piece = str | Embed


class Form(Protocol):
    """What a readable form has to say for itself; modules do."""

    def head(self, row: SessionInfo) -> str:
        """What stands before everything."""
        ...

    def foot(self, model_calls: int, usage: Usage) -> str:
        """What stands behind everything."""
        ...

    def turn(self, number: int, at: str) -> str:
        """A turn begins; `at` is "" if it is not known when."""
        ...

    def remark(self, told: Remark) -> str: ...

    def user(self, who: str) -> str:
        """A message in the user's place begins."""
        ...

    def model(self, name: str) -> str:
        """A message of the model of this name begins; "" if it is not known."""
        ...

    def over(self, cut_off: bool) -> str:
        """A message ends."""
        ...

    def text(self, text: str) -> str: ...
    def thinking(self, said: str) -> str: ...
    def opaque(self, kind: str) -> str: ...
    def file(self, block: Image | Audio | Document, in_result: bool) -> Piece: ...

    def call(self, call: ToolCall, result: ToolResult | None) -> str:
        """A call begins: what was asked for, and how it ended if that was not well. What it brought follows."""
        ...

    def output(self, text: str) -> str:
        """Text that a call brought."""
        ...

    def artifact(self, what: str) -> str:
        """Where all of the text is, of which the beginning was shown."""
        ...

    def call_over(self) -> str: ...


def pieces_of(form: Form, told: Told) -> Iterator[Piece]:
    """One thing that is told."""
    match told:
        case TurnBegins(number=number, at=at):
            yield form.turn(number, when(at))
        case UserSaid(message=message):
            yield form.user(who(told))
            for block in message.content:
                yield from _block(form, block)
            yield form.over(False)
        case ModelSaid(message=message, results=results):
            yield form.model(message.model)
            for block in message.content:
                if isinstance(block, ToolCall):
                    yield from _call(form, block, results.get(block.id))
                else:
                    yield from _block(form, block)
            yield form.over(message.partial)
        case Remark():
            yield form.remark(told)


def _call(form: Form, call: ToolCall, result: ToolResult | None) -> Iterator[Piece]:
    yield form.call(call, result)
    if result is not None:
        for block in result.content:
            if not isinstance(block, Text):
                yield form.file(block, True)
            elif block.text:
                yield form.output(block.text)
        if result.artifact is not None:
            yield form.artifact(file_of(Document(result.artifact)))
    yield form.call_over()


def _block(form: Form, block: Block) -> Iterator[Piece]:
    match block:
        case Text(text=text):
            if text:
                yield form.text(text)
        case Thinking():
            said = "Some of it is sealed by the provider." if block.redacted else block.text
            if said:
                yield form.thinking(said)
        case Image() | Audio() | Document():
            yield form.file(block, False)
        case Opaque(kind=kind):
            yield form.opaque(kind)
        case ToolCall():
            pass
