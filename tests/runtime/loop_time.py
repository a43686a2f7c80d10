"""An event loop whose clock shows what the loop itself spent: its thread's CPU time, and the time it had to wait.

What the machine gives to other processes is not on this clock, so a bound on it holds on a busy machine too. A wait for a timer
counts for as long as it was asked for, however late the machine wakes the loop; a wait that something ended (a socket, a
child, a thread) counts in full. A call that blocks the loop without using the CPU is not seen: whoever measures looks at the
real time as well.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _MeteredSelector(selectors.DefaultSelector):
    """Adds up what was waited."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        began = time.monotonic()
        ready = super().select(timeout)
        took = time.monotonic() - began
        self.waited_s += took if timeout is None else min(took, timeout)
        return ready


class MeteredLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is CPU time of the loop's thread plus time waited. Must run in the thread that made it."""

    def __init__(self) -> None:
        self._metered = _MeteredSelector()
        super().__init__(self._metered)

    def time(self) -> float:
        return time.thread_time() + self._metered.waited_s


def run_metered(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a `MeteredLoop`."""
    with asyncio.Runner(loop_factory=MeteredLoop) as runner:
        return runner.run(main)
