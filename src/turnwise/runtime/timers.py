"""Many deadlines, one timer of the event loop.

A turn sets a deadline and nearly always ends before it. Arming and cancelling a loop timer for each would cost more than
the rest of the bookkeeping, so deadlines wait in a heap, cancelled ones stay there until they are due or outnumber the
others, and the loop is asked for a wake-up only when the earliest deadline is earlier than the one it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

_SWEEP_ABOVE = 64


class Timer:
    """A deadline that can be cancelled. Compares by time, so that it can stand in the heap itself."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Timers:
    """The deadlines of one runtime, on `loop.time()`. Callbacks run in the loop and must not raise."""

    __slots__ = ("_armed", "_cancelled", "_handle", "_heap", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Timer] = []
        self._cancelled = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed = 0.0

    def __len__(self) -> int:
        """Deadlines that are waiting and not cancelled."""
        return len(self._heap) - self._cancelled

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, at or soon after `when`."""
        timer = Timer(when, callback)
        heappush(self._heap, timer)
        if self._handle is None or when < self._armed:
            self._arm(when)
        return timer

    def cancel(self, timer: Timer) -> None:
        """The callback will not be called; a no-op if it was already."""
        if timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > _SWEEP_ABOVE and self._cancelled * 2 > len(self._heap):
            self._heap = [t for t in self._heap if t.callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Forget all deadlines."""
        self._heap.clear()
        self._cancelled = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = when
        self._handle = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        self._handle = None
        now = self._loop.time()
        while self._heap and (self._heap[0].callback is None or self._heap[0].when <= now):
            timer = heappop(self._heap)
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
        if self._heap and (self._handle is None or self._heap[0].when < self._armed):
            self._arm(self._heap[0].when)
