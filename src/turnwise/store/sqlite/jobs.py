"""What there is to write, and how the loops hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from sqlite3 import Connection, Cursor
from typing import Any


class Awaited:
    """What came of something, `value` or `error`, for somebody on a loop who waits for it by `future`."""

    __slots__ = ("error", "future", "loop", "value")
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None

    def awaited_on(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        """Somebody on this loop waits for it."""
        self.loop, self.future = loop, loop.create_future()
        return self.future

    def report(self) -> None:
        """Have the future resolved, from any thread."""
        call_on(self.loop, Awaited.tell, self)

    def tell(self) -> None:
        """Resolve the future; on its loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class Job(Awaited):
    """Something to be done in a transaction. `run` may be called again after a rollback. `quick`: it touches a few rows; only such jobs may
    be done on an event loop, and then nobody need wait."""

    __slots__ = ("quick",)
    writes = True
    pages: int = 1
    """About how many pages of the file it writes."""

    def __init__(self, quick: bool) -> None:
        super().__init__()
        self.quick = quick

    def run(self, db: Connection, cursor: Cursor) -> Any:
        """`cursor`: one for statements that give no rows; making one each time costs more than their binding."""
        raise NotImplementedError


class Task(Job):
    """A job given as a function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Connection], Any], quick: bool = False) -> None:
        super().__init__(quick)
        self._function = function

    def run(self, db: Connection, cursor: Cursor) -> Any:
        return self._function(db)


class Opening(Job):
    """Nothing but having the file there and up to date; takes no lock."""

    __slots__ = ()
    writes = False

    def __init__(self) -> None:
        super().__init__(quick=False)

    def run(self, db: Connection, cursor: Cursor) -> None:
        return None


def settle(jobs: Sequence[Job]) -> None:
    """Resolve futures, each on its loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, its_jobs in by_loop.items():
        call_on(loop, resolve, its_jobs)


def resolve(jobs: Sequence[Job]) -> None:
    """Resolve futures, on their loop."""
    for job in jobs:
        job.tell()


def wake(future: asyncio.Future[None]) -> None:
    """Let go on who waits, on its loop."""
    if not future.done():
        future.set_result(None)


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], given: Any) -> None:
    """Call a function on a loop; nobody waits for anything on one that is closed."""
    try:
        loop.call_soon_threadsafe(function, given)
    except RuntimeError:
        if not loop.is_closed():
            raise
