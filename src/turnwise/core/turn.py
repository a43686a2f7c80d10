"""The turn machine: one pure state machine runs the loop for every caller.

Theory of operation. An input (`core/inputs.py`) is something that happened: the user spoke, a response is complete or failed, a call
ended, someone interrupts. `decide` says which entries follow from it; each entry is folded by `evolve` at once; `settle`
adds what then follows by itself (a limit is reached, the answer is final, everything waits); `Machine.feed` compares what the state now
wants with what was asked for before and returns the difference as effects. So the effects after a crash are found the same way as
those after an input: a machine on a folded journal wants what is due.

    phase    input             entries                                        then
    -        UserInput         InputAccepted                                  model
    model    ModelReplied      StepCommitted (+ outcomes of calls not to run) tools | model (pause, steer) | done
    model    ModelFailed       AttemptFailed                                  model (retry) | ended (error)
    tools    CallBegins        CallStarted                                    tools
    tools    CallWaits         CallWaiting                                    tools | parked when nothing else is open
    tools    CallEnded         CallOutcome                                    tools | model when it was the last
    parked   Approve, CallEnded ApprovalAnswered, CallOutcome                 parked
    parked   Resume            Resumed                                        tools | model
    model    (limit reached)   TurnEnded | LimitReached                       ended | model, to conclude
    done     (at once)         TurnEnded                                      ended
    any      Steer             SteerAccepted                                  enters before the next model call
    any      Interrupt         Interrupted                                    ending; nothing new is started
    any      Recover           Recovered (+ outcomes of calls that got lost)  what was under way is due again | ended
    ending   CallEnded         CallOutcome                                    ending
    ending   Halted            CallOutcome (open calls), PartialKept, TurnEnded   ended

Rarer inputs are decided in `decide_rare`. Everything else is ignored: a late response or outcome cannot hurt a turn that has moved on.
The machine is the one owner of retries (rule H3): the driver waits when told and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .changes import Parked
from .decide_rare import accept, cause_of, decide_rare, halted, limit_entry, no_run, reached, steer
from .decide_reply import beyond_limits, in_circles, loop_ends, no_answer, not_as_asked
from .entries import AttemptFailed, CallOutcome, CallStarted, Entry, Interrupted, StepCommitted, TurnEnded
from .errors import ErrorInfo
from .events import Event
from .evolve import evolve
from .inputs import (
    CallBegins,
    CallEnded,
    CallModel,
    Effect,
    Finish,
    Halt,
    Halted,
    Input,
    Interrupt,
    ModelFailed,
    ModelReplied,
    Park,
    RunTool,
    SkipCalls,
    Steer,
    UserInput,
)
from .limits import Again, Restart, Retry, next_try
from .loops import Loops, detect
from .narrate import narrate
from .outcomes import Cancelled, Denied
from .state import SessionState, TurnState

CUT_OFF = frozenset(("length", "content_filter", "refusal"))
"""Stop reasons after which the calls of a response are not run (rule S7): their arguments may be incomplete."""


class Policy(msgspec.Struct, frozen=True, gc=False):
    """How the machine decides in a turn: on failed model calls (`models` is how many there are to fall back on, the first included;
    `compact`: a transcript that the provider finds too long is compacted), on loops, and on answers that are not what was asked for
    (`corrections` is how often the model is told, `answer` the tool that takes an answer, if there is one)."""

    retry: Retry = Retry()
    restart: Restart = "before_output"
    models: int = 1
    compact: bool = False
    loops: Loops | None = None
    corrections: int = 0
    answer: str = ""


class Folded(msgspec.Struct, frozen=True, gc=False):
    """What came of an input: entries to append, in order; events to tell and effects to carry out once they are durable.
    `counts` is how many of the events each entry gave."""

    entries: list[Entry]
    events: list[Event]
    effects: list[Effect]
    counts: list[int]


NOTHING = Folded([], [], [], [])
"""What comes of an input that is too late or does not apply."""


class Machine:
    """A session's state and what was already asked of the driver for it; the latter is never persisted.

    What the state wants depends on turn, phase, step, attempt and what made them due once more, so the driver is asked once for each
    of them. `_handed` are the calls of the step that the driver has. `resting`: nothing is wanted of a turn that nobody drives, until
    there is an input.
    """

    __slots__ = ("_asked", "_handed", "policy", "state")

    def __init__(self, state: SessionState, policy: Policy, *, resting: bool = False) -> None:
        self.state = state
        self.policy = policy
        turn = state.turn
        resting = resting or (turn is not None and turn.phase in ("ended", "parked"))
        self._asked = _due(turn) if turn is not None and resting else None
        self._handed: set[str] = set()

    def feed(self, given: Input, now: float) -> Folded:
        """Fold one input, at wall time `now`."""
        return self.feed_all((given,), now)

    def feed_all(self, inputs: Sequence[Input], now: float) -> Folded:
        """Fold inputs that came at once, in order; what they lead to is asked for once, after the last."""
        state, policy = self.state, self.policy
        entries: list[Entry] = []
        events: list[Event] = []
        counts: list[int] = []
        for given in inputs:
            for entry in decide(state, given, now, policy):
                evolve(state, entry)
                entries.append(entry)
                told = narrate(entry, state)
                events += told
                counts.append(len(told))
        if not entries:
            return NOTHING
        turn = state.turn
        # A model call that is under way is not weighed again: what is said in the meantime counts before the next one.
        asked = turn is not None and turn.phase == "model" and _due(turn) == self._asked
        if turn is not None and not asked and (settled := settle(turn, now)) is not None:
            evolve(state, settled)
            entries.append(settled)
            told = narrate(settled, state)
            events += told
            counts.append(len(told))
        return Folded(entries, events, self._skipped(inputs) + self.wants(entries), counts)

    def _skipped(self, inputs: Sequence[Input]) -> list[Effect]:
        """The calls that the driver has and need not run, because the user said so."""
        for given in inputs:
            if type(given) is Steer and given.skip:
                return [SkipCalls(tuple(self._handed))]
        return []

    def wants(self, entries: Sequence[Entry] = ()) -> list[Effect]:
        """What the state wants and was not asked for yet. `entries` are those just folded: a retry's delay is in them."""
        turn = self.state.turn
        if turn is None or (due := _due(turn)) == self._asked:
            return []
        if self._asked is None or due[:3] != self._asked[:3]:
            self._handed.clear()
        self._asked = due
        match turn.phase:
            case "model":
                again = turn.compacted_step != turn.step
                compact = turn.overflow is not None
                delay = _delay(entries)
                return [
                    CallModel(turn.number, turn.step, turn.attempt, delay, turn.model, compact, again, turn.concluding)
                ]
            case "tools":
                return self._calls(turn)
            case "ending":
                return [Halt(cause_of(turn))]
            case "ended":
                return [Finish()]
            case "parked":
                return [Park()]
            case "done":
                return []

    def _calls(self, turn: TurnState) -> list[Effect]:
        """The calls that the driver is to run, and does not have yet."""
        handed = self._handed
        due: list[Effect] = []
        for c in turn.awaited:
            if c.result is not None or c.waits is not None or (c.started and not c.again):
                continue
            if c.call.id not in handed or c.allowed:
                handed.add(c.call.id)
                due.append(RunTool(c.call, c.allowed or c.again, c.hooked or c.again))
        return due


