"""A session as plain text, for a terminal. Pure: values of `account` in, text out; control characters are replaced."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.content import Block, Document, Opaque, Text, Thinking, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import ModelSaid, Remark, Told, TurnBegins, UserSaid
from .words import clean, facts_of, file_of, outcome_of, spent, title_of, when, who


def head(row: SessionInfo) -> str:
    """What stands before everything."""
    facts = "".join([f"{what + ':':<14}{_line(value)}\n" for what, value in facts_of(row)])
    return f"{_line(title_of(row))}\n\n{facts}"


def body(told: Told) -> Iterator[str]:
    """One thing that is told, in pieces."""
    match told:
        case TurnBegins(number=number, at=at):
            yield f"\n--- Turn {number}{', ' + when(at) if when(at) else ''}\n"
        case UserSaid(message=message):
            yield f"\n{who(told)}:\n"
            for block in message.content:
                yield _block(block)
        case ModelSaid():
            yield from _model(told)
        case Remark(text=text, detail=detail):
            yield f"\n({_line(text)})\n"
            if detail:
                yield _indented(detail)


def foot(model_calls: int, usage: Usage) -> str:
    """What stands behind everything."""
    return f"\n({spent(model_calls, usage)})\n"


def _model(told: ModelSaid) -> Iterator[str]:
    message = told.message
    yield f"\nAssistant{f' ({_line(message.model)})' if message.model else ''}:\n"
    for block in message.content:
        if isinstance(block, ToolCall):
            yield from _call(block, told.results.get(block.id))
        else:
            yield _block(block)
    if message.partial:
        yield "  (cut off here)\n"


def _call(call: ToolCall, result: ToolResult | None) -> Iterator[str]:
    yield f"  → {_line(call.name)} {_line(call.arguments)}".rstrip() + "\n"
    if problem := outcome_of(result):
        yield f"    ({_line(problem)})\n"
    if result is None:
        return
    for block in result.content:
        yield _block(block, "    ")
    if result.artifact is not None:
        yield f"    (the whole text: {_line(file_of(Document(result.artifact)))})\n"


def _block(block: Block, margin: str = "  ") -> str:
    match block:
        case Text(text=text):
            return _indented(text, margin) if text else ""
        case Thinking():
            said = "some of it is sealed by the provider" if block.redacted else block.text
            return f"{margin}(thinking)\n{_indented(said, margin + '| ')}" if said else ""
        case Opaque(kind=kind):
            return f"{margin}(an item of the provider's own: {_line(kind)})\n"
        case ToolCall():
            return ""
        case _:
            return f"{margin}[{_line(file_of(block))}]\n"


def _indented(text: str, margin: str = "  ") -> str:
    return "".join([f"{margin}{one}".rstrip() + "\n" for one in clean(text).split("\n")])


def _line(text: str) -> str:
    return " ".join(clean(text).split())
