"""How the rarer entries change the state: calls that wait, turns that park, and everything that changes the view.

A side room of `evolve`, which is the only caller.
"""

from __future__ import annotations

from .changes import (
    ApprovalAnswered,
    CallWaiting,
    Cleared,
    Compacted,
    CompactionFailed,
    CompactionUndone,
    Decided,
    FollowUpQueued,
    FollowUpsDropped,
    LimitReached,
    LoopFound,
    NestedSpent,
    Parked,
    Recovered,
    Resumed,
    Rewound,
    SettingsChanged,
    TurnContinued,
)
from .entries import Entry, Interrupted, PartialKept, SessionCreated, SteerAccepted
from .errors import illegal
from .messages import UserMessage
from .moves import change_call, count, enter_steers, running, say, step_over
from .repair import last_turn
from .result import Pending
from .state import SessionState, TurnState
from .view import WHOLE, Change, View, back_to, project, then


def evolve_rare(state: SessionState, entry: Entry) -> None:
    """Fold one entry. Raises `StateError` if it cannot follow what came before; the state is then unchanged."""
    match entry:
        case SessionCreated():
            _created(state, entry)
        case SteerAccepted(message=message):
            _added(running(state), message)
            if entry.at_once and running(state).phase == "model":
                enter_steers(running(state), state)
        case Interrupted():
            turn = running(state)
            turn.phase, turn.interrupt, turn.keep = "ending", entry.cause, entry.keep
        case PartialKept(message=message):
            turn = running(state)
            if turn.awaited:
                raise illegal("a partial message while calls are open")
            turn.last = message
            say(state, message)
        case TurnContinued():
            _continued(state, entry)
        case FollowUpQueued(number=number):
            if number <= state.queued:
                raise illegal(f"follow-up number {number} again")
            state.queue.append(entry)
            state.queued = number
        case FollowUpsDropped(numbers=numbers):
            state.queue = [q for q in state.queue if numbers and q.number not in numbers]
        case SettingsChanged():
            state.settings = entry.settings
        case Decided():
            pass  # for the record: what follows from it is said by entries of its own
        case NestedSpent():
            turn = running(state)
            count(turn, state, entry.usage)
            turn.nested_steps += entry.steps
            turn.nested_calls += entry.calls
        case _:
            _in_turn(state, entry)


def _in_turn(state: SessionState, entry: Entry) -> None:
    match entry:
        case CallWaiting():
            _waiting(running(state), entry)
        case ApprovalAnswered():
            _answered(running(state), entry)
        case Parked():
            turn = running(state)
            if turn.phase != "tools" or not turn.pending:
                raise illegal("a turn parks that waits for nobody")
            turn.phase, turn.parked_at = "parked", entry.at
        case Recovered():
            _recovered(running(state), state, entry)
        case Resumed():
            _resumed(running(state), state, entry.at)
        case LimitReached():
            turn = running(state)
            turn.concluding, turn.concluded_at = entry.cause, turn.steps
            turn.asked_again += 1
        case LoopFound(message=message):
            turn = running(state)
            turn.recent = []
            if message is not None:
                _added(turn, message)
        case _:
            _view(state, entry)


def _view(state: SessionState, entry: Entry) -> None:
    match entry:
        case Compacted():
            _compacted(state, entry)
        case CompactionFailed():
            turn = state.turn if state.running else None
            count(turn, state, entry.usage)
            if turn is not None and entry.trigger != "manual":
                _ask_again(turn, state)
        case CompactionUndone():
            if not state.views or state.views[-1].cleared:
                raise illegal("there is no compaction to undo")
            state.views.pop()
            _show(state)
        case Cleared():
            if state.running:
                raise illegal("a running turn cannot be cleared away")
            covered = Change(len(state.history), None, state.change.masked)
            state.views.append(View(covered, state.turns, cleared=True))
            state.context_tokens = None
            _show(state)
        case Rewound():
            _rewound(state, entry.to)
        case _:
            raise illegal(f"an entry of unknown type {type(entry).__name__}")


# --- a turn -----------------------------------------------------------------------------------------------------------


