"""What leaves a store comes back the same, and what is not what left it is refused."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.core.test_machine_chaos import Chaos
from tests.examples import examples
from tests.runtime.transfer.journals import PDF, PNG, journals, put, rich

from turnwise import Agent, Principal, Runtime, replay
from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.errors import ErrorInfo, StateError
from turnwise.core.evolve import fold
from turnwise.core.store import Edit, NewSession, Query, Scope, Store
from turnwise.errors import ConfigError
from turnwise.runtime.transfer.export import export_session
from turnwise.runtime.transfer.importing import import_session
from turnwise.store.codec import damaged_entry, encode_entry
from turnwise.store.facts import blobs_of
from turnwise.store.memory import MemoryStore
from turnwise.store.sqlite import SqliteStore
from turnwise.testing import ScriptedProvider, call, reply


async def exported(store: Store, session: str = "s1", **options: Any) -> bytes:
    return b"".join([piece async for piece in export_session(store, session, **options)])


def lines_of(export: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in export.splitlines()]


def sealed(lines: list[Any]) -> bytes:
    """Lines with an end that fits them: what someone who edits an export with care would write."""
    body = b"".join([msgspec.json.encode(line) + b"\n" for line in lines])
    end = {"type": "end", "lines": len(lines), "sha256": sha256(body).hexdigest()}
    return body + msgspec.json.encode(end) + b"\n"


async def nothing_in(store: Store) -> bool:
    return not await store.sessions(Query(archived=None))


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", ["memory", "sqlite", "memory to sqlite"])
async def test_everything_comes_back(stores: str, tmp_path: Path) -> None:
    """Entries, row, attachments and records: all but the id, which is a new one. From any store to any other."""
    here = SqliteStore(tmp_path / "here.db") if stores == "sqlite" else MemoryStore()
    there = SqliteStore(tmp_path / "there.db") if stores.endswith("sqlite") else MemoryStore()
    try:
        await _everything_comes_back(here, there)
    finally:
        await here.close()
        await there.close()


async def _everything_comes_back(here: Store, there: Store) -> None:
    was = await rich(here, name="dots")
    await here.edit("s1", Edit(archived=True))
    info = await import_session(there, await exported(here))
    assert info.id != "s1" and info.name == "dots" and info.archived
    same = ("title", "agent", "folder", "tags", "last", "turns", "messages", "status")
    assert [getattr(info, name) for name in same] == [getattr(was, name) for name in same]
    before, after = list(await here.read("s1")), list(await there.read(info.id))
    assert after[0] == msgspec.structs.replace(before[0], session=info.id)
    assert after[1:] == before[1:]
    assert fold(after).transcript == fold(before).transcript
    for name in {name for entry in before for name in blobs_of(entry)}:
        assert await there.blobs("local").get(name) == await here.blobs("local").get(name)
    records = {r.key: r for r in await there.records(Scope("session", info.id))}
    assert (records["note"].value, records["note"].schema, records["note"].writer) == (b'{"n": 1}', 3, "test")
    left_s = (records["other"].expires_at or 0) - records["other"].created_at
    assert 3500 < left_s <= 3600


async def test_a_session_of_the_engine_replays_the_same() -> None:
    """Run by the real engine, with a tool: the import is replayed by the machine to the same state, events and results."""

    def look(what: str) -> str:
        return what

    here, there = MemoryStore(), MemoryStore()
    script = [reply("Let me look.", call("look", what="a"), call("look", what="b")), reply("Found."), reply("More.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        agent = Agent(
            "anthropic:m", base_url=provider.anthropic_url, api_key="x", tools=[look], store=here, runtime=runtime
        )
        async with agent.session(id="s1") as session:
            await session.run("Hi")
            await session.run("And?")
            await session.undo()
    info = await import_session(there, await exported(here))
    before, after = replay(await here.read("s1")), replay(await there.read(info.id))
    renamed = msgspec.json.encode(after).replace(info.id.encode(), b"s1")
    assert renamed == msgspec.json.encode(before)


class Travelling(Chaos):
    """Whatever the machine can journal."""

    def teardown(self) -> None:
        asyncio.run(_travels(self.world.journal))


async def _travels(journal: list[Entry]) -> None:
    here, there = MemoryStore(), MemoryStore()
    created = journal[0]
    assert isinstance(created, SessionCreated)
    await here.append(created.session, 0, journal)
    info = await import_session(there, await exported(here, created.session))
    after = list(await there.read(info.id))
    assert after[1:] == journal[1:]
    assert fold(after).transcript == fold(journal).transcript
    again = lines_of(await exported(there, info.id))
    assert [line["entry"] for line in again if line["type"] == "entry"][1:] == [
        msgspec.json.decode(encode_entry(entry)) for entry in journal[1:]
    ]


Travelling.TestCase.settings = examples(48, stateful_step_count=30, suppress_health_check=list(HealthCheck))
TestTravelling = Travelling.TestCase


@given(journal=journals(), sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5))
@examples(80)
def test_any_words_come_back_however_the_bytes_are_cut(journal: list[Entry], sizes: list[int]) -> None:
    async def there_and_back() -> None:
        here, there = MemoryStore(), MemoryStore()
        await put(here, journal)
        info = await import_session(there, cut_up(await exported(here), sizes))
        assert list(await there.read(info.id))[1:] == journal[1:]

    asyncio.run(there_and_back())


def cut_up(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        for size in sizes:
            yield data[at : at + size]
            at += size


async def test_an_export_of_an_import_differs_in_nothing_but_the_id() -> None:
    here, there = MemoryStore(), MemoryStore()
    await rich(here)
    first = await exported(here)
    info = await import_session(there, first)
    second = await exported(there, info.id)
    volatile = ("exported_at", "created_at", "updated_at", "sha256", "expires_at")

    def told(export: bytes) -> list[dict[str, Any]]:
        lines = lines_of(export.replace(info.id.encode(), b"s1"))
        return [{k: v for k, v in line.items() if k not in volatile} for line in lines]

    assert told(second) == told(first)


async def test_the_form_is_what_the_page_says() -> None:
    """Read by nothing but a JSON parser: the lines in their order, numbers, pieces of base64, checksum."""
    store = MemoryStore()
    await rich(store)
    export = await exported(store)
    lines = lines_of(export)
    kinds = [line["type"] for line in lines]
    assert kinds == ["turnwise.export", "session", *["entry"] * 19, *["blob"] * 4, *["record"] * 2, "end"]
    assert lines[0]["v"] == 1 and lines[1]["id"] == "s1" and lines[1]["last"] == 19
    assert [line["number"] for line in lines if line["type"] == "entry"] == list(range(1, 20))
    found: dict[str, bytes] = {}
    for line in lines:
        if line["type"] == "blob":
            assert line["at"] == len(found.setdefault(line["sha256"], b""))
            found[line["sha256"]] += b64decode(line["data"])
    assert sorted(found.values()) == sorted([PNG, PDF, b""])
    assert all(sha256(data).hexdigest() == name for name, data in found.items())
    body = export[: export.rindex(b"\n", 0, -1) + 1]
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1, "sha256": sha256(body).hexdigest()}


async def test_an_export_is_of_one_moment_and_never_whole_in_memory() -> None:
    """What is appended while it is read is left out; it is read page by page."""
    store = Paged()
    await rich(store)
    async with aclosing(export_session(store, "s1")) as pieces:
        first = await anext(pieces)
        last = fold(await store.whole.read("s1"))
        from turnwise.core.changes import Cleared

        await store.append("s1", last.seq, [Cleared(2000.0)])
        rest = b"".join([piece async for piece in pieces])
    assert len(lines_of(first + rest)) == 28
    assert all(limit is not None and limit <= 256 for limit in store.limits)
    assert max(map(len, store.pieces)) < len(PNG) * 2


class Paged(MemoryStore):
    """Notes how it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int | None] = []
        self.pieces: list[bytes] = [b""]

    @property
    def whole(self) -> MemoryStore:
        return self

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
        if limit is not None:
            self.limits.append(limit)
        return await super().read(session, after, limit)


