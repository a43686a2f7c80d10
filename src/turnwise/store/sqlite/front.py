"""Where jobs come in. Handing one to a thread and back costs more than a commit that does not wait for the disk (`synchronous = NORMAL`: a
write into the system's memory), so a quick job is done on the loop itself, if the file is ready and nothing is queued before it.

Jobs of the same turn of the loop still share commits: the first ones are done at once, what else comes in that turn is gathered and done at
its end, by the thread if it is much. If turns keep bringing several, all are gathered. When transactions on the loop take long, the
thread does them all for a while.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..refusals import store_closed
from .jobs import Job, resolve
from .transactions import Transactions
from .writer import Writer

AT_ONCE = 2
"""Jobs of one turn of the loop that are done at once, in a transaction each."""
MAX_GATHERED = 4
"""Jobs that share a transaction on the loop; more of them are the thread's."""
SLOW_S = 0.02
"""If transactions on the loop take longer than this on average, or one takes twenty times as long, there are none for `SLOW_FOR_S`."""
SLOW_FOR_S = 10.0


class Front:
    """`on_loop`: whether jobs may be done on the event loop at all. That goes for one loop, the first that comes, until it is closed.
    What `_gathered` and `_at_once` are is for that loop's thread only."""

    def __init__(
        self, writer: Writer, transactions: Transactions, monotonic: Callable[[], float], *, on_loop: bool
    ) -> None:
        self._writer, self._transactions, self._monotonic = writer, transactions, monotonic
        self._lock = threading.Lock()
        self._home: asyncio.AbstractEventLoop | None = None
        self._gathered: list[Job] = []
        self._at_once = 0  # how many more may be done at once in this turn; none while some are gathered
        self._usual_s = 0.0
        self._slow_until = 0.0 if on_loop else float("inf")

    async def do(self, job: Job) -> Any:
        """Do a job; what it gives, once it is durable. Cancelled before its transaction began, it is not done. Raises what it raises, and
        `StateError` (`store_closed`)."""
        if self.may_do_now() and self.did_now(job):
            if job.error is not None:
                raise job.error
            return job.value
        return await self._later(job, asyncio.get_running_loop())

    def may_do_now(self) -> bool:
        """Whether `did_now` is worth trying; on an event loop."""
        return self._at_once > 0 and asyncio.get_running_loop() is self._home and self._writer.idle

    def did_now(self, job: Job) -> bool:
        """Do a job before this returns, if it may be (`may_do_now`) and nobody has to be waited for; what came of it is noted in it."""
        if not job.quick or not self._done_here((job,)):
            return False
        if self._at_once == AT_ONCE and self._home is not None:
            self._home.call_soon(self._turn_ended)
        self._at_once -= 1
        return True

    async def _later(self, job: Job, loop: asyncio.AbstractEventLoop) -> Any:
        if self._writer.closed:
            raise store_closed()
        at_home = loop is self._home or self._settles(loop)
        if self._writer.full:
            await self._writer.room()
        future = job.awaited_on(loop)
        if not at_home:
            self._writer.put(job)
        else:
            self._gathered.append(job)
            self._at_once = 0
            if len(self._gathered) == 1:
                loop.call_soon(self._flush)
        return await future

    def close(self) -> None:
        """What was gathered on this loop is to be done now; what comes later is refused."""
        if asyncio.get_running_loop() is self._home:
            self._flush()
            self._at_once = 0
            self._home = None

    def _turn_ended(self) -> None:
        if not self._gathered:
            self._at_once = AT_ONCE

    def _flush(self) -> None:
        jobs, self._gathered = self._gathered, []
        self._at_once = AT_ONCE if len(jobs) == 1 else 0
        wanted = [job for job in jobs if not job.future.cancelled()]
        if not wanted:
            return
        if len(wanted) <= MAX_GATHERED and all(job.quick for job in wanted) and self._done_here(wanted):
            resolve(wanted)
            return
        for job in wanted:
            self._writer.put(job)

    def _done_here(self, jobs: Sequence[Job]) -> bool:
        """Do quick jobs on the loop, if nobody has to be waited for."""
        begun_at = self._monotonic()
        transactions = self._transactions
        if not self._writer.idle or begun_at < self._slow_until or not transactions.lock.acquire(False):
            return False
        try:
            return transactions.attempt(jobs)
        finally:
            transactions.lock.release()
            self._note_time(begun_at)

    def _note_time(self, begun_at: float) -> None:
        now = self._monotonic()
        self._usual_s += (now - begun_at - self._usual_s) / 20
        if self._usual_s > SLOW_S:
            self._usual_s, self._slow_until = 0.0, now + SLOW_FOR_S

    def _settles(self, loop: asyncio.AbstractEventLoop) -> bool:
        with self._lock:
            if self._home is not None and not self._home.is_closed():
                return False
            self._home, self._gathered, self._at_once = loop, [], 0
        return True
