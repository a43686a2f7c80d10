"""A store in memory that takes its time, as stores on disk do, and so is claimed in; its clock is the test's to turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.store import Claim, NewSession, Owner
from turnwise.store.memory import MemoryStore
from turnwise.store.memory.claims import Held

Pause = Callable[[str, int], Awaitable[None]]


class Leased(MemoryStore):
    """`now` is the store's clock; `pause` is awaited before each append ("before") and when it took effect ("written"), with its number
    from 0. `appends` is what was appended, under which claim; `beats` and `asked` count heartbeats and looks at a claim."""

    append_now: Any = None

    def __init__(self, pause: Pause | None = None) -> None:
        self.now = 1000.0
        super().__init__(lambda: self.now)
        self.appends: list[tuple[str, list[Entry], Claim]] = []
        self.begun = 0
        self.asked = 0
        self.beats = 0
        self.down = False
        self.pause = pause

    @property
    def held(self) -> dict[str, Held]:
        """The claims that somebody has."""
        return self._claims.held

    def journal(self, session: str = "s") -> list[Entry]:
        """What has been written."""
        row = self._rows.get(session)
        return [] if row is None else list(row.journal)

    async def take_for(self, owner: str, session: str = "s", ttl_s: float = 30.0) -> None:
        """Another process has the session."""
        if await self.info(session) is None:
            await self.create(NewSession(id=session))
        await super().heartbeat(Owner(owner), ttl_s)
        await self.claim(session, owner)

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        number = self.begun
        self.begun += 1
        await asyncio.sleep(0)
        if self.pause is not None:
            await self.pause("before", number)
        fence = await super().append(session, after, entries, claim)
        assert claim is not None, "an append without a claim"
        self.appends.append((session, list(entries), claim))
        if self.pause is not None:
            await self.pause("written", number)
        return fence

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        await asyncio.sleep(0)
        return await super().read(session, after, limit)

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise OSError("no connection")
        self.beats += 1
        await super().heartbeat(owner, ttl_s)

    async def holds(self, session: str, claim: Claim) -> bool:
        self.asked += 1
        return await super().holds(session, claim)


class AtOnce(Leased):
    """One that has done every second append before its `append_at_once` returns, as `SqliteStore` does now and then, and takes its time
    with the others."""

    tried = 0

    def append_at_once(self, session: str, after: int, entries: Sequence[Entry], claim: Claim) -> int | None:
        self.tried += 1
        if self.tried % 2:
            return None
        with pytest.raises(StopIteration) as done:
            MemoryStore.append(self, session, after, entries, claim).send(None)
        self.appends.append((session, list(entries), claim))
        return done.value.value


async def stored(entries: Sequence[Entry]) -> Leased:
    """A store with this journal in it, which nobody has claimed."""
    store = Leased()
    assert isinstance(entries[0], SessionCreated)
    await MemoryStore.append(store, entries[0].session, 0, entries)
    return store
