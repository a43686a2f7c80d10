"""How a turn's events are shown: as text while it comes, or as JSON lines. Also what is said when the turn is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ...core.errors import ErrorInfo
from ...core.events import (
    AttemptRestarted,
    Event,
    Notice,
    StepStarted,
    TextDelta,
    ToolCallReady,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ...core.outcomes import explain
from ...core.result import TurnResult
from .screen import Screen

_ARGUMENT_CHARS = 100


class View(Protocol):
    """Shows batches of events."""

    def show(self, events: Sequence[Event]) -> None: ...


class JsonLines:
    """Every event exactly as the library gives it, one JSON object per line."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._encode = msgspec.json.Encoder().encode

    def show(self, events: Sequence[Event]) -> None:
        self._screen.data(b"".join([self._encode(event) + b"\n" for event in events]))
        self._screen.flush()


class TextView:
    """The answer on stdout; tool activity, retries and notices on stderr."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._arguments: dict[str, str] = {}

    def show(self, events: Sequence[Event]) -> None:
        screen = self._screen
        for event in events:
            if type(event) is TextDelta:
                screen.answer(event.text)
            elif type(event) is StepStarted:
                screen.end_line()
            else:
                self._beside(event)
        screen.flush()

    def _beside(self, event: Event) -> None:
        note = self._screen.note
        match event:
            case ToolCallReady(call=call):
                self._arguments[call.id] = call.arguments
            case ToolStarted(call_id=call_id, name=name):
                note(f"→ {name} {shortened(self._arguments.pop(call_id, ''))}".rstrip())
            case ToolProgress(message=message):
                note(f"  {shortened(message)}")
            case ToolFinished(name=name, result=result):
                note(f"✗ {name}: {shortened(explain(result.outcome))}" if result.is_error else f"✓ {name}")
            case AttemptRestarted(delay_s=delay_s, error=error):
                note(f"{error.message} Trying again in {delay_s:.1f} s.")
            case Notice(message=message):
                note(message)
            case _:
                pass


def shortened(text: str, chars: int = _ARGUMENT_CHARS) -> str:
    """The text as one line of at most so many characters."""
    line = " ".join(text[: 4 * chars].split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def conclude(result: TurnResult, screen: Screen, timeout_s: float | None) -> None:
    """Say what the turn had to do without, and why it ended, if it did not just complete."""
    for warning in result.warnings:
        if result.error is None or warning.code != result.error.code:
            screen.note(f"Warning: {warning.message}")
    match result.reason:
        case "error":
            tell_error(result.error, screen)
        case "interrupted":
            screen.note("Interrupted.")
        case "timeout":
            screen.note(
                f"Stopped: the turn took longer than {timeout_s:g} s."
                if timeout_s
                else "Stopped: the turn took too long."
            )
        case "limit":
            screen.note(
                f"Stopped: the limit of {result.cause or 'the turn'} is reached ({result.steps} model calls made)."
            )
        case "loop":
            screen.note("Stopped: the model repeats itself.")
        case "completed" if result.cause:
            screen.note(_INCOMPLETE.get(result.cause, f"The answer ended early: {result.cause}."))
        case _:
            pass


_INCOMPLETE = {
    "length": "The answer was cut off: the model reached its limit of output tokens.",
    "content_filter": "The answer was cut off by the provider's content filter.",
    "refusal": "The model refused to answer.",
}


def tell_error(error: ErrorInfo | None, screen: Screen, *, as_json: bool = False) -> None:
    """An error as a short block, or as one JSON object in one line."""
    if error is None:
        return
    if as_json:
        screen.report(msgspec.json.encode({"error": error}).decode())
    else:
        screen.error(error.message, error.hint)
