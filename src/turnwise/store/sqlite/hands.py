"""Who does a store's work beside the event loop, and which clock says how long it takes: threads, and the machine's. One seam for whoever
has neither, as the simulator, where everything is done on one loop in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import Protocol, TypeVar

from . import daemon
from .clock import monotonic
from .threads import Threads
from .transactions import Transactions, Upkeep
from .watch import Watch
from .writer import Writer

R = TypeVar("R")


class Hands(Protocol):
    """What a `SqliteStore` is made with."""

    def monotonic(self) -> float: ...
    def upkeep(self, main: Callable[[], None]) -> Upkeep:
        """Bring the log into the file, aside; begun when this returns. Raises `RuntimeError` if that cannot be now."""
        ...

    def writer(self, transactions: Transactions) -> Writer: ...
    def threads(
        self, name: str, limit: int, path: Path, open_: Callable[[], R], close: Callable[[R], None]
    ) -> Threads[R]: ...
    def watch(self, path: Path, open_db: Callable[[], Connection]) -> Watch: ...
    async def aside(self, function: Callable[[], None]) -> None:
        """Call something that blocks."""
        ...


class ThreadHands:
    """The real ones."""

    monotonic = staticmethod(monotonic)
    writer = staticmethod(Writer)
    watch = staticmethod(Watch)
    aside = staticmethod(daemon.in_thread)

    def upkeep(self, main: Callable[[], None]) -> threading.Thread:
        return daemon.start("upkeep", main)

    def threads(
        self, name: str, limit: int, path: Path, open_: Callable[[], R], close: Callable[[R], None]
    ) -> Threads[R]:
        return Threads(name, limit, path, open_, close)


THREADS = ThreadHands()
