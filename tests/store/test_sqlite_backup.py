"""A backup is one file, as of one moment, that was checked; a store that is made of it has everything, blobs included."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from tests.store.journals import created, ended, same, write
from tests.store.sqlite_support import names_in

from turnwise import Principal, SqliteStore
from turnwise.core.store import NewSession, Query, Scope, Snapshot
from turnwise.errors import StateError


async def filled(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.create(NewSession(id="s1", name="one", title="The first", tags=("a",)))
    await write(store, "s1", 10)
    await write(store, "s2", 300)
    await store.save_snapshot("s1", Snapshot(5, 1, b"state"))
    await store.put_record(Scope("user", "u"), "k", b"1")
    return store


async def test_a_restored_store_has_everything(tmp_path: Path) -> None:
    store = await filled(tmp_path / "t.db")
    names = [await store.blobs(t).put(t.encode() * 100_000) for t in ("local", "An/Other.. TENANT", "x" * 300, "")]
    await store.backup(tmp_path / "b.db")
    assert names_in(tmp_path) == ["b.db", "t.db", "t.db-blobs", "t.db-shm", "t.db-wal"]
    report = await SqliteStore.restore(tmp_path / "b.db", tmp_path / "again" / "t.db")
    assert report.ok and (report.sessions, report.entries, report.blobs) == (2, 310, 4)
    again = SqliteStore(tmp_path / "again" / "t.db")
    for session in ("s1", "s2"):
        assert same(await again.read(session), await store.read(session))
        assert await again.info(session) == await store.info(session)
    assert await again.snapshot("s1") == await store.snapshot("s1")
    assert await again.get_record(Scope("user", "u"), "k") == await store.get_record(Scope("user", "u"), "k")
    for tenant, name in zip(("local", "An/Other.. TENANT", "x" * 300, ""), names, strict=True):
        assert await again.blobs(tenant).get(name) == tenant.encode() * 100_000
    await again.append("s1", 10, [ended()])
    assert len(await again.search("local", "s2", limit=500)) == 299
    await again.close()
    await store.close()


async def test_a_backup_is_of_one_moment(tmp_path: Path) -> None:
    """Sessions that are appended to meanwhile are whole in it, and no append waits for it to end."""
    store = await filled(tmp_path / "t.db")
    going = True

    async def go_on(session: str) -> None:
        number = 0
        while going:
            await store.append(session, number, [created(session) if not number else ended(number)])
            number += 1

    tasks = [asyncio.ensure_future(go_on(f"busy-{n}")) for n in range(4)]
    for n in range(5):
        await store.backup(tmp_path / f"b{n}.db")
    going = False
    await asyncio.gather(*tasks)
    for n in range(5):
        report = await SqliteStore.restore(tmp_path / f"b{n}.db", tmp_path / f"r{n}" / "t.db")
        assert report.ok and report.sessions >= 2
    await store.close()


async def test_a_backup_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    store = await filled(tmp_path / "t.db")
    await store.backup(tmp_path / "b.db")
    await write(store, "s3", 2)
    await store.backup(tmp_path / "b.db")
    report = await SqliteStore.restore(tmp_path / "b.db", tmp_path / "r.db")
    assert report.sessions == 3
    await store.close()


async def test_nothing_is_overwritten_that_is_in_use(tmp_path: Path) -> None:
    store = await filled(tmp_path / "t.db")
    with pytest.raises(StateError) as caught:
        await store.backup(tmp_path / "t.db")
    assert caught.value.code == "backup_exists"
    await store.backup(tmp_path / "b.db")
    with pytest.raises(StateError) as caught:
        await SqliteStore.restore(tmp_path / "b.db", tmp_path / "t.db")
    assert caught.value.code == "backup_exists"
    assert len(await store.read("s1")) == 10
    await store.close()


@pytest.mark.parametrize(
    ("spoil", "code"), [("text", "not_a_database"), ("other", "not_a_store"), ("gone", "store_unavailable")]
)
async def test_what_is_no_backup_is_refused(spoil: str, code: str, tmp_path: Path) -> None:
    source = tmp_path / "b.db"
    if spoil == "text":
        source.write_text("no backup" * 1000)
    elif spoil == "other":
        db = sqlite3.connect(source)
        db.execute("CREATE TABLE other (a)")
        db.close()
    with pytest.raises(StateError) as caught:
        await SqliteStore.restore(source, tmp_path / "r" / "t.db")
    assert caught.value.code == code
    assert not (tmp_path / "r").exists() or names_in(tmp_path / "r") == []


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    store = await filled(tmp_path / "t.db")
    await store.backup(tmp_path / "b.db")
    await store.close()
    data = bytearray((tmp_path / "b.db").read_bytes())
    data[5 * 4096 : 9 * 4096] = bytes(4 * 4096)
    (tmp_path / "b.db").write_bytes(data)
    with pytest.raises(StateError) as caught:
        await SqliteStore.restore(tmp_path / "b.db", tmp_path / "r" / "t.db")
    assert caught.value.code == "store_damaged"
    assert names_in(tmp_path / "r") == []


async def test_names_in_a_backup_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """P7: a backup is data."""
    store = await filled(tmp_path / "t.db")
    await store.blobs("local").put(b"x")
    await store.backup(tmp_path / "b.db")
    await store.close()
    db = sqlite3.connect(tmp_path / "b.db")
    assert db.execute("UPDATE backup_blobs SET folder = 't-/../../../out'").rowcount == 1
    db.commit()
    db.close()
    with pytest.raises(StateError) as caught:
        await SqliteStore.restore(tmp_path / "b.db", tmp_path / "r" / "t.db")
    assert caught.value.code == "store_damaged"
    assert not (tmp_path / "out").exists() and names_in(tmp_path / "r") == []


async def test_a_store_that_is_damaged_is_not_backed_up(tmp_path: Path) -> None:
    """The older backup stays."""
    store = await filled(tmp_path / "t.db")
    await store.backup(tmp_path / "b.db")
    await store.close()
    good = (tmp_path / "b.db").read_bytes()
    data = bytearray((tmp_path / "t.db").read_bytes())
    data[20 * 4096 : 22 * 4096] = bytes(2 * 4096)
    (tmp_path / "t.db").write_bytes(data)
    store = SqliteStore(tmp_path / "t.db")
    with pytest.raises(StateError) as caught:
        await store.backup(tmp_path / "b.db")
    assert caught.value.code == "store_damaged"
    await store.close()
    assert (tmp_path / "b.db").read_bytes() == good
    assert "b.db" in names_in(tmp_path) and not [name for name in names_in(tmp_path) if name.endswith("tmp")]


async def test_tenants_do_not_see_each_others_blobs_after_a_restore(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    name = await store.blobs("a").put(b"of a")
    await store.append("s", 0, [created("s", Principal("a", "u"))])
    await store.backup(tmp_path / "b.db")
    await SqliteStore.restore(tmp_path / "b.db", tmp_path / "r.db")
    again = SqliteStore(tmp_path / "r.db")
    assert await again.blobs("a").get(name) == b"of a"
    assert await again.blobs("A").size(name) is None
    assert [info.id for info in await again.sessions(Query(tenant="a"))] == ["s"]
    await again.close()
    await store.close()
