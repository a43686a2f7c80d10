"""Bytes beside the journal: kept once, in the session's store, before anything refers to them, for as long as anything does (D1, E7)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import threading
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_valid, read_all, read_until, results, until
from tests.store.scoped import opened
from tests.store.stores import STORES, Kind

from turnwise import Document, Image, Principal, Runtime, Session, ToolContext, UserMessage, tool
from turnwise.core.content import BlobRef, Inline
from turnwise.core.entries import Entry
from turnwise.core.outcomes import Cancelled
from turnwise.core.store import Claim, StoredBlobs
from turnwise.errors import ConfigError, SessionError, StateError
from turnwise.events import ToolProgress
from turnwise.runtime import attachments
from turnwise.runtime.attachments import loaded
from turnwise.runtime.pieces import PIECE_BYTES
from turnwise.store.facts import blobs_of
from turnwise.store.memory import MemoryBlobs, MemoryStore
from turnwise.store.refusals import blob_too_large
from turnwise.testing import ScriptedProvider, call, repeat, reply

every_store = pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.name)
LONG = "\n".join(f"line {n}" for n in range(20_000))


def png(what: str) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + what.encode()


@tool
async def log() -> str:
    return LONG


@tool
async def chart() -> list[Any]:
    return ["As of today:", Image(Inline(png("chart"), "image/png"))]


class Strict:
    """A store whose blobs take their time, and that refuses an entry that refers to bytes which are not there yet."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.broken: list[Entry] = []

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        for entry in entries:
            for name in blobs_of(entry):
                if await self.inner.blobs("local").size(name) is None:
                    self.broken.append(entry)
        await asyncio.sleep(0)
        return await self.inner.append(session, after, entries, claim)

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return await self.inner.read(session, after, limit)

    def blobs(self, tenant: str) -> StoredBlobs:
        return SlowBlobs(self.inner.blobs(tenant))


class SlowBlobs:
    def __init__(self, inner: StoredBlobs) -> None:
        self._inner = inner

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        for _ in range(25):
            await asyncio.sleep(0)
        return await self._inner.put(data)

    async def get(self, sha256: str) -> bytes:
        return await self._inner.get(sha256)

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        return self._inner.stream(sha256)

    async def size(self, sha256: str) -> int | None:
        return await self._inner.size(sha256)


async def eventful(session: Session[Any], folder: pathlib.Path) -> None:
    """A session with bytes of every origin: prompt, steer, follow-up, results of tools, artifacts."""
    (folder / "page.pdf").write_bytes(b"%PDF-1.4 page")
    await session.run(["Look.", folder / "page.pdf", Image(Inline(png("prompt"), "image/png"))])
    async with session.stream("Go on.") as turn:
        await session.steer(["And this", Image(Inline(png("steer"), "image/png"))])
        later = await session.follow_up(["Then this", Image(Inline(png("later"), "image/png"))])
        async for _ in turn:
            pass
    await later.result()


ORIGINS = {
    sha256(data).hexdigest()
    for data in [b"%PDF-1.4 page", LONG.encode(), *map(png, ("prompt", "steer", "later", "chart"))]
}
SCRIPT = [
    reply("I see."),
    reply(call("chart"), call("log")),
    repeat(reply("So.")),
]


async def refs_in(session: Session[Any]) -> set[str]:
    return {name for entry in await session.journal(0) for name in blobs_of(entry)}


@every_store
async def test_bytes_live_as_long_as_a_journal_refers_to_them(kind: Kind, tmp_path: pathlib.Path, host: Host) -> None:
    """Through undo, rewind and fork, and the deletion of the session that was forked; what nothing refers to goes."""
    async with opened(kind, tmp_path) as trial, ScriptedProvider(SCRIPT) as provider:
        store = trial.store
        agent = host.agent(provider, chart, log, store=store)
        session = agent.session()
        await eventful(session, tmp_path)
        assert await refs_in(session) == ORIGINS
        fork = session.fork()
        await fork.run("And?")
        await session.rewind(0)
        await session.run("What was that?")
        blobs = store.blobs("local")
        loose = await blobs.put(b"nobody's")
        await trial.advance(1.0)
        assert (await store.collect_blobs("local", unused_for_s=0.1)).blobs == 1
        assert await blobs.size(loose) is None
        for name in ORIGINS:
            assert sha256(await blobs.get(name)).hexdigest() == name
        await session.close()
        await store.delete(session.id)
        await store.collect_blobs("local", unused_for_s=0.0)
        assert len(await loaded(fork, fork.messages)) == 5
        assert (await fork.artifact("t2.s1.c1")).decode() == LONG
        assert_valid(fork.messages)
        assert (await fork.run("Still there?")).reason == "completed"
        await fork.close()
        await store.delete(fork.id)
        await trial.advance(1.0)
        await store.collect_blobs("local", unused_for_s=0.1)
        assert (await store.stats())["blobs"] == 0


