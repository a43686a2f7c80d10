"""What tests of stored sessions share: stores that take their time, and journals that a dead process has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from turnwise import Agent, SqliteStore
from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.principal import LOCAL, Principal
from turnwise.core.store import Claim, NewSession, Owner, Store
from turnwise.store.memory import MemoryStore

DEAD = Owner("dead", "elsewhere", 4711)
"""A process whose lease has run out."""


class SharedStore(MemoryStore):
    """A `MemoryStore` as stores on disk are: every append waits and is claimed, so that several runtimes may share it."""

    append_now = None  # type: ignore[assignment]

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        await asyncio.sleep(0)
        fence = await super().append(session, after, entries, claim)
        await asyncio.sleep(0)
        return fence


KINDS = ("shared", "sqlite")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncGenerator[Store]:
    """A store of that kind: in memory as it is ("memory"), or one that several runtimes may share."""
    if kind != "sqlite":
        yield SharedStore() if kind == "shared" else MemoryStore()
        return
    store = SqliteStore(folder / "sessions.db")
    try:
        yield store
    finally:
        await store.close()


async def journal_of(agent: Agent[Any], prompt: str = "Hi", principal: Principal = LOCAL) -> Sequence[Entry]:
    """The journal of a whole turn, in a session of its own."""
    async with agent.session(principal=principal) as session:
        await session.run(prompt)
        return await session.journal(0)


async def left_behind(
    store: Store,
    entries: Sequence[Entry],
    name: str | None = None,
    agent: str = "agent",
    owner: Owner = DEAD,
    ttl_s: float = 0.0,
) -> str:
    """Put a journal into the store as a process has left it that was killed after these entries; the session's id."""
    created = entries[0]
    assert isinstance(created, SessionCreated)
    await store.create(NewSession(id=created.session, principal=created.principal, name=name, agent=agent))
    await store.heartbeat(owner, ttl_s)
    await store.append(created.session, 0, entries, Claim(owner.id))
    return created.session
