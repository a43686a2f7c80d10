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
LOOK_S = 5.0
"""How often a caller that waits looks whether the loop it waits for is still there."""
_lock = threading.Lock()
_inherited: list[Facade] = []
_facades: list[Facade] = []
"""The one of this process, once it was needed."""


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
        raise _would_never_end("Turnwise's own loop")
    return run_on(facade.loop, make)


def run_on(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a loop that runs in another thread, and wait for it. Raises what `run_sync` raises."""
    if process.in_loop(loop):
        raise _would_never_end("the loop that the session lives on")
    ended = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_announced(make, ended), loop)
    try:
        while True:
            try:
                return future.result(LOOK_S)
            except TimeoutError:
                if future.done() or loop.is_closed():
                    raise
    except KeyboardInterrupt:
        future.cancel()
        ended.wait(CTRL_C_GRACE_S)
        raise


def _would_never_end(where: str) -> SessionError:
    return SessionError(
        ErrorInfo(
            "session",
            "sync_in_loop",
            f"Synchronous code on {where} would wait for itself.",
            "Use `await agent.run(...)` or `await session.…` there; a tool that is a plain function runs in a thread, where both work.",
        )
    )


async def _announced(make: Callable[[], Coroutine[Any, Any, T]], ended: threading.Event) -> T:
    try:
        return await make()
    finally:
        ended.set()


def _the_facade() -> Facade:
    with _lock:
        if not _facades or not _facades[-1].thread.is_alive():
            _facades[:] = [Facade()]
        return _facades[-1]


def _stop() -> None:
    for facade in _facades:
        facade.stop()


def _forget() -> None:
    """In a forked child: the thread does not exist here and the loop is the parent's; neither is closed. They are kept from
    being collected, because collecting an open loop closes it."""
    _inherited.extend(_facades)
    _facades.clear()
    if _lock.locked():
        _lock.release()


atexit.register(_stop)
process.on_fork(_forget)
