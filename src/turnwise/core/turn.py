"""The turn machine: one pure state machine runs the loop for every caller.

Theory of operation. An input (`Input`) is something that happened: the user spoke, a response is complete or failed, a call
ended, someone interrupts. `decide` says which entries follow from it; each entry is folded by `evolve` at once; `settle`
adds what then follows by itself (a limit is reached, the answer is final); `Machine.feed` compares what the state now wants
with what was asked for before and returns the difference as effects. So the effects after a crash are found the same way as those after
an input: a machine on a folded journal wants what is due.

    phase    input             entries                                        then
    -        UserInput         InputAccepted                                  model
    model    ModelReplied      StepCommitted (+ outcomes of calls not to run) tools | model (pause, steer) | done
    model    ModelFailed       AttemptFailed                                  model (retry) | ended (error)
    tools    CallBegins        CallStarted                                    tools
    tools    CallEnded         CallOutcome                                    tools | model when it was the last
    model    (limit reached)   TurnEnded                                      ended
    done     (at once)         TurnEnded                                      ended
    any      Steer             SteerAccepted                                  enters before the next model call
    any      Interrupt         Interrupted                                    ending; nothing new is started
    ending   CallEnded         CallOutcome                                    ending
    ending   Halted            CallOutcome (open calls), PartialKept, TurnEnded   ended

Everything else is ignored: a late response or outcome cannot hurt a turn that has moved on. The machine is the one owner
of retries (rule H3): the driver waits when told and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .content import ToolCall, UserBlock
from .entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    InterruptCause,
    Interrupted,
    PartialKept,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from .errors import ErrorInfo
from .events import Event
from .limits import Again, Limits, Restart, Retry, next_try
from .messages import AssistantMessage, ResponseInfo, UserMessage
from .narrate import narrate
from .outcomes import Cancelled, Denied, Outcome, ToolResult
from .outcomes import result_of as no_result
from .state import SessionState, TurnState, evolve
from .usage import Usage

# --- inputs ---------------------------------------------------------------------------------------------------------


class UserInput(msgspec.Struct, frozen=True, gc=False):
    """The user speaks and a turn begins."""

    body: str | tuple[UserBlock, ...]
    limits: Limits


class ModelReplied(msgspec.Struct, frozen=True, gc=False):
    """A response is complete."""

    message: AssistantMessage


class ModelFailed(msgspec.Struct, frozen=True, gc=False):
    """A model call failed. `shown`: watchers have seen output of it. `draw` is a random number in [0, 1) for the jitter;
    `may_retry` is false when the provider's shared retry budget is spent."""

    error: ErrorInfo
    shown: bool = False
    usage: Usage | None = None
    draw: float = 1.0
    may_retry: bool = True


class CallBegins(msgspec.Struct, frozen=True, gc=False):
    """A call passed every check and is about to run."""

    call_id: str
    arguments_sha256: str
    idempotent: bool = False


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """A call has its outcome."""

    result: ToolResult


class Steer(msgspec.Struct, frozen=True, gc=False):
    """The user adds to the running turn."""

    body: str | tuple[UserBlock, ...]


class Interrupt(msgspec.Struct, frozen=True, gc=False):
    """The turn is to end now."""

    cause: InterruptCause = "user"


class Halted(msgspec.Struct, frozen=True, gc=False):
    """After an interrupt: everything that ran has stopped or was abandoned. `text` is what the response had said so far."""

    text: str | None = None
    model: str = ""
    provider: str = ""
    usage: Usage | None = None
    error: ErrorInfo | None = None


Input = UserInput | ModelReplied | ModelFailed | CallBegins | CallEnded | Steer | Interrupt | Halted

# --- effects --------------------------------------------------------------------------------------------------------


class CallModel(msgspec.Struct, frozen=True, gc=False):
    """Send the transcript to model number `model` of the agent's, after `delay_s`."""

    turn: int
    step: int
    attempt: int
    delay_s: float = 0.0
    model: int = 0


class RunTool(msgspec.Struct, frozen=True, gc=False):
    """Run this call, or say why not; its end comes back as `CallEnded`."""

    call: ToolCall


