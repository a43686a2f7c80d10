"""Synchronous code meets the asynchronous engine here: one background event loop per process, in a thread of its own.

Works from scripts, threads and notebooks (whose own loop keeps running elsewhere). Ctrl-C interrupts the turn, waits a
bounded time for it to end cleanly, and is raised again. After `fork()` the child starts a loop of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..core.errors import ErrorInfo, SessionError
from . import process

T = TypeVar("T")

CTRL_C_GRACE_S = 7.0
_lock = threading.Lock()
_facade: Facade | None = None


class Facade:
    """The background loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self.thread = threading.Thread(target=self._serve, name="turnwise-loop", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._stopped.wait())

    def stop(self) -> None:
        """Close what the loop owns, end the loop and its thread."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self._stopped.set)
            self.thread.join(CTRL_C_GRACE_S)


def run_sync(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the background loop and wait for it.

    Raises `SessionError` (`sync_in_loop`) when called on the background loop's own thread, where waiting for it would
    never end. On KeyboardInterrupt the coroutine is cancelled, given `CTRL_C_GRACE_S` seconds, and the interrupt re-raised.
    """
    facade = _the_facade()
    if threading.current_thread() is facade.thread:
        raise SessionError(
            ErrorInfo(
                "session",
                "sync_in_loop",
                "run_sync was called from a tool or callback that runs on Turnwise's own loop.",
                "Use `await agent.run(...)` there, or make the tool a plain function, which runs in a thread.",
            )
        )
    ended = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_announced(make, ended), facade.loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        ended.wait(CTRL_C_GRACE_S)
        raise


async def _announced(make: Callable[[], Coroutine[Any, Any, T]], ended: threading.Event) -> T:
    try:
        return await make()
    finally:
        ended.set()


def _the_facade() -> Facade:
    global _facade
    with _lock:
        if _facade is None or not _facade.thread.is_alive():
            _facade = Facade()
        return _facade


def _stop() -> None:
    if _facade is not None:
        _facade.stop()


def _forget() -> None:
    """In a forked child: the thread does not exist here and the loop is the parent's; neither is touched."""
    global _facade, _lock
    _facade, _lock = None, threading.Lock()


atexit.register(_stop)
process.on_fork(_forget)
