"""An event loop whose clock jumps: tests of waits, deadlines and retries take milliseconds and are exact.

When everything on the loop waits and only timers are left, the clock is moved to the earliest one. Sockets on loopback work as
usual: what was written to them is read before any jump.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SETTLE_S = 0.002
"""How long (real time) the loop looks for I/O before it jumps: loopback delivers at once, but not in no time."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for timers: finds nothing ready, notes how much time was skipped, and returns."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= SETTLE_S:
            return super().select(timeout)
        ready = super().select(SETTLE_S)
        if not ready:
            self.skipped_s += timeout - SETTLE_S
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` runs ahead of the machine's clock by what was not waited for.

    Work in threads and child processes takes real time and the clock may jump over it: not for code that waits for them.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.skipped_s


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a `VirtualTimeLoop`. Code that waits for what never comes jumps to its own time limit, so give it one:
    `async with asyncio.timeout(3600)` costs nothing; without any timer it hangs as it would on any other loop."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