# --- who it belongs to ------------------------------------------------------------------------------------------------


async def test_an_import_belongs_to_whoever_imports_it() -> None:
    """What the file says of tenants and users counts for nothing: an upload cannot write into another tenant."""
    here, there = MemoryStore(), MemoryStore()
    lines = lines_of(await _plain(here))[:-1]
    lines[1]["principal"] = lines[2]["entry"]["principal"] = {"tenant": "victim", "user": "root"}
    mine = Principal("mine", "me")
    info = await import_session(there, sealed(lines), principal=mine)
    assert info.principal == mine and fold(await there.read(info.id)).principal == mine
    assert not await there.sessions(Query(tenant="victim", archived=None))


async def test_a_name_that_is_taken() -> None:
    store = MemoryStore()
    export = await _plain(store, name="plan")
    assert (await import_session(store, export)).name is None
    assert (await import_session(store, export, name="plan 2")).name == "plan 2"
    with pytest.raises(StateError, match="'plan 2'") as raised:
        await import_session(store, export, name="plan 2")
    assert raised.value.code == "name_taken" and len(await store.sessions(Query())) == 3


async def test_an_empty_session() -> None:
    here, there = MemoryStore(), MemoryStore()
    await here.create(NewSession(id="s1", title="To be"))
    info = await import_session(there, await exported(here))
    assert (info.title, info.last) == ("To be", 0)


