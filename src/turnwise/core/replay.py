"""A journal run through the turn machine again: from what happened to what followed, without a model, a tool or a clock.

Each entry that records an input is turned back into that input and fed; what the machine makes of it must be the entries that
the journal has. So a replay proves that journal and machine agree, and gives the transcript, the results and the journalled events.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

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
    Recovered,
    Resumed,
    Rewound,
    SettingsChanged,
    TurnContinued,
)
from .decide_reply import NOT_AS_ASKED
from .entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    Interrupted,
    PartialKept,
    SessionCreated,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from .errors import ErrorInfo, StateError
from .events import Event, TurnFinished
from .evolve import evolve
from .inputs import (
    CallBegins,
    CallEnded,
    Continue,
    Halted,
    Input,
    Interrupt,
    ModelFailed,
    ModelReplied,
    Steer,
    UserInput,
)
from .inputs_rare import (
    Approve,
    CallWaits,
    ChangeSettings,
    Clear,
    CompactionEnded,
    Decide,
    Deny,
    DropFollowUps,
    FollowUp,
    LimitHit,
    Recover,
    Resume,
    Rewind,
    SpentElsewhere,
    Stop,
    UndoCompaction,
)
from .limits import Retry
from .loops import Loops
from .result import TurnResult
from .state import SessionState, TurnState
from .turn import Machine, Policy


class Replayed(msgspec.Struct, frozen=True):
    """What a journal comes to: the state it leads to, the events that it told, and the result of each turn that ended."""

    state: SessionState
    events: list[Event]
    results: list[TurnResult]


def replay(journal: Sequence[Entry]) -> Replayed:
    """Run the machine over a whole journal again. Pure.

    Raises `StateError`: `illegal_entry` for a journal that breaks a rule, `replay_differs` for one whose entries are not what
    follows from its inputs; both name the entry.
    """
    if not journal or type(journal[0]) is not SessionCreated:
        raise _differs(1, "a journal begins with the creation of its session")
    machine = Machine(SessionState(), Policy())
    evolve(machine.state, journal[0])
    events: list[Event] = []
    at = 1
    while at < len(journal):
        given, now, machine.policy = _recorded(journal, at, machine.state)
        folded = machine.feed(given, now)
        made = folded.entries
        if not made or list(journal[at : at + len(made)]) != made:
            raise _differs(at + 1, f"{type(journal[at]).__name__} does not follow from {type(given).__name__}")
        events += folded.events
        at += len(made)
    return Replayed(machine.state, events, [e.result for e in events if type(e) is TurnFinished])


def _recorded(journal: Sequence[Entry], at: int, state: SessionState) -> tuple[Input, float, Policy]:
    """The input that an entry records, when it came, and a policy that decides as was decided then."""
    entry, plain = journal[at], Policy()
    if type(entry) is InputAccepted:
        said = UserInput(entry.message.body, entry.limits, entry.client_ref, entry.queued)
        return said, entry.message.created_at or 0.0, plain
    if type(entry) is StepCommitted:
        replied = ModelReplied(entry.message, _refused(journal, at), entry.context_limit)
        return replied, _time_after(journal, at), _policy_at(journal, at, entry.answer)
    if type(entry) is CallStarted:
        digest, idempotent = entry.arguments_sha256, entry.idempotent
        begins = CallBegins(entry.call_id, digest, idempotent, entry.read_only, entry.name, entry.arguments)
        return begins, entry.at, plain
    if type(entry) is CallOutcome:
        ends = _refused(journal, at) is not None
        return CallEnded(entry.result, entry.final), entry.at, Policy(corrections=0 if ends else 10**9)
    if type(entry) is SteerAccepted:
        if entry.message.mark == "problem":
            reply = journal[at + 1] if at + 1 < len(journal) else None
            if type(reply) is not StepCommitted:
                raise _differs(at + 1, "a problem is told without an answer that has it")
            given = ModelReplied(reply.message, entry.message.text, reply.context_limit)
            return given, entry.message.created_at or 0.0, Policy(corrections=10**9)
        return (
            Steer(entry.message.body, entry.client_ref, entry.skip, entry.at_once),
            entry.message.created_at or 0.0,
            plain,
        )
    if type(entry) is Interrupted:
        return Interrupt(entry.cause, entry.keep), entry.at, plain
    if type(entry) is AttemptFailed and state.turn is not None:
        return (*_failed(entry, state.turn), _policy_of(entry, state.turn))
    if type(entry) is PartialKept or type(entry) is TurnEnded:
        return (*_ended(journal, at, state), plain)
    if type(entry) is Compacted or type(entry) is CompactionFailed:
        return _compaction(entry, state.base), entry.at, plain
    return (*_rare(entry, at), plain)


def _rare(entry: Entry, at: int) -> tuple[Input, float]:
    match entry:
        case CallWaiting():
            until = entry.expires_at
            return CallWaits(entry.call_id, entry.kind, entry.reason, until, entry.name, entry.arguments), entry.at
        case ApprovalAnswered(allowed=True):
            return Approve(entry.call_id, entry.arguments, entry.reason, entry.by), entry.at
        case ApprovalAnswered():
            return Deny(entry.call_id, entry.reason, entry.expired, entry.by), entry.at
        case Decided():
            return _decide(entry), entry.at
        case Resumed():
            return Resume(), entry.at
        case Recovered():
            return Recover(entry.number - 1 if entry.given_up else entry.number), entry.at
        case TurnContinued():
            return Continue(entry.limits, entry.client_ref), entry.at
        case FollowUpQueued():
            return FollowUp(entry.message.body, entry.client_ref), entry.at
        case FollowUpsDropped():
            return DropFollowUps(entry.numbers), entry.at
        case LimitReached():
            return LimitHit(entry.cause), entry.at
        case NestedSpent():
            return SpentElsewhere(entry.usage, entry.steps, entry.calls), entry.at
        case SettingsChanged():
            return ChangeSettings(entry.settings, entry.by), entry.at
        case Cleared():
            return Clear(), entry.at
        case Rewound():
            return Rewind(entry.to), entry.at
        case CompactionUndone():
            return UndoCompaction(), entry.at
        case _:
            raise _differs(at + 1, f"{type(entry).__name__} records no input")


def _decide(entry: Decided) -> Decide:
    return Decide(**{name: getattr(entry, name) for name in Decide.__struct_fields__})


def _compaction(entry: Compacted | CompactionFailed, base: int) -> CompactionEnded:
    if isinstance(entry, CompactionFailed):
        return CompactionEnded(base, entry.trigger, error=entry.error, usage=entry.usage)
    before, after = entry.before_tokens, entry.after_tokens
    return CompactionEnded(base, entry.trigger, entry.change, None, before, after, entry.usage, entry.model)


def _refused(journal: Sequence[Entry], at: int) -> str | None:
    """What was wrong with an answer that ended its turn for not being what was asked for."""
    follows = journal[at + 1] if at + 1 < len(journal) else None
    error = follows.error if type(follows) is TurnEnded else None
    return error.message.removeprefix(NOT_AS_ASKED) if error is not None and error.code == "invalid_output" else None


def _policy_at(journal: Sequence[Entry], at: int, answer: str) -> Policy:
    """A policy that finds the loop which was found then, if one was, and knows the tool by which the answer is given."""
    follows = journal[at + 1] if at + 1 < len(journal) else None
    if type(follows) is not LoopFound:
        return Policy(answer=answer)
    return Policy(loops=Loops(follows.repeats, follows.period, follows.action), answer=answer)


def _time_after(journal: Sequence[Entry], at: int) -> float:
    """A response is journalled without the time at which it was folded; what followed from it at once bears that time."""
    follows = journal[at + 1] if at + 1 < len(journal) else None
    timed = (CallOutcome, TurnEnded, LoopFound, LimitReached)
    return follows.at if isinstance(follows, timed) else 0.0


def _failed(entry: AttemptFailed, turn: TurnState) -> tuple[ModelFailed, float]:
    shown = entry.error.commit_phase == "before_commit"
    again = entry.retry_in_s is not None and entry.model == turn.model
    return ModelFailed(entry.error, shown, entry.usage, 1.0, again), entry.at


def _policy_of(entry: AttemptFailed, turn: TurnState) -> Policy:
    """The settings of the turn are not journalled, what they led to is: with this policy the same retry, fallback or end follows."""
    delay = entry.retry_in_s or 0.0
    retry = Retry(10**9, 10**9, delay / 2**turn.tried, max(delay, entry.error.retry_after_s or 0.0), float("inf"))
    moved = entry.retry_in_s is not None and entry.model != turn.model
    restart = "before_commit" if entry.retry_in_s is not None else "before_output"
    return Policy(retry, restart, turn.model + 1 + moved, entry.compact)


def _ended(journal: Sequence[Entry], at: int, state: SessionState) -> tuple[Input, float]:
    """Who ended a turn: a limit or a decision before a model call, or an interrupt that has done its work."""
    entry = journal[at]
    if type(entry) is TurnEnded and state.turn is not None and state.turn.phase == "model":
        ended = LimitHit(entry.cause) if entry.reason == "limit" else Stop(entry.cause, entry.usage)
        return ended, entry.at
    return _halted(journal, at)


def _halted(journal: Sequence[Entry], at: int) -> tuple[Halted, float]:
    """What was left when everything had stopped: the text so far, and how the turn ended."""
    entry = journal[at]
    partial = entry.message if type(entry) is PartialKept else None
    ended = journal[at if partial is None else at + 1] if at + 1 < len(journal) or partial is None else None
    if type(ended) is not TurnEnded:
        raise _differs(at + 1, "text that was kept is followed by the end of its turn")
    if partial is None:
        return Halted(usage=ended.usage, error=ended.error), ended.at
    said = partial.response
    return Halted(partial.text, said.model, said.provider, ended.usage, ended.error), ended.at


def _differs(number: int, what: str) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "replay_differs",
            f"Entry {number} of the journal is not what the machine makes of it: {what}.",
            "The journal was changed, or written by another version.",
        )
    )
