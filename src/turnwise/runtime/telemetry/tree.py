"""A session's journal as a tree of turns, steps, attempts and calls, with what each took: what `turnwise trace` prints. No OpenTelemetry.

Everything here is read off entries, so it holds for any session of any store, whenever it ran. Times are Unix seconds. A failed attempt is
journalled when it ends: it began when its step was due, or when it was to be tried again. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.changes import (
    ApprovalAnswered,
    CallWaiting,
    Cleared,
    Compacted,
    CompactionFailed,
    LimitReached,
    LoopFound,
    NestedSpent,
    Parked,
    Recovered,
    Resumed,
    Rewound,
    TurnContinued,
)
from ...core.entries import (
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
from ...core.errors import ErrorInfo
from ...core.outcomes import explain
from ...core.usage import NO_USAGE, Usage
from ...models.secrets import mask, masked


class TracedCall(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A tool call. `began_at` is None if it never ran, or has not begun; `outcome` is "" while it has none; `problem` says what was wrong."""

    id: str
    name: str
    outcome: str = ""
    problem: str = ""
    began_at: float | None = None
    ended_at: float | None = None
    began_again: int = 0


class TracedAttempt(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One try of a model call. `error` is set if it failed, `retry_in_s` if it was tried again then."""

    number: int
    provider: str = ""
    model: str = ""
    began_at: float | None = None
    ended_at: float | None = None
    usage: Usage | None = None
    stop_reason: str = ""
    partial: bool = False
    error: ErrorInfo | None = None
    retry_in_s: float | None = None


class TracedStep(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A model call with all its tries, and the calls that it asked for."""

    number: int
    attempts: list[TracedAttempt] = []
    calls: list[TracedCall] = []

    @property
    def usage(self) -> Usage:
        """What all tries took."""
        return _sum([attempt.usage for attempt in self.attempts])


class Note(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Something else that happened in a turn: a compaction, a recovery, a steer … `usage` is what it took of its own."""

    at: float | None
    what: str
    text: str = ""
    usage: Usage | None = None


class TracedTurn(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A turn. `reason` is "" while it runs; `rested_s` is for how long it was parked; `undone`: it was taken back later."""

    number: int
    began_at: float | None = None
    ended_at: float | None = None
    rested_s: float = 0.0
    reason: str = ""
    cause: str = ""
    error: ErrorInfo | None = None
    undone: bool = False
    usage: Usage = NO_USAGE
    steps: list[TracedStep] = []
    notes: list[Note] = []

    @property
    def calls(self) -> int:
        return sum([len(step.calls) for step in self.steps])


class SessionTrace(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a journal tells of a session's turns."""

    session: str = ""
    agent: str = ""
    began_at: float | None = None
    usage: Usage = NO_USAGE
    turns: list[TracedTurn] = []


def trace_of(entries: Iterable[Entry]) -> SessionTrace:
    """The tree that a journal, from its first entry on, tells. Errors in it have no secrets."""
    tree = _Tree()
    for entry in entries:
        tree.take(entry)
    return tree.trace


class _Tree:
    """The tree so far. `due_at` is since when the next model call is due."""

    def __init__(self) -> None:
        self.trace = SessionTrace()
        self._turn = TracedTurn(number=0)
        self._due_at: float | None = None
        self._parked_at: float | None = None

    def take(self, entry: Entry) -> None:
        match entry:
            case SessionCreated():
                self.trace.session, self.trace.agent, self.trace.began_at = entry.session, entry.agent, entry.at
            case InputAccepted(message=message):
                self._begin(message.turn, message.created_at)
            case TurnContinued():
                self._begin(entry.turn, entry.at)
            case AttemptFailed():
                self._failed(entry)
            case StepCommitted(message=message) | PartialKept(message=message):
                self._said(message, entry)
            case CallStarted():
                self._call_began(entry)
            case CallOutcome():
                self._call_ended(entry)
            case TurnEnded():
                self._ended(entry)
            case _:
                self._take_rare(entry)

    def _take_rare(self, entry: Entry) -> None:
        match entry:
            case Parked():
                self._turn.reason, self._turn.ended_at, self._parked_at = "parked", entry.at, entry.at
            case Resumed():
                if self._parked_at is not None:
                    self._turn.rested_s += max(0.0, entry.at - self._parked_at)
                self._turn.reason, self._turn.ended_at, self._parked_at = "", None, None
                self._due_at = entry.at
            case Rewound():
                for turn in self.trace.turns:
                    turn.undone = turn.undone or turn.number > entry.to
            case NestedSpent():
                self._note(entry.at, "nested", _nested(entry), entry.usage)
            case Compacted():
                said = f"{entry.trigger}: about {entry.before_tokens} tokens became {entry.after_tokens}"
                self._note(entry.at, "compacted", said, entry.usage)
            case CompactionFailed():
                self._note(entry.at, "not compacted", mask(entry.error.message), entry.usage)
            case _:
                if (said := _in_words(entry)) is not None:
                    self._note(getattr(entry, "at", None), *said)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin(self, number: int, at: float | None) -> None:
        self._turn = TracedTurn(number=number, began_at=at)
        self._due_at = at
        self.trace.turns.append(self._turn)

    def _ended(self, entry: TurnEnded) -> None:
        turn = self._turn
        turn.reason, turn.cause, turn.ended_at = entry.reason, entry.cause, entry.at
        turn.error = None if entry.error is None else masked(entry.error)
        if entry.usage is not None:
            steps = turn.steps
            if not steps or (steps[-1].attempts and steps[-1].attempts[-1].error is None):
                self._step(len(steps) + 1 if not steps else steps[-1].number + 1)
            attempts = self._turn.steps[-1].attempts
            attempts.append(
                TracedAttempt(
                    number=len(attempts) + 1, began_at=self._due_at, ended_at=entry.at, usage=entry.usage, partial=True
                )
            )
            self._spent(entry.usage)

    def _note(self, at: float | None, what: str, text: str, usage: Usage | None = None) -> None:
        self._turn.notes.append(Note(at=at, what=what, text=text, usage=usage))
        self._spent(usage)

    def _spent(self, usage: Usage | None) -> None:
        if usage is not None:
            self._turn.usage += usage
            self.trace.usage += usage

    # --- steps --------------------------------------------------------------------------------------------------------

    def _step(self, number: int) -> TracedStep:
        steps = self._turn.steps
        if not steps or steps[-1].number != number:
            steps.append(TracedStep(number=number))
        return steps[-1]

    def _failed(self, entry: AttemptFailed) -> None:
        error = masked(entry.error)
        attempt = TracedAttempt(
            number=entry.attempt,
            provider=error.provider,
            model=error.model,
            began_at=self._due_at,
            ended_at=entry.at,
            usage=entry.usage,
            error=error,
            retry_in_s=entry.retry_in_s,
        )
        self._step(entry.step).attempts.append(attempt)
        self._due_at = entry.at + (entry.retry_in_s or 0.0)
        self._spent(entry.usage)

    def _said(self, message: Any, entry: StepCommitted | PartialKept) -> None:
        step, said = self._step(message.step), message.response
        began = [at for at in (self._due_at, message.created_at) if at is not None]
        step.attempts.append(
            TracedAttempt(
                number=entry.attempt if isinstance(entry, StepCommitted) else len(step.attempts) + 1,
                provider=said.provider,
                model=said.model,
                began_at=max(began, default=None),
                ended_at=said.completed_at,
                usage=said.usage,
                stop_reason="" if message.partial else said.stop_reason,
                partial=message.partial,
            )
        )
        step.calls = [TracedCall(id=call.id, name=call.name) for call in message.tool_calls]
        self._due_at = said.completed_at
        self._spent(said.usage)

    def _call(self, call_id: str, name: str) -> TracedCall:
        for step in reversed(self._turn.steps):
            for call in step.calls:
                if call.id == call_id:
                    return call
        step = self._turn.steps[-1] if self._turn.steps else self._step(1)
        step.calls.append(TracedCall(id=call_id, name=name))
        return step.calls[-1]

    def _call_began(self, entry: CallStarted) -> None:
        call = self._call(entry.call_id, entry.name)
        call.began_at = entry.at
        call.began_again += entry.again

    def _call_ended(self, entry: CallOutcome) -> None:
        result = entry.result
        call = self._call(result.call_id, entry.name)
        call.outcome, call.ended_at = str(result.outcome.__struct_config__.tag), entry.at
        call.problem = mask(explain(result.outcome)) if result.is_error else ""
        self._due_at = entry.at


def _in_words(entry: Entry) -> tuple[str, str] | None:
    """What a note says of an entry; None if nothing need be said."""
    match entry:
        case Interrupted(cause=cause):
            return "interrupted", cause
        case SteerAccepted():
            return "steered", ""
        case LimitReached(cause=cause):
            return "limit reached", cause
        case LoopFound():
            return (
                "loop",
                f"{', '.join(entry.names)}: {entry.period} steps, {entry.repeats} times in a row; {entry.action}",
            )
        case CallWaiting():
            return "waits", f"{entry.call_id} {entry.name}: {entry.kind}"
        case ApprovalAnswered():
            return ("allowed" if entry.allowed else "denied"), f"{entry.call_id}{' (expired)' if entry.expired else ''}"
        case Recovered():
            return "recovered", f"for the {entry.number}. time" + ("; given up" if entry.given_up else "")
        case Cleared():
            return "cleared", ""
        case _:
            return None


def _nested(entry: NestedSpent) -> str:
    return f"{entry.steps} steps and {entry.calls} calls of runs that tools started"


def _sum(usages: Iterable[Usage | None]) -> Usage:
    total = NO_USAGE
    for usage in usages:
        if usage is not None:
            total += usage
    return total
