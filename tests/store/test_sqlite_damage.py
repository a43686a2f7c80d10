"""Files that are not what was written (rule D5): clear errors, nothing dropped in silence, and what is good can be read."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.store.journals import created, ended, same, write
from tests.store.sqlite_support import child

from turnwise import SqliteStore
from turnwise.core.content import BlobRef, Image
from turnwise.core.entries import Entry, InputAccepted
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.store import Snapshot
from turnwise.errors import StateError
from turnwise.store.sqlite import Verified

LONG = os.environ.get("TURNWISE_LONG") == "1"
SESSIONS = 12
READING = {
    "damaged_entry",
    "store_damaged",
    "not_a_database",
    "not_a_store",
    "store_newer",
    "store_io",
    "store_unavailable",
    "unknown_entry",
}
"""What a damaged file may be refused with."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Entry]]]:
    """A store of some hundred pages, closed, and the journals in it."""
    path = tmp_path_factory.mktemp("original") / "t.db"

    async def make() -> dict[str, list[Entry]]:
        store = SqliteStore(path)
        journals = {f"session-{n}": await write(store, f"session-{n}", 20 + n) for n in range(SESSIONS)}
        await store.search("local", "session")
        await store.close()
        return journals

    return path, asyncio.run(make())


async def read_all(path: Path, sessions: list[str]) -> tuple[dict[str, list[Entry] | str], Verified | str]:
    """What can be read of each session, or the code it is refused with; and what `verify` says."""
    store = SqliteStore(path)
    found: dict[str, list[Entry] | str] = {}
    for session in sessions:
        try:
            found[session] = list(await store.read(session))
        except StateError as error:
            found[session] = error.code
    try:
        verified: Verified | str = await store.verify()
    except StateError as error:
        verified = error.code
    await store.close()
    return found, verified


