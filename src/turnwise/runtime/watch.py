"""Several watchers of one turn, or of all turns of a session, each with its own queue.

While nobody but its consumer watches a turn, none of this exists: the consumer pulls. The first watcher (or a channel, or a consumer
that detaches) sets up the session's `Hub`, and from then on a *pump*, a task of the runtime, pulls the running turn and offers what
comes to everybody's mailbox, the consumer's among them. The pump reads the socket only while no "block" watcher is behind.

A watcher joins in one of two states. *Live*: it is told what happens from now on, a `StepSnapshot` first if the model is speaking.
*Behind*: it reads the journal from its cursor on, tells its entries again, and becomes live when nothing is left to read; so does
one whose queue was dropped. Every entry is told once and in order either way (rule D6).
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from ..core.entries import Entry, PartialKept, StepCommitted
from ..core.errors import ErrorInfo, config_error
from ..core.events import Event, Notice, StepSnapshot, TurnFinished
from ..core.evolve import evolve
from ..core.narrate import narrate
from ..core.state import SessionState
from . import process, refusals
from .mailbox import TERMINAL, Mailbox, WatchPolicy

if TYPE_CHECKING:
    from .actor import Actor
    from .watched import WatchedStream

DEFAULT_BUFFER = 256


class Watcher:
    """The events of a turn, or of a session: `async for event in turn.watch(): …`. One task at a time may iterate.

    `cursor` is the number of the last journal entry all of whose events this watcher has got: hand it to `watch(after=…)` to go on
    from there later. A watcher that is closed, or no longer referred to, is told nothing more and holds nobody up.
    """

    __slots__ = ("__weakref__", "_finalizer", "_folded", "_hub", "_mailbox")

    def __init__(
        self,
        hub: Hub,
        mailbox: Mailbox,
        leave: Callable[[Hub, Mailbox], None] = lambda hub, mailbox: hub.leave(mailbox),
    ) -> None:
        self._hub = hub
        self._mailbox = mailbox
        self._folded: SessionState | None = None
        self._finalizer = weakref.finalize(self, _left, weakref.ref(hub), weakref.ref(mailbox), leave)
        self._finalizer.atexit = False

    @property
    def cursor(self) -> int:
        return self._mailbox.cursor

    @property
    def waiting(self) -> int:
        """How many events wait to be read."""
        return self._mailbox.waiting

    def close(self) -> None:
        """Stop watching; the iteration ends. Idempotent."""
        self._finalizer()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        mailbox = self._mailbox
        while True:
            event = mailbox.pop()
            if event is not None:
                if mailbox.policy == "block" and mailbox.waiting == mailbox.size - 1:
                    self._hub.made_room()
                return event
            if mailbox.complete:
                raise StopAsyncIteration
            if mailbox.live:
                await mailbox.wait()
            else:
                await self._catch_up(mailbox)

    async def _catch_up(self, mailbox: Mailbox) -> None:
        """Read on in the journal; become live, or come to the end, when there is no more of it."""
        hub = self._hub
        hub.count_dropped(mailbox)
        last_word, turn = mailbox.last_word, mailbox.turn
        if last_word is not None:
            mailbox.last_word = None
            mailbox.put_all((last_word,))
            mailbox.complete = turn is not None
        elif mailbox.cursor < hub.session.told:
            folded = self._folded = self._folded or SessionState()
            entries = await hub.session.journal(folded.seq)
            if not entries:
                raise refusals.journal_shorter(hub.session.id, hub.session.told)
            # What stands behind the last entry that was told here is told when the session itself gets to it.
            _tell_again(entries[: hub.session.told - folded.seq], folded, mailbox)
        elif not hub.session.settled or (hub.session.owes and not hub.closed):
            await mailbox.wait()
        else:
            self._folded = None
            hub.go_live(mailbox)


def _tell_again(entries: Sequence[Entry], state: SessionState, mailbox: Mailbox) -> None:
    """Fold entries, and put the events of those behind the mailbox's cursor into it."""
    turn = mailbox.turn
    number = turn.number if turn is not None else None
    after = mailbox.cursor
    for entry in entries:
        evolve(state, entry)
        if state.seq <= after:
            continue
        if number is None or (state.turn is not None and state.turn.number == number):
            mailbox.put_all(told_again(entry, state))
        mailbox.mark_read(state.seq)


