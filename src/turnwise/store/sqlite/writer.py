"""Writing: whatever is queued when the writer wakes shares one transaction, and so one commit (rule D4).

The writer is a thread. Jobs that were given to it in one turn of the event loop are, if they are few, the file is ready, nothing is queued
before them and no commit waits for the disk (`synchronous = NORMAL`), done on the loop itself: handing them to a thread and back costs
more than the commit, which is a write into the system's memory. As soon as one takes long, the thread does them all for a while.

A job checks before it writes. What it refuses hurts nobody else in the transaction; if SQLite itself fails, everything is rolled back
and each job of the transaction is done again, alone. Futures are resolved when the commit has returned, all those of a loop by one call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from sqlite3 import Connection
from sqlite3 import Error as SqliteError
from typing import Any

from ...core.errors import TurnwiseError
from . import daemon
from .clock import is_busy, monotonic, patiently
from .errors import is_fatal, store_closed, store_moved, translated
from .jobs import Job, call_on, resolve, settle
from .schema import CHECKPOINT_PAGES, begin_log_anew, checkpoint

MAX_QUEUED = 4096
"""Jobs that wait for the writer; who comes with another one waits for room."""
MAX_BATCH = 512
"""Jobs that share a transaction."""
MAX_NEAR = 4
"""Jobs that share a transaction on the loop itself."""
SLOW_S = 0.05
"""A transaction on the loop that took longer than this was the last one for `SLOW_FOR_S`."""
SLOW_FOR_S = 10.0
LOOK_EVERY_S = 1.0
"""How often it is made sure that the file is still where it was."""
PAGES_PER_COMMIT = 1
"""About how many pages are written by what shares a commit, besides those of each job."""


class Writer:
    """The queue and its thread, which starts with the first job. `committed` is called with the jobs of each transaction that has
    become durable, before their futures are resolved; `undone` when one was rolled back. `near`: whether jobs may be done on the loop."""

    def __init__(
        self,
        path: Path,
        open_db: Callable[[], Connection],
        busy_timeout_s: float,
        committed: Callable[[Sequence[Job]], None],
        undone: Callable[[], None],
        *,
        near: bool,
    ) -> None:
        self._path, self._open, self._busy_timeout_s = path, open_db, busy_timeout_s
        self._committed, self._undone = committed, undone
        self._may_near = near
        self._slow_until = 0.0
        self._home: asyncio.AbstractEventLoop | None = None
        self._near: list[Job] = []  # only the home loop's thread looks at it
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._ahead = 0  # jobs that are queued or under way in the thread
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._thread: threading.Thread | None = None
        self._upkeep: threading.Thread | None = None
        self._writing = threading.Lock()  # held by who uses the connection
        self._db: Connection | None = None
        self._inode = 0
        self._look_at = 0.0
        self._pages = 0
        self._paused = self._closed = False
        self.commits = 0
        self.jobs = 0

    @property
    def full(self) -> bool:
        """Whether `room` must be awaited before `submit`."""
        return bool(self._waiting) or self._queue.qsize() >= MAX_QUEUED

    async def room(self) -> None:
        """Wait until the queue has room, in the order of the calls."""
        place = (loop := asyncio.get_running_loop()), loop.create_future()
        with self._lock:
            self._waiting.append(place)
        self._let_in()
        try:
            await place[1]
        finally:
            with self._lock:
                self._waiting.remove(place)
            if self._waiting:
                self._let_in()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Take a job; what it gives once it is durable. Cancelling the future before its transaction begins undoes the job."""
        if self._closed:
            raise store_closed()
        if job.loop is self._home or self._settles_here(job.loop):
            self._near.append(job)
            if len(self._near) == 1:
                job.loop.call_soon(self.flush)
        else:
            self._enqueue(job)
        return job.future

    def flush(self) -> None:
        """What the loop's tasks have submitted in this turn of the loop: done here, or queued."""
        jobs, self._near = self._near, []
        if not jobs or (self._is_at_hand(jobs) and self._write_here(jobs)):
            return
        for job in jobs:
            self._enqueue(job)

    def flush_home(self, loop: asyncio.AbstractEventLoop) -> None:
        """`flush`, if this is the loop that it belongs to."""
        if loop is self._home:
            self.flush()

    def pause(self, limit_s: float) -> bool:
        """End the thread when it has done what is queued, and let go of the file. False if that takes longer (-1: take any time)."""
        with self._lock:
            self._paused = True
            threads = [thread for thread in (self._thread, self._upkeep) if thread is not None]
            if self._thread is not None:
                self._queue.put(None)
        for thread in threads:
            thread.join(None if limit_s < 0 else limit_s)
        return not any(thread.is_alive() for thread in threads) and self._let_go(limit_s)

    def go_on(self) -> None:
        """After `pause`."""
        self._paused = False
        if self._queue.qsize():
            self._start()

    def close(self) -> None:
        """Do what is queued, end the thread, let go of the file. Blocks; not to be called on an event loop."""
        self._closed = True
        self.pause(-1)
        self._refuse_rest()

    def _settles_here(self, loop: asyncio.AbstractEventLoop) -> bool:
        """The first loop that comes is at home here, until it is closed."""
        with self._lock:
            if self._home is not None and not self._home.is_closed():
                return False
            self._home, self._near = loop, []
        return True

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            self._ahead += 1
        self._queue.put(job)
        if self._closed and self._thread is None:
            self._refuse_rest()
        elif self._thread is None:
            self._start()

    # --- on the loop ----------------------------------------------------------------------------------------------------

    def _is_at_hand(self, jobs: list[Job]) -> bool:
        return (
            self._may_near
            and len(jobs) <= MAX_NEAR
            and all(job.quick for job in jobs)
            and not self._ahead
            and self._db is not None
            and not self._paused
            and (not self._slow_until or monotonic() > self._slow_until)
        )

    def _write_here(self, jobs: list[Job]) -> bool:
        """Do the jobs at once, unless somebody else is writing."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            begun_at = monotonic()
            wanted = [job for job in jobs if not job.future.cancelled()]
            if wanted and not self._try(wanted):
                return False
            self._slow_until = monotonic() + SLOW_FOR_S if monotonic() - begun_at > SLOW_S else 0.0
        finally:
            self._writing.release()
        resolve(wanted)
        return True

    def _try(self, jobs: list[Job]) -> bool:
        """Do the jobs without waiting for anybody; False, and nothing done, if that cannot be."""
        if self._db is None:
            return False
        try:
            self._transact(jobs, patient=False)
        except Exception as error:
            self._undo(error)
            if len(jobs) > 1 or (isinstance(error, SqliteError) and is_busy(error)):
                return False
            jobs[0].error = translated(error, self._path)
            return True
        self._committed(jobs)
        self.jobs += len(jobs)
        return True

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._paused:
                self._thread = daemon.start("writer", self._main)

    def _main(self) -> None:
        try:
            while self._do_some():
                pass
        finally:
            with self._lock:
                self._thread = None
            if self._queue.qsize() and not self._closed:
                self._start()

    def _take(self) -> tuple[list[Job], bool]:
        """What is queued, at least one job if the thread is not to end."""
        queue, taken = self._queue, list[Job]()
        job = queue.get()
        while job is not None:
            taken.append(job)
            if len(taken) == MAX_BATCH or not queue.qsize():
                return taken, False
            job = queue.get()
        return taken, True

    def _do_some(self) -> bool:
        """Wait for jobs and do them; whether there will be more. Nothing of them is kept, least of all the store that they came from."""
        taken, last = self._take()
        if self._waiting:
            self._let_in()
        batch = [job for job in taken if not job.future.cancelled()]
        with self._writing:
            if batch:
                self._write(batch)
        with self._lock:
            self._ahead -= len(taken)
        settle(batch)
        return not last

    def _refuse_rest(self) -> None:
        """What came in from another thread while the store was being closed."""
        while self._queue.qsize():
            if (job := self._queue.get()) is not None:
                job.error = store_closed()
                settle([job])

    def _let_in(self) -> None:
        """Wake as many as there is room for."""
        with self._lock:
            room = MAX_QUEUED - self._queue.qsize()
            woken = [place for place, _ in zip(self._waiting, range(room), strict=False)]
        for loop, future in woken:
            call_on(loop, _wake, future)

    # --- transactions, by who holds `_writing` --------------------------------------------------------------------------

    def _write(self, batch: list[Job]) -> None:
        """Do the jobs and note in each what came of it."""
        try:
            self._transact(batch, patient=True)
        except Exception as error:
            self._undo(error)
            if len(batch) > 1:
                for job in batch:
                    self._write([job])
                return
            batch[0].error = translated(error, self._path)
        else:
            self._committed(batch)
        self.jobs += len(batch)

    def _transact(self, batch: list[Job], *, patient: bool) -> None:
        db = self._connection()
        if len(batch) > 1 or batch[0].writes:
            self._begin(db, patient)
        for job in batch:
            job.error = None
            try:
                job.value = job.run(db)
            except TurnwiseError as error:
                job.error = error
        if db.in_transaction:
            db.execute("COMMIT")
            self.commits += 1
            self._note_growth(batch)

    def _begin(self, db: Connection, patient: bool) -> None:
        """Take the file's lock for writing; who is not patient is told at once that another process has it."""
        try:
            db.execute("BEGIN IMMEDIATE")
        except SqliteError:
            if not patient:
                raise
            patiently(lambda: db.execute("BEGIN IMMEDIATE"), self._busy_timeout_s)

    def _note_growth(self, batch: list[Job]) -> None:
        self._pages += PAGES_PER_COMMIT + sum([job.pages for job in batch])
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            with self._lock:
                if self._upkeep is None and not self._paused:
                    self._upkeep = daemon.start("upkeep", self._keep_up)

    def _keep_up(self) -> None:
        """Bring the log into the file: most of it while writing goes on; what has come meanwhile, and the log's new beginning, while
        jobs wait. Else the log would grow as long as there is something to write."""
        try:
            with suppress(SqliteError):  # what could not be done now is done the next time
                checkpoint(self._path)
                with self._writing:
                    if self._db is not None:
                        begin_log_anew(self._db)
        finally:
            with self._lock:
                self._upkeep = None

    def _undo(self, error: Exception) -> None:
        self._undone()
        if self._db is None:
            return
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except SqliteError:
            self._drop_connection()
        if is_fatal(error):
            self._drop_connection()

    def _connection(self) -> Connection:
        if self._db is None:
            self._db = self._open()
            self._inode = os.stat(self._path).st_ino
            self._look_at = monotonic() + LOOK_EVERY_S
        elif monotonic() > self._look_at:
            self._refuse_moved()
            self._look_at = monotonic() + LOOK_EVERY_S
        return self._db

    def _refuse_moved(self) -> None:
        """Raise if the name does not lead to the file any more: what is written would be lost."""
        try:
            same = os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise store_moved(self._path)

    def _let_go(self, limit_s: float) -> bool:
        if not self._writing.acquire(timeout=limit_s):
            return False
        try:
            self._drop_connection()
        finally:
            self._writing.release()
        return True

    def _drop_connection(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
