"""What a session tells, read from its journal: from any entry on, and further as it grows. So nothing is lost to a full queue, and nothing
comes twice: all that is ever told of an entry is told by reading it.

A store that processes share says itself when a journal has grown. Of one that cannot, the sessions that are open here are listened to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from ...core.entries import Entry
from ...core.narrate import narrate
from ...core.state import SessionState
from ...store.projection import decode_state
from ...store.refusals import unknown_session
from .. import parts
from ..elsewhere import cursor_from
from ..tape import Tape, Told
from .hearing import TOPICS
from .topics import matches
from .values import BusEvent

if TYPE_CHECKING:
    from ...core.store import Journals, Store
    from ..actor import Actor
    from .bus import Bus


class Followed:
    """The events of one session's journal: `async for event in await bus.follow(session, after=…)`. One task at a time may iterate.

    `cursor` is the number of the last entry all of whose events were read: `follow(after=cursor)` goes on from there, in any process. It
    ends when it is closed, when the runtime is, or when the session was deleted. Iterating raises what the store raises.
    """

    __slots__ = ("__weakref__", "_closed", "_left", "_patterns", "_read", "_tape", "_told", "cursor")

    def __init__(self, tape: Tape, after: int, patterns: tuple[str, ...]) -> None:
        self._tape = tape
        self._patterns = patterns
        self._closed: asyncio.Future[None] = tape.runtime.loop.create_future()
        self._told: deque[Told] = deque()
        self._left: deque[BusEvent] = deque()
        self._read = self.cursor = after

    @property
    def session(self) -> str:
        """The id of the session."""
        return self._tape.session

    @property
    def closed(self) -> bool:
        return self._closed.done()

    def close(self) -> None:
        """Stop following; the iteration ends. Idempotent."""
        if not self._closed.done():
            self._closed.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BusEvent:
        while not self.closed:
            event = await self.next_told()
            if event is not None:
                return event
            grown = await self._tape.more(self._closed)
            if not grown and self._read and await self._tape.is_gone():
                self.close()
        raise StopAsyncIteration

    async def next_told(self) -> BusEvent | None:
        """The next event of what is in the journal by now; None at its end."""
        tape = self._tape
        while True:
            if (event := self._pop()) is not None:
                return event
            told = tape.behind(self._read)
            if told:
                self._told.extend(told)
                self._read = told[-1].seq
            elif not await tape.read_on(self._read):
                return None

    def _pop(self) -> BusEvent | None:
        """The next event at hand, and the cursor behind its entry if it is the last one of it that is wanted."""
        while self._left or self._told:
            if not self._left:
                self._left.extend([one for one in self._told[0].events if matches(self._patterns, one.topic)])
            event = self._left.popleft() if self._left else None
            if not self._left:
                self.cursor = self._told.popleft().seq
            if event is not None:
                return event
        return None


async def opened(bus: Bus, session: Actor[Any] | str, after: int | None, store: Journals | None) -> tuple[Tape, int]:
    """The journal of a session to be read from behind that entry on; see `Bus.follow`."""
    if isinstance(session, str):
        id, place = (
            session,
            parts.with_rows(bus.runtime.store if store is None else store, "Following a session by its id"),
        )
        info = await place.info(id)
        if info is None:
            raise unknown_session(id)
        last = info.last
    else:
        await session.bind()
        own = session.store
        place = own if parts.has_rows(own) else cast("Store", LocalJournal(bus, session))
        id, last = session.id, session.told
    begin = cursor_from(after, last, id)
    snapshot = await place.snapshot(id)
    state = decode_state(snapshot) if snapshot is not None and snapshot.seq <= begin else None
    return Tape(place, bus.runtime, id, state, _told), begin


def _told(entry: Entry, state: SessionState) -> list[BusEvent]:
    """What the bus was told of an entry, just folded into `state`."""
    return [BusEvent(0, TOPICS[type(one)], one, state.id, state.turns, state.seq) for one in narrate(entry, state)]


class LocalJournal:
    """What a `Tape` asks of a store, for the journal of a session that is open here in a store that cannot tell when it grows."""

    def __init__(self, bus: Bus, session: Actor[Any]) -> None:
        self._bus = bus
        self._session = session

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return (await self._session.journal(after))[:limit]

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        await self._bus.heard.until_told(self._session, after, timeout_s)
        return self._session.told

    async def info(self, session: str) -> object | None:
        return None if self._session.closed else self

    async def snapshot(self, session: str) -> None:
        return None