async def test_nothing_is_journalled_before_its_bytes_are_kept(tmp_path: pathlib.Path, any_host: Host) -> None:
    """D1: whoever reads the journal after a crash finds what it refers to."""
    async with ScriptedProvider(SCRIPT) as provider:
        store = Strict()
        session = any_host.agent(provider, chart, log, store=store).session(
            history=[UserMessage((Image(Inline(png("handed in"), "image/png")),), turn=1)]
        )
        await eventful(session, tmp_path)
        assert store.broken == []
        assert await refs_in(session) == ORIGINS | {sha256(png("handed in")).hexdigest()}


async def test_what_a_stopped_call_had_printed_is_kept_before_its_outcome(host: Host) -> None:
    """D1, E3: also where the call itself could not wait for it."""
    release = threading.Event()

    @tool(max_result_chars=1000)
    def block(ctx: ToolContext[Any]) -> str:
        ctx.keep(b"printed line\n" * 400)
        ctx.progress("printed")
        release.wait(20)
        return "too late"

    async with Runtime() as runtime, ScriptedProvider([reply(call("block"))]) as provider:
        try:
            store = Strict()
            session = host.agent(provider, block, store=store, runtime=runtime).session()
            async with session.stream("Hi") as turn:
                await read_until(turn, ToolProgress)
                session.interrupt()
                await read_all(turn)
            (got,) = results(turn.result)
            assert isinstance(got.outcome, Cancelled) and got.artifact is not None
            assert store.broken == []
            assert (await session.artifact(got.artifact)).count(b"printed line") == 400
        finally:
            release.set()
            await until(lambda: runtime.blocking.abandoned == 0)


@every_store
async def test_the_same_bytes_are_kept_once(kind: Kind, tmp_path: pathlib.Path) -> None:
    """By all sessions of a tenant, however they came; by no other tenant."""
    async with opened(kind, tmp_path) as trial, ScriptedProvider([repeat(reply("A cat."))]) as provider:
        agent = ANTHROPIC.agent(provider, store=trial.store)
        (tmp_path / "cat.png").write_bytes(png("cat"))
        one, two = agent.session(), agent.session()
        await one.run(["See", tmp_path / "cat.png"])
        await two.run(["See", Image(Inline(png("cat"), "image/png")), await two.attach(png("cat"), "image/png")])
        assert (await trial.store.stats())["blobs"] == 1
        await agent.session(principal=Principal("other", "x")).run(tmp_path / "cat.png")
        assert (await trial.store.stats())["blobs"] == 2
        assert b64encode(png("cat")) in provider.requests[-1].raw


@every_store
async def test_a_history_with_references_is_sent_by_whoever_has_the_store(kind: Kind, tmp_path: pathlib.Path) -> None:
    async with opened(kind, tmp_path) as trial, ScriptedProvider([repeat(reply("A cat."))]) as provider:
        first = ANTHROPIC.agent(provider, store=trial.store).session()
        await first.run(["See", Image(Inline(png("cat"), "image/png"))])
        other = ANTHROPIC.agent(provider, store=await trial.second_or_same())
        await other.session(history=first.messages).run("Again?")
        assert b64encode(png("cat")) in provider.requests[-1].raw


async def test_the_runtime_s_blobs_serve_stores_without(host: Host) -> None:
    async with Runtime(blobs=MemoryBlobs()) as runtime, ScriptedProvider([repeat(reply("A cat."))]) as provider:
        session = host.agent(provider, runtime=runtime).session()
        await session.run(["See", Image(Inline(png("cat"), "image/png"))])
        assert runtime.blobs is not None and await runtime.blobs.get(sha256(png("cat")).hexdigest()) == png("cat")


# --- in and out piece by piece --------------------------------------------------------------------------------------------


