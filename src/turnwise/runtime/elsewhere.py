"""Watching a session wherever its turns run: here, in another process, or nowhere at the moment.

All that is known of a turn that runs elsewhere is its journal, so that is what such a watcher reads: it waits in the store for more
entries, folds them, and tells of each what the turn's own watchers were told (`core.narrate`). A step is told when it is committed, as
a `StepSnapshot`; deltas travel no further than their process. While a turn runs in this process, its events come from the session's
hub, deltas included. Either way the cursor is that of the journal, so every entry is told once and in order (rule D6).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from ..core.errors import config_error
from ..core.events import Event
from ..core.state import SessionState
from .mailbox import TERMINAL, Mailbox
from .runtime import Runtime
from .watch import Watcher, hub_of, tell_again

if TYPE_CHECKING:
    from ..core.store import Store
    from .actor import Actor

PAGE = 500
"""Entries that are read, and whose events are held, at a time."""
WAIT_S = 60.0
"""How long a store is asked to wait for more; then it is asked again."""


class StoredWatcher:
    """The events of a stored session: `async for event in await sessions.watch("support-42")`. One task at a time may iterate.

    It ends when it is closed, when the `Sessions` that made it is, or when the session is deleted. `cursor` is the number of the
    last journal entry all of whose events it has got: `watch(after=cursor)` goes on from there, in any process. It holds up
    nobody, however slowly it is read: what it has not read is in the journal.
    """

    __slots__ = ("__weakref__", "_closed", "_here", "_inner", "_mailbox", "_state", "_waits", "session")

    def __init__(self, waits: Waits, session: str, after: int, here: Callable[[], Actor[Any] | None]) -> None:
        self.session = session
        self._waits = waits
        self._here = here
        self._inner: Watcher | None = None
        self._mailbox = Mailbox("coalesce", PAGE, after)
        self._state = SessionState()
        self._closed: asyncio.Future[None] = waits.runtime.loop.create_future()

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
        session, cursor, waits = self._here(), self.cursor, self._waits
        if session is not None and runs_here(session) and session.told >= cursor:
            self._inner = hub_of(session).watch("coalesce", PAGE, cursor, None)
            return
        entries = await waits.store.read(self.session, self._state.seq, PAGE)
        if entries:
            tell_again(entries, self._state, self._mailbox)
        elif not await waits.more(self.session, self._state.seq, self._closed) and await self._is_gone():
            self.close()

    async def _is_gone(self) -> bool:
        """Whether there is nothing to wait for: the runtime is closed, or the session was deleted."""
        return self._waits.runtime.closed or await self._waits.store.info(self.session) is None


def runs_here(session: Actor[Any]) -> bool:
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


class _Wait:
    """A store being asked to wait, for all who want to know. `after` is the entry behind which there is none yet."""

    __slots__ = ("after", "task", "waiting")

    def __init__(self, after: int, task: asyncio.Task[int]) -> None:
        self.after = after
        self.task = task
        self.waiting = 0


class Waits:
    """Waiting for more of a journal: however many watchers a session has, its store is asked once. Nobody waits, nothing runs."""

    __slots__ = ("_by_session", "runtime", "store")

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self.store = store
        self.runtime = runtime
        self._by_session: dict[str, _Wait] = {}

    async def more(self, session: str, after: int, closed: asyncio.Future[None]) -> bool:
        """Wait until there are more entries than `after`; false if there were none within `WAIT_S`, or `closed` is done. Raises what
        the store raises."""
        wait = self._by_session.get(session)
        if wait is not None and wait.after > after:
            return True
        if wait is None:
            wait = _Wait(after, self.runtime.start(self.store.wait(session, after, WAIT_S)))
            self._by_session[session] = wait
        wait.waiting += 1
        try:
            await asyncio.wait((wait.task, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            wait.waiting -= 1
            if self._by_session.get(session) is wait and (wait.task.done() or not wait.waiting):
                del self._by_session[session]
                if not wait.task.done():
                    wait.task.cancel()
                elif not wait.task.cancelled():
                    wait.task.exception()  # whoever still waits is told; nobody may be left
        if closed.done() or wait.task.cancelled():
            return False
        return wait.task.result() > after
