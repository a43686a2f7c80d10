"""The thread that writes: whatever is queued when it wakes shares one transaction, and so one commit (rule D4). Futures are resolved when
the commit has returned, all those of a loop by one call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import SimpleQueue

from ..refusals import store_closed
from . import daemon
from .jobs import Job, call_on, settle, wake
from .transactions import Transactions

MAX_QUEUED = 4096
"""Jobs that wait for the writer; who comes with another one waits for room."""
MAX_BATCH = 512
"""Jobs that share a transaction."""


class Writer:
    """The queue and its thread, which starts with the first job."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._ahead = 0  # jobs that are queued or under way
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._thread: threading.Thread | None = None
        self._paused = False
        self.closed = self._forgotten = False
        self.idle = True  # nothing is queued or under way, and nobody waits for room

    @property
    def full(self) -> bool:
        """Whether `room` must be awaited before `put`."""
        return bool(self._waiting) or self._queue.qsize() >= MAX_QUEUED

    async def room(self) -> None:
        """Wait until the queue has room, in the order of the calls."""
        place = (loop := asyncio.get_running_loop()), loop.create_future()
        with self._lock:
            self._waiting.append(place)
            self.idle = False
        self._let_in()
        try:
            await place[1]
        finally:
            with self._lock:
                self._waiting.remove(place)
                self._look()
            if self._waiting:
                self._let_in()

    def put(self, job: Job) -> None:
        """Queue a job that somebody waits for. Cancelling its future before its transaction begins undoes it."""
        with self._lock:
            self._ahead += 1
            self.idle = False
        self._queue.put(job)
        if self.closed and self._thread is None:
            self._refuse_rest()
        elif self._thread is None:
            self._start()

    def pause(self, limit_s: float) -> bool:
        """End the thread when it has done what is queued, and let go of the file. False if that takes longer (-1: take any time)."""
        with self._lock:
            self._paused = True
            self.idle = False
            thread = self._thread
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join(None if limit_s < 0 else limit_s)
            if thread.is_alive():
                return False
        return self._transactions.let_go(limit_s)

    def go_on(self) -> None:
        """After `pause`."""
        self._transactions.go_on()
        with self._lock:
            self._paused = False
            self._look()
        if self._queue.qsize():
            self._start()

    def close(self) -> None:
        """Do what is queued, end the thread, let go of the file. Blocks; not to be called on an event loop."""
        self.closed = True
        self.pause(-1)
        self._refuse_rest()

    def forget(self) -> None:
        """Nobody can call anything here any more: the thread ends, and the file is let go of. Takes no lock."""
        self._forgotten = True
        self._queue.put(None)

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
            if self._forgotten:
                self._transactions.let_go(-1)
            with self._lock:
                self._thread = None
            if self._queue.qsize() and not self.closed:
                self._start()

    def _do_some(self) -> bool:
        """Wait for jobs and do them; whether there will be more. Nothing of them is kept, least of all the store that they came from."""
        taken, last = self._take()
        if self._waiting:
            self._let_in()
        batch = [job for job in taken if not job.future.cancelled()]
        if batch:
            with self._transactions.lock:
                self._transactions.write(batch)
        with self._lock:
            self._ahead -= len(taken)
            self._look()
        settle(batch)
        return not last

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

    def _refuse_rest(self) -> None:
        """What came in from another thread while the store was being closed."""
        while self._queue.qsize():
            if (job := self._queue.get()) is not None:
                job.error = store_closed()
                settle([job])

    def _look(self) -> None:
        """Whether it is idle; by who holds the lock."""
        self.idle = not (self._ahead or self._waiting or self._paused)

    def _let_in(self) -> None:
        """Wake as many as there is room for."""
        with self._lock:
            room = MAX_QUEUED - self._queue.qsize()
            woken = [place for place, _ in zip(self._waiting, range(room), strict=False)]
        for loop, future in woken:
            call_on(loop, wake, future)