async def _plain(store: Store, **row: Any) -> bytes:
    journal: list[Entry] = [SessionCreated("s1", Principal(), 1.0)]
    from tests.core.world import begin
    from tests.core.world import reply as said

    world = begin()
    world.feed(said(world, 0))
    await put(store, [*journal, *world.journal[1:]], **row)
    return await exported(store)


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_an_export_that_was_cut_off_is_refused_wherever_it_was_cut() -> None:
    """D5: at every line, and within lines; nothing of it shows."""
    store = MemoryStore()
    export = await _plain(MemoryStore())
    whole = len(export) - 1  # without its last line break it is whole
    for length in [*range(0, whole, 7), *[i + 1 for i, byte in enumerate(export[:-1]) if byte == 10], whole - 1]:
        with pytest.raises(StateError) as raised:
            await import_session(store, export[:length])
        number = export[:length].count(b"\n") + 1
        assert raised.value.code == "invalid_export"
        assert f"Line {number} of the export" in raised.value.message, (length, raised.value.message)
    assert await nothing_in(store)
    assert (await import_session(store, export[:whole])).last


async def test_one_changed_byte_anywhere_is_refused() -> None:
    """D5: also where the line still makes sense; the checksum finds it."""
    store = MemoryStore()
    export = await _plain(MemoryStore())
    for at in range(0, len(export) - 1, 5):
        changed = bytearray(export)
        changed[at] ^= 1
        with pytest.raises(StateError) as raised:
            await import_session(store, bytes(changed))
        assert raised.value.code in ("invalid_export", "newer_export")
    assert await nothing_in(store)


def _swap(lines: list[Any], a: int, b: int) -> None:
    lines[a]["entry"], lines[b]["entry"] = lines[b]["entry"], lines[a]["entry"]


def _blobs(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["type"] == "blob"]


def _blob(lines: list[Any], field: str, value: str) -> None:
    _blobs(lines)[0][field] = value


def _name(lines: list[Any], name: str) -> None:
    lines[3]["entry"]["message"]["body"][0]["source"]["sha256"] = name


def _without_blobs(lines: list[Any]) -> None:
    lines[:] = [line for line in lines if line["type"] != "blob"]


