"""What a stored session tells, entry by entry: read from its journal and folded once, for all who watch it in this process.

A tape follows the journal to its end, and keeps what was told of the last entries. So it costs one reading however many watchers there are,
and one that was cut off finds at hand what it has missed. Only who comes from farther back has to read for itself (`Reading`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from ..core.entries import Entry
from ..core.evolve import evolve
from ..core.state import SessionState
from ..core.store import Store
from ..store.projection import decode_state
from .runtime import Runtime
from .watch import told_again

PAGE = 500
"""Entries that are read at a time."""
KEPT = 1000
"""Entries of which a tape keeps what was told."""
AT_ONCE = 50
"""Entries whose events a watcher is handed at a time."""
RECENT = 16
"""Tapes that are kept though nobody watches at the moment: whoever was cut off comes back soon."""
WAIT_S = 60.0
"""How long a store is asked to wait for more; then it is asked again."""


Tell = Callable[[Entry, SessionState], Sequence[Any]]
"""What is told of an entry that was just folded into the state: to watchers `told_again`."""


class Told(NamedTuple):
    """What is told of the entry of this number."""

    seq: int
    events: Sequence[Any]


class Reading:
    """A journal that is read and folded from somewhere on."""

    __slots__ = ("_session", "_state", "_store", "_tell")

    def __init__(self, store: Store, session: str, state: SessionState | None = None, tell: Tell = told_again) -> None:
        self._store = store
        self._session = session
        self._state = state or SessionState()
        self._tell = tell

    @property
    def seq(self) -> int:
        """The number of the last entry that was read."""
        return self._state.seq

    async def page(self) -> list[Told]:
        """What is told of the next entries; none at the end of the journal. Raises what the store raises. One task at a time."""
        state, told = self._state, list[Told]()
        for entry in await self._store.read(self._session, state.seq, PAGE):
            evolve(state, entry)
            told.append(Told(state.seq, self._tell(entry, state)))
        return told


class Tape:
    """The last of what a session tells. `first` is the number of the entry behind which it begins."""

    __slots__ = (
        "__weakref__",
        "_kept",
        "_lock",
        "_reading",
        "_wait",
        "_waiting",
        "first",
        "runtime",
        "session",
        "store",
    )

    def __init__(
        self, store: Store, runtime: Runtime, session: str, state: SessionState | None, tell: Tell = told_again
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.session = session
        self._reading = Reading(store, session, state, tell)
        self._kept: deque[Told] = deque()
        self.first = self._reading.seq
        self._lock = asyncio.Lock()
        self._wait: asyncio.Task[int] | None = None
        self._waiting = 0

    def behind(self, after: int) -> Sequence[Told]:
        """What is at hand of the entries behind that one, some of it at least. It must not be before `first`."""
        start = after - self.first
        return list(islice(self._kept, start, start + AT_ONCE))

    async def read_on(self, after: int) -> bool:
        """Read until something behind that entry is at hand; false if there is nothing. Raises what the store raises."""
        async with self._lock:
            while self._reading.seq <= after:
                page = await self._reading.page()
                if not page:
                    return False
                self._kept += page
                while len(self._kept) > KEPT:
                    self.first = self._kept.popleft().seq
        return True

    async def more(self, closed: asyncio.Future[None]) -> bool:
        """Wait until there are more entries than were read; false if there were none within `WAIT_S`, or `closed` is done. The store
        is asked once, however many wait; if nobody waits, it is not asked. Raises what the store raises."""
        after = self._reading.seq
        if self._wait is None:
            self._wait = self.runtime.start(self.store.wait(self.session, after, WAIT_S))
        wait = self._wait
        self._waiting += 1
        try:
            await asyncio.wait((wait, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1
            if self._wait is wait and (wait.done() or not self._waiting):
                self._wait = None
                _drop(wait)
        if closed.done() or wait.cancelled():
            return False
        return wait.result() > after

    async def is_gone(self) -> bool:
        """Whether there is nothing to wait for: the runtime is closed, or the session was deleted."""
        return self.runtime.closed or await self.store.info(self.session) is None


def _drop(wait: asyncio.Task[int]) -> None:
    if not wait.done():
        wait.cancel()
    elif not wait.cancelled():
        wait.exception()  # whoever waits is told; they may all have gone


class Tapes:
    """The tapes of the sessions that are watched, of one store."""

    __slots__ = ("_recent", "_runtime", "_store", "_tapes")

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._tapes: WeakValueDictionary[str, Tape] = WeakValueDictionary()
        self._recent: deque[Tape] = deque(maxlen=RECENT)

    async def of(self, session: str, after: int) -> Tape:
        """The tape of a session, for somebody who wants what comes behind that entry."""
        tape = self._tapes.get(session)
        if tape is None:
            snapshot = await self._store.snapshot(session)
            state = decode_state(snapshot) if snapshot is not None and snapshot.seq <= after else None
            tape = self._tapes.get(session) or Tape(self._store, self._runtime, session, state)
            self._tapes[session] = tape
        if tape not in self._recent:
            self._recent.append(tape)
        return tape

    def forget(self) -> None:
        """Keep none that nobody watches."""
        self._recent.clear()
