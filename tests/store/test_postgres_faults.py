"""PostgreSQL that breaks: restarts in the middle of a load, connections that are killed, a server that is away (rules D1, D4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from tests.store import server
from tests.store.postgres_row import fresh_schema, opened

from turnwise.core.errors import SessionBusy, StateError
from turnwise.core.store import Claim, Owner
from turnwise.store.postgres import PostgresStore
from turnwise.testing.store_conformance.samples import created, numbered, said, session_of

pytestmark = pytest.mark.skipif(bool(server.skip(own=True)), reason=server.skip(own=True))

SESSIONS = 12


@pytest.fixture(scope="module")
def own() -> Generator[server.Server]:
    """A server that may be broken."""
    made = server.Server.make()
    yield made
    made.close()


@asynccontextmanager
async def store_on(own: server.Server, **options: Any) -> AsyncGenerator[PostgresStore]:
    async with fresh_schema(own.dsn) as schema, opened(own.dsn, schema, **options) as store:
        yield store


class Load:
    """Sessions that append one entry after the other, each under a claim, until they are told to stop."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.acknowledged = [0] * SESSIONS
        self._stop = False
        self._tasks = [asyncio.ensure_future(self._live(n)) for n in range(SESSIONS)]

    @property
    def total(self) -> int:
        return sum(self.acknowledged)

    async def _live(self, n: int) -> None:
        session = f"s{n}"
        fence = await self._store.append(session, 0, [created(session)], Claim("me"))
        while not self._stop:
            at = self.acknowledged[n]
            batch = [said(f"{session} {at} {part}") for part in range(2)]
            await self._store.append(session, 1 + 2 * at, batch, Claim("me", fence))
            self.acknowledged[n] += 1

    async def until(self, more: int) -> None:
        """Until so many more appends were acknowledged."""
        wanted = self.total + more
        while self.total < wanted and not any(task.done() for task in self._tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_no_acknowledged_append_is_lost_when_the_server_restarts(own: server.Server, mode: str) -> None:
    """D1, D4, proof 4: it is stopped and started again in the middle of a load, twice; the load goes on, and each append is there once."""
    async with store_on(own, pool_size=6) as store:
        await store.heartbeat(Owner("me"), 300)
        load = Load(store)
        for _ in range(2):
            await load.until(40)
            await asyncio.get_running_loop().run_in_executor(None, restart, own, mode)
            await load.until(SESSIONS * 2)
        await load.end()
        assert load.total > 40
        for n, acknowledged in enumerate(load.acknowledged):
            entries = await store.read(f"s{n}")
            wanted = [said(f"s{n} {at} {part}") for at in range(acknowledged) for part in range(2)]
            assert list(entries[1:]) == wanted
    await asyncio.get_running_loop().shutdown_default_executor()


def restart(own: server.Server, mode: str) -> None:
    own.stop(mode)
    own.start()


async def test_connections_killed_in_mid_append(own: server.Server) -> None:
    """D4: the administrator ends all our connections again and again."""
    async with store_on(own, pool_size=4) as store:
        await store.heartbeat(Owner("me"), 300)
        load = Load(store)
        for _ in range(8):
            await load.until(15)
            server.execute(own.dsn, KILL)
        await load.end()
        for n, acknowledged in enumerate(load.acknowledged):
            assert len(await store.read(f"s{n}")) == 1 + 2 * acknowledged


KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


async def test_an_append_that_waits_for_a_lock_survives_its_connection(own: server.Server) -> None:
    """D1: the connection dies while the statement is under way on the server, before it has written anything."""
    async with store_on(own) as store:
        await store.append("s1", 0, session_of("s1"))
        async with locked(own, store):
            appending = asyncio.ensure_future(store.append("s1", 4, numbered(2)))
            await blocked(own, 1)
            server.execute(own.dsn, KILL.replace("AND pid", "AND wait_event_type = 'Lock' AND pid"))
        await appending
        assert len(await store.read("s1")) == 6


async def test_a_cancelled_append_keeps_its_place(own: server.Server) -> None:
    """C1: whoever waits is let go at once; the append goes on, and what comes after it waits for it."""
    async with store_on(own) as store:
        await store.append("s1", 0, session_of("s1"))
        async with locked(own, store):
            appending = asyncio.ensure_future(store.append("s1", 4, numbered(1)))
            await blocked(own, 1)
            appending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await appending
            reading = asyncio.ensure_future(store.read("s1"))
            following = asyncio.ensure_future(store.append("s1", 5, numbered(1, 2)))
            queued = asyncio.ensure_future(store.append("s1", 6, numbered(1, 3)))
            await asyncio.sleep(0.02)
            assert not reading.done() and not following.done()
            queued.cancel()
        assert len(await reading) == 5
        await following
        assert list(await store.read("s1")) == [*session_of("s1"), *numbered(2)]


async def test_a_cancelled_wait_for_a_connection_loses_none(own: server.Server) -> None:
    """C1: the pool is as large afterwards as before, whenever one that waits for it is cancelled."""
    async with store_on(own, pool_size=2) as store:
        for n in range(4):
            await store.append(f"s{n}", 0, session_of(f"s{n}"))
        for yields in range(12):
            async with locked(own, store):
                asking = [asyncio.ensure_future(store.claim(f"s{n}", "me")) for n in range(4)]
                await blocked(own, 2)
                for one in asking[2:]:
                    one.cancel()
            for _ in range(yields):
                await asyncio.sleep(0)
            for one in asking[::2]:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await store.retire("me")
        assert await asyncio.gather(*[store.claim(f"s{n}", "me") for n in range(4)])
        assert connections(own) <= 2


async def test_a_server_that_is_away_is_a_clear_error(own: server.Server) -> None:
    """D4: after `patience_s` the caller is told so, nothing hangs; when it is back, the same store goes on."""
    async with store_on(own, patience_s=0.3) as store:
        await store.append("s1", 0, session_of("s1"))
        own.stop("immediate")
        try:
            for asked in (store.append("s1", 4, numbered(1)), store.read("s1"), store.heartbeat(Owner("me"), 5)):
                with pytest.raises(StateError) as error:
                    await asked
                assert error.value.code == "store_unavailable" and error.value.retryable
        finally:
            own.start()
        await store.append("s1", 4, numbered(1))
        assert len(await store.read("s1")) == 5


async def test_a_server_that_never_answered_is_not_waited_for() -> None:
    """A misspelt port is told at once."""
    store = PostgresStore(f"postgresql://me:geheim@127.0.0.1:{server.free_port()}/db", patience_s=60)
    async with asyncio.timeout(10):
        with pytest.raises(StateError) as error:
            await store.info("s1")
    assert error.value.code == "store_unavailable" and "geheim" not in f"{error.value} {store!r}"
    await store.close()


async def test_a_statement_that_takes_too_long_is_given_up(own: server.Server) -> None:
    """C1: a server that hangs does not hang the store; `timeout_s` bounds a statement, `patience_s` the operation."""
    async with store_on(own, timeout_s=0.2, patience_s=0.3) as store:
        await store.append("s1", 0, session_of("s1"))
        async with locked(own, store):
            with pytest.raises(StateError) as error:
                await store.append("s1", 4, numbered(1))
            assert error.value.code == "store_unavailable" and "0.2 s" in str(error.value)
        await until(lambda: not waiting(own))
        assert len(await store.read("s1")) in (4, 5)


async def test_an_append_that_waited_for_a_claim_looks_at_that_claim(own: server.Server) -> None:
    """D3: what was true before the row of the session was locked does not count."""
    async with store_on(own) as store:
        await store.append("s1", 0, session_of("s1"))
        await store.heartbeat(Owner("other"), 300)
        connection = await psycopg.AsyncConnection.connect(own.dsn, application_name="locker")
        async with connection:
            taken = f"UPDATE {store._database.schema}.sessions SET owner = 'other', fence = fence + 1"
            await connection.execute(taken.encode())
            appending = asyncio.ensure_future(store.append("s1", 4, numbered(1), Claim("mine")))
            await blocked(own, 1)
        with pytest.raises(SessionBusy):
            await appending
        assert len(await store.read("s1")) == 4


async def test_the_pool_is_bounded_and_replaces_what_is_old(own: server.Server) -> None:
    """D4"""
    async with store_on(own, pool_size=3, max_lifetime_s=0.15) as store:
        await asyncio.gather(*[store.append(f"s{n}", 0, session_of(f"s{n}")) for n in range(30)])
        assert connections(own) <= 3
        first = backends(own)
        await asyncio.sleep(0.2)
        await asyncio.gather(*[store.info(f"s{n}") for n in range(3)])
        assert not first & backends(own)
    await until(lambda: connections(own) == 0)


async def test_waiting_is_told_by_the_server(own: server.Server) -> None:
    """D6: with a direct address, the server tells of appends by other processes; when that connection is killed, the wait goes on."""
    async with (
        store_on(own, direct_dsn=own.dsn, poll_s=60) as store,
        opened(own.dsn, store._database.schema) as other,
    ):
        await other.append("s1", 0, session_of("s1"))
        for last in range(4, 7):
            async with asyncio.timeout(3):
                waiting = asyncio.ensure_future(store.wait("s1", last, 60))
                await until(lambda: store._waiting.listening)
                await until(lambda: server.execute(own.dsn, marked(store)) == [(1,)])
                await other.append("s1", last, numbered(1))
                assert await waiting == last + 1
        server.execute(own.dsn, "UPDATE " + store._database.schema + ".sessions SET watched_until = NULL")
        async with asyncio.timeout(20):
            waiting = asyncio.ensure_future(store.wait("s1", 7, 60))
            await asyncio.sleep(0)
            server.execute(own.dsn, KILL.replace("AND pid", "AND query LIKE 'LISTEN%' AND pid"))
            await asyncio.sleep(0.05)
            await other.append("s1", 7, numbered(1))
            assert await waiting == 8


def marked(store: PostgresStore) -> str:
    return f"SELECT count(*)::int FROM {store._database.schema}.sessions WHERE watched_until > clock_timestamp()"


async def test_a_wrong_password_is_told_and_not_repeated(own: server.Server) -> None:
    """P6"""
    server.execute(own.dsn, "CREATE ROLE locked LOGIN PASSWORD 'right'")
    hba = own.folder / "data" / "pg_hba.conf"
    hba.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
    server.execute(own.dsn, "SELECT pg_reload_conf()")
    async with fresh_schema(own.dsn) as schema:
        for password in ("geheim", None):
            async with opened(server.with_parts(own.dsn, user="locked", password=password), schema) as store:
                with pytest.raises(StateError) as error:
                    await store.info("s1")
                assert error.value.code == "store_auth_failed", error.value
                assert "geheim" not in f"{error.value}{error.value.info.for_log()}"
        async with opened(server.with_parts(own.dsn, user="locked", password="right"), schema) as store:
            with pytest.raises(StateError) as error:
                await store.info("s1")
            assert error.value.code == "permission_denied"


async def test_a_dump_is_a_backup(own: server.Server) -> None:
    """docs/postgres.md, backup: pg_dump while the store is in use, pg_restore into another database."""
    dump = str(own.folder / "dump")
    async with store_on(own) as store:
        name = store._database.schema
        await store.append("s1", 0, session_of("s1", "a quince"), Claim("me"))
        blob = await store.blobs("local").put(b"x" * 600_000)
        own.run("pg_dump", "--format=custom", f"--schema={name}", f"--file={dump}", own.dsn)
    server.execute(own.dsn, "CREATE DATABASE restored")
    dsn = server.with_parts(own.dsn, dbname="restored")
    own.run("pg_restore", "--no-owner", f"--dbname={dsn}", dump)
    async with opened(dsn, name) as store:
        assert list(await store.read("s1")) == session_of("s1", "a quince")
        assert await store.blobs("local").get(blob) == b"x" * 600_000
        assert [hit.entry for hit in await store.search("local", "quince")] == [2]
        await store.append("s1", 4, numbered(1), Claim("another"))


# --- what the tests do on the side --------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(own: server.Server, store: PostgresStore) -> AsyncGenerator[None]:
    """All rows of sessions are locked by somebody else."""
    connection = await psycopg.AsyncConnection.connect(own.dsn, application_name="locker")
    async with connection:
        await connection.execute(f"SELECT * FROM {store._database.schema}.sessions FOR UPDATE".encode())
        yield


async def blocked(own: server.Server, wanted: int) -> None:
    await until(lambda: waiting(own) == wanted)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110 (the server's state, which nothing here announces)
            await asyncio.sleep(0.01)


def waiting(own: server.Server) -> int:
    return server.execute(own.dsn, "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0]


def backends(own: server.Server) -> set[int]:
    rows = server.execute(
        own.dsn,
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'locker'",
    )
    return {row[0] for row in rows}


def connections(own: server.Server) -> int:
    return len(backends(own))
