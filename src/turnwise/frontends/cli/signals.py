"""Ctrl-C and termination end a turn through the engine, so that what was received is kept and nothing is left running."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Received:
    """The signal that came; `number` is None as long as none did."""

    number: int | None = None


@contextmanager
def ends_by_signal(stop: Callable[[], object]) -> Generator[Received, None, None]:
    """Within the block the first signal calls `stop` on the running event loop; the second one ends the process at once.

    The handler is Python's own rather than the event loop's: it also runs while a write to a slow reader blocks the loop.
    After a first signal the second one keeps its deadly meaning past the block too. Signals that were ignored when the
    process started (`nohup`) stay ignored.
    """
    loop = asyncio.get_running_loop()
    received = Received()

    def on_signal(number: int, _: FrameType | None) -> None:
        received.number = number
        signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop)

    found = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, on_signal)
    try:
        yield received
    finally:
        for number, handler in heeded.items():
            if received.number != number:
                signal.signal(number, handler)
