"""What a readable export tells of a session, in order and without any form: who said what, which calls with which results, and what else
a reader should know. Pure; `forms` walks it.

It is told entry by entry, so that no more than one step is held: a step with calls is told when all their outcomes are in. What was taken
back later (`Rewound`) is left out, which is why `rewinds` must be known before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ...core.changes import (
    ApprovalAnswered,
    CallWaiting,
    Cleared,
    Compacted,
    CompactionFailed,
    CompactionUndone,
    Decided,
    LimitReached,
    LoopFound,
    Parked,
    Recovered,
    Resumed,
    Rewound,
    SettingsChanged,
    TurnContinued,
)
from ...core.content import AssistantBlock, ToolCall
from ...core.entries import (
    AttemptFailed,
    CallOutcome,
    Entry,
    InputAccepted,
    Interrupted,
    PartialKept,
    SessionCreated,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ...core.usage import NO_USAGE, Usage


class TurnBegins(msgspec.Struct, frozen=True):
    """A turn begins."""

    number: int
    at: float | None


class UserSaid(msgspec.Struct, frozen=True):
    """A message in the user's place; `steered` if it came in the middle of a turn."""

    message: UserMessage
    steered: bool = False


class ModelSaid(msgspec.Struct, frozen=True):
    """A message of the model, with the results of its calls by the calls' ids; a call without one was still open."""

    message: AssistantMessage
    results: dict[str, ToolResult] = {}


class Remark(msgspec.Struct, frozen=True):
    """What is neither: a turn that ended early, a compaction, an approval. `detail` is text that need not be read."""

    text: str
    at: float | None = None
    is_error: bool = False
    detail: str = ""


Told = TurnBegins | UserSaid | ModelSaid | Remark


class Rewinds:
    """Which turns were taken back, and when: fed with all entries once before the telling."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []

    def look(self, first: int, entries: Iterable[Entry]) -> None:
        for number, entry in enumerate(entries, first):
            if isinstance(entry, Rewound):
                self._found.append((number, entry.to))

    def took_back(self, turn: int, number: int) -> bool:
        """Whether what entry `number` says of this turn does not hold any more."""
        return any(at > number and turn > to for at, to in self._found)


class Account:
    """Tells a journal. `turn` is the one that the last entry belonged to; `usage` and `model_calls` are what all of it came to,
    what was taken back included."""

    def __init__(self, rewinds: Rewinds) -> None:
        self._rewinds = rewinds
        self._step: ModelSaid | None = None
        self._later: list[Told] = []
        self.turn = 0
        self.usage: Usage = NO_USAGE
        self.model_calls = 0

    def tell(self, number: int, entry: Entry) -> list[Told]:
        """What can be told by now; what comes while a step's calls are open is told behind them."""
        self._count(entry)
        self._turn_of(entry)
        if self._rewinds.took_back(self.turn, number) and not isinstance(entry, SessionCreated):
            return self._flush() if isinstance(entry, TurnEnded) else []
        if isinstance(entry, StepCommitted) and entry.message.tool_calls:
            self._step = ModelSaid(entry.message, {})
            return []
        if isinstance(entry, CallOutcome) and self._step is not None:
            self._step.results[entry.result.call_id] = entry.result
            open_calls = any(call.id not in self._step.results for call in self._step.message.tool_calls)
            return [] if open_calls else self._flush()
        if isinstance(entry, ApprovalAnswered) and entry.arguments is not None and self._step is not None:
            self._step = _edited(self._step, entry.call_id, entry.arguments)
        told = list(self._told(number, entry))
        if self._step is None:
            return told
        self._later += told
        return self._flush() if isinstance(entry, TurnEnded) else []

    def end(self) -> list[Told]:
        """What was still held back when the journal ended."""
        return self._flush()

    def _flush(self) -> list[Told]:
        out: list[Told] = [self._step, *self._later] if self._step is not None else self._later
        self._step, self._later = None, []
        return out

    def _count(self, entry: Entry) -> None:
        if isinstance(entry, StepCommitted):
            self.model_calls += 1
            used = entry.message.usage
        else:
            used = getattr(entry, "usage", None)
        if isinstance(used, Usage):
            self.usage = used if self.usage is NO_USAGE else self.usage + used

    def _turn_of(self, entry: Entry) -> None:
        number = getattr(getattr(entry, "message", entry), "turn", 0)
        if number:
            self.turn = number

    def _told(self, number: int, entry: Entry) -> Iterator[Told]:
        match entry:
            case SessionCreated():
                yield from self._before(number, entry)
            case InputAccepted(message=message):
                yield TurnBegins(message.turn, message.created_at)
                yield UserSaid(message)
            case TurnContinued(turn=turn, at=at, message=message):
                yield TurnBegins(turn, at)
                if message is not None:
                    yield UserSaid(message)
            case SteerAccepted(message=message):
                yield UserSaid(message, steered=not message.mark)
            case StepCommitted(message=message) | PartialKept(message=message):
                yield ModelSaid(message)
            case _:
                remark = _remark(entry)
                if remark is not None:
                    yield remark

    def _before(self, number: int, entry: SessionCreated) -> Iterator[Told]:
        kept = [m for m in entry.history if not self._rewinds.took_back(m.turn, number)]
        if entry.forked_from:
            yield Remark(f"Forked from session {entry.forked_from}.", entry.at)
        elif kept:
            yield Remark("What comes first was handed in when the session began.", entry.at)
        yield from _history(kept)