class Halt(msgspec.Struct, frozen=True, gc=False):
    """Stop everything that runs for the turn, then say `Halted`."""

    cause: InterruptCause


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The turn is over."""


Effect = CallModel | RunTool | Halt | Finish

CUT_OFF = frozenset(("length", "content_filter", "refusal"))
"""Stop reasons after which the calls of a response are not run (rule S7): their arguments may be incomplete."""


class Policy(msgspec.Struct, frozen=True, gc=False):
    """How failed model calls are treated in a turn; `models` is how many there are to fall back on, the first included."""

    retry: Retry = Retry()
    restart: Restart = "before_output"
    models: int = 1


class Folded(msgspec.Struct, frozen=True, gc=False):
    """What came of an input: entries to append, in order; events to tell and effects to carry out once they are durable."""

    entries: list[Entry]
    events: list[Event]
    effects: list[Effect]


NOTHING = Folded([], [], [])
"""What comes of an input that is too late or does not apply."""


class Machine:
    """A session's state and what was already asked of the driver for it; the latter is never persisted.

    What the state wants depends on turn, phase, step and attempt alone, so the driver is asked once for each of them.
    """

    __slots__ = ("_asked", "policy", "state")

    def __init__(self, state: SessionState, policy: Policy) -> None:
        self.state = state
        self.policy = policy
        turn = state.turn
        self._asked = _due(turn) if turn is not None and turn.phase == "ended" else None

    def feed(self, given: Input, now: float) -> Folded:
        """Fold one input, at wall time `now`."""
        return self.feed_all((given,), now)

    def feed_all(self, inputs: Sequence[Input], now: float) -> Folded:
        """Fold inputs that came at once, in order; what they lead to is asked for once, after the last."""
        state, policy = self.state, self.policy
        entries: list[Entry] = []
        events: list[Event] = []
        for given in inputs:
            for entry in decide(state, given, now, policy):
                evolve(state, entry)
                entries.append(entry)
                events += narrate(entry, state)
        if not entries:
            return NOTHING
        turn = state.turn
        if turn is not None and turn.phase != "tools":
            ended = settle(turn, now)
            if ended is not None:
                evolve(state, ended)
                entries.append(ended)
                events += narrate(ended, state)
        return Folded(entries, events, self.wants(entries))

    def wants(self, entries: list[Entry] | None = None) -> list[Effect]:
        """What the state wants and was not asked for yet. `entries` are those just folded: a retry's delay is in them."""
        turn = self.state.turn
        if turn is None or (due := _due(turn)) == self._asked:
            return []
        self._asked = due
        match turn.phase:
            case "model":
                return [CallModel(turn.number, turn.step, turn.attempt, _delay(entries or []), turn.model)]
            case "tools":
                return [RunTool(c.call) for c in turn.awaited if c.result is None and not c.started]
            case "ending":
                return [Halt(_cause(turn))]
            case "ended":
                return [Finish()]
            case "done":
                return []


def _due(turn: TurnState) -> tuple[int, str, int, int]:
    return turn.number, turn.phase, turn.step, turn.attempt


# --- what follows from an input -------------------------------------------------------------------------------------


def decide(state: SessionState, given: Input, now: float, policy: Policy) -> list[Entry]:
    """The entries that follow directly from an input; empty if it comes too late or does not apply."""
    if type(given) is UserInput:
        return [] if state.running else [_accept(state, given, now)]
    turn = state.turn
    if turn is None or turn.phase == "ended":
        return []
    if type(given) is CallEnded:
        return _outcome(turn, given.result, now)
    if type(given) is CallBegins:
        return _begin(turn, given, now)
    if type(given) is ModelReplied:
        return _commit(turn, given.message, now) if turn.phase == "model" else []
    match given:
        case ModelFailed():
            return _failed(turn, given, now, policy) if turn.phase == "model" else []
        case Steer(body=body):
            return [] if turn.phase == "ending" else [SteerAccepted(_steer_message(turn, body, now))]
        case Interrupt(cause=cause):
            return [] if turn.phase == "ending" else [Interrupted(turn.number, cause, now)]
        case Halted():
            return _halted(turn, given, now) if turn.phase == "ending" else []
        case _:
            return []


def settle(turn: TurnState, now: float) -> TurnEnded | None:
    """The end of the turn, if it is due: the answer is final, or the next model call would pass a limit (rule E9)."""
    if turn.phase == "done":
        last = turn.last
        cause = last.stop_reason if last is not None and last.stop_reason in CUT_OFF else ""
        return TurnEnded(turn.number, "completed", now, cause)
    if turn.phase != "model" or turn.attempt > 1:
        return None
    limits = turn.limits
    if limits.calls is not None and turn.calls > limits.calls:
        return TurnEnded(turn.number, "limit", now, "calls")
    if limits.steps is not None and turn.steps >= limits.steps:
        return TurnEnded(turn.number, "limit", now, "steps")
    last = turn.last
    if last is not None and last.stop_reason in ("content_filter", "refusal"):
        return TurnEnded(turn.number, "completed", now, last.stop_reason)
    return None


