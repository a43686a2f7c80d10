"""What the writer is given to do, and how the loops hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import Any


class Job:
    """Something to be done in a transaction, and the future of what comes of it. `run` may be called again after a rollback. `quick`: it
    touches a few rows; only such jobs may be done on an event loop."""

    __slots__ = ("error", "future", "loop", "quick", "value")
    writes = True

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.value: Any = None
        self.error: Exception | None = None

    def run(self, db: Connection) -> Any:
        raise NotImplementedError

    @property
    def pages(self) -> int:
        """About how many pages of the file it writes."""
        return 1

    def tell(self) -> None:
        """Resolve the future; on its loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class Task(Job):
    """A job given as a function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Connection], Any], quick: bool = False) -> None:
        super().__init__(quick)
        self._function = function

    def run(self, db: Connection) -> Any:
        return self._function(db)


class Opening(Job):
    """Nothing but having the file there and up to date; takes no lock."""

    __slots__ = ()
    writes = False

    def __init__(self) -> None:
        super().__init__(quick=False)

    def run(self, db: Connection) -> None:
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


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], given: Any) -> None:
    """Call a function on a loop; nobody waits for anything on one that is closed."""
    try:
        loop.call_soon_threadsafe(function, given)
    except RuntimeError:
        if not loop.is_closed():
            raise
