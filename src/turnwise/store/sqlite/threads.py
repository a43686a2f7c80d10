"""Threads beside the writer: readers, each with a connection of its own, and others that work on files.

They start when they are needed, up to a limit, and end when there was nothing to do for a while.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from ..refusals import store_closed
from . import daemon
from .errors import is_fatal, translated
from .jobs import Awaited

R = TypeVar("R")
T = TypeVar("T")

IDLE_S = 20.0


class _Call(Awaited, Generic[R]):
    __slots__ = ("function",)

    def __init__(self, function: Callable[[R], Any]) -> None:
        super().__init__()
        self.function = function


class Threads(Generic[R]):
    """At most `limit` threads that call functions with what `open_` gave to each of them (and `close` gets back at the end).

    A function whose future was cancelled before it was begun is not called; one that has begun ends, for nobody.
    """

    def __init__(
        self, name: str, limit: int, path: Path, open_: Callable[[], R], close: Callable[[R], None] = lambda _: None
    ) -> None:
        self._name, self._limit, self._path = name, limit, path
        self._open, self._close = open_, close
        self._queue: SimpleQueue[_Call[R] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()  # that take calls
        self._alive: set[threading.Thread] = set()
        self._calls = 0
        self._paused = self._closed = False

    def run(self, function: Callable[[R], T]) -> asyncio.Future[T]:
        """Call `function` in a thread."""
        if self._closed:
            raise store_closed()
        call = _Call(function)
        future = call.awaited_on(asyncio.get_running_loop())
        with self._lock:
            self._calls += 1
        self._queue.put(call)
        if self._calls > len(self._threads):
            self._start()
        return future

    def pause(self, limit_s: float) -> bool:
        """End all threads; what is queued stays. False if one did not end in time."""
        with self._lock:
            self._paused = True
            threads = list(self._alive)
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(limit_s)
        return not any(thread.is_alive() for thread in threads)

    def go_on(self) -> None:
        """After `pause`."""
        self._paused = False
        for _ in range(self._queue.qsize()):
            self._start()

    def close(self) -> None:
        """Do what is queued and end all threads. Blocks; not to be called on an event loop."""
        self._closed = True
        while threads := list(self._alive):
            for _ in threads:
                self._queue.put(None)
            for thread in threads:
                thread.join()
        while self._queue.qsize():
            if (call := self._queue.get()) is not None:
                call.error = store_closed()
                call.report()

    def forget(self) -> None:
        """Nobody can call anything here any more: the threads end. Takes no lock."""
        for _ in range(self._limit):
            self._queue.put(None)

    # --- the threads ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if len(self._threads) < self._limit and not self._paused:
                thread = daemon.start(self._name, self._main)
                self._threads.add(thread)
                self._alive.add(thread)

    def _main(self) -> None:
        held: list[R] = []
        try:
            while self._do_one(held):
                pass
        finally:
            for one in held:
                self._close(one)
            with self._lock:
                self._threads.discard(threading.current_thread())
                self._alive.discard(threading.current_thread())

    def _do_one(self, held: list[R]) -> bool:
        """Wait for a call and do it; whether there will be more. Nothing of it is kept, least of all the store that it came from."""
        call = self._next()
        if call is None:
            return False
        if not call.future.cancelled():
            self._do(call, held)
        with self._lock:
            self._calls -= 1
        return True

    def _next(self) -> _Call[R] | None:
        while True:
            try:
                return self._queue.get(timeout=IDLE_S)
            except Empty:
                with self._lock:
                    if not self._calls:
                        self._threads.discard(threading.current_thread())
                        return None

    def _do(self, call: _Call[R], held: list[R]) -> None:
        try:
            call.value = self.call_now(call.function, held)
        except Exception as error:
            call.error = error
        call.report()

    def call_now(self, function: Callable[[R], T], held: list[R]) -> T:
        """Call it here, with what `held` has or is then opened. Raises what the store raises."""
        try:
            if not held:
                held.append(self._open())
            return function(held[0])
        except Exception as error:
            if held and is_fatal(error):
                self._close(held.pop())
            raise translated(error, self._path) from error
