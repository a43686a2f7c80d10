"""Watching a session wherever its turns run: here, in another process, or nowhere at the moment.

All that is known of a turn that runs elsewhere is its journal, so that is what such a watcher is told from (`tape`): of each entry,
what the turn's own watchers were told. A step is told when it is committed, as a `StepSnapshot`; deltas travel no further than their process.
While a turn runs in this process, its events come from the session's hub, deltas included. Either way the cursor is that of the
journal, so every entry is told once and in order (rule D6).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from ..core.errors import config_error
from ..core.events import Event
from .mailbox import TERMINAL, Mailbox
from .tape import Reading, Tape
from .watch import DEFAULT_BUFFER, Watcher, hub_of

if TYPE_CHECKING:
    from .actor import Actor


class StoredWatcher:
    """The events of a stored session: `async for event in await sessions.watch("support-42")`. One task at a time may iterate.

    It ends when it is closed, when the `Sessions` that made it is, or when the session is deleted. `cursor` is the number of the
    last journal entry all of whose events it has got: `watch(after=cursor)` goes on from there, in any process. It holds up
    nobody, however slowly it is read: what it has not read is in the journal. Iterating raises what the store raises; a new watcher
    can go on from the cursor.
    """

    __slots__ = ("__weakref__", "_closed", "_here", "_inner", "_mailbox", "_own", "_tape")

    def __init__(self, tape: Tape, after: int, here: Callable[[], Actor[Any] | None]) -> None:
        self._tape = tape
        self._here = here
        self._inner: Watcher | None = None
        self._own: Reading | None = None
        self._mailbox = Mailbox("coalesce", DEFAULT_BUFFER, after)
        self._closed: asyncio.Future[None] = tape.runtime.loop.create_future()

    @property
    def session(self) -> str:
        """The id of the session."""
        return self._tape.session

    @property
    def cursor(self) -> int:
        return self._mailbox.cursor if self._inner is None else self._inner.cursor

    @property
    def closed(self) -> bool:
        return self._closed.done()

    def close(self) -> None:
        """Stop watching; the iteration ends. Idempotent."""
        if not self._closed.done():
            self._closed.set_result(None)
        if self._inner is not None:
            self._inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._closed.done():
            event = self._mailbox.pop() if self._inner is None else await self._from_here(self._inner)
            if event is not None:
                return event
            if self._inner is None:
                await self._more()
        raise StopAsyncIteration

    async def _from_here(self, inner: Watcher) -> Event | None:
        """The next event of the turn that runs in this process; None once it has no more."""
        event = await anext(inner, None)
        if event is None or type(event) in TERMINAL:
            self._inner = None
            self._mailbox.mark_read(inner.cursor)
            inner.close()
        return event

    async def _more(self) -> None:
        """Have something to tell: join the turn that runs here, or read on, or wait."""
        session, tape, cursor = self._here(), self._tape, self.cursor
        if session is not None and _runs_here(session) and session.told >= cursor:
            self._inner = hub_of(session).watch("coalesce", DEFAULT_BUFFER, cursor, None)
        elif cursor < tape.first:
            await self._read_for_itself(cursor)
        elif told := tape.behind(cursor):
            for seq, events in told:
                self._mailbox.put_all(events)
                self._mailbox.mark_read(seq)
        elif not await tape.read_on(cursor) and not await tape.more(self._closed) and await tape.is_gone():
            self.close()

    async def _read_for_itself(self, cursor: int) -> None:
        """Catch up with the tape, from farther back than it goes."""
        tape = self._tape
        own = self._own = self._own or Reading(tape.store, tape.session)
        for seq, events in await own.page():
            if seq > cursor:
                self._mailbox.put_all(events)
                self._mailbox.mark_read(seq)
        if own.seq >= tape.first:
            self._own = None


def _runs_here(session: Actor[Any]) -> bool:
    """Whether a turn of the session is being driven in this process."""
    turn = session.turn
    return turn is not None and turn.opened and not session.closed


def cursor_from(after: int | None, last: int, session: str) -> int:
    """Where a watcher begins. Raises `ConfigError` for a cursor that the journal does not have."""
    if after is None:
        return last
    if not 0 <= after <= last:
        raise config_error(
            "invalid_value",
            f"after={after} is no entry of session {session}, whose journal ends at {last}.",
            "Use a watcher's cursor, or 0 for everything.",
        )
    return after
