"""The processes that are killed: `python kill_child.py`, told on its standard input what to do, one JSON object a line.

It forks a child for each line, so that a child costs no imports, and answers with `{"pid": …}` and, when the child is gone,
`{"status": …}`. A child opens the session, or forks it from another one, and drives it on to the end of its story; it writes down what a
caller would have been told (`told`) and what its tools did (`effects`), each line with one write.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from turnwise import Agent, Runtime, SqliteStore, ToolContext, tool
from turnwise.core.compaction import Compaction, Mask
from turnwise.core.entries import Entry
from turnwise.core.store import Claim
from turnwise.errors import SessionBusy, StateError
from turnwise.events import TurnFinished, TurnParked
from turnwise.runtime.claims import is_left
from turnwise.runtime.history_ops import Move
from turnwise.runtime.opening import open_stored, recover, save_snapshot
from turnwise.runtime.seams import Uuid7
from turnwise.store.codec import encode_entries
from turnwise.store.postgres import PostgresStore
from turnwise.tools.approval import Allow, Ask, ProposedCall

Where = str
"""Where a child is killed: `before` an append is begun, in the midst of it (`commit`: before the write reaches the system, `committed`: after;
`inside`: at some moment of it), `after` it was acknowledged."""


class Job(msgspec.Struct):
    """What a child is to do. `url` is the provider's address; `kill_at` the number of the append, from 0, at which it is killed, -1 for
    none; `late_s` is by how much its clock is fast (SQLite), so that what others left has run out."""

    store: str
    place: str
    session: str
    origin: str
    url: str
    told: str
    effects: str
    seed: int = 0
    kill_at: int = -1
    where: Where = "after"
    late_s: float = 0.0
    lease_s: float = 20.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Note:
    """A file that is written a line at a time, each with one write: it is whole or not there."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, **what: Any) -> None:
        os.write(self._fd, json.dumps(what).encode() + b"\n")


class Killing:
    """A store that has its process killed at one of its appends, and writes down what it has acknowledged."""

    def __init__(self, store: Any, job: Job, told: Note) -> None:
        self._store, self._job, self._told = store, job, told
        self._number = -1
        self.armed = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        now = self._begins()
        if now and self._job.where == "inside":
            asyncio.get_running_loop().call_later(random.random() * 0.003, die)
        return self._done(now, after, entries, await self._store.append(session, after, entries, claim))

    def append_at_once(self, session: str, after: int, entries: Sequence[Entry], claim: Claim) -> int | None:
        """What is killed inside of an append is killed by its loop, which has to run meanwhile."""
        at_once = getattr(self._store, "append_at_once", None)
        if at_once is None or (self._number + 1 == self._job.kill_at and self._job.where == "inside"):
            return None
        now = self._begins()
        fence = at_once(session, after, entries, claim)
        if fence is None:
            self._number -= 1
            self.armed = ""
            return None
        return self._done(now, after, entries, fence)

    def _begins(self) -> bool:
        self._number += 1
        now = self._number == self._job.kill_at
        if now and self._job.where == "before":
            die()
        if now:
            self.armed = self._job.where
        return now

    def _done(self, now: bool, after: int, entries: Sequence[Entry], fence: int) -> int:
        job = self._job
        self._told(after=after, count=len(entries), crc=crc32(b"\n".join(encode_entries(entries))))
        if now and (job.where == "after" or (job.where != "inside" and job.store != "sqlite")):
            die()
        return fence


async def open_plain(kind: str, place: str, late_s: float = 0.0) -> Any:
    """A store as another process would open it. `place`: a file, or a DSN and a schema with a space in between."""
    if kind == "sqlite":
        return SqliteStore(place, clock=lambda: time.time() + late_s)
    dsn, _, schema = place.rpartition(" ")
    return PostgresStore(dsn, schema=schema, pool_size=2, poll_s=0.02)


async def open_store(job: Job, told: Note) -> Killing:
    store = Killing(await open_plain(job.store, job.place, job.late_s), job, told)
    if job.store == "sqlite":
        arm_sqlite(store)
    return store


def arm_sqlite(store: Killing) -> None:
    """Have the process killed just before a commit reaches the system, or just after."""

    def armed(execute: Callable[..., sqlite3.Cursor]) -> Callable[..., sqlite3.Cursor]:
        def armed_execute(self: Any, sql: str, *given: Any) -> sqlite3.Cursor:
            commits = sql.upper().startswith(("COMMIT", "END"))
            if commits and store.armed == "commit":
                die()
            done = execute(self, sql, *given)
            if commits and store.armed == "committed":
                die()
            return done

        return armed_execute

    class ArmedCursor(sqlite3.Cursor):
        execute = armed(sqlite3.Cursor.execute)

    class Armed(sqlite3.Connection):
        execute = armed(sqlite3.Connection.execute)

        def cursor(self, factory: Any = ArmedCursor) -> Any:
            return super().cursor(factory)

    connect = sqlite3.connect
    sqlite3.connect = lambda *given, **options: connect(*given, **{"factory": Armed, **options})  # type: ignore[assignment]


