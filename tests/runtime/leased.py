"""A store in memory with leases, whose time is the test's to turn: what the tests of claims share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from turnwise.core.entries import Entry
from turnwise.core.errors import ErrorInfo, SessionBusy, StateError
from turnwise.core.store import Claim, Owner, Snapshot
from turnwise.store.memory import append_conflict

Pause = Callable[[str, int], Awaitable[None]]


class Leased:
    """The part of a `Store` that sessions use. `now` is the store's clock; `pause` is awaited around each append with its number."""

    def __init__(self, pause: Pause | None = None) -> None:
        self.now = 0.0
        self.journals: dict[str, list[Entry]] = {}
        self.leases: dict[str, float] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        self.fences: dict[str, int] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.appends: list[tuple[str, list[Entry], Claim | None]] = []
        self.asked = 0
        self.beats = 0
        self.pause = pause

    def living(self, owner: str) -> bool:
        return self.leases.get(owner, -1.0) > self.now

    def _refuse(self, session: str, after: int, claim: Claim | None) -> None:
        holder = self.claims.get(session)
        if holder is not None and (claim is None or (claim.fence == 0 and claim.owner != holder[0])):
            if self.living(holder[0]):
                raise busy(holder[0])
        elif claim is not None and claim.fence and holder != (claim.owner, claim.fence):
            raise StateError(ErrorInfo("state", "lease_lost", "The fence is not the valid one.", "Open it again."))
        if len(self.journals.get(session, [])) != after:
            raise append_conflict(session, after, len(self.journals.get(session, [])))

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        number = len(self.appends)
        await asyncio.sleep(0)
        if self.pause is not None:
            await self.pause("before", number)
        self._refuse(session, after, claim)
        fence = 0 if claim is None else self._take(session, claim.owner)
        if claim is not None and not claim.hold:
            del self.claims[session]
        self.journals.setdefault(session, []).extend(entries)
        self.appends.append((session, list(entries), claim))
        if self.pause is not None:
            await self.pause("written", number)
        return fence

    def _take(self, session: str, owner: str) -> int:
        holder = self.claims.get(session)
        if holder is None or holder[0] != owner:
            self.fences[session] = self.fences.get(session, 0) + 1
            self.claims[session] = owner, self.fences[session]
        return self.claims[session][1]

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        await asyncio.sleep(0)
        return tuple(self.journals.get(session, ())[after : None if limit is None else after + limit])

    async def claim(self, session: str, owner: str) -> int:
        holder = self.claims.get(session)
        if holder is not None and holder[0] != owner and self.living(holder[0]):
            raise busy(holder[0])
        return self._take(session, owner)

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        await asyncio.sleep(0)
        self.beats += 1
        self.leases[owner.id] = self.now + ttl_s

    async def retire(self, owner: str) -> None:
        self.leases.pop(owner, None)
        self.claims = {s: c for s, c in self.claims.items() if c[0] != owner}

    async def holds(self, session: str, claim: Claim) -> bool:
        self.asked += 1
        return self.claims.get(session) == (claim.owner, claim.fence)

    async def release(self, session: str, claim: Claim) -> None:
        if self.claims.get(session) == (claim.owner, claim.fence):
            del self.claims[session]

    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        await asyncio.sleep(0)
        self.snapshots[session] = snapshot

    async def snapshot(self, session: str) -> Snapshot | None:
        return self.snapshots.get(session)


def busy(owner: str) -> SessionBusy:
    return SessionBusy(ErrorInfo("session", "session_busy", f"In use by {owner}.", "Wait."))
