"""How a tool call ended: exactly one outcome per call, whatever happened (rules T1, E1)."""

from __future__ import annotations

import msgspec

from .content import BlobRef, ResultBlock, Text, text_of
from .errors import ErrorInfo


class Ok(msgspec.Struct, frozen=True, gc=False, tag="ok"):
    """The tool returned."""


class Failed(msgspec.Struct, frozen=True, gc=False, tag="failed"):
    """The tool raised."""

    error: ErrorInfo


class Timeout(msgspec.Struct, frozen=True, gc=False, tag="timeout"):
    """The call's time was up. `still_running`: the body would not stop and was abandoned."""

    after_s: float
    still_running: bool = False


class InvalidArguments(msgspec.Struct, frozen=True, gc=False, tag="invalid_arguments"):
    """The arguments are not JSON, not an object, or do not fit the tool; it never ran."""

    problem: str


class UnknownTool(msgspec.Struct, frozen=True, gc=False, tag="unknown_tool"):
    """No tool of that name is in scope; nothing ran."""

    name: str


class Denied(msgspec.Struct, frozen=True, gc=False, tag="denied"):
    """A rule, a limit or a person said no; it never ran."""

    reason: str


class Cancelled(msgspec.Struct, frozen=True, gc=False, tag="cancelled"):
    """Stopped, or never started. `still_running`: the body would not stop and was abandoned."""

    reason: str = ""
    still_running: bool = False


class Unknown(msgspec.Struct, frozen=True, gc=False, tag="unknown"):
    """The process died while the tool ran, or lost its journal: the tool may or may not have had its effect."""


Outcome = Ok | Failed | Timeout | InvalidArguments | UnknownTool | Denied | Cancelled | Unknown
OK = Ok()


class ToolResult(msgspec.Struct, frozen=True, gc=False, tag="tool_result", omit_defaults=True):
    """The outcome of one call and what the model is told about it. `artifact` is the whole text, if `body` has not all of it."""

    call_id: str
    body: str | tuple[ResultBlock, ...]
    outcome: Outcome = OK
    summary: str | None = None
    artifact: BlobRef | None = None

    @property
    def is_error(self) -> bool:
        return type(self.outcome) is not Ok

    @property
    def content(self) -> tuple[ResultBlock, ...]:
        """The body as blocks."""
        return (Text(self.body),) if isinstance(self.body, str) else self.body

    @property
    def text(self) -> str:
        return text_of(self.body)


def result_of(call_id: str, outcome: Outcome, printed: str = "") -> ToolResult:
    """The result of a call that did not return: the model is told what happened, and what was printed so far."""
    said = explain(outcome)
    return ToolResult(call_id, f"{said}\n\nOutput so far:\n{printed}" if printed else said, outcome)


def problem_in(result: ToolResult) -> str:
    """What is wrong with the arguments of a call that was refused, without the words around it."""
    return result.outcome.problem if isinstance(result.outcome, InvalidArguments) else result.text


def explain(outcome: Outcome) -> str:
    """The outcome in words for the model."""
    match outcome:
        case Ok():
            return "Done."
        case Failed(error=error):
            return f"The tool failed: {error.for_model()}"
        case Timeout(after_s=after, still_running=still):
            tail = " It could not be stopped and may still be running." if still else " It was stopped."
            return f"The tool did not finish within {after:g} s.{tail}"
        case InvalidArguments(problem=problem):
            return f"The call was not run: its arguments are not valid. {problem}"
        case UnknownTool(name=name):
            return f"The call was not run: there is no tool named {name!r}."
        case Denied(reason=reason):
            return f"The call was not run: {reason or 'it is not allowed'}."
        case Cancelled(reason=reason, still_running=still):
            tail = " It could not be stopped and may still be running." if still else ""
            return f"The call was cancelled{': ' + reason if reason else ''}.{tail}"
        case Unknown():
            return "The tool was running when its process stopped or lost its journal; it is not known whether it had its effect."