def _due(turn: TurnState) -> tuple[int, int, str, int, int]:
    return turn.number, turn.step, turn.phase, turn.attempt, turn.asked_again


# --- what follows from an input -------------------------------------------------------------------------------------


def decide(state: SessionState, given: Input, now: float, policy: Policy) -> list[Entry]:
    """The entries that follow directly from an input; empty if it comes too late or does not apply."""
    if type(given) is UserInput:
        return [] if state.running else accept(state, given, now)
    turn = state.turn
    if turn is None or turn.phase == "ended":
        return decide_rare(state, None, given, now)
    if type(given) is CallEnded:
        return _outcome(turn, given, now, policy)
    if type(given) is CallBegins:
        return _begin(turn, given, now)
    if type(given) is ModelReplied:
        return _commit(turn, given, now, policy) if turn.phase == "model" else []
    match given:
        case ModelFailed():
            return _failed(turn, given, now, policy) if turn.phase == "model" else []
        case Steer():
            return [] if turn.phase == "ending" else steer(turn, given, now)
        case Interrupt(cause=cause, keep=keep):
            return [] if turn.phase == "ending" else [Interrupted(turn.number, cause, now, keep)]
        case Halted():
            return halted(turn, given, now) if turn.phase == "ending" else []
        case _:
            return decide_rare(state, turn, given, now)


