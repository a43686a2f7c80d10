"""What is decided on a response beside taking it: calls that a limit or a loop forbids, and answers that are not what was asked for.

A side room of `turn`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .budget import denial
from .changes import LoopFound
from .content import ToolCall
from .decide_rare import no_run
from .entries import Entry, SteerAccepted, TurnEnded
from .errors import ErrorInfo
from .loops import Found, LoopAction, words
from .messages import UserMessage
from .outcomes import Denied, ToolResult, problem_in
from .state import TurnState

NOT_AS_ASKED = "The model did not answer in the form that was asked for. "


def in_circles(turn: TurnState, found: Found, action: LoopAction, now: float) -> LoopFound:
    """The model asks for the same again; it is told so if that is what is to be done."""
    told = None
    if action == "tell":
        told = UserMessage(words(found), turn.number, turn.step, turn.steered + 1, now, "reminder")
    return LoopFound(turn.number, turn.step, found.period, found.repeats, found.names, action, now, told)


def loop_ends(turn: TurnState, calls: Sequence[ToolCall], found: Found, now: float) -> list[Entry]:
    """The turn ends here, and the calls are not run once more."""
    why = Denied("the same was asked for again and again, so the turn was ended")
    entries: list[Entry] = [no_run(call, why, now) for call in calls]
    return [*entries, TurnEnded(turn.number, "loop", now, ", ".join(dict.fromkeys(found.names)))]


def beyond_limits(turn: TurnState, calls: Sequence[ToolCall], now: float, answer: str) -> list[Entry]:
    """Outcomes for the calls of a step that a limit leaves no room for. Calls of the tool named `answer` are no work, and not bound."""
    bound, per_tool = turn.limits.calls, turn.limits.per_tool
    if bound is None and not per_tool:
        return []
    out: list[Entry] = []
    named: dict[str, int] = {}
    for index, call in enumerate([c for c in calls if c.name != answer] if answer else calls):
        named[call.name] = named.get(call.name, 0) + 1
        own = per_tool.get(call.name)
        if bound is not None and turn.calls + turn.nested_calls + index >= bound:
            out.append(no_run(call, Denied(denial(turn.limits, "calls")), now))
        elif own is not None and turn.called.get(call.name, 0) + named[call.name] > own:
            out.append(no_run(call, Denied(denial(turn.limits, f"calls:{call.name}")), now))
    return out


def not_as_asked(turn: TurnState, entries: list[Entry], problem: str, now: float, corrections: int) -> list[Entry]:
    """The answer is not what was asked for: the model is told, as often as the policy says."""
    if turn.problems < corrections:
        told = UserMessage(problem, turn.number, turn.step, turn.steered + 1, now, "problem")
        return [SteerAccepted(told), *entries]
    return [*entries, _invalid(turn, problem, now)]


def no_answer(turn: TurnState, ended: ToolResult, final: bool, now: float, corrections: int) -> list[Entry]:
    """The end of the turn, if a call that brings the answer has not fitted once too often and this outcome is the last of its step."""
    wrong, right = final and ended.is_error, turn.answered or (final and not ended.is_error)
    if turn.problems + wrong <= corrections or right or turn.phase != "tools" or not (wrong or turn.refused):
        return []
    if any(c.result is None and c.call.id != ended.call_id for c in turn.awaited):
        return []
    return [_invalid(turn, problem_in(ended) if wrong else turn.refused, now)]


def _invalid(turn: TurnState, problem: str, now: float) -> TurnEnded:
    error = ErrorInfo(
        "provider",
        "invalid_output",
        f"{NOT_AS_ASKED}{problem}",
        "Ask for a simpler form, or allow more corrections.",
        commit_phase="committed",
        turn=turn.number,
        step=turn.step,
    )
    return TurnEnded(turn.number, "error", now, error.code, error)