class Counting(MemoryBlobs):
    """Keeps no bytes, only what they were; up to a limit."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.pieces: list[int] = []
        self.limit = limit

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        digest, size = sha256(), 0
        assert not isinstance(data, bytes)
        async for piece in data:
            size += len(piece)
            if size > self.limit:
                raise blob_too_large(self.limit)
            digest.update(piece)
            self.pieces.append(len(piece))
        return digest.hexdigest()

    async def get(self, sha256: str) -> bytes:
        return b"small"


async def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: pathlib.Path) -> None:
    size = 40 * PIECE_BYTES + 5
    with (tmp_path / "large.pdf").open("wb") as file:
        file.truncate(size)
    blobs = Counting()
    async with Runtime(blobs=blobs) as runtime, ScriptedProvider([reply("I see.")]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        await runtime.blocking.run(tracemalloc.start)
        try:
            await session.run(["Read", tmp_path / "large.pdf"])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        (message,) = [m for m in session.messages if isinstance(m, UserMessage)]
        (document,) = [b for b in message.content if isinstance(b, Document)]
        assert isinstance(document.source, BlobRef) and document.source.size == size
        assert sum(blobs.pieces) == size and max(blobs.pieces) <= PIECE_BYTES
        assert peak < 8 * PIECE_BYTES


async def test_what_is_too_large_is_refused_before_anything_is_journalled(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    (tmp_path / "large.png").write_bytes(bytes(3 * PIECE_BYTES))
    (tmp_path / "long.txt").write_text("x" * 2000)
    monkeypatch.setattr(attachments, "MAX_TEXT_BYTES", 1000)
    async with Runtime(blobs=Counting(2 * PIECE_BYTES)) as runtime, ScriptedProvider([reply("Hello.")]) as provider:
        session = host.agent(provider, runtime=runtime).session()
        with pytest.raises(StateError) as refused:
            await session.run(tmp_path / "large.png")
        assert refused.value.code == "blob_too_large"
        with pytest.raises(ConfigError) as too_long:
            await session.run(tmp_path / "long.txt")
        assert too_long.value.code == "file_too_large" and "long.txt" in str(too_long.value)
        assert session.messages == ()
        assert (await session.run("Hi")).text == "Hello."


async def test_a_file_that_cannot_be_read_is_said_and_nothing_kept(tmp_path: pathlib.Path, host: Host) -> None:
    (tmp_path / "folder.png").mkdir()
    session = host.agent("http://127.0.0.1:1/", store=(store := MemoryStore())).session()
    for name in ("none.png", "none.txt", "folder.png"):
        with pytest.raises(ConfigError) as raised:
            await session.run(tmp_path / name)
        assert raised.value.code == "unreadable_file" and name in str(raised.value)
    assert (await store.stats())["blobs"] == 0 and (await store.stats())["entries"] == 0


async def test_leaving_while_a_file_is_read_closes_it(tmp_path: pathlib.Path, host: Host) -> None:
    """C1, I3: the read is in a thread that nobody can stop; when it ends, the file is closed (an unclosed one would warn)."""
    fifo = tmp_path / "slow.png"
    os.mkfifo(fifo)
    async with Runtime(blobs=MemoryBlobs()) as runtime:
        session = host.agent("http://127.0.0.1:1/", runtime=runtime).session()
        running = asyncio.create_task(session.run(fifo))
        writing = await runtime.blocking.run(lambda: os.open(fifo, os.O_WRONLY))
        os.write(writing, png("half"))
        await until(lambda: not running.done())
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        os.close(writing)
        await until(lambda: runtime.blocking.abandoned == 0)
        assert not session.running and session.messages == ()


@every_store
async def test_artifacts_come_out_piece_by_piece(kind: Kind, tmp_path: pathlib.Path) -> None:
    big = "".join(f"{n:07}\n" for n in range(500_000))

    @tool
    async def dump() -> str:
        return big

    async with opened(kind, tmp_path) as trial, ScriptedProvider([reply(call("dump")), reply("So.")]) as provider:
        session = ANTHROPIC.agent(provider, dump, store=trial.store).session()
        (got,) = results(await session.run("Hi"))
        assert got.artifact is not None
        for which in (got.call_id, got.artifact, got.artifact.sha256):
            pieces = [piece async for piece in session.open_artifact(which)]
            assert b"".join(pieces).decode() == big and max(map(len, pieces)) <= PIECE_BYTES
        with pytest.raises(SessionError) as raised:
            await anext(session.open_artifact("t9.s9.c9"))
        assert raised.value.code == "unknown_artifact"
        with pytest.raises(StateError) as missing:
            await anext(session.open_artifact(BlobRef("0" * 64, 1, "text/plain")))
        assert missing.value.code == "missing_blob"


class Minimal:
    """Only what `core.protocols.Blobs` asks for."""

    def __init__(self) -> None:
        self._inner = MemoryBlobs()

    async def put(self, data: bytes) -> str:
        assert isinstance(data, bytes)
        return await self._inner.put(data)

    async def get(self, sha256: str) -> bytes:
        return await self._inner.get(sha256)


async def test_blob_stores_that_know_no_pieces_serve_as_well(tmp_path: pathlib.Path, host: Host) -> None:
    (tmp_path / "cat.png").write_bytes(png("cat") + bytes(2 * PIECE_BYTES))
    script = [reply(call("log")), reply("So.")]
    async with Runtime(blobs=Minimal()) as runtime, ScriptedProvider(script) as provider:
        session = host.agent(provider, log, runtime=runtime).session()
        await session.run(["See", tmp_path / "cat.png"])
        assert b"".join([p async for p in session.open_artifact("t1.s1.c0")]).decode() == LONG


async def test_uploads_are_attached_as_they_come_in(host: Host) -> None:
    async def upload(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    store = MemoryStore()
    async with ScriptedProvider([reply("A page.")]) as provider:
        session = host.agent(provider, store=store).session()
        block = await session.attach(upload(b"%PDF-", b"1.4"), "application/pdf", "page.pdf")
        assert block == Document(BlobRef(sha256(b"%PDF-1.4").hexdigest(), 8, "application/pdf"), "page.pdf")
        with pytest.raises(ConnectionError):
            await session.attach(upload(b"half", ConnectionError()), "image/png")
        with pytest.raises(ConfigError) as raised:
            await session.attach(b"PK", "application/zip", "x.zip")
        assert raised.value.code == "unsupported_file"
        assert (await store.stats())["blobs"] == 1
        await session.run(["What is this?", block])
        assert b64encode(b"%PDF-1.4") in provider.requests[0].raw
