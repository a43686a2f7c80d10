"""The threads of this store are made here: daemons, so that a disk that hangs does not keep the interpreter from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from .jobs import call_on, wake


def start(name: str, main: Callable[[], None]) -> threading.Thread:
    """A thread that runs `main`; it has begun."""
    thread = threading.Thread(target=main, name=f"turnwise-sqlite-{name}", daemon=True)
    thread.start()
    return thread


async def in_thread(function: Callable[[], None]) -> None:
    """Call something that blocks in a thread of its own; cancelling stops the waiting. Raises nothing of what it raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def main() -> None:
        try:
            function()
        finally:
            call_on(loop, wake, done)

    thread = start("close", main)
    await done
    thread.join()
