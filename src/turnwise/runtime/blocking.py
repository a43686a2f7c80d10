"""Threads for blocking functions: the real `Blocking` seam.

`concurrent.futures.ThreadPoolExecutor` is not used because the interpreter joins its threads at exit: one function that
never returns would keep the process from ending. Threads here are daemons. A function whose caller has gone away is
abandoned: Python cannot stop a thread, so it runs on, is counted until it ends, and its result is dropped (rule E3).
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

WAITING, RUNNING, ABANDONED, ENDED = range(4)


class Job(asyncio.Future[Any]):
    """One function to run, and the future of its result. `state` is guarded by the pool's lock."""

    def __init__(self, pool: ThreadPool, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.pool = pool
        self.function = function
        self.context = contextvars.copy_context()
        self.state = WAITING

    def cancel(self, msg: Any = None) -> bool:
        """Stop waiting. A function that has not started never will; one that has is abandoned."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.pool.forget(self)
        return cancelled


class ThreadPool:
    """Runs at most `max_threads` functions at a time; more of them wait in line, in order.

    Threads are made when needed and end after `idle_s` without work. Up to `max_abandoned` abandoned functions take no place
    among the `max_threads`; further ones do, so there are never more threads than the two together. While so many are
    still running, `run` refuses new work with `RuntimeError`; what waits in line is refused when no thread is left but
    theirs. Every function runs in a copy of its caller's context variables. Not usable in the child of a `fork()`.
    """

    def __init__(self, max_threads: int = 32, max_abandoned: int = 8, idle_s: float = 30.0) -> None:
        if max_threads < 1 or max_abandoned < 1:
            raise ValueError(f"ThreadPool({max_threads=}, {max_abandoned=}): both must be at least 1")
        self._max_threads, self._max_abandoned, self._idle_s = max_threads, max_abandoned, idle_s
        self._work = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._threads = 0
        self._idle = 0  # threads that will take the next job: waiting for one, or just started
        self._abandoned = 0
        self._closed: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    @property
    def waiting(self) -> int:
        """How many functions wait for a thread."""
        return len(self._waiting)

    @property
    def abandoned(self) -> int:
        """How many functions run on although nobody waits for them."""
        return self._abandoned

    @property
    def threads(self) -> int:
        """How many threads there are: busy, idle and abandoned."""
        return self._threads

    def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `function()` in a thread; the future has its result or its exception.

        Must be called on a running event loop. Raises `RuntimeError` if the pool is closed or too many functions have
        been abandoned. What the function raises beside `Exception` (`SystemExit`, say) arrives as a `RuntimeError`.
        """
        job = Job(self, function, asyncio.get_running_loop())
        with self._work:
            if self._closed is not None:
                raise RuntimeError("The thread pool is closed.")
            if self._abandoned >= self._max_abandoned:
                raise _too_many(self._abandoned)
            self._waiting.append(job)
            self._staff()
            if self._threads == self._abandoned:
                job.state = ENDED
                self._waiting.remove(job)
                raise RuntimeError("The system refuses to start a thread.")
            self._work.notify()
        return job

    def forget(self, job: Job) -> None:
        """The job was cancelled: take it out of the line, or count it as abandoned."""
        with self._work:
            if job.state == WAITING:
                job.state = ENDED
                self._waiting.remove(job)
            elif job.state == RUNNING:
                job.state = ABANDONED
                self._running.discard(job)
                self._abandoned += 1
                self._staff()
                if self._threads == self._abandoned:
                    self._refuse_waiting()

    async def close(self) -> None:
        """Cancel what waits, abandon what runs, end idle threads and wait for them. Never waits for abandoned functions."""
        loop = asyncio.get_running_loop()
        with self._work:
            if self._closed is not None:
                return
            ended = loop.create_future()
            self._closed = (loop, ended)
            jobs = [*self._waiting, *self._running]
        for job in jobs:
            job.cancel()
        with self._work:
            self._work.notify_all()
            if self._threads == self._abandoned:
                return
        await ended

    # --- under the lock ---------------------------------------------------------------------------------------------

    def _most(self) -> int:
        """How many threads there may be."""
        return self._max_threads + min(self._abandoned, self._max_abandoned)

    def _staff(self) -> None:
        """Start threads for waiting work that no idle thread will take, as far as the system allows."""
        while len(self._waiting) > self._idle and self._threads < self._most():
            self._threads += 1
            self._idle += 1
            thread = threading.Thread(target=self._serve, name="turnwise-blocking", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._threads -= 1
                self._idle -= 1
                return

    def _refuse_waiting(self) -> None:
        """No thread is left to take what waits: it fails, as new work would."""
        while self._waiting:
            job = self._waiting.popleft()
            job.state = ENDED
            _post(job.get_loop(), job, None, _too_many(self._abandoned))

    def _next(self) -> Job | None:
        """The next job, waiting for one; None when the thread is to end. Ends the thread's being idle."""
        while True:
            if self._threads > self._most():
                break
            if self._waiting:
                self._idle -= 1
                job = self._waiting.popleft()
                job.state = RUNNING
                self._running.add(job)
                return job
            if self._closed is not None or (not self._work.wait(self._idle_s) and not self._waiting):
                break
        self._idle -= 1
        return None

    def _leave(self) -> None:
        self._threads -= 1
        if self._closed is not None and self._threads == self._abandoned:
            _post(*self._closed, None, None)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._work:
                job = self._next()
                if job is None:
                    self._leave()
                    return
            self._do(job)
            del job

    def _do(self, job: Job) -> None:
        result, error = None, None
        try:
            result = job.context.run(job.function)
        except BaseException as raised:
            error = _deliverable(raised)
        with self._work:
            if job.state == ABANDONED:
                self._abandoned -= 1
            wanted, job.state = job.state == RUNNING, ENDED
            self._idle += 1  # before the result is told, so that whoever acts on it finds this thread free
            self._running.discard(job)
        if wanted:
            _post(job.get_loop(), job, result, error)


def _too_many(abandoned: int) -> RuntimeError:
    return RuntimeError(
        f"{abandoned} blocking functions that would not stop are still running, so no more are started. "
        "Give them timeouts of their own, or run them with isolation='process'."
    )


def _deliverable(raised: BaseException) -> BaseException:
    """The exception that may be raised in the caller's task: no exit, no cancellation, no StopIteration is let through."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    said = RuntimeError(f"A blocking function raised {type(raised).__name__}: {raised}")
    said.__cause__ = raised
    return said


def _post(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    """Settle a future from a thread. A loop that was closed meanwhile has nobody left to tell."""

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        if not loop.is_closed():
            raise