def flip_bytes(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 2, 8, 40])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def overwrite_a_block(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at, size = rng.randrange(len(data)), rng.choice([16, 512, 4096])
    data[at : at + size] = rng.choice([bytes(size), rng.randbytes(size)])[: len(data[at : at + size])]
    path.write_bytes(data)


def cut_the_tail(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


@pytest.mark.parametrize("seed", range(300 if LONG else 25))
@pytest.mark.parametrize("damage", [flip_bytes, overwrite_a_block, cut_the_tail])
async def test_damage_is_never_silent(
    damage: Callable[[Path, random.Random], None],
    seed: int,
    original: tuple[Path, dict[str, list[Entry]]],
    tmp_path: Path,
) -> None:
    """D5: a journal is read as it was written, or refused; what cannot be read is in the report, too."""
    source, journals = original
    path = tmp_path / "t.db"
    shutil.copyfile(source, path)
    damage(path, random.Random(seed))
    found, verified = await read_all(path, list(journals))
    for session, read in found.items():
        if isinstance(read, str):
            assert read in READING
            assert isinstance(verified, str) or not verified.ok
        else:
            assert same(read, journals[session]), f"{session} reads as something else: {len(read)} entries"
    if isinstance(verified, Verified):
        for session, good in verified.good.items():
            assert session not in journals or good < len(journals[session])


async def test_one_damaged_entry_leaves_the_rest(original: tuple[Path, dict[str, list[Entry]]], tmp_path: Path) -> None:
    """D5: the error says which one; what is before and behind it, and every other session, can be read, and written to."""
    source, journals = original
    path = tmp_path / "t.db"
    shutil.copyfile(source, path)
    data = path.read_bytes()
    assert data.count(b"session-3 7 x") >= 1
    path.write_bytes(data.replace(b"session-3 7 x", b"session-3 7 y"))
    store = SqliteStore(path)
    with pytest.raises(StateError) as caught:
        await store.read("session-3")
    assert caught.value.code == "damaged_entry" and "Entry 8 of session session-3" in caught.value.message
    wanted = journals["session-3"]
    assert same(await store.read("session-3", 0, 7), wanted[:7])
    assert same(await store.read("session-3", 8), wanted[8:])
    for session in [s for s in journals if s != "session-3"]:
        assert same(await store.read(session), journals[session])
    await store.append("session-4", len(journals["session-4"]), [ended()])
    report = await store.verify()
    assert not report.ok and report.good == {"session-3": 7}
    assert [(d.kind, d.session, d.entry) for d in report.damage] == [("entry", "session-3", 8)]
    assert await store.search("local", '"session-3 9"')
    await store.close()


async def test_an_entry_that_is_gone_is_missed(tmp_path: Path) -> None:
    """D5: at the end, in the middle, at the beginning; and one more than there should be."""
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    for n in range(4):
        await write(store, f"s{n}", 6)
    await store.close()
    db = sqlite3.connect(path)
    keys = dict(db.execute("SELECT id, key FROM sessions"))
    for session, seq in (("s0", 6), ("s1", 3), ("s2", 1)):
        assert db.execute("DELETE FROM entries WHERE id = ?", ((keys[session] << 32) + seq,)).rowcount == 1
    db.execute("UPDATE sessions SET last = 4 WHERE id = 's3'")
    db.commit()
    db.close()
    store = SqliteStore(path)
    for session, number in (("s0", 6), ("s1", 3), ("s2", 1), ("s3", 5)):
        with pytest.raises(StateError) as caught:
            await store.read(session)
        assert caught.value.code == "damaged_entry" and f"Entry {number} of" in caught.value.message
    with pytest.raises(StateError) as caught:
        await store.append("s3", 4, [ended()])
    assert caught.value.code == "store_damaged"
    report = await store.verify()
    assert report.good == {"s0": 5, "s1": 2, "s2": 0, "s3": 4}
    await store.close()


async def test_a_damaged_index_does_not_hide_a_session(tmp_path: Path) -> None:
    """D5: an id that the index has lost is looked for in the table."""
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    journal = await write(store, "session-with-a-long-name", 3)
    await store.close()
    data = path.read_bytes()
    assert data.count(b"session-with-a-long-name") == 5  # the table, its index, and the entries
    for at in [i for i in range(len(data)) if data.startswith(b"session-with-a-long-name", i)]:
        path.write_bytes(data[:at] + b"n" + data[at + 1 :])
        found, verified = await read_all(path, ["session-with-a-long-name"])
        read = found["session-with-a-long-name"]
        assert read == "damaged_entry" or same(read, journal)
        assert isinstance(verified, Verified) and not verified.ok


async def test_a_damaged_snapshot_is_none(tmp_path: Path) -> None:
    """It is made again from the journal; the report has it."""
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    await write(store, "s", 3)
    await store.save_snapshot("s", Snapshot(3, 1, b"a snapshot of the state"))
    await store.close()
    path.write_bytes(path.read_bytes().replace(b"a snapshot of", b"a snapshut of"))
    store = SqliteStore(path)
    assert await store.snapshot("s") is None
    assert [(d.kind, d.session) for d in (await store.verify()).damage] == [("snapshot", "s")]
    await store.save_snapshot("s", Snapshot(3, 1, b"another"))
    assert (await store.verify()).ok
    await store.close()


async def test_damaged_and_missing_blobs_are_reported(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    blobs = store.blobs("local")
    names = [await blobs.put(bytes([n]) * 1000) for n in range(3)]
    images = tuple([Image(BlobRef(name, 1000, "image/png")) for name in names])
    await store.append("s", 0, [created("s"), InputAccepted(UserMessage(images, turn=1), Limits())])
    assert (await store.verify()).ok
    folder = tmp_path / "t.db-blobs" / "t-local"
    (folder / names[0][:2] / names[0]).write_bytes(b"something else")
    (folder / names[1][:2] / names[1]).unlink()
    report = await store.verify()
    assert {(d.kind, d.blob) for d in report.damage} == {("blob", names[0]), ("missing_blob", names[1])}
    for name, code in ((names[0], "damaged_blob"), (names[1], "missing_blob")):
        with pytest.raises(StateError) as caught:
            await blobs.get(name)
        assert caught.value.code == code
    assert await blobs.put(bytes([0]) * 1000) == names[0]
    assert await blobs.get(names[0]) == bytes([0]) * 1000, "putting the same bytes again mends it"
    await store.close()


# --- no room, no rights -------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """D5: the refused append has written nothing, what was acknowledged can be read, and it goes on when there is room."""
    with child("fill", tmp_path / "t.db") as process:
        said = json.loads(process.communicate(timeout=60)[0])
    assert said["refused"] in ("disk_full", "store_io")
    assert said["acknowledged"] > 10
    assert said["read"] == said["acknowledged"] and said["after"] == said["acknowledged"] + 1
    assert said["others"] == 1 and said["ok"]
    assert said["blob"] == "disk_full"


async def test_a_file_that_may_only_be_read_is_read() -> None:
    """Appends say what is wrong."""
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "t.db"
        store = SqliteStore(path)
        await write(store, "s", 5)
        await store.close()
        os.chmod(path, 0o444)
        os.chmod(folder, 0o777)
        with child("read_only", path) as process:
            said = json.loads(process.communicate(timeout=60)[0])
        assert said == {"read": 5, "code": "store_read_only", "again": 5, "hits": 0}
    finally:
        shutil.rmtree(folder)