def settle(turn: TurnState, now: float) -> Entry | None:
    """What follows by itself: the answer is final, all that is open waits for someone, or the next model call would pass a limit
    (rule E9)."""
    if turn.phase == "tools":
        waiting = [c.waits is not None for c in turn.awaited if c.result is None]
        return Parked(turn.number, now) if waiting and all(waiting) else None
    if turn.phase == "done":
        last = turn.last
        cause = last.stop_reason if last is not None and last.stop_reason in CUT_OFF else ""
        if turn.concluding:
            return TurnEnded(turn.number, "limit", now, turn.concluding)
        return TurnEnded(turn.number, "completed", now, cause)
    if turn.phase != "model" or turn.attempt > 1:
        return None
    if turn.concluding:
        done = turn.steps > turn.concluded_at
        return TurnEnded(turn.number, "limit", now, turn.concluding) if done else None
    if cause := reached(turn):
        return limit_entry(turn, cause, now)
    last = turn.last
    if last is not None and last.stop_reason in ("content_filter", "refusal"):
        return TurnEnded(turn.number, "completed", now, last.stop_reason)
    return None


def _commit(turn: TurnState, given: ModelReplied, now: float, policy: Policy) -> list[Entry]:
    message = given.message
    calls, answer = message.tool_calls, policy.answer
    if answer and all(call.name != answer for call in calls):
        answer = ""
    entries: list[Entry] = [StepCommitted(message, turn.attempt, answer, given.context_limit)]
    if not calls:
        return entries if given.problem is None else not_as_asked(turn, entries, given.problem, now, policy.corrections)
    if message.stop_reason in CUT_OFF:
        why = Cancelled(
            f"the response was cut off ({message.raw_stop_reason or message.stop_reason}), so its calls were not run"
        )
        return entries + [no_run(call, why, now) for call in calls]
    if turn.concluding:
        why = Denied("a limit of the turn is reached, so no more tools can be called")
        return entries + [no_run(call, why, now) for call in calls if not answer or call.name != answer]
    if policy.loops is not None and (found := detect([*turn.recent, calls], policy.loops)) is not None:
        looped = in_circles(turn, found, policy.loops.action, now)
        if policy.loops.action == "stop":
            return [*entries, looped, *loop_ends(turn, calls, found, now)]
        entries.append(looped)
    return entries + beyond_limits(turn, calls, now, answer)


def _failed(turn: TurnState, given: ModelFailed, now: float, policy: Policy) -> list[Entry]:
    error = msgspec.structs.replace(
        given.error, turn=turn.number, step=turn.step, commit_phase="before_commit" if given.shown else "before_output"
    )
    compact = error.code == "context_overflow" and policy.compact and not turn.overflowed
    again = Again(0.0, turn.model) if compact else _again(error, turn, given, policy)
    if again is None:
        failed = AttemptFailed(turn.number, turn.step, turn.attempt, error, now, given.usage)
        return [failed, TurnEnded(turn.number, "error", now, error.code, error)]
    return [
        AttemptFailed(
            turn.number, turn.step, turn.attempt, error, now, given.usage, again.delay_s, again.model, compact
        ),
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
    state = turn.find(given.call_id) if turn.phase == "tools" else None
    if state is None or state.result is not None or state.waits is not None:
        return []
    name, digest, changed = given.name or state.call.name, given.arguments_sha256, given.arguments
    return [CallStarted(given.call_id, name, digest, given.idempotent, now, given.read_only, state.again, changed)]


def _outcome(turn: TurnState, given: CallEnded, now: float, policy: Policy) -> list[Entry]:
    state = turn.find(given.result.call_id)
    if state is None or state.result is not None:
        return []
    entries: list[Entry] = [CallOutcome(given.result, state.call.name, state.started, now, given.final)]
    if given.final or turn.problems:
        entries += no_answer(turn, given.result, given.final, now, policy.corrections)
    return entries


def _delay(entries: Sequence[Entry]) -> float:
    for entry in entries:
        if type(entry) is AttemptFailed:
            return entry.retry_in_s or 0.0
    return 0.0
