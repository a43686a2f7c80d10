"""SQLite on one loop: the real store over a real file, with hands that do everything in place, in virtual time.

What the store decides (what shares a commit, what may be done at once, what waits) is its own; only that nothing is done in threads is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from ...store.sqlite import SqliteStore
from ...store.sqlite.jobs import Job, settle
from ...store.sqlite.journal_sql import Append
from ...store.sqlite.threads import Threads
from ...store.sqlite.transactions import Transactions
from ...store.sqlite.watch import Watch, last_of
from ...store.sqlite.writer import Writer
from .loop import SimulatedLoop

R = TypeVar("R")
T = TypeVar("T")

LOOK_S = 1.0
"""Between two looks of who waits for a journal to grow."""


def sqlite_on(loop: SimulatedLoop, path: Path, wall: Callable[[], float]) -> SqliteStore:
    """The store of one process."""
    return SqliteStore(path, clock=wall, hands=InlineHands(loop))


def on_commit(store: SqliteStore, told: Callable[[str, int, int], None]) -> None:
    """Have each append told in the moment in which it is durable: session, entry behind which it stands, fence."""
    transactions = store._transactions  # pyright: ignore[reportPrivateUsage]
    before = transactions._committed  # pyright: ignore[reportPrivateUsage]

    def committed(jobs: Sequence[Job]) -> None:
        for job in jobs:
            if type(job) is Append and job.error is None:
                told(job.session, job.after, job.value)
        before(jobs)

    transactions._committed = committed  # pyright: ignore[reportPrivateUsage]


def let_go(store: SqliteStore) -> None:
    """Close its connections, without a word to the loop that it was used on."""
    store._end()  # pyright: ignore[reportPrivateUsage]
    store._forgotten.detach()  # pyright: ignore[reportPrivateUsage]  # finalizers are kept, and this one keeps the loop, and so the world


class InlineHands:
    """See `Hands`."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def upkeep(self, main: Callable[[], None]) -> Done:
        self._loop.call_soon(main)
        return Done()

    def writer(self, transactions: Transactions) -> Writer:
        return InlineWriter(transactions, self._loop)

    def threads(
        self, name: str, limit: int, path: Path, open_: Callable[[], R], close: Callable[[R], None]
    ) -> Threads[R]:
        return InlineThreads(name, limit, path, open_, close)

    def watch(self, path: Path, open_db: Callable[[], Connection]) -> Watch:
        return InlineWatch(path, open_db)

    async def aside(self, function: Callable[[], None]) -> None:
        function()


class Done:
    """Work that nobody has to wait for."""

    def join(self, timeout: float | None = None) -> None:
        return None

    def is_alive(self) -> bool:
        return False


class InlineWriter(Writer):
    """Does each job when the loop comes round."""

    def __init__(self, transactions: Transactions, loop: SimulatedLoop) -> None:
        super().__init__(transactions)
        self._loop = loop
        self._inline = transactions

    def put(self, job: Job) -> None:
        self._loop.call_soon(self._write, job)

    def _write(self, job: Job) -> None:
        if job.future.cancelled():
            return
        with self._inline.lock:
            self._inline.write([job])
        settle([job])


class InlineThreads(Threads[R]):
    """Calls each function when the loop comes round."""

    def __init__(
        self, name: str, limit: int, path: Path, open_: Callable[[], R], close: Callable[[R], None] = lambda _: None
    ) -> None:
        super().__init__(name, limit, path, open_, close)
        self._held: list[R] = []

    def run(self, function: Callable[[R], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        loop.call_soon(partial(self._call, function, future))
        return future

    def _call(self, function: Callable[[R], Any], future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        try:
            value = self.call_now(function, self._held)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def close(self) -> None:
        self._closed = True
        while self._held:
            self._close(self._held.pop())


class InlineWatch(Watch):
    """Looks now and then, in virtual time, whether a journal has grown."""

    def __init__(self, path: Path, open_db: Callable[[], Connection]) -> None:
        super().__init__(path, open_db)
        self._db: Connection | None = None

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while True:
            if self._db is None:
                self._db = self._open()
            last = last_of(self._db, session)
            left_s = until - loop.time()
            if last > after or left_s <= 0:
                return last
            await asyncio.sleep(min(LOOK_S, left_s))

    def close(self, error: Exception) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()
