"""`evolve`, the only thing that changes a session's state, for the entries of every turn; the rarer ones are in `evolve_rare`.

Live and resumed sessions run the same code, so they cannot drift apart. Every entry is checked against the state it meets
(rules T1, T3, T4): a journal that breaks a rule is refused where it breaks. A `SessionState` has one owner, which hands in its only
reference: it is changed in place, so that a turn costs the same however long the conversation is.
"""

from __future__ import annotations

from collections.abc import Iterable

from .entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    StepCommitted,
    TurnEnded,
)
from .errors import illegal
from .evolve_rare import evolve_rare
from .messages import ToolMessage
from .moves import change_call, count, enter_steers, next_step, running, say, step_over
from .outcomes import ToolResult, Unknown, problem_in
from .state import RECENT_STEPS, CallState, SessionState, TurnState


def evolve(state: SessionState, entry: Entry) -> None:
    """Fold one entry into the state, in place. Raises `StateError` (`illegal_entry`) if it cannot follow what came before;
    the state is then unchanged."""
    if type(entry) is CallOutcome:
        _outcome(running(state), state, entry.result, entry.at, entry.final)
    elif type(entry) is CallStarted:
        _call_started(running(state), entry)
    elif type(entry) is StepCommitted:
        _step_committed(running(state), state, entry)
    elif type(entry) is InputAccepted:
        _input(state, entry)
    elif type(entry) is TurnEnded:
        _turn_ended(running(state), state, entry)
    elif type(entry) is AttemptFailed:
        _attempt_failed(running(state), state, entry)
    else:
        evolve_rare(state, entry)
    state.seq += 1


def fold(entries: Iterable[Entry]) -> SessionState:
    """The state that a whole journal tells."""
    state = SessionState()
    for entry in entries:
        evolve(state, entry)
    return state


def _input(state: SessionState, entry: InputAccepted) -> None:
    if state.running:
        raise illegal("an input while a turn runs")
    number = entry.message.turn
    if number <= state.turns:
        raise illegal(f"turn number {number} again, after {state.turns}")
    if entry.queued:
        if not state.queue:
            raise illegal("a follow-up that was not queued")
        del state.queue[0]
    began_at = entry.message.created_at or 0.0
    state.turn = TurnState(number, entry.limits, len(state.history), began_at, client_ref=entry.client_ref)
    state.turns = number
    say(state, entry.message)


def _step_committed(turn: TurnState, state: SessionState, entry: StepCommitted) -> None:
    message, answer = entry.message, entry.answer
    if turn.phase != "model":
        raise illegal(f"a response in phase {turn.phase!r}")
    calls = message.tool_calls
    if len({call.id for call in calls}) != len(calls):
        raise illegal("two calls of one step share an id")
    turn.steps += 1
    turn.recovered = 0
    turn.last = message
    turn.overflow, turn.overflowed = None, False
    state.context_limit = entry.context_limit
    usage = message.usage
    state.requests += 1
    if usage is not None:
        count(turn, state, usage)
        if usage.provenance != "unsent":  # else it says nothing of how long the conversation is
            state.last_usage = usage
            state.context_tokens = usage.total_tokens
    if calls:
        turn.saying = message
        turn.awaited = [CallState(call) for call in calls]
        for call in calls:
            if not answer or call.name != answer:
                turn.calls += 1
                turn.called[call.name] = turn.called.get(call.name, 0) + 1
        turn.recent.append(calls)
        if len(turn.recent) > RECENT_STEPS:
            del turn.recent[0]
        turn.phase = "tools"
        return
    if message.body:
        say(state, message)
    if enter_steers(turn, state) or message.stop_reason == "pause":
        next_step(turn)
    else:
        turn.phase = "done"


def _call_started(turn: TurnState, entry: CallStarted) -> None:
    call = turn.call(entry.call_id)
    if (call.started and not call.again) or call.result is not None:
        raise illegal(f"call {entry.call_id!r} starts a second time")
    if call.waits is not None:
        raise illegal(f"call {entry.call_id!r} starts while it waits for someone")
    if entry.arguments is not None:
        change_call(turn, call, entry.name, entry.arguments)
    call.started, call.idempotent, call.again = True, entry.idempotent, False
    if not entry.read_only:
        turn.changed.append(entry.name)


def _outcome(turn: TurnState, state: SessionState, result: ToolResult, at: float, final: bool) -> None:
    call = turn.call(result.call_id)
    if call.result is not None:
        raise illegal(f"call {result.call_id!r} has an outcome already")
    call.result = result
    call.waits = None
    if turn.recovered and type(result.outcome) is not Unknown:
        turn.recovered = 0
    if final:
        _answered(turn, call)
    for other in turn.awaited:
        if other.result is None:
            return
    results = tuple([c.result for c in turn.awaited if c.result is not None])
    assert turn.saying is not None
    say(state, turn.saying, ToolMessage(results, turn.number, turn.step, at))
    turn.saying = None
    turn.awaited = []
    if turn.phase == "tools":
        step_over(turn, state)


def _answered(turn: TurnState, call: CallState) -> None:
    """A call brought the answer, or one that does not fit."""
    result = call.result
    if result is None or result.is_error:
        turn.problems += 1
        turn.refused = "" if result is None else problem_in(result)
    elif not turn.answered:
        turn.answered, turn.answer = True, call.call.arguments


def _attempt_failed(turn: TurnState, state: SessionState, entry: AttemptFailed) -> None:
    count(turn, state, entry.usage)
    state.requests += 1
    if entry.retry_in_s is None:
        return
    turn.attempt += 1
    turn.retries += 1
    turn.tried = turn.tried + 1 if entry.model == turn.model else 0
    turn.model = entry.model
    if entry.compact:
        turn.overflow, turn.overflowed = entry.error, True
    enter_steers(turn, state)


def _turn_ended(turn: TurnState, state: SessionState, entry: TurnEnded) -> None:
    if turn.awaited:
        raise illegal(f"turn {turn.number} ends with open calls")
    enter_steers(turn, state)
    count(turn, state, entry.usage)
    turn.phase = "ended"
    turn.reason, turn.cause, turn.error = entry.reason, entry.cause, entry.error
