"""What follows when a turn's process is gone and another one takes the turn on (rule D2). A side room of `decide_rare`.

What was finished stays. A call that had started and not ended is run again if it was declared idempotent; else nobody knows what it
did, and its outcome says so. A call that had not started, and a model call that was under way, are simply due again: the machine
finds that out from the state, as it does after any input. A turn that was to end, ends. One that waits for someone, waits on.
"""

from __future__ import annotations

from .changes import Recovered
from .entries import CallOutcome, Entry, TurnEnded
from .errors import ErrorInfo
from .inputs_rare import Recover
from .outcomes import Cancelled, Outcome, Unknown, result_of
from .state import CallState, TurnState

GIVEN_UP = Cancelled("the turn was given up")


def recovered(turn: TurnState, given: Recover, now: float) -> list[Entry]:
    """The entries that follow when a turn is taken on; none for one that waits for someone. The end of one that was to end is the
    caller's to add."""
    if turn.phase == "parked":
        return []
    number = turn.recovered + 1
    if turn.phase == "ending":
        return [Recovered(turn.number, now, number)]
    if number > given.budget:
        return _given_up(turn, number, now)
    lost = [call for call in turn.awaited if call.started and call.result is None]
    again = tuple([call.call.id for call in lost if call.idempotent])
    outcomes = [closed(call, Unknown(), now) for call in lost if not call.idempotent]
    return [Recovered(turn.number, now, number, again), *outcomes]


def _given_up(turn: TurnState, number: int, now: float) -> list[Entry]:
    entries: list[Entry] = [Recovered(turn.number, now, number, given_up=True)]
    entries += [closed(call, GIVEN_UP, now, lost=True) for call in turn.awaited if call.result is None]
    error = ErrorInfo(
        "state",
        "crash_loop",
        f"The turn was given up: its process ended {number} times in a row before a step or a call was finished.",
        "See what ends the process (memory, a tool that crashes it); the conversation can go on with a new turn.",
        commit_phase="committed",
        turn=turn.number,
        step=turn.step,
    )
    return [*entries, TurnEnded(turn.number, "error", now, error.code, error)]


def closed(call: CallState, outcome: Outcome, now: float, *, lost: bool = False) -> CallOutcome:
    """The outcome of a call that did not return. If it had started and was `lost`, or was to run again after it was, it may have had
    its effect whatever becomes of it now."""
    if call.started and (lost or call.again):
        outcome = Unknown()
    return CallOutcome(result_of(call.call.id, outcome), call.call.name, call.started, now)
