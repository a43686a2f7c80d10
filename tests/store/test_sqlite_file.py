"""Where the file is, who may read it, whose it is, and how it becomes that of a newer release."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.journals import created, ended, said, same, write
from tests.store.sqlite_support import names_in

from turnwise import SqliteStore
from turnwise.core.store import Query, Scope
from turnwise.errors import ConfigError, StateError
from turnwise.store.sqlite import schema

OLD = Path(__file__).with_name("sqlite_v1.sql")
"""A store as schema version 1 left it. Not to be changed: it is what users have."""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- place and rights ---------------------------------------------------------------------------------------------------


def test_turnwise_home_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    assert SqliteStore().path == tmp_path / "home" / "turnwise.db"


def test_without_a_home_it_is_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNWISE_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = SqliteStore().path
    assert path.is_relative_to(tmp_path) and path.parent.name == "turnwise" and path.name == "turnwise.db"


def test_making_a_store_touches_nothing(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "new" / "t.db").blobs("local")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SqliteStore(path)
    assert caught.value.code == "invalid_value"


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        SqliteStore(tmp_path / "t.db", durability="some")  # type: ignore[arg-type]


async def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """The folder, the file, the log beside it, blobs and backups: whatever the umask says."""
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "home" / "t.db")
        await write(store, "s", 2)
        await store.blobs("local").put(b"x")
        await store.backup(tmp_path / "copy.db")
        home = tmp_path / "home"
        files = [path for path in home.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {"t.db", "t.db-wal", "lock"} and len(files) >= 5
        assert [path for path in [*files, tmp_path / "copy.db"] if mode_of(path) & 0o077] == []
        assert [path for path in [home, *home.rglob("*")] if path.is_dir() and mode_of(path) & 0o077] == []
        await store.close()
    finally:
        os.umask(before)


async def test_any_name_will_do(tmp_path: Path) -> None:
    """What means something in an address of SQLite's does not."""
    path = tmp_path / "a?mode=ro&x #1%20 'ü.db"
    store = SqliteStore(path)
    journal = await write(store, "s", 3)
    await store.close()
    assert path.exists() and names_in(tmp_path) == [path.name]
    again = SqliteStore(path)
    assert same(await again.read("s"), journal)
    await again.close()


def test_importing_turnwise_loads_no_database() -> None:
    """I1"""
    code = "import sys, turnwise; assert 'sqlite3' not in sys.modules and 'platformdirs' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- files of others ----------------------------------------------------------------------------------------------------


async def refused(path: Path) -> str:
    """The code with which a store on this file refuses to read, and to append."""
    store = SqliteStore(path)
    codes = set[str]()
    for asked in (lambda: store.read("s"), lambda: store.append("s", 0, [created("s")])):
        with pytest.raises(StateError) as caught:
            await asked()
        codes.add(caught.value.code)
        assert str(path) in caught.value.message and caught.value.hint
    await store.close()
    assert len(codes) == 1
    return codes.pop()


async def test_what_is_not_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 400)
    assert await refused(path) == "not_a_database"
    assert path.read_text() == "Dear Sir or Madam, " * 400


async def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    before = path.read_bytes()
    assert await refused(path) == "not_a_store"
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """D7: told what to do, and nothing is changed."""
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    await write(store, "s", 2)
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    before = path.read_bytes()
    assert await refused(path) == "store_newer"
    assert path.read_bytes() == before


async def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert await refused(tmp_path) == "store_unavailable"


async def test_a_file_that_is_taken_away_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D1: what would be lost is not acknowledged. It can be used again when it is back."""
    monkeypatch.setattr("turnwise.store.sqlite.writer.LOOK_EVERY_S", 0.0)
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    await write(store, "s", 3)
    path.rename(tmp_path / "away.db")
    with pytest.raises(StateError) as caught:
        await store.append("s", 3, [ended()])
    assert caught.value.code == "store_moved"
    (tmp_path / "away.db").rename(path)
    await store.append("s", 3, [ended()])
    assert len(await store.read("s")) == 4
    await store.close()


# --- migrations ---------------------------------------------------------------------------------------------------------


def make_old(path: Path, version: int = 1) -> None:
    """A file as a release with that schema left it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(OLD.read_text("utf-8"))
    for step in schema.MIGRATIONS[1:version]:
        for statement in step:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
async def test_files_of_every_earlier_version_are_migrated(version: int, tmp_path: Path) -> None:
    """Everything is there afterwards, what is new works with it, and the old file is kept."""
    path = tmp_path / "t.db"
    make_old(path, version)
    store = SqliteStore(path)
    journal = [created("old-1"), said("a lighthouse on the hill"), ended()]
    assert same(await store.read("old-1"), journal)
    found = await store.sessions(Query(tags=("kept",)))
    assert [(i.id, i.name, i.title, i.last, i.turns) for i in found] == [("old-1", "kept", "An old one", 3, 1)]
    assert [hit.entry for hit in await store.search("local", "lighthouse")] == [2]
    record = await store.get_record(Scope("global"), "colour")
    assert record is not None and (record.value, record.version) == (b'"red"', 2)
    await store.append("old-1", 3, [ended()])
    await write(store, "new", 2)
    assert await store.delete("old-1")
    assert (await store.verify()).ok
    await store.close()
    kept = tmp_path / f"t.db.v{version}.bak"
    assert kept.exists() == (version < schema.VERSION)
    if kept.exists():
        db = sqlite3.connect(kept)
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (3,)
        db.close()
        assert mode_of(kept) == 0o600


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.db"
    make_old(path)
    broken = (*schema.MIGRATIONS[:1], ("CREATE TABLE half (a)", "CREATE TABLE sessions (again)"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", broken)
        store = SqliteStore(path)
        with pytest.raises(StateError) as caught:
            await store.read("old-1")
        assert caught.value.code == "store_failed"
        await store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    db.close()
    store = SqliteStore(path)
    assert len(await store.read("old-1")) == 3
    await store.close()


async def test_the_old_file_is_what_version_one_made(tmp_path: Path) -> None:
    """So that the file in the tests cannot drift from the step that is in the source."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_old(old)
    db = sqlite3.connect(new)
    for statement in schema.MIGRATIONS[0]:
        db.execute(statement)
    db.commit()
    db.close()
    assert tables(old) == tables(new)


def tables(path: Path) -> list[tuple[str, str]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name").fetchall()
    db.close()
    return [(name, " ".join(sql.split())) for name, sql in found if sql]