def _edited(step: ModelSaid, call_id: str, arguments: str) -> ModelSaid:
    """What really ran, as the transcript shows it."""
    body: tuple[AssistantBlock, ...] = tuple(
        [
            msgspec.structs.replace(block, arguments=arguments)
            if isinstance(block, ToolCall) and block.id == call_id
            else block
            for block in step.message.content
        ]
    )
    return msgspec.structs.replace(step, message=msgspec.structs.replace(step.message, body=body))


def _history(messages: Sequence[Message]) -> Iterator[Told]:
    """Messages that no entry of this journal tells."""
    for i, message in enumerate(messages):
        if isinstance(message, UserMessage):
            yield UserSaid(message)
        elif isinstance(message, AssistantMessage):
            follows = messages[i + 1] if i + 1 < len(messages) else None
            results = follows.results if isinstance(follows, ToolMessage) else ()
            yield ModelSaid(message, {result.call_id: result for result in results})


def _remark(entry: Entry) -> Remark | None:
    """What a reader should know of an entry that is no message."""
    match entry:
        case CallWaiting(call_id=call_id, name=name, kind=kind, reason=reason, at=at):
            return Remark(f"The call of {name} ({call_id}) waits for {_WAITS_FOR[kind]}{_because(reason)}.", at)
        case ApprovalAnswered(call_id=call_id, allowed=True, arguments=arguments, reason=reason, at=at):
            how = "" if arguments is None else " with other arguments"
            return Remark(f"The call {call_id} was allowed{how}{_because(reason)}.", at, detail=arguments or "")
        case ApprovalAnswered(call_id=call_id, expired=True, at=at):
            return Remark(f"Nobody allowed the call {call_id} in time.", at)
        case ApprovalAnswered(call_id=call_id, reason=reason, at=at):
            return Remark(f"The call {call_id} was not allowed{_because(reason)}.", at)
        case Decided():
            return _decided(entry)
        case Parked(at=at):
            return Remark("The turn is parked.", at)
        case Resumed(at=at):
            return Remark("The turn goes on.", at)
        case Recovered(at=at, given_up=True):
            return Remark("The process was gone once more; the turn was given up.", at, is_error=True)
        case Recovered(at=at):
            return Remark("The process was gone in the middle of the turn, which goes on here.", at)
        case Interrupted(cause=cause, at=at):
            return Remark(f"The turn was interrupted ({cause}).", at)
        case LimitReached(cause=cause, at=at):
            return Remark(f"The limit of {cause} is reached: the model is asked to conclude.", at)
        case LoopFound(names=names, repeats=repeats, at=at):
            return Remark(f"The model repeats itself: {', '.join(names)}, {repeats} times.", at)
        case AttemptFailed(error=error, at=at, retry_in_s=retry_in_s):
            again = "" if retry_in_s is None else " It was made again."
            return Remark(f"A model call failed: {error.message}{again}", at, is_error=True)
        case TurnEnded():
            return _ended(entry)
        case _:
            return _of_the_view(entry)


def _of_the_view(entry: Entry) -> Remark | None:
    match entry:
        case Compacted(change=change, at=at):
            summary = "" if change.summary is None else change.summary.text
            return Remark(
                "The conversation was compacted: the model reads a shorter form of the above from here on.",
                at,
                detail=summary,
            )
        case CompactionFailed(error=error, at=at):
            return Remark(f"The conversation could not be compacted: {error.message}", at, is_error=True)
        case CompactionUndone(at=at):
            return Remark("The last compaction was undone.", at)
        case Cleared(at=at):
            return Remark("The conversation begins anew: the model reads nothing of the above any more.", at)
        case SettingsChanged(settings=settings, at=at):
            return Remark("The settings were changed.", at, detail=msgspec.json.encode(settings).decode())
        case _:
            return None


def _decided(entry: Decided) -> Remark | None:
    """That a policy allows a call, or asks somebody, is seen by what follows."""
    if entry.decision in ("allow", "ask"):
        return None
    who = "The policy" if entry.source == "policy" else f"A {entry.source}"
    by = f" ({entry.rule})" if entry.rule else ""
    about = f" of the call of {entry.name} ({entry.call_id})" if entry.call_id else ""
    return Remark(f"{who}{by} decided{about}: {entry.decision}{_because(entry.reason)}.", entry.at)


def _ended(entry: TurnEnded) -> Remark | None:
    cause = f" ({entry.cause})" if entry.cause else ""
    match entry.reason:
        case "error":
            why = "unknown" if entry.error is None else entry.error.message
            return Remark(f"The turn ended with an error: {why}", entry.at, is_error=True)
        case "completed" | "interrupted" | "parked":
            return None
        case reason:
            return Remark(f"The turn was ended: {reason}{cause}.", entry.at)


_WAITS_FOR = {"approval": "leave to run", "external": "a result from outside", "question": "an answer of the user"}


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
