"""What only the store in memory has: an append that does not wait, and journals without a store."""

from __future__ import annotations

import asyncio

import pytest

from turnwise import MemoryStore
from turnwise.core.store import Claim, Owner
from turnwise.errors import SessionBusy, StateError
from turnwise.store.memory import MemoryBlobs, MemoryJournals
from turnwise.testing.store_conformance.samples import numbered, session_of, whole_turn


async def test_appending_now_is_appending() -> None:
    store = MemoryStore()
    assert store.append_now("s1", 0, session_of("s1")) == 4
    with pytest.raises(StateError) as raised:
        store.append_now("s1", 3, whole_turn("x", turn=2))
    assert raised.value.code == "append_conflict"
    with pytest.raises(StateError) as raised:
        store.append_now("nobody", 3, whole_turn("x", turn=2))
    assert raised.value.code == "session_deleted" and await store.info("nobody") is None
    info = await store.info("s1")
    assert info is not None and (info.last, info.turns, info.status) == (4, 1, "idle")


async def test_appending_now_minds_claims() -> None:
    """D3: the way without waiting is no way around a claim."""
    store = MemoryStore()
    await store.heartbeat(Owner("one"), 30)
    fence = await store.append("s1", 0, session_of("s1"), Claim("one"))
    with pytest.raises(SessionBusy):
        store.append_now("s1", 4, numbered(1))
    await store.release("s1", Claim("one", fence))
    assert store.append_now("s1", 4, numbered(1)) == 5


async def test_appending_now_wakes_who_waits() -> None:
    store = MemoryStore()
    waiting = asyncio.ensure_future(store.wait("s1", 0, 20))
    await asyncio.sleep(0)
    store.append_now("s1", 0, session_of("s1"))
    assert await waiting == 4
    assert await store.wait("s1", 3, 0) == 4 == await store.wait("s1", 4, 0)


async def test_journals_alone() -> None:
    journals = MemoryJournals()
    assert journals.append_now("s1", 0, session_of("s1")) == 4
    assert await journals.append("s1", 4, numbered(2)) == 0
    with pytest.raises(StateError):
        await journals.append("s1", 4, numbered(2))
    assert len(await journals.read("s1")) == 6 and len(await journals.read("s1", 4, 1)) == 1


async def test_blobs_without_a_clock_are_not_dated() -> None:
    """Bytes that belong to no store are kept as long as whoever has them."""
    blobs = MemoryBlobs()
    name = await blobs.put(b"kept")
    assert len(blobs) == 1 and blobs.bytes_kept == 4 and await blobs.get(name) == b"kept"
