"""Journals and blobs in memory: nothing outlives the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from ..core.entries import Entry
from ..core.store import Claim
from .refusals import append_conflict, missing_blob


class MemoryStore:
    """A `Store` in memory. `append_now` is the same as `append` without waiting: there is nothing to wait for.

    Entries are immutable, so they are kept as they are.
    """

    __slots__ = ("_journals",)

    def __init__(self) -> None:
        self._journals: dict[str, list[Entry]] = {}

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        self.append_now(session, after, entries)
        return 0

    def append_now(self, session: str, after: int, entries: Sequence[Entry]) -> int:
        journal = self._journals.get(session)
        if journal is None:
            journal = self._journals[session] = []
        if len(journal) != after:
            raise append_conflict(session, after, len(journal))
        journal.extend(entries)
        return len(journal)

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return tuple(self._journals.get(session, ())[after : None if limit is None else after + limit])


class SuspendingStore:
    """A `MemoryStore` that waits before and after every append, as stores on disk do: what tests use.

    `pause` is awaited with "before" and "after"; whatever it raises, the append raises.
    """

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


class MemoryBlobs:
    """A `Blobs` store in memory."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = sha256(data).hexdigest()
        self._blobs[name] = data
        return name

    async def get(self, sha256: str) -> bytes:
        """The bytes. Raises `StateError` (`missing_blob`) if they were never put here."""
        try:
            return self._blobs[sha256]
        except KeyError:
            raise missing_blob(sha256) from None
