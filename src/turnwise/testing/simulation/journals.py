"""What must hold of every journal, checked with each append, at a cost that goes with what is appended.

The state is folded once more, as a reader of the journal would; beside it stands a book of its own that shares no code with the machine:
which calls are open, what was accepted, what was used. What may follow what is said by rule in the messages: T1 to T4, X2, E9 and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...core.changes import (
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
    NestedSpent,
    Parked,
    Recovered,
    Resumed,
    Rewound,
    SettingsChanged,
    TurnContinued,
)
from ...core.content import Text, ToolCall
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
from ...core.events import Event, StepFinished
from ...core.evolve import evolve
from ...core.limits import Limits
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.narrate import narrate
from ...core.outcomes import Unknown
from ...core.repair import repair
from ...core.state import SessionState
from ...core.usage import NO_USAGE, Usage


class Violation(AssertionError):
    """An invariant does not hold. `rule` is its number in the rules, or a word."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.what = what


class Open(msgspec.Struct):
    """A call that has no outcome yet. `runs` is how often its body has begun since it was last told to run."""

    name: str
    started: bool = False
    idempotent: bool = False
    may_run: int = 0


class Journal:
    """The journal of one session as it should be. `told` are the events that its entries give, each once: what every watcher must get;
    `first[n]` is where those of entry n begin. `said` gives the text of a step's answer by the place of its `StepFinished`."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.state = SessionState()
        self.entries: list[Entry] = []
        self.told: list[Event] = []
        self.first: list[int] = [0]
        self.said: dict[int, str] = {}
        self.epoch = 0
        """Counts what may change the beginning of the next request."""
        self.began = 0
        """Where in `told` the events of the last turn begin, or of its last resumption."""
        self.beginnings: list[int] = []
        """All values that it had."""
        self.starts: dict[int, int] = {}
        """Where the events of each turn begin."""
        self.calls: dict[str, Open] = {}
        self.ids: set[str] = set()
        self.last_turn = 0
        self.turn: int | None = None
        self.interrupted = self.parked = False
        self.steps = self.total_calls = self.tokens = 0
        self.limits = Limits()
        self.usage = self.turn_usage = NO_USAGE
        self.steers: list[UserMessage] = []
        self.concluding = ""
        self.seen_input = ""
        """What the next turn begins with, if its half answers cannot be taken back from who sees them."""
        self.takes_back = True
        """Whether an attempt that was shown may be made again: nobody sees it, or who sees it can take it back."""
        self.redirected: set[str] = set()
        """Calls that a hook has put another tool to."""
        self.revised: set[tuple[int, int]] = set()
        """Turns and steps whose answer a hook has put otherwise after it was shown."""
        self.asked: set[str] = set()
        """The calls that somebody has allowed or refused."""
        self._checked: list[Message] | None = None
        self._upto = 0

    # --- appending ----------------------------------------------------------------------------------------------------

    def append(self, after: int, entries: Sequence[Entry]) -> None:
        """Entries that are durable now."""
        if after != len(self.entries):
            raise Violation("D3", f"{self.session}: an append behind entry {after} of {len(self.entries)} took effect")
        if any(type(entry) in _BEGINS for entry in entries):
            self.began = len(self.told)
            self.beginnings.append(self.began)
        for entry in entries:
            self._check(entry)
            self.entries.append(entry)
            try:
                evolve(self.state, entry)
            except Exception as error:
                raise Violation("T1", f"{self.session}: the journal cannot be folded: {error}") from error
            events = narrate(entry, self.state)
            if type(entry) is StepCommitted:
                for place, event in enumerate(events, len(self.told)):
                    if type(event) is StepFinished:
                        self.said[place] = entry.message.text
            self.told += events
            self.first.append(len(self.told))
            self._after(entry)
        self._transcript()

    def _check(self, entry: Entry) -> None:
        """Whether the entry may follow, by the book."""
        kind = type(entry)
        if type(entry) is SessionCreated:
            if self.entries:
                raise Violation("T6", f"{self.session} is created twice")
            if repair(list(entry.history)) != list(entry.history):
                raise Violation("T6", f"{self.session}: a history that is not valid has entered")
            self.last_turn = max([m.turn for m in entry.history], default=0)
            for message in entry.history:
                if isinstance(message, AssistantMessage):
                    self.ids.update([call.id for call in message.tool_calls])
            return
        if kind is InputAccepted or kind is TurnContinued:
            self._begin(entry)
            return
        if kind in OUTSIDE:
            self._outside(entry)
            return
        if self.turn is None:
            if type(entry) is Decided and entry.source == "hook":
                return  # a hook that stands outside of turns, too
            raise Violation("T3", f"{self.session}: {kind.__name__} outside of a turn")
        _IN_TURN.get(kind, _nothing)(self, entry)

    def _begin(self, entry: Any) -> None:
        number = entry.message.turn if type(entry) is InputAccepted else entry.turn
        if self.turn is not None:
            raise Violation("T3", f"{self.session}: turn {number} begins while turn {self.turn} is open")
        if number <= self.last_turn:
            raise Violation("T4", f"{self.session}: turn number {number} is used again, after {self.last_turn}")
        self.turn = self.last_turn = number
        self.starts[number] = len(self.told)
        begun = entry.message.text if type(entry) is InputAccepted and not entry.queued else ""
        self.takes_back = not begun or begun != self.seen_input
        self.limits = entry.limits
        self.steps = self.total_calls = self.tokens = 0
        self.turn_usage, self.steers = NO_USAGE, []
        self.interrupted = self.parked = False
        self.concluding = ""

    def _outside(self, entry: Any) -> None:
        """What may happen at any time."""
        if isinstance(entry, Rewound | Cleared) and self.turn is not None:
            raise Violation("T1", f"{self.session}: {type(entry).__name__} while turn {self.turn} is open")
        if isinstance(entry, Compacted):
            self._compacted(entry)
        if isinstance(entry, Compacted | CompactionFailed):
            self._spend(entry.usage)

    def _compacted(self, entry: Compacted) -> None:
        history, covers = self.state.history, entry.change.covers
        if not 0 <= covers <= len(history):
            raise Violation("X2", f"{self.session}: a compaction covers {covers} of {len(history)} messages")
        if covers < self.state.change.covers:
            raise Violation("X4", f"{self.session}: a compaction gives back what an earlier one covers")
        if 0 < covers < len(history):
            before, behind = history[covers - 1], history[covers]
            if isinstance(behind, ToolMessage) or (isinstance(before, AssistantMessage) and before.tool_calls):
                raise Violation("X2", f"{self.session}: a compaction cuts between calls and their results")

    def _committed(self, entry: StepCommitted) -> None:
        message = entry.message
        if self.calls:
            raise Violation("T1", f"{self.session}: a response is committed while {list(self.calls)} are open")
        if self.interrupted:
            raise Violation("C1", f"{self.session}: a response is committed after an interrupt")
        if message.partial:
            raise Violation("T2", f"{self.session}: a committed response is partial")
        if message.turn != self.turn:
            raise Violation("T4", f"{self.session}: an answer of turn {message.turn} enters turn {self.turn}")
        self.steps += 1
        bound = self.limits.steps
        if bound is not None and self.steps > bound + bool(self.concluding):
            raise Violation("E9", f"{self.session}: step {self.steps} with a limit of {bound}")
        if (
            self.limits.tokens is not None
            and self.tokens >= self.limits.tokens
            and not self.concluding
            and self.steps > 1
            and message.usage is not None  # a hook or middleware that answers in the place of a model spends none
        ):
            raise Violation(
                "E9", f"{self.session}: a step though {self.tokens} of {self.limits.tokens} tokens were used"
            )
        for call in message.tool_calls:
            if call.id in self.ids:
                raise Violation("T4", f"{self.session}: call id {call.id} is used twice")
            self.ids.add(call.id)
            self.calls[call.id] = Open(call.name)
            self.total_calls += 1
        self._spend(message.usage)

    def _failed(self, entry: AttemptFailed) -> None:
        if self.calls:
            raise Violation("T1", f"{self.session}: a model call failed while {list(self.calls)} are open")
        if entry.retry_in_s is not None and entry.error.commit_phase == "before_commit" and not self.takes_back:
            raise Violation("H3", f"{self.session}: an attempt is made again though its half answer was shown")
        self._spend(entry.usage)

    def _started(self, entry: CallStarted) -> None:
        call = self.calls.get(entry.call_id)
        if call is None:
            raise Violation("E1", f"{self.session}: {entry.call_id} starts and is not open")
        if call.started and not (entry.again and call.idempotent):
            raise Violation("D2", f"{self.session}: {entry.call_id} starts a second time")
        if self.interrupted:
            raise Violation("C1", f"{self.session}: {entry.call_id} starts after an interrupt")
        self._renamed(call, entry)
        call.started, call.idempotent = True, entry.idempotent
        call.may_run += 1

    def _waits(self, entry: CallWaiting) -> None:
        call = self.calls.get(entry.call_id)
        if call is None or call.started:
            raise Violation("E1", f"{self.session}: {entry.call_id} waits, and is not open or runs")
        self._renamed(call, entry)

    def _renamed(self, call: Open, entry: Any, call_id: str = "") -> None:
        """A call goes by its name, or by the one that a hook has given it, on the record."""
        call_id = call_id or entry.call_id
        if call.name != entry.name:
            if call_id not in self.redirected:
                what = f"{type(entry).__name__} of {call_id} is of {entry.name}, not of {call.name}"
                raise Violation("E1", f"{self.session}: {what}")
            call.name = entry.name

    def _decided(self, entry: Decided) -> None:
        if entry.decision == "redirect":
            self.redirected.add(entry.call_id)

    def _outcome(self, entry: CallOutcome) -> None:
        call_id = entry.result.call_id
        call = self.calls.pop(call_id, None)
        if call is None:
            raise Violation("E1", f"{self.session}: {call_id} has a second outcome, or never was asked for")
        self._renamed(call, entry, call_id)
        if type(entry.result.outcome) is Unknown and not call.started:
            raise Violation("D2", f"{self.session}: nobody knows about {call_id}, which never started")

    def _answered(self, entry: ApprovalAnswered) -> None:
        call = self.calls.get(entry.call_id)
        if call is None or call.started:
            raise Violation("C6", f"{self.session}: leave for {entry.call_id}, which does not wait for it")
        if not entry.expired and entry.call_id not in self.asked:
            raise Violation("C6", f"{self.session}: {entry.call_id} was answered, and nobody has answered it")

    def _steered(self, entry: SteerAccepted) -> None:
        if self.interrupted:
            raise Violation("T3", f"{self.session}: steered after an interrupt")
        self.steers.append(entry.message)

    def _interrupted(self, entry: Interrupted) -> None:
        self.interrupted = True

    def _partial(self, entry: PartialKept) -> None:
        message = entry.message
        if not self.interrupted or not message.partial or self.calls:
            raise Violation("T2", f"{self.session}: a half message is kept that must not be")
        if any(type(block) is not Text for block in message.content) or not message.text:
            raise Violation("T2", f"{self.session}: of a half message more than text is kept, or nothing")

    def _parked(self, entry: Parked) -> None:
        if any(call.started and not call.idempotent for call in self.calls.values()):
            raise Violation("C6", f"{self.session}: a turn parks while a call runs")
        self.parked = True

    def _resumed(self, entry: Resumed) -> None:
        if not self.parked:
            raise Violation("C6", f"{self.session}: a turn resumes that was not parked")
        self.takes_back = True
        self.parked = False

    def _nested(self, entry: NestedSpent) -> None:
        self._spend(entry.usage)

    def _recovered(self, entry: Recovered) -> None:
        self.takes_back = True
        for call_id in entry.again:
            call = self.calls.get(call_id)
            if call is None or not call.started or not call.idempotent:
                raise Violation("D2", f"{self.session}: {call_id} is to run again and was not declared safe")

    def _limit(self, entry: Any) -> None:
        self.concluding = entry.cause

    def _ended(self, entry: TurnEnded) -> None:
        if self.calls:
            raise Violation("T1", f"{self.session}: turn {self.turn} ends while {list(self.calls)} are open")
        self._spend(entry.usage)

    def _spend(self, usage: Usage | None) -> None:
        if usage is None:
            return
        self.usage = usage if self.usage is NO_USAGE else self.usage + usage
        if self.turn is not None:
            self.turn_usage = usage if self.turn_usage is NO_USAGE else self.turn_usage + usage
            self.tokens = self.turn_usage.total_tokens or 0

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _after(self, entry: Entry) -> None:
        kind, state = type(entry), self.state
        if kind in _CHANGES_VIEW:
            self.epoch += 1
        if state.seq != len(self.entries):
            raise Violation("D2", f"{self.session}: {state.seq} entries are counted of {len(self.entries)}")
        if kind is not TurnEnded or state.turn is None:
            return
        turn = state.turn
        if turn.usage != self.turn_usage or state.usage != self.usage:
            raise Violation("E10", f"{self.session}: usage {turn.usage} of turn {turn.number}, not {self.turn_usage}")
        if turn.steps != self.steps:
            raise Violation("E10", f"{self.session}: {turn.steps} steps of turn {turn.number}, not {self.steps}")
        entered = state.history[turn.first :]
        for message in self.steers:
            if not any(one is message or one == message for one in entered):
                raise Violation("X4", f"{self.session}: what was added to turn {turn.number} is lost: {message.text!r}")
        self.turn = None

    def _transcript(self) -> None:
        """New messages of the transcript: calls and results stand together, nothing between (T1, T3)."""
        transcript = self.state.transcript
        if transcript is not self._checked or self._upto > len(transcript):
            self._checked, self._upto = transcript, 0
        place = self._upto
        while place < len(transcript):
            message = transcript[place]
            if isinstance(message, ToolMessage):
                raise Violation("T1", f"{self.session}: results without their calls at message {place}")
            if isinstance(message, AssistantMessage) and (calls := message.tool_calls):
                if place + 1 == len(transcript):
                    raise Violation("T1", f"{self.session}: calls without results at message {place}")
                _pair(self.session, calls, transcript[place + 1])
                place += 1
            place += 1
        self._upto = place

    def whole(self) -> None:
        """What costs more, at the end: a valid transcript is left alone by `repair`."""
        for messages in (self.state.transcript, self.state.history):
            if repair(messages) is not messages:
                raise Violation("T6", f"{self.session}: its messages are not valid")


def _pair(session: str, calls: Sequence[ToolCall], message: Message) -> None:
    if not isinstance(message, ToolMessage):
        raise Violation("T3", f"{session}: something stands between calls and their results")
    wanted, found = [call.id for call in calls], [result.call_id for result in message.results]
    if wanted != found:
        raise Violation("T1", f"{session}: results of {found} follow calls {wanted}")


def _nothing(journal: Journal, entry: Any) -> None:
    """There is nothing to check."""


_BEGINS = frozenset((InputAccepted, TurnContinued, Resumed, Recovered))
_CHANGES_VIEW = frozenset((Compacted, CompactionUndone, Cleared, Rewound, SettingsChanged))
OUTSIDE = frozenset(
    (Compacted, CompactionFailed, CompactionUndone, Cleared, Rewound, SettingsChanged, FollowUpQueued, FollowUpsDropped)
)


def is_outside(entry: Entry) -> bool:
    """Whether it may come from any process, with or without the lease of the turn that is open."""
    return type(entry) in OUTSIDE or (type(entry) is Decided and entry.point in _OUTER_POINTS)


_OUTER_POINTS = frozenset(("session.started", "session.ended", "compaction.before"))
_IN_TURN: dict[type, Any] = {
    StepCommitted: Journal._committed,  # pyright: ignore[reportPrivateUsage]
    AttemptFailed: Journal._failed,  # pyright: ignore[reportPrivateUsage]
    CallStarted: Journal._started,  # pyright: ignore[reportPrivateUsage]
    CallOutcome: Journal._outcome,  # pyright: ignore[reportPrivateUsage]
    ApprovalAnswered: Journal._answered,  # pyright: ignore[reportPrivateUsage]
    SteerAccepted: Journal._steered,  # pyright: ignore[reportPrivateUsage]
    Interrupted: Journal._interrupted,  # pyright: ignore[reportPrivateUsage]
    PartialKept: Journal._partial,  # pyright: ignore[reportPrivateUsage]
    CallWaiting: Journal._waits,  # pyright: ignore[reportPrivateUsage]
    Decided: Journal._decided,  # pyright: ignore[reportPrivateUsage]
    Parked: Journal._parked,  # pyright: ignore[reportPrivateUsage]
    Resumed: Journal._resumed,  # pyright: ignore[reportPrivateUsage]
    LimitReached: Journal._limit,  # pyright: ignore[reportPrivateUsage]
    NestedSpent: Journal._nested,  # pyright: ignore[reportPrivateUsage]
    Recovered: Journal._recovered,  # pyright: ignore[reportPrivateUsage]
    TurnEnded: Journal._ended,  # pyright: ignore[reportPrivateUsage]
}