def told_again(entry: Entry, state: SessionState) -> list[Event]:
    """What is told of an entry, just folded into `state`, to those who were not there: what the model said comes as a whole."""
    events = narrate(entry, state)
    if (type(entry) is StepCommitted or type(entry) is PartialKept) and state.turn is not None:
        message = entry.message
        events.insert(0, StepSnapshot(message.turn, message.step, state.turn.attempt, message.content))
    return events


def hub_of(session: Actor[Any]) -> Hub:
    """The hub of a session, made when it is first asked for."""
    hub = session.hub = session.hub or Hub(session)
    return hub


def _left(hub: weakref.ref[Hub], mailbox: weakref.ref[Mailbox], leave: Callable[[Hub, Mailbox], None]) -> None:
    """A watcher was closed or collected. Finalizers are kept by the interpreter: one that held the session would keep the watcher, too."""
    left, own = hub(), mailbox()
    if left is not None and own is not None:
        leave(left, own)


class Hub:
    """All watchers of one session, and the pump of its running turn."""

    __slots__ = ("__weakref__", "_mailboxes", "_marks", "_pumped", "_turn", "closed", "session")

    def __init__(self, session: Actor[Any]) -> None:
        self.session = session
        self.closed = False
        self._mailboxes: list[Mailbox] = []
        self._marks: list[tuple[int, int]] = []
        self._turn: WatchedStream | None = None
        self._pumped: WatchedStream | None = None

    # --- joining and leaving ------------------------------------------------------------------------------------------

    def watch(self, policy: WatchPolicy, buffer: int, after: int | None, turn: WatchedStream | None) -> Watcher:
        """A new watcher: of one turn, or of all of them."""
        if buffer < 1:
            raise config_error("invalid_value", f"buffer={buffer} leaves no room for an event.", "Use 1 or more.")
        session = self.session
        if after is not None and not 0 <= after <= session.state.seq:
            raise config_error(
                "invalid_value",
                f"after={after} is no entry of session {session.id}, whose journal ends at {session.state.seq}.",
                "Use a watcher's cursor, or 0 for everything.",
            )
        mailbox = Mailbox(policy, buffer, session.told if after is None else after, turn)
        if turn is not None and turn.over and after is None:
            mailbox.end(TurnFinished(turn.result))
        else:
            self.join(mailbox, turn or session.turn)
        return Watcher(self, mailbox)

    def join(self, mailbox: Mailbox, turn: WatchedStream | None) -> None:
        """Offer this mailbox what is told from now on; `turn` is the one that runs."""
        session = self.session
        mailbox.live = False
        self._mailboxes.append(mailbox)
        joining = turn if turn is not None and turn.opened and turn.hub is None else None
        if joining is not None:
            self._take_over(joining)
        if session.settled and not session.owes and mailbox.cursor >= session.told:
            self.go_live(mailbox)
        if joining is not None:
            self._begin(joining)

    def go_live(self, mailbox: Mailbox) -> None:
        """Nothing is left to read in the journal: what comes now is told as it happens."""
        turn, own = self._turn, mailbox.turn
        if self.closed or (own is not None and (own is not turn or own.over)):
            mailbox.end()
            return
        mailbox.live = True
        if turn is not None:
            mailbox.skip = turn.unread  # told already, and offered when the pump comes round
            snapshot = turn.snapshot()
            if snapshot is not None:
                mailbox.put_all((snapshot,))

    def leave(self, mailbox: Mailbox) -> None:
        """Nobody reads this mailbox any more. Callable from any thread: collecting a watcher ends here."""
        if mailbox in self._mailboxes:
            self._mailboxes.remove(mailbox)
        if self._turn is not None and self._turn.mailbox is mailbox:
            self._turn.mailbox = None
        self.count_dropped(mailbox)
        mailbox.throw_away()
        self.made_room()

    def count_dropped(self, mailbox: Mailbox) -> None:
        """Put down what was dropped because the watcher is too slow."""
        dropped, mailbox.dropped = mailbox.dropped, 0
        if dropped and self.session.bound:
            self.session.runtime.count_dropped("watchers", dropped)

    def made_room(self) -> None:
        """The pump may read again."""
        turn = self._turn
        if turn is None or turn.over:
            return
        loop = self.session.runtime.loop
        if process.in_loop(loop):
            turn.wake()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(turn.wake)

    def close(self) -> None:
        """The session is closed: no turn will follow. Who is behind may still read the journal to its end. The pump of its last turn may
        not have come round yet, so what that has told is offered before."""
        self.closed = True
        if self._turn is not None and self._turn.over:
            self._flush()
        for mailbox in self._mailboxes:
            if mailbox.live:
                mailbox.end()
            else:
                mailbox.wake()

    def look_again(self) -> None:
        """What was on its way into the journal is lost: who waits for it has nothing to wait for."""
        for mailbox in self._mailboxes:
            if not mailbox.live:
                mailbox.wake()

    def fell_behind(self) -> None:
        """The journal was read anew and may have grown meanwhile: everybody reads on in it."""
        for mailbox in self._mailboxes:
            mailbox.live = False
            mailbox.wake()

    # --- the turn that runs -------------------------------------------------------------------------------------------

    def attach(self, turn: WatchedStream) -> None:
        """Have this turn pumped, if anybody watches it beside its consumer."""
        if turn.hub is None and (self._mailboxes or turn.pumped):
            self._take_over(turn)
            self._begin(turn)

    def _take_over(self, turn: WatchedStream) -> None:
        self._flush()
        self._turn, turn.hub, self._marks = turn, self, []
        if not turn.pumped:
            turn.mailbox = Mailbox("block", 1)

    def _begin(self, turn: WatchedStream) -> None:
        if not turn.reading:  # else its consumer hands over when what it waits for has come
            self.pump(turn)

    def detach(self, turn: WatchedStream) -> None:
        """The consumer has left, and the turn goes on without it."""
        turn.pumped = True
        if turn.hub is None:
            self.attach(turn)
        else:
            turn.mailbox = None
            self.made_room()

    def pump(self, turn: WatchedStream) -> None:
        """Start the turn's pump, if it does not run."""
        if self._pumped is not turn:
            self._pumped = turn
            self.session.runtime.start(self._pump(turn))

    async def _pump(self, turn: WatchedStream) -> None:
        try:
            while (batch := await turn.pull(self._has_room)) is not None:
                self._offer(batch)
        except Exception as error:
            self.session.lose(_broken(error))
            self._offer(turn.take())
        finally:
            if turn.mailbox is not None:
                turn.mailbox.end()

    def _has_room(self) -> bool:
        """Whether no "block" watcher is behind."""
        turn = self._turn
        if turn is not None and (own := turn.mailbox) is not None and own.waiting >= own.size:
            return False
        for mailbox in self._mailboxes:
            if mailbox.policy == "block" and mailbox.live and mailbox.waiting >= mailbox.size:
                return False
        return True

    async def next_of(self, turn: WatchedStream) -> list[Event] | None:
        """What waits for the turn's own consumer; None at the end."""
        mailbox = turn.mailbox
        if mailbox is None:
            raise refusals.two_readers()
        while not (batch := mailbox.pop_all()):
            if mailbox.complete:
                return None
            await mailbox.wait()
        self.made_room()
        return batch

    # --- what is told -------------------------------------------------------------------------------------------------

    def announce(self, notice: Notice) -> None:
        """Tell all who watch something that is no part of a turn, and of no entry."""
        for mailbox in self._mailboxes:
            mailbox.slip_in(notice)

    def told(self, turn: WatchedStream | None, after: int, counts: Sequence[int], events: Sequence[Event]) -> None:
        """The entries behind number `after` are durable, and `events` are about to be told: so many of each."""
        if turn is not None and turn.hub is None:
            return
        for mailbox in self._mailboxes:
            if not mailbox.live:
                mailbox.wake()
        if turn is None:
            self._flush()
        position = 0 if turn is None else turn.unread
        for seq, count in enumerate(counts, after + 1):
            position += count
            self._marks.append((position, seq))
        if turn is None:
            self._offer(events)

    def _flush(self) -> None:
        """Offer what was told in a turn that is over, but for its pump, which comes too late."""
        turn = self._turn
        if turn is not None and (batch := turn.take()):
            self._offer(batch)
        self._turn = None

    def _offer(self, events: Sequence[Event]) -> None:
        marks, self._marks = self._marks, []
        own = self._turn.mailbox if self._turn is not None else None
        if own is not None:
            own.offer(events, marks)
        last = events[-1] if events else None
        ends = type(last) in TERMINAL
        for mailbox in list(self._mailboxes):
            mailbox.offer(events, marks)
            if not ends:
                continue
            if not mailbox.live and (not marks or marks[-1][0] < len(events)):
                mailbox.last_word = last
            if mailbox.turn is not None:
                self._mailboxes.remove(mailbox)
                mailbox.complete = mailbox.live


def _broken(error: Exception) -> ErrorInfo:
    return ErrorInfo(
        "session",
        "pump_failed",
        f"Reading the turn failed: {type(error).__name__}: {error}",
        "This is a defect of Turnwise; the session goes on from its journal.",
    )
