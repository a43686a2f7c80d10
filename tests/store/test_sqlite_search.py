"""The full-text index follows when somebody searches, in pieces, and forgets what is deleted."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.store.journals import created, ended, found, said, write

from turnwise import Principal, SqliteStore
from turnwise.core.store import Hit
from turnwise.store.sqlite import schema, search


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def places(hits: Sequence[Hit]) -> set[tuple[str, int]]:
    return {(hit.session, hit.entry) for hit in hits}


async def test_appends_do_not_pay_for_the_index(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    await write(store, "s", 20)
    assert await asyncio.to_thread(rows, path, "SELECT count(*) FROM texts") == [(0,)]
    assert len(await store.search("local", "s", limit=50)) == 19
    assert await asyncio.to_thread(rows, path, "SELECT count(*) FROM texts") == [(19,)]
    await store.append("s", 20, [said("one more pebble", 20)])
    assert places(await store.search("local", "pebble")) == {("s", 21)}
    await store.close()


async def test_indexing_gives_way_to_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long backlog is taken in pieces, in a transaction each; appends go on in between."""
    monkeypatch.setattr(search, "BATCH_ENTRIES", 10)
    index_some, pieces = search.index_some, list[bool]()

    def counted(*given: Any) -> bool:
        pieces.append(index_some(*given))
        return pieces[-1]

    monkeypatch.setattr(search, "index_some", counted)
    store = SqliteStore(tmp_path / "t.db")
    await store.append("s", 0, [created("s"), *[said(f"pebble {n}", n) for n in range(300)]])
    await store.append("t", 0, [created("t"), *[said(f"pebble {n}", n) for n in range(35)]])
    searching = asyncio.ensure_future(store.search("local", "pebble", limit=1000))
    appended = 0
    while not searching.done():
        await store.append("u", appended, [created("u") if not appended else ended(appended)])
        appended += 1
    assert len(await searching) == 335
    assert appended > 5
    assert len(pieces) >= 34
    await store.close()


async def test_two_stores_index_one_file(tmp_path: Path) -> None:
    """What both take up is there once."""
    stores = [SqliteStore(tmp_path / "t.db") for _ in range(2)]
    await stores[0].append("s", 0, [created("s"), *[said(f"pebble {n}", n) for n in range(1500)]])
    for hits in await asyncio.gather(*[store.search("local", "pebble", limit=5000) for store in stores]):
        assert len(hits) == 1500
    for store in stores:
        await store.close()


async def test_what_is_deleted_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    for session in ("a", "b"):
        await store.append(session, 0, [created(session), said("a pebble"), found("another pebble")])
    assert places(await store.search("local", "pebble")) == {("a", 2), ("a", 3), ("b", 2), ("b", 3)}
    assert await store.delete("a")
    assert places(await store.search("local", "pebble")) == {("b", 2), ("b", 3)}
    assert await asyncio.to_thread(rows, path, "SELECT count(*) FROM texts") == [(2,)]
    await store.append("a", 0, [created("a"), said("a shell")])
    assert places(await store.search("local", "shell")) == {("a", 2)}
    await store.close()


async def test_tenants_do_not_find_each_others_words(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    for tenant in ("a", "b"):
        await store.append(tenant, 0, [created(tenant, Principal(tenant, "u")), said("a pebble")])
    assert places(await store.search("a", "pebble")) == {("a", 2)}
    assert await store.search("c", "pebble") == []
    assert await store.search("a", "pebble", session="b") == []
    await store.close()


WORDS = [
    "pebble",
    "shell",
    "näive",
    "AND",
    "OR",
    "NOT",
    "NEAR",
    "a_b",
    "src/main.py",
    "it's",
    "x-y",
    "東京",
    "*",
    "^",
    "(",
    '"',
    "text:",
]


(TOKENIZER,) = re.findall(r"tokenize = [^)]*", " ".join(schema.MIGRATIONS[1]))


@examples(120)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=8))
def test_any_text_is_a_query(words: list[str]) -> None:
    """No text is a syntax error; it finds what has these words in this order."""
    query = search.query_of(" ".join(words))
    text = " ".join(words).encode("utf-8", "replace").decode().replace("\0", " ")
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE VIRTUAL TABLE texts USING fts5 (text, {TOKENIZER})")
        db.execute("INSERT INTO texts VALUES (?)", (text,))
        found = db.execute("SELECT 1 FROM texts WHERE texts MATCH ?", (query,)).fetchall() if query else []
    if re.search(r"[a-z0-9]", query):
        assert found == [(1,)]


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("pebble shell", True),
        ('"shell pebble"', False),
        ('"pebble and shell', True),
        ("NOT shell", False),
        ("pebble OR nothing", False),
        ("PEBBLE", True),
        ("peb", False),
        ("peb*", False),
        ("src/main.py", True),
        ("main/src", False),
        ("some_name", True),
        ("some", False),
        ("text: pebble", False),
        ("!!!", False),
        ("pebble !!!", True),
    ],
)
async def test_queries_mean_what_they_say(query: str, finds: bool, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    await store.append("s", 0, [created("s"), said("A pebble and shell in src/main.py, some_name")])
    hits = await store.search("local", query)
    assert bool(hits) is finds
    await store.close()
