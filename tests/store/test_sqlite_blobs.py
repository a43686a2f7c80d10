"""Blobs beside the file: whole or not there, of one tenant, and never removed while they are wanted. What all stores promise is in the kit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.store.journals import created

from turnwise import SqliteStore
from turnwise.core.content import BlobRef, Image
from turnwise.core.entries import Entry, InputAccepted
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.errors import StateError


def files(path: Path) -> list[str]:
    """The blobs and what was begun of some, of all tenants."""
    return sorted([p.name for p in path.with_name(f"{path.name}-blobs").rglob("*") if p.is_file() and p.name != "lock"])


def shows(name: str) -> Entry:
    return InputAccepted(UserMessage((Image(BlobRef(name, 1, "image/png")),), turn=1), Limits())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        await asyncio.sleep(0)
        yield one


async def test_what_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = SqliteStore(path, max_blob_bytes=1000)
    assert await store.blobs("t").put(b"x" * 1000)
    for data in (b"y" * 1001, pieces(*[b"y" * 100] * 11), pieces(b"y" * 600_000, b"y" * 600_000)):
        with pytest.raises(StateError) as caught:
            await store.blobs("t").put(data)
        assert caught.value.code == "blob_too_large"
    await store.close()
    assert len(files(path)) == 1


@pytest.mark.parametrize("after", range(6))
async def test_an_upload_that_is_cancelled_leaves_nothing(after: int, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    going = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for number in range(6):
            if number == after:
                going.set()
                await asyncio.sleep(30)
            yield b"x" * 300_000

    task = asyncio.ensure_future(store.blobs("t").put(slowly()))
    await going.wait()
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    await store.close()
    assert files(path) == []


async def test_a_source_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = SqliteStore(path)

    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise LookupError("the source")

    with pytest.raises(LookupError, match="the source"):
        await store.blobs("t").put(breaks())
    await store.close()
    assert files(path) == []


async def test_the_same_bytes_put_many_times_at_once_are_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    stores = [SqliteStore(path) for _ in range(2)]
    data = b"z" * 700_000
    names = await asyncio.gather(
        *[store.blobs("t").put(data if n % 2 else pieces(data[:100], data[100:])) for n in range(8) for store in stores]
    )
    assert set(names) == {hashlib.sha256(data).hexdigest()}
    for store in stores:
        assert await store.blobs("t").get(names[0]) == data
        await store.close()
    assert files(path) == [names[0]]


async def test_collecting_keeps_what_is_used_or_was_put_again(tmp_path: Path) -> None:
    """By tenant: the same bytes of two tenants are two blobs."""
    now = [1_800_000_000.0]
    path = tmp_path / "t.db"
    store = SqliteStore(path, clock=lambda: now[0])
    blobs = store.blobs("local")
    used, again, old = [await blobs.put(name.encode()) for name in ("used", "again", "old")]
    await store.blobs("other").put(b"used")
    await store.append("s", 0, [created("s"), shows(used)])
    now[0] += 4000
    await blobs.put(b"again")
    assert (await store.collect_blobs("local")).blobs == 1
    assert [await blobs.size(name) for name in (used, again, old)] == [4, 5, None]
    assert (await store.collect_blobs("other")).blobs == 1
    assert await store.delete("s")
    now[0] += 4000
    collected = await store.collect_blobs("local")
    assert (collected.blobs, collected.bytes) == (2, 9)
    assert files(path) == []
    await store.close()


async def test_collecting_and_putting_at_once_loses_nothing(tmp_path: Path) -> None:
    """What `put` has returned is there, although the same bytes were just being collected."""
    now = [1_800_000_000.0]
    path = tmp_path / "t.db"
    store, other = [SqliteStore(path, clock=lambda: now[0]) for _ in range(2)]
    data = [bytes([n]) * 50 for n in range(12)]
    for one in data:
        await store.blobs("t").put(one)
    for _ in range(8):
        now[0] += 10
        collecting = asyncio.ensure_future(other.collect_blobs("t", unused_for_s=5))
        names = await asyncio.gather(*[store.blobs("t").put(one) for one in data])
        await collecting
        assert [await store.blobs("t").size(name) for name in names] == [50] * len(data)
    await store.close()
    await other.close()


@pytest.mark.parametrize("name", ["", "x", "../../t.db", "A" * 64, "a" * 63, "a" * 65, "a" * 64])
async def test_what_is_no_name_is_missing(name: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    await store.append("s", 0, [created("s")])
    assert await store.blobs("t").size(name) is None
    with pytest.raises(StateError) as caught:
        await store.blobs("t").get(name)
    assert caught.value.code == "missing_blob"
    with pytest.raises(StateError) as caught:
        _ = [piece async for piece in store.blobs("t").stream(name)]
    assert caught.value.code == "missing_blob"
    await store.close()