TURN = 2
"""The number of the turn that is told of here: the first one is that of the session that this one was forked from."""

# --- the story --------------------------------------------------------------------------------------------------------


def agent_of(url: str, effects: Note, seed: int) -> Agent[Any]:
    """Tools that have effects: some that are safe to repeat, some that are not, and one that somebody has to allow."""
    chance = random.Random(seed)

    async def act(ctx: ToolContext[Any]) -> str:
        effects(call=ctx.call_id, tool=ctx.tool)
        await asyncio.sleep(chance.random() * 0.004)
        return f"{ctx.tool} did it"

    @tool(idempotent=True)
    async def safe(n: int, ctx: ToolContext[Any]) -> str:
        return await act(ctx)

    @tool
    async def once(n: int, ctx: ToolContext[Any]) -> str:
        return await act(ctx)

    @tool
    async def careful(n: int, ctx: ToolContext[Any]) -> str:
        return await act(ctx)

    @tool
    async def fetch() -> str:
        """Something long, to be masked."""
        return "x" * 3000

    def policy(call: ProposedCall) -> Allow | Ask:
        return Ask() if call.tool.name == "careful" else Allow()

    return Agent(
        "openai:a-model",
        base_url=url,
        api_key="test",
        tools=[safe, once, careful, fetch],
        approvals=policy,
        compaction=Compaction(strategies=(Mask(),), keep_tokens=1),
        max_recoveries=10,
    )


class Named:
    """Session ids as told."""

    def __init__(self, id: str) -> None:
        self._id = id

    def session_id(self) -> str:
        return self._id


async def story(job: Job) -> None:
    """Fork, compact, run a turn whose calls need leave, allow them, and go on to the end; from wherever the session is by now."""
    told, effects = Note(job.told), Note(job.effects)
    store = await open_store(job, told)
    async with Runtime(lease_s=job.lease_s) as runtime:
        agent = agent_of(job.url, effects, job.seed)
        agent.runtime, agent.store = runtime, store  # type: ignore[assignment]
        try:
            session = await open_stored(agent, job.session, store=store, runtime=runtime)  # type: ignore[arg-type]
        except StateError as error:
            if error.code != "unknown_session":
                raise
            origin = await open_stored(agent, job.origin, store=store, runtime=runtime)  # type: ignore[arg-type]
            runtime.ids = Named(job.session)
            session = origin.fork()
            runtime.ids = Uuid7()
        try:
            await drive(session, told)
        except SessionBusy as error:
            told(busy=error.code)
        told(over=True)
        await save_snapshot(session)
    await store.close()


async def drive(session: Any, told: Note) -> None:
    if not session.state.views:
        await session.compact()
    result = await recover(session)
    if result is None and is_left(session):
        told(busy="session_busy")
        return
    if session.state.turns < TURN:
        result = await told_of(session.stream("Go"), told)
    while session.state.running:
        for pending in session.pending:
            await session.approve(pending.call_id)
        result = await told_of(session.stream(Move.RESUME), told)
    if result is not None:
        told(result=result.reason, text=result.text)


async def told_of(turn: Any, told: Note) -> Any:
    async with turn:
        async for event in turn:
            if type(event) is TurnFinished:
                told(finished=event.result.turn)
            elif type(event) is TurnParked:
                told(parked=True)
    return turn.result


async def prepare(job: Job) -> None:
    """The session that the others are forked from."""
    told = Note(os.devnull)
    store = await open_store(job, told)
    async with Runtime(lease_s=job.lease_s) as runtime:
        agent = agent_of(job.url, told, 0)
        agent.runtime, agent.store = runtime, store  # type: ignore[assignment]
        await agent.session(id=job.origin).run("Fetch")
    await store.close()


def run(job: Job) -> None:
    try:
        asyncio.run(story(job))
    except BaseException as error:
        import traceback

        traceback.print_exception(error)
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        if job.session == job.origin:  # done here: what is loaded on the way need not be loaded by the children
            asyncio.run(prepare(job))
            print(json.dumps({"pid": 0}), json.dumps({"status": 0}), sep="\n", flush=True)
            continue
        if (pid := os.fork()) == 0:
            run(job)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
