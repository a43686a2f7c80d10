"""A session as plain text, for a terminal. A `Form`; control characters are replaced."""

from __future__ import annotations

from ...core.content import Audio, Document, Image, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import Remark
from .words import clean, facts_of, file_of, outcome_of, spent, title_of


def head(row: SessionInfo) -> str:
    """What stands before everything."""
    facts = "".join([f"{what + ':':<14}{_line(value)}\n" for what, value in facts_of(row)])
    return f"{_line(title_of(row))}\n\n{facts}"


def foot(model_calls: int, usage: Usage) -> str:
    """What stands behind everything."""
    return f"\n({spent(model_calls, usage)})\n"


def turn(number: int, at: str) -> str:
    return f"\n--- Turn {number}{', ' + at if at else ''}\n"


def remark(told: Remark) -> str:
    return f"\n({_line(told.text)})\n{_indented(told.detail) if told.detail else ''}"


def user(who: str) -> str:
    return f"\n{who}:\n"


def model(name: str) -> str:
    return f"\nAssistant{f' ({_line(name)})' if name else ''}:\n"


def over(cut_off: bool) -> str:
    return "  (cut off here)\n" if cut_off else ""


def text(text: str) -> str:
    return _indented(text)


def thinking(said: str) -> str:
    return f"  (thinking)\n{_indented(said, '  | ')}"


def opaque(kind: str) -> str:
    return f"  (an item of the provider's own: {_line(kind)})\n"


def file(block: Image | Audio | Document, in_result: bool) -> str:
    return f"{'    ' if in_result else '  '}[{_line(file_of(block))}]\n"


def call(call: ToolCall, result: ToolResult | None) -> str:
    problem = outcome_of(result)
    ended = f"    ({_line(problem)})\n" if problem else ""
    return f"  → {_line(call.name)} {_line(call.arguments)}".rstrip() + "\n" + ended


def output(text: str) -> str:
    return _indented(text, "    ")


def artifact(what: str) -> str:
    return f"    (the whole text: {_line(what)})\n"


def call_over() -> str:
    return ""


def _indented(text: str, margin: str = "  ") -> str:
    return "".join([f"{margin}{one}".rstrip() + "\n" for one in clean(text).split("\n")])


def _line(text: str) -> str:
    return " ".join(clean(text).split())
