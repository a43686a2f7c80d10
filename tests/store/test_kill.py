"""Kill everywhere (rules D1, D2, T1): a process is killed at any moment of a turn, another one goes on, and nothing is lost, done twice or
made up.

A session is forked from another one, compacted, and runs a turn of three steps with five parallel calls each, one of which waits for leave
in between. `TURNWISE_LONG=1` kills it at every position of its journal, in every way, and 200 times at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from tests.core.test_machine_chaos import refused
from tests.store import server
from tests.store.kill_child import TURN, Job, Where, open_plain
from tests.store.postgres_row import fresh_schema

from turnwise.core.changes import Compacted, Parked, Recovered
from turnwise.core.entries import CallOutcome, CallStarted, Entry, SessionCreated, TurnEnded
from turnwise.core.evolve import fold
from turnwise.core.outcomes import Ok, Unknown
from turnwise.core.replay import replay
from turnwise.store.codec import encode_entries
from turnwise.store.projection import read_state
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, repeat, reply, text
from turnwise.wire.base import APIS

LONG = os.environ.get("TURNWISE_LONG") == "1"
HERE = Path(__file__).parent
WAYS: tuple[Where, ...] = ("before", "commit", "committed", "inside", "after")
LEAST_APPENDS = 12
"""Outcomes that come together share an append, so their number differs from run to run."""
LATE_S = 100.0
"""By so much every process's clock is ahead of that of the one before: its lease has run out."""


def model(request: RecordedRequest) -> Reply:
    """What the model says, by what it has been told: it may be asked the same again."""
    messages = request.body["messages"]
    last = max(i for i, m in enumerate(messages) if m["role"] == "user")
    told = [m for m in messages[last:] if m["role"] == "tool"]
    if messages[last]["content"] == "Fetch":
        return reply("Fetched.") if told else reply(call("fetch"))
    step = len(told) // 5
    if step == 3:
        return reply("Done.")
    names = ["safe", "once", "careful" if step == 1 else "once", "safe", "once"]
    return reply(text("Working."), *[call(name, n=step) for name in names])


