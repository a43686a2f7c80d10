"""PostgreSQL behind a transaction pooler (rule D4): nothing is left on a connection that the next transaction would miss."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest
from tests.store import server
from tests.store.pooler import pooler
from tests.store.postgres_row import fresh_schema, opened

from turnwise.core.store import Claim, NewSession, Owner, Query, Scope, Snapshot
from turnwise.testing.store_conformance.samples import numbered, session_of, whole_turn

pytestmark = pytest.mark.skipif(bool(server.skip()), reason=server.skip())


def port() -> int:
    return int(psycopg.conninfo.conninfo_to_dict(server.shared()).get("port") or 5432)


def needs_own_server() -> None:
    if psycopg.conninfo.conninfo_to_dict(server.shared()).get("host") != "127.0.0.1":
        pytest.skip("the pooler of the tests leads to a server on loopback that lets anybody in")


async def test_everything_works_when_each_transaction_has_another_connection() -> None:
    """D4: migration, appends, leases, lists, search, blobs, records and waiting, over connections in rotation that forget everything."""
    needs_own_server()
    async with fresh_schema(server.shared()) as schema, pooler(port()) as between:
        async with opened(between.dsn, schema) as store, opened(between.dsn, schema) as other:
            await store.create(NewSession(id="s1", name="one", tags=("a",)))
            await store.heartbeat(Owner("me", "host", 1), 30)
            fence = await store.append("s1", 0, session_of("s1", "a quince"), Claim("me"))
            waiting = asyncio.ensure_future(other.wait("s1", 4, 10))
            await asyncio.gather(*[store.append(f"x{n}", 0, session_of(f"x{n}")) for n in range(20)])
            await store.append("s1", 4, numbered(3), Claim("me", fence))
            assert await waiting == 7
            assert len(await other.read("s1")) == 7
            assert [i.id for i in await other.sessions(Query(name="one"))] == ["s1"]
            assert [h.entry for h in await other.search("local", "quince")] == [2]
            await store.save_snapshot("s1", Snapshot(7, 1, b"x" * 100_000))
            blob = await store.blobs("local").put(b"y" * 1_000_000)
            assert await other.blobs("local").get(blob) == b"y" * 1_000_000
            assert (await store.put_record(Scope("global"), "k", b"1", expect=0)).version == 1
            assert await other.delete("x3") and not await store.delete("x3")
        assert len(between.backends_used) == 3 and between.transactions > 40


async def test_the_pooler_of_the_tests_is_as_hard_as_it_says() -> None:
    """A client that keeps state on its connection fails behind it: so the test above proves something."""
    needs_own_server()
    async with pooler(port()) as between:
        connection = await psycopg.AsyncConnection.connect(between.dsn, autocommit=True, prepare_threshold=None)
        async with connection:
            await connection.execute("PREPARE p AS SELECT 1")
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                await connection.execute("EXECUTE p")
            first = (await (await connection.execute("SELECT pg_backend_pid()")).fetchone(),)
            second = (await (await connection.execute("SELECT pg_backend_pid()")).fetchone(),)
            assert first != second


async def test_an_append_whose_answer_is_lost_is_written_once() -> None:
    """D1, D4: the server had written it and the connection broke. It is asked again, is found, and has the fence it had then."""
    needs_own_server()
    async with fresh_schema(server.shared()) as schema, pooler(port()) as between, opened(between.dsn, schema) as store:
        await store.heartbeat(Owner("me"), 30)
        between.lose, between.losses = b"append_1", 1
        assert await store.append("s1", 0, session_of("s1"), Claim("me")) == 1
        assert between.losses == 0
        between.losses = 3
        assert await store.append("s1", 4, numbered(2), Claim("me", 1, hold=False)) == 1
        between.losses = 1
        assert await store.append("s1", 6, whole_turn("More", turn=2)) == 0
        assert between.losses == 0
        assert list(await store.read("s1")) == [*session_of("s1"), *numbered(2), *whole_turn("More", turn=2)]
        info = await store.info("s1")
        assert info is not None and (info.last, info.turns, info.owner) == (9, 2, "")


async def test_what_is_asked_again_is_done_once() -> None:
    """D1: creating, claiming, writing records and putting blobs, each with its first answer lost."""
    needs_own_server()
    async with fresh_schema(server.shared()) as schema, pooler(port()) as between, opened(between.dsn, schema) as store:
        await store.open()
        for part in (b"INSERT INTO", b"claim_1", b"put_record_1", b"put_blob_1", b"DELETE FROM", b"finish_blob_1"):
            between.lose, between.losses = part, 1
            if part == b"INSERT INTO":
                assert (await store.create(NewSession(id="s1", name="n"))).name == "n"
            elif part == b"claim_1":
                assert await store.claim("s1", "me") == 1
            elif part == b"put_record_1":
                assert (await store.put_record(Scope("global"), "k", b"1", expect=0)).version == 1
            elif part == b"put_blob_1":
                await store.blobs("local").put(b"small")
            elif part == b"DELETE FROM":
                await store.retire("me")
            else:
                large = await store.blobs("local").put(b"z" * 600_000)
                assert await store.blobs("local").size(large) == 600_000
            assert between.losses == 0, part
        assert (await store.stats())["blobs"] == 2


PGBOUNCER = shutil.which("pgbouncer")

INI = """
[databases]
postgres = host=127.0.0.1 port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
server_reset_query_always = 1
logfile = {folder}/log
"""


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not on this machine")
async def test_behind_pgbouncer(tmp_path: Path) -> None:
    """D4: the real thing, in transaction mode."""
    needs_own_server()
    assert PGBOUNCER is not None
    folder = tmp_path
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o777)
    listen = server.free_port()
    (folder / "ini").write_text(INI.format(port=port(), listen=listen, folder=folder))
    (folder / "ini").chmod(0o644)
    user = ["-u", "nobody"] if server.is_root() else []
    child = await asyncio.create_subprocess_exec(
        PGBOUNCER, *user, str(folder / "ini"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with fresh_schema(server.shared()) as schema:
            dsn = f"postgresql://postgres@127.0.0.1:{listen}/postgres"
            await answering(dsn)
            async with opened(dsn, schema) as store:
                await asyncio.gather(*[store.append(f"s{n}", 0, session_of(f"s{n}")) for n in range(40)])
                await asyncio.gather(*[store.append(f"s{n}", 4, numbered(5)) for n in range(40)])
                assert [len(await store.read(f"s{n}")) for n in range(40)] == [9] * 40
                assert await store.blobs("local").get(await store.blobs("local").put(b"b" * 700_000))
    finally:
        child.terminate()
        await child.wait()


async def answering(dsn: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(dsn):
                    return
            except psycopg.OperationalError:  # not yet
                await asyncio.sleep(0.05)