EDITS: dict[str, tuple[Any, int, str, str]] = {
    "no header": (lambda lines: lines.pop(0), 1, "invalid_export", "turnwise.export"),
    "no row": (lambda lines: lines.pop(1), 2, "invalid_export", "row"),
    "newer format": (lambda lines: lines[0].update(v=2), 1, "newer_export", "version 2"),
    "newer entry": (lambda lines: lines[3]["entry"].update(type="mind.read"), 4, "newer_export", "mind.read"),
    "newer version of an entry": (lambda lines: lines[3]["entry"].update(v=2), 4, "newer_export", "version 2"),
    "a kind of line nobody knows": (lambda lines: lines[3].update(type="wish"), 4, "invalid_export", "wish"),
    "an entry is missing": (lambda lines: lines.pop(3), 4, "invalid_export", "entry 3 comes where 2 was due"),
    "the last entry is missing": (lambda lines: lines.pop(20), 21, "invalid_export", "18 entries came"),
    "an entry twice": (lambda lines: lines.insert(3, lines[3]), 5, "invalid_export", "was due"),
    "a field of the wrong type": (lambda lines: lines[3]["entry"].update(message=7), 4, "invalid_export", "Entry 2"),
    "an entry that cannot follow": (lambda lines: _swap(lines, 3, 4), 4, "invalid_export", "no turn is running"),
    "another session's journal": (lambda lines: lines[2]["entry"].update(session="s2"), 3, "invalid_export", "another"),
    "a second beginning": (lambda lines: lines[3].update(entry=lines[2]["entry"]), 4, "invalid_export", "begins"),
    "no beginning": (lambda lines: lines[2].update(entry=lines[3]["entry"]), 3, "invalid_export", "begins"),
    "other bytes": (
        lambda lines: _blob(lines, "data", "j" + _blobs(lines)[0]["data"][1:]),
        0,
        "invalid_export",
        "not those of that name",
    ),
    "fewer bytes": (lambda lines: _blob(lines, "data", "AAAA"), 0, "invalid_export", "from 3 on were due"),
    "other name": (lambda lines: _blob(lines, "sha256", "00"), 0, "invalid_export", "no entry refers"),
    "a piece is missing": (lambda lines: lines.remove(_blobs(lines)[0]), 0, "invalid_export", "attachment"),
    "no base64": (lambda lines: _blob(lines, "data", "*"), 0, "invalid_export", "base64"),
    "a path for a name": (lambda lines: _name(lines, "../../etc/passwd"), 4, "invalid_export", "not the name"),
    "no attachment": (_without_blobs, 0, "invalid_export", "did not come"),
    "something in between": (lambda lines: lines.append(lines[2]), 0, "invalid_export", "out of order"),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edited_export_is_refused_with_the_line(edit: str) -> None:
    """D5, D7: with a checksum that fits, so that each line stands or falls by itself. Nothing of it shows afterwards."""
    change, number, code, words = EDITS[edit]
    here, there = MemoryStore(), MemoryStore()
    await rich(here)
    lines = lines_of(await exported(here))[:-1]
    change(lines)
    with pytest.raises(StateError) as raised:
        await import_session(there, sealed(lines))
    error = raised.value
    assert error.code == code and words in error.message
    assert f"Line {number or ''}" in error.message, error.message
    assert await nothing_in(there)


async def test_a_history_that_no_provider_would_take_is_refused() -> None:
    """T6: a call without an outcome in the history of a fork."""
    from turnwise.core.content import ToolCall
    from turnwise.core.messages import AssistantMessage, UserMessage

    here, there = MemoryStore(), MemoryStore()
    broken = (UserMessage("Hi"), AssistantMessage((ToolCall("a", "x", "{}"),)))
    await put(here, [SessionCreated("s1", Principal(), 1.0, broken)])
    with pytest.raises(StateError, match="no valid conversation"):
        await import_session(there, await exported(here))
    assert await nothing_in(there)


@pytest.mark.parametrize("junk", [b"", b"\n", b"{}\n", b"[" * 100_000, b"\xff\xfe\n", b'{"type":"end"}\n', b"null\n"])
async def test_what_is_no_export_is_refused(junk: bytes) -> None:
    """S8, P7: whatever is handed in, a typed error and nothing else."""
    with pytest.raises(StateError) as raised:
        await import_session(MemoryStore(), junk)
    assert raised.value.code == "invalid_export"


async def test_something_behind_the_last_line() -> None:
    export = await _plain(MemoryStore())
    store = MemoryStore()
    with pytest.raises(StateError, match="behind the last line"):
        await import_session(store, export + export)
    assert await nothing_in(store)
    assert (await import_session(store, export + b"\n\n")).last


async def test_a_store_that_fails_at_the_end_keeps_nothing() -> None:
    class Full(MemoryStore):
        async def append(self, *_: Any, **__: Any) -> int:
            raise StateError(ErrorInfo("state", "append_failed", "no space left"))

    store = Full()
    with pytest.raises(StateError, match="no space"):
        await import_session(store, await _plain(MemoryStore()))
    assert await nothing_in(store)


async def test_a_reader_that_fails_keeps_nothing() -> None:
    """The stream itself breaks: its own error comes out."""
    export = await _plain(MemoryStore())

    async def broken() -> AsyncIterator[bytes]:
        yield export[:500]
        raise ConnectionResetError

    store = MemoryStore()
    with pytest.raises(ConnectionResetError):
        await import_session(store, broken())
    assert await nothing_in(store)


# --- damage -----------------------------------------------------------------------------------------------------------


class Damaged(MemoryStore):
    """Entry 9 is not what was written."""

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
        if after < 9 and (limit is None or after + limit >= 9):
            raise damaged_entry(session, 9, "it is no JSON")
        return await super().read(session, after, limit)


async def test_damage_ends_an_export_and_what_is_good_can_be_had() -> None:
    """D5: without being asked nothing is dropped; with `salvage` what is good comes out, and the export says where it ends."""
    store = Damaged()
    await rich(store)
    with pytest.raises(StateError) as raised:
        await exported(store)
    assert raised.value.code == "damaged_entry"
    export = await exported(store, salvage=True)
    cut = next(line for line in lines_of(export) if line["type"] == "cut")
    assert (cut["after"], cut["code"]) == (8, "damaged_entry")
    there = MemoryStore()
    info = await import_session(there, export)
    assert info.last == 8 and (await there.read(info.id))[1:] == (await MemoryStore.read(store, "s1", 1, 7))
    for format in ("markdown", "html", "text"):
        page = (await exported(store, format=format, salvage=True)).decode()
        assert "What follows could not be read" in page and "seen" in page


async def test_an_attachment_that_is_lost_is_named() -> None:
    """D5: the conversation is worth having without it; the export, and an import of it, say what is missing."""
    here, there = MemoryStore(), MemoryStore()
    journal = list(await _rich_entries())
    await put(here, journal)
    export = await exported(here)
    lost = [line for line in lines_of(export) if line["type"] == "blob.lost"]
    assert len(lost) == 3 and lost[0]["code"] == "missing_blob"
    info = await import_session(there, export)
    assert info.last == 19
    assert "image/png" in (await exported(there, info.id, format="html")).decode()


async def _rich_entries() -> list[Entry]:
    store = MemoryStore()
    await rich(store)
    return list(await store.read("s1"))


async def test_what_cannot_be_exported() -> None:
    with pytest.raises(ConfigError, match="'pdf'"):
        export_session(MemoryStore(), "s1", format="pdf")  # type: ignore[arg-type]
    with pytest.raises(StateError) as raised:
        await exported(MemoryStore(), "nobody")
    assert raised.value.code == "unknown_session"
