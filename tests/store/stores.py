"""The stores that are held against the contract: one row each. A new store is a row here, and everything in this folder takes it up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from tests.store import server
from tests.store.postgres_row import postgres

from turnwise import SqliteStore
from turnwise.store.memory import MemoryStore
from turnwise.testing.store_conformance import StoreUnderTest


class Kind(NamedTuple):
    """A kind of store. `make` is given an empty folder of its own; `skip` says why it cannot be made here, "" if it can."""

    name: str
    make: Callable[[Path], Awaitable[StoreUnderTest]]
    skip: str = ""


async def memory(folder: Path) -> StoreUnderTest:
    """All handles on a store in memory are the store itself; nothing outlives it."""
    now = [1_800_000_000.0]

    async def advance(seconds: float) -> None:
        now[0] += seconds

    store = MemoryStore(lambda: now[0])

    async def same() -> MemoryStore:
        return store

    return StoreUnderTest(store, second=same, advance=advance)


async def sqlite(folder: Path) -> StoreUnderTest:
    """Another handle is another store on the same file, as another process would have it."""
    now = [1_800_000_000.0]

    async def advance(seconds: float) -> None:
        now[0] += seconds

    async def another() -> SqliteStore:
        return SqliteStore(folder / "kit.db", clock=lambda: now[0])

    return StoreUnderTest(await another(), second=another, reopen=another, advance=advance)


STORES = [
    Kind("memory", memory),
    Kind("postgres", postgres, server.skip()),
    Kind("sqlite", sqlite),
]