class Zygote:
    """Forks the children. One at a time; `kill_after_s` is when this one is killed from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, job: Job, kill_after_s: float | None = None) -> int:
        """The child's status; -9 if it was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        pid = (await self._answer())["pid"]
        if kill_after_s is None:
            return (await self._answer())["status"]
        await asyncio.sleep(kill_after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return (await self._answer())["status"]

    async def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    root = HERE.parent.parent
    path = os.pathsep.join([str(root / "src"), str(root)])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(HERE / "kill_child.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield Zygote(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


class Stand:
    """Where the stories take place: a store, a provider, and the files that are written to."""

    def __init__(self, kind: str, place: str, folder: Path, url: str, zygote: Zygote) -> None:
        self.kind, self.place, self.folder, self.url, self.zygote = kind, place, folder, url, zygote
        self.numbers = 0

    def job(self, session: str = "", **given: Any) -> Job:
        self.numbers += 1
        session = session or f"s{self.numbers}"
        notes = [str(self.folder / f"{session}.{what}") for what in ("told", "effects")]
        return Job(self.kind, self.place, session, "origin", self.url, *notes, **given)

    async def open(self) -> Any:
        return await open_plain(self.kind, self.place)

    def age(self) -> None:
        """The lease of whoever was killed has run out. (In SQLite the clock of the next process is fast instead.)"""
        if self.kind == "postgres":
            dsn, _, schema = self.place.rpartition(" ")
            server.execute(dsn, f"UPDATE {schema}.leases SET expires_at = expires_at - interval '{LATE_S} s'")

    def notes(self, session: str, what: str) -> list[dict[str, Any]]:
        path = self.folder / f"{session}.{what}"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.asynccontextmanager
async def stand(kind: str, folder: Path) -> AsyncIterator[Stand]:
    async with ScriptedProvider([repeat(model)]) as provider, place_of(kind, folder) as place, zygote() as children:
        made = Stand(kind, place, folder, provider.openai_url, children)
        assert await children.run(made.job("origin")) == 0
        yield made


@contextlib.asynccontextmanager
async def place_of(kind: str, folder: Path) -> AsyncIterator[str]:
    """Where the processes find the store: see `open_plain`."""
    if kind == "sqlite":
        yield str(folder / "kill.db")
        return
    dsn = server.shared()
    async with fresh_schema(dsn) as schema:
        yield f"{dsn} {schema}"


async def to_the_end(stand: Stand, job: Job, kills: Sequence[tuple[int, Where] | float]) -> list[int]:
    """Kill the session's process so often and so; then let one come to the end, and see what came of it. How each ended, -9 if it was
    killed: else it was too late."""
    ended: list[int] = []
    for number, kill in enumerate(kills):
        late = msgspec.structs.replace(job, late_s=number * LATE_S, seed=number)
        if isinstance(kill, float):
            ended.append(await stand.zygote.run(late, kill))
        else:
            ended.append(await stand.zygote.run(msgspec.structs.replace(late, kill_at=kill[0], where=kill[1])))
        assert ended[-1] in (0, -signal.SIGKILL), f"{job.session} was to be killed at {kill}"
        stand.age()
    assert await stand.zygote.run(msgspec.structs.replace(job, late_s=len(kills) * LATE_S)) == 0
    await check(stand, job.session)
    return ended


async def check(stand: Stand, session: str) -> None:
    """Everything that has to hold of a session whose turn came to its end."""
    store = await stand.open()
    journal = list(await store.read(session))
    found = await read_state(store, session)
    whole = await read_state(store, session, whole=True)
    await store.close()
    told, effects = stand.notes(session, "told"), stand.notes(session, "effects")
    acknowledged_entries_are_there(journal, told)
    assert isinstance(journal[0], SessionCreated) and journal[0].forked_from == "origin"
    kinds = Counter(type(e) for e in journal)
    assert kinds[TurnEnded] == 1 and kinds[Compacted] == 1 and kinds[Parked] >= 1
    finished = [e for e in replay(journal).events if type(e).__name__ == "TurnFinished"]
    assert len(finished) == 1 and sum("finished" in line for line in told) <= 1
    state = fold(journal)
    turn = state.turn
    assert turn is not None and (turn.number, turn.reason, turn.steps) == (TURN, "completed", 4)
    calls_are_true(journal, effects)
    for api in APIS:
        assert not refused(api, list(state.transcript)), f"T8: {api} refuses the transcript of {session}"
    assert found is not None and whole is not None and found[0] == whole[0] == state


def acknowledged_entries_are_there(journal: list[Entry], told: list[dict[str, Any]]) -> None:
    """D1: what was acknowledged is there, byte for byte, where it was."""
    for line in told:
        if "crc" in line:
            entries = journal[line["after"] : line["after"] + line["count"]]
            assert crc32(b"\n".join(encode_entries(entries))) == line["crc"], f"D1: lost or changed: {line}"


def calls_are_true(journal: list[Entry], effects: list[dict[str, Any]]) -> None:
    """D2: no call ran again that must not, what is unknown is said to be, and nothing else is."""
    ran = Counter(line["call"] for line in effects)
    starts = Counter(e.call_id for e in journal if isinstance(e, CallStarted))
    idempotent = {e.call_id for e in journal if isinstance(e, CallStarted) and e.idempotent}
    outcomes = {e.result.call_id: e for e in journal if isinstance(e, CallOutcome)}
    assert len(outcomes) == 15 and all(ran[c] <= starts[c] for c in ran), "D2: a call ran without its start"
    lost: set[str] = set()
    started: set[str] = set()
    for entry in journal:
        if isinstance(entry, CallStarted):
            started.add(entry.call_id)
        elif isinstance(entry, CallOutcome):
            started.discard(entry.result.call_id)
        elif isinstance(entry, Recovered):
            lost |= started - idempotent
    for call_id, entry in outcomes.items():
        kind = type(entry.result.outcome)
        assert kind is (Unknown if call_id in lost else Ok), f"D2: {call_id} is said to be {kind.__name__}"
        if kind is Ok:
            assert ran[call_id] >= 1
        if call_id not in idempotent:
            assert starts[call_id] == 1 and ran[call_id] <= 1, f"D2: {call_id} ran twice"


STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.skipif(bool(server.skip()), reason=server.skip()))]


@pytest.mark.parametrize("kind", STORES)
async def test_killed_at_every_position(kind: str, tmp_path: Path) -> None:
    """In the short form every position is met once, each time in another way; in the long form in every way."""
    async with stand(kind, tmp_path) as here:
        whole = here.job()
        await to_the_end(here, whole, [])
        appends = sum("crc" in line for line in here.notes(whole.session, "told"))
        assert appends >= LEAST_APPENDS
        for at in range(appends):
            for way in WAYS if LONG else WAYS[at % len(WAYS) :][:1]:
                ended = await to_the_end(here, here.job(), [(at, way)])
                assert ended == [-signal.SIGKILL] or at >= LEAST_APPENDS, (at, way)


@pytest.mark.parametrize("kind", STORES)
async def test_killed_again_while_it_goes_on(kind: str, tmp_path: Path) -> None:
    """Whoever goes on with a turn may be killed as well, and so on."""
    chance = random.Random(5)
    async with stand(kind, tmp_path) as here:
        for _ in range(20 if LONG else 2):
            kills = [(chance.randrange(0, 9), chance.choice(WAYS)) for _ in range(chance.randrange(2, 6))]
            await to_the_end(here, here.job(), kills)


@pytest.mark.parametrize("kind", STORES)
async def test_killed_at_random(kind: str, tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("TURNWISE_SEED", "7")))
    async with stand(kind, tmp_path) as here:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await to_the_end(here, here.job(), [])
        lasts_s = loop.time() - began
        for _ in range(200 if LONG else 6):
            kills = [chance.random() * lasts_s for _ in range(chance.choice([1, 1, 2, 3]))]
            await to_the_end(here, here.job(), kills)