def _accept(state: SessionState, given: UserInput, now: float) -> InputAccepted:
    return InputAccepted(UserMessage(given.body, state.turns + 1, 1, 0, now), given.limits)


def _commit(turn: TurnState, message: AssistantMessage, now: float) -> list[Entry]:
    entries: list[Entry] = [StepCommitted(message, turn.attempt)]
    calls = message.tool_calls
    if not calls:
        return entries
    if message.stop_reason in CUT_OFF:
        why = Cancelled(
            f"the response was cut off ({message.raw_stop_reason or message.stop_reason}), so its calls were not run"
        )
        return entries + [_no_run(call, why, now) for call in calls]
    bound = turn.limits.calls
    if bound is not None:
        why = Denied(f"the turn's limit of {bound} tool calls is reached")
        entries += [_no_run(call, why, now) for call in calls[max(0, bound - turn.calls) :]]
    return entries


def _failed(turn: TurnState, given: ModelFailed, now: float, policy: Policy) -> list[Entry]:
    error = msgspec.structs.replace(
        given.error, turn=turn.number, step=turn.step, commit_phase="before_commit" if given.shown else "before_output"
    )
    again = _again(error, turn, given, policy)
    if again is None:
        failed = AttemptFailed(turn.number, turn.step, turn.attempt, error, now, given.usage)
        return [failed, TurnEnded(turn.number, "error", now, error.code, error)]
    return [
        AttemptFailed(turn.number, turn.step, turn.attempt, error, now, given.usage, again.delay_s, again.model),
    ]


def _again(error: ErrorInfo, turn: TurnState, given: ModelFailed, policy: Policy) -> Again | None:
    """Whether the model call is tried again, when, and with which model. See `Retry` for the rule; output that was shown and
    cannot be taken back ends it."""
    if given.shown and policy.restart == "before_output":
        return None
    retry = policy.retry
    return next_try(
        error,
        retry,
        tried=turn.tried + 1,
        draw=given.draw,
        may_retry=given.may_retry and turn.retries < retry.per_turn,
        left=max(0, policy.models - turn.model - 1),
        model=turn.model,
    )


def _begin(turn: TurnState, given: CallBegins, now: float) -> list[Entry]:
    if turn.phase != "tools":
        return []
    name = turn.call(given.call_id).call.name
    return [CallStarted(given.call_id, name, given.arguments_sha256, given.idempotent, now)]


def _outcome(turn: TurnState, result: ToolResult, now: float) -> list[Entry]:
    for state in turn.awaited:
        if state.call.id == result.call_id:
            return [] if state.result is not None else [CallOutcome(result, state.call.name, state.started, now)]
    return []


def _halted(turn: TurnState, given: Halted, now: float) -> list[Entry]:
    why = Cancelled("the turn was interrupted")
    entries: list[Entry] = [_no_run(c.call, why, now, c.started) for c in turn.awaited if c.result is None]
    if given.text and not turn.awaited:
        info = ResponseInfo(given.provider, given.model, usage=given.usage, completed_at=now)
        entries.append(PartialKept(AssistantMessage(given.text, turn.number, turn.step, now, True, info)))
    cause = _cause(turn)
    if given.error is not None:
        entries.append(TurnEnded(turn.number, "error", now, given.error.code, given.error, given.usage))
    else:
        entries.append(
            TurnEnded(turn.number, "timeout" if cause == "timeout" else "interrupted", now, cause, None, given.usage)
        )
    return entries


def _steer_message(turn: TurnState, body: str | tuple[UserBlock, ...], now: float) -> UserMessage:
    return UserMessage(body, turn.number, turn.step, turn.steered + 1, now)


def _no_run(call: ToolCall, outcome: Outcome, now: float, ran: bool = False) -> CallOutcome:
    return CallOutcome(no_result(call.id, outcome), call.name, ran, now)


def _cause(turn: TurnState) -> InterruptCause:
    return turn.interrupt or "user"


def _delay(entries: list[Entry]) -> float:
    for entry in entries:
        if type(entry) is AttemptFailed:
            return entry.retry_in_s or 0.0
    return 0.0
