"""The state of a session, and `evolve`, the only thing that changes it.

State is a fold of journal entries: live and resumed sessions run the same code, so they cannot drift apart. `evolve` also
checks every entry against the state it meets (rules T1, T3, T4), so a journal that breaks a rule is refused where it breaks.

The transcript is valid at every moment: a response that asks for tools waits in `TurnState.saying` and enters the
transcript together with the outcomes of all its calls. A `SessionState` has one owner, which hands in its only
reference: `evolve` works in place, so that a turn costs the same however long the conversation is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .content import ToolCall
from .entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    InterruptCause,
    Interrupted,
    PartialKept,
    SessionCreated,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from .errors import ErrorInfo, StateError
from .limits import Limits
from .messages import AssistantMessage, Message, ToolMessage, UserMessage
from .outcomes import ToolResult
from .principal import LOCAL, Principal
from .repair import last_turn
from .result import TurnReason
from .usage import NO_USAGE, Usage

Phase = Literal["model", "tools", "done", "ending", "ended"]
"""Waiting for a response; for outcomes; for nothing (the answer is final); for the clean-up after an interrupt; over."""


class CallState(msgspec.Struct):
    """One call of the step whose outcomes are awaited."""

    call: ToolCall
    started: bool = False
    result: ToolResult | None = None


class TurnState(msgspec.Struct):
    """The turn that runs, or the last one. `step` and `attempt` number the model call that is due or under way, `model` is the
    number of the model it goes to, `tried` how often this step has failed with that model."""

    number: int
    limits: Limits
    first: int
    phase: Phase = "model"
    step: int = 1
    attempt: int = 1
    model: int = 0
    tried: int = 0
    steps: int = 0
    calls: int = 0
    retries: int = 0
    saying: AssistantMessage | None = None
    awaited: list[CallState] = []
    steers: list[UserMessage] = []
    steered: int = 0
    interrupt: InterruptCause | None = None
    last: AssistantMessage | None = None
    usage: Usage = NO_USAGE
    reason: TurnReason = "completed"
    cause: str = ""
    error: ErrorInfo | None = None

    def call(self, call_id: str) -> CallState:
        """The awaited call of that id; raises `StateError` if the step has none."""
        for state in self.awaited:
            if state.call.id == call_id:
                return state
        raise _illegal(f"no call {call_id!r} is open in turn {self.number}")


class SessionState(msgspec.Struct):
    """A session as its journal tells it. `seq` is the number of the last entry."""

    id: str = ""
    principal: Principal = LOCAL
    seq: int = 0
    transcript: list[Message] = []
    turns: int = 0
    turn: TurnState | None = None
    usage: Usage = NO_USAGE

    @property
    def running(self) -> bool:
        return self.turn is not None and self.turn.phase != "ended"


def evolve(state: SessionState, entry: Entry) -> None:
    """Fold one entry into the state, in place. Raises `StateError` (`illegal_entry`) if it cannot follow what came before;
    the state is then unchanged."""
    if type(entry) is CallOutcome:
        _outcome(_running(state), state, entry.result, entry.at)
    elif type(entry) is CallStarted:
        _call_started(_running(state), entry.call_id)
    elif type(entry) is StepCommitted:
        _step_committed(_running(state), state, entry.message)
    elif type(entry) is InputAccepted:
        _input(state, entry)
    elif type(entry) is TurnEnded:
        _turn_ended(_running(state), state, entry)
    else:
        _rare(state, entry)
    state.seq += 1


def fold(entries: list[Entry]) -> SessionState:
    """The state that a whole journal tells."""
    state = SessionState()
    for entry in entries:
        evolve(state, entry)
    return state


# --- one entry each -------------------------------------------------------------------------------------------------


def _input(state: SessionState, entry: InputAccepted) -> None:
    if state.running:
        raise _illegal("an input while a turn runs")
    number = entry.message.turn
    if number <= state.turns:
        raise _illegal(f"turn number {number} again, after {state.turns}")
    state.turn = TurnState(number, entry.limits, len(state.transcript))
    state.turns = number
    state.transcript.append(entry.message)


def _step_committed(turn: TurnState, state: SessionState, message: AssistantMessage) -> None:
    if turn.phase != "model":
        raise _illegal(f"a response in phase {turn.phase!r}")
    calls = message.tool_calls
    if len({call.id for call in calls}) != len(calls):
        raise _illegal("two calls of one step share an id")
    turn.steps += 1
    turn.last = message
    _count(turn, state, message.usage)
    if calls:
        turn.saying = message
        turn.awaited = [CallState(call) for call in calls]
        turn.calls += len(calls)
        turn.phase = "tools"
        return
    if message.body:
        state.transcript.append(message)
    if _enter_steers(turn, state) or message.stop_reason == "pause":
        _next_step(turn)
    else:
        turn.phase = "done"


def _call_started(turn: TurnState, call_id: str) -> None:
    call = turn.call(call_id)
    if call.started or call.result is not None:
        raise _illegal(f"call {call_id!r} starts a second time")
    call.started = True


def _outcome(turn: TurnState, state: SessionState, result: ToolResult, at: float) -> None:
    call = turn.call(result.call_id)
    if call.result is not None:
        raise _illegal(f"call {result.call_id!r} has an outcome already")
    call.result = result
    for other in turn.awaited:
        if other.result is None:
            return
    results = tuple([c.result for c in turn.awaited if c.result is not None])
    assert turn.saying is not None
    state.transcript.append(turn.saying)
    state.transcript.append(ToolMessage(results, turn.number, turn.step, at))
    turn.saying = None
    turn.awaited = []
    if turn.phase == "tools":
        _enter_steers(turn, state)
        _next_step(turn)


def _turn_ended(turn: TurnState, state: SessionState, entry: TurnEnded) -> None:
    if turn.awaited:
        raise _illegal(f"turn {turn.number} ends with open calls")
    _enter_steers(turn, state)
    _count(turn, state, entry.usage)
    turn.phase = "ended"
    turn.reason, turn.cause, turn.error = entry.reason, entry.cause, entry.error


def _rare(state: SessionState, entry: Entry) -> None:
    match entry:
        case SessionCreated():
            if state.seq:
                raise _illegal("a session is created twice")
            state.id, state.principal = entry.session, entry.principal
            state.transcript = list(entry.history)
            state.turns = last_turn(entry.history)
        case SteerAccepted(message=message):
            turn = _running(state)
            turn.steers.append(message)
            turn.steered += 1
        case AttemptFailed(usage=usage, retry_in_s=retry_in_s, model=model):
            turn = _running(state)
            _count(turn, state, usage)
            if retry_in_s is not None:
                turn.attempt += 1
                turn.retries += 1
                turn.tried = turn.tried + 1 if model == turn.model else 0
                turn.model = model
                _enter_steers(turn, state)
        case Interrupted(cause=cause):
            turn = _running(state)
            turn.phase, turn.interrupt = "ending", cause
        case PartialKept(message=message):
            turn = _running(state)
            if turn.awaited:
                raise _illegal("a partial message while calls are open")
            turn.last = message
            state.transcript.append(message)
        case _:
            raise _illegal(f"an entry of unknown type {type(entry).__name__}")


# --- shared -------------------------------------------------------------------------------------------------------


def _running(state: SessionState) -> TurnState:
    turn = state.turn
    if turn is None or turn.phase == "ended":
        raise _illegal("no turn is running")
    return turn


def _next_step(turn: TurnState) -> None:
    turn.step += 1
    turn.attempt = 1
    turn.tried = 0
    turn.phase = "model"


def _enter_steers(turn: TurnState, state: SessionState) -> bool:
    if not turn.steers:
        return False
    state.transcript.extend(turn.steers)
    turn.steers = []
    return True


def _count(turn: TurnState, state: SessionState, usage: Usage | None) -> None:
    if usage is not None:
        turn.usage = usage if turn.usage is NO_USAGE else turn.usage + usage
        state.usage = usage if state.usage is NO_USAGE else state.usage + usage


def _illegal(what: str) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "illegal_entry",
            f"The journal cannot go on like this: {what}.",
            "This is a defect of the program that wrote the entry; the entries before it are intact.",
        )
    )