def _created(state: SessionState, entry: SessionCreated) -> None:
    if state.seq:
        raise illegal("a session is created twice")
    state.id, state.principal, state.created_at = entry.session, entry.principal, entry.at
    state.history = state.transcript = list(entry.history)
    state.turns = last_turn(entry.history)
    state.settings = entry.settings
    if entry.views:
        state.views = list(entry.views)
        _show(state)


def _added(turn: TurnState, message: UserMessage) -> None:
    turn.steers.append(message)
    turn.steered += 1
    turn.problems += message.mark == "problem"


def _continued(state: SessionState, entry: TurnContinued) -> None:
    if state.running:
        raise illegal("a turn begins while one runs")
    if entry.turn <= state.turns:
        raise illegal(f"turn number {entry.turn} again, after {state.turns}")
    state.turn = TurnState(entry.turn, entry.limits, len(state.history), entry.at, client_ref=entry.client_ref)
    state.turns = entry.turn
    if entry.message is not None:
        say(state, entry.message)


def _waiting(turn: TurnState, entry: CallWaiting) -> None:
    call = turn.call(entry.call_id)
    if (call.started and not call.again) or call.result is not None or call.waits is not None:
        raise illegal(f"call {entry.call_id!r} cannot wait any more")
    if entry.arguments is not None:
        change_call(turn, call, entry.name, entry.arguments)
    call.waits = Pending(entry.call_id, entry.name, call.call.arguments, entry.kind, entry.reason, entry.expires_at)


def _answered(turn: TurnState, entry: ApprovalAnswered) -> None:
    call = turn.call(entry.call_id)
    if call.waits is None or call.waits.kind != "approval" or call.result is not None:
        raise illegal(f"call {entry.call_id!r} does not wait for leave")
    call.waits = None
    call.allowed = entry.allowed
    if entry.allowed:
        turn.asked_again += 1
    if entry.arguments is not None:
        change_call(turn, call, call.call.name, entry.arguments)
        call.hooked = False


def _recovered(turn: TurnState, state: SessionState, entry: Recovered) -> None:
    """What was under way is due once more."""
    if turn.phase == "parked":
        raise illegal("a turn is recovered that waits for someone")
    again = [turn.call(call_id) for call_id in entry.again]
    if any(not call.started or not call.idempotent or call.result is not None for call in again):
        raise illegal("a call is to run again that was not declared safe to repeat")
    for call in again:
        call.again = True
    turn.recovered = entry.number
    turn.asked_again += 1
    if turn.phase == "model":
        enter_steers(turn, state)


def _resumed(turn: TurnState, state: SessionState, at: float) -> None:
    if turn.phase != "parked":
        raise illegal("a turn resumes that is not parked")
    turn.rested_s += at - turn.parked_at
    if turn.awaited:
        turn.phase = "tools"
        turn.asked_again += 1
        return
    step_over(turn, state)


# --- the view ---------------------------------------------------------------------------------------------------------


def _compacted(state: SessionState, entry: Compacted) -> None:
    if not state.change.covers <= entry.change.covers <= len(state.history):
        raise illegal("a compaction covers what is not there")
    turn = state.turn if state.running else None
    count(turn, state, entry.usage)
    state.views.append(View(then(state.change, entry.change), state.turns))
    state.context_tokens = entry.after_tokens or None
    _show(state)
    if turn is not None and entry.trigger != "manual":  # one by hand meets a model call under way, which goes on
        turn.overflow = None
        _ask_again(turn, state)


def _ask_again(turn: TurnState, state: SessionState) -> None:
    """The model call that waited for a compaction is due; what the user has added meanwhile is part of it."""
    turn.asked_again += 1
    turn.compacted_step = turn.step
    if turn.phase == "model":
        enter_steers(turn, state)


def _rewound(state: SessionState, to: int) -> None:
    if state.running:
        raise illegal("a running turn cannot be taken back")
    kept, shown = back_to(state.history, state.views, to)
    del state.history[kept:], state.views[shown:]
    state.context_tokens = None
    _show(state)


def _show(state: SessionState) -> None:
    """Make the transcript anew."""
    state.base += 1
    change = state.change
    state.transcript = state.history if change == WHOLE else project(state.history, change)
