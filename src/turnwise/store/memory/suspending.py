"""A store in memory that takes its time: for tests of what happens meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ...core.entries import Entry
from ...core.store import Claim
from .store import MemoryStore


class SuspendingStore:
    """A `MemoryStore` that waits before and after every append, as stores on disk do. Of a store it has the journals only.

    `pause` is awaited with "before" and "after"; whatever it raises, the append raises.
    """

    where = "memory"
    lasting = False

    def __init__(self, pause: Callable[[str], Awaitable[None]]) -> None:
        self._store = MemoryStore()
        self._pause = pause

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        await self._pause("before")
        fence = await self._store.append(session, after, entries, claim)
        await self._pause("after")
        return fence

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return await self._store.read(session, after, limit)
