"""PostgreSQL alone: its schema and roles, its errors, what it makes of damage, and whose store it is. The contract is in test_conformance."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from tests.store import server
from tests.store.postgres_row import fresh_schema, new_schema, opened
from tests.test_imports import BLOCK

from turnwise import Agent, tool
from turnwise.core.errors import ConfigError, StateError, TurnwiseError
from turnwise.core.evolve import fold
from turnwise.core.store import Claim, NewSession, Owner, Query, Scope, Snapshot
from turnwise.store.postgres import PostgresStore, schema
from turnwise.store.postgres.words import excerpt, parts_of, terms_of, words_of
from turnwise.testing import ScriptedProvider, call, reply, text
from turnwise.testing.store_conformance.samples import asked, created, numbered, said, session_of, with_image

pytestmark = pytest.mark.skipif(bool(server.skip()), reason=server.skip())


async def refused(asked: Awaitable[object], code: str) -> TurnwiseError:
    with pytest.raises(TurnwiseError) as error:
        await asked
    assert error.value.code == code, error.value
    assert error.value.hint
    return error.value


def sql(*statements: str) -> list[tuple[object, ...]]:
    return server.execute(server.shared(), *statements)


# --- the schema ---------------------------------------------------------------------------------------------------------


async def test_many_processes_make_the_schema_at_once() -> None:
    """D4: whoever comes first makes it, the others wait and find it."""
    async with fresh_schema(server.shared()) as name:
        stores = [PostgresStore(server.shared(), schema=name, pool_size=1) for _ in range(6)]
        await asyncio.gather(*[store.append(f"s{n}", 0, session_of(f"s{n}")) for n, store in enumerate(stores)])
        assert len(await stores[0].sessions(Query())) == 6
        assert await stores[0].migrate() == schema.known_version()
        for store in stores:
            await store.close()
        assert sql(f"SELECT version FROM {name}.versions") == [(v,) for v in range(1, schema.known_version() + 1)]


async def test_a_later_version_is_added_to_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordered migrations: from every earlier version; one that fails leaves the version that there was."""
    async with fresh_schema(server.shared()) as name:
        async with opened(schema=name) as store:
            await store.append("s1", 0, session_of("s1"))
        known = schema.known_version()
        second = schema.Migration(known + 1, "a column", "ALTER TABLE {s}.sessions ADD mood text DEFAULT 'calm';")
        broken = schema.Migration(known + 2, "nonsense", "ALTER TABLE {s}.sessions ADD more text; SELECT 1 / 0;")
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, second, broken))
        async with opened(schema=name) as store:
            await refused(store.info("s1"), "store_failed")
        assert sql(f"SELECT max(version) FROM {name}.versions") == [(known,)]
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
        async with opened(schema=name, migrate=False) as store:
            await refused(store.info("s1"), "schema_old")
            assert await store.migrate() == known
            assert len(await store.read("s1")) == 4
        assert sql(f"SELECT mood FROM {name}.sessions") == [("calm",)]


async def test_a_newer_schema_is_left_alone() -> None:
    """D7"""
    async with fresh_schema(server.shared()) as name:
        async with opened(schema=name) as store:
            await store.open()
        sql(f"INSERT INTO {name}.versions (version, what) VALUES (999, 'the future')")
        async with opened(schema=name) as store:
            error = await refused(store.append("s1", 0, session_of("s1")), "store_newer")
            assert "999" in error.message
            await refused(store.migrate(), "store_newer")
        assert sql(f"SELECT count(*) FROM {name}.sessions") == [(0,)]


async def test_a_schema_that_is_not_there_is_not_made_unasked() -> None:
    async with fresh_schema(server.shared()) as name, opened(schema=name, migrate=False) as store:
        error = await refused(store.info("s1"), "schema_missing")
        assert name in error.message
        await store.migrate()
        assert await store.info("s1") is None


@pytest.mark.parametrize("name", ["", "Turnwise", "a b", 'a"b', "a;drop", "1a", "x" * 41, "é"])
def test_a_schema_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        PostgresStore("postgresql://localhost/x", schema=name)
    assert error.value.code == "invalid_setting"


def test_settings_are_looked_at() -> None:
    for options in ({"pool_size": 0}, {"max_lifetime_s": 0}, {"timeout_s": -1}, {"max_blob_bytes": 0}, {"poll_s": 0}):
        with pytest.raises(ConfigError) as error:
            PostgresStore("postgresql://localhost/x", **options)  # type: ignore[arg-type]
        assert error.value.code == "invalid_setting" and next(iter(options)) in error.value.message


# --- roles --------------------------------------------------------------------------------------------------------------

RUNTIME = """
CREATE ROLE {role} LOGIN PASSWORD 'geheim';
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
REVOKE INSERT, UPDATE, DELETE ON {schema}.versions FROM {role};
"""
"""What docs/postgres.md says that the role which runs needs; a test compares."""


@asynccontextmanager
async def runtime_role(name: str) -> AsyncGenerator[str]:
    """A role that may use a schema and nothing else; its DSN."""
    role = f"{name}_app"
    sql(*[line for line in RUNTIME.format(role=role, schema=name).splitlines() if line])
    try:
        yield server.with_parts(server.shared(), user=role, password="geheim")
    finally:
        sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_the_runtime_role_needs_no_more_than_the_page_says() -> None:
    """Least privilege: everything that the store does works with the grants of docs/postgres.md, and it may not change the schema."""
    async with fresh_schema(server.shared()) as name:
        async with opened(schema=name) as owner:
            await owner.open()
        async with runtime_role(name) as dsn, opened(dsn, name, migrate=False) as store:
            await store.heartbeat(Owner("me"), 30)
            await store.create(NewSession(id="s1", name="n"))
            blob = await store.blobs("local").put(b"x" * 300_000)
            await store.append("s1", 0, [created("s1"), asked("a quince"), with_image(blob, 300_000)], Claim("me"))
            await store.save_snapshot("s1", Snapshot(3, 1, b"x"))
            await store.put_record(Scope("session", "s1"), "k", b"1", ttl_s=5)
            assert await store.search("local", "quince") and await store.wait("s1", 2, 1) == 3
            assert (await store.stats())["entries"] == 3 and await store.records(Scope("session", "s1"))
            await store.retire("me")
            assert await store.delete("s1") and await store.delete_record(Scope("session", "s1"), "k") is False
            assert (await store.collect_blobs("local", unused_for_s=0)).blobs == 1
            with psycopg.connect(dsn, autocommit=True) as connection:
                for forbidden in (
                    f"DROP TABLE {name}.entries",
                    f"ALTER TABLE {name}.entries ADD x int",
                    f"CREATE TABLE {name}.mine ()",
                    f"UPDATE {name}.versions SET version = 0",
                    "CREATE SCHEMA mine",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(forbidden.encode())


async def test_a_role_that_may_not_is_told_so() -> None:
    """No grant for the schema; none for a table; none to make a schema."""
    async with fresh_schema(server.shared()) as name:
        async with opened(schema=name) as owner:
            await owner.append("s1", 0, session_of("s1"))
        async with runtime_role(name) as dsn:
            sql(f"REVOKE INSERT ON {name}.entries FROM {name}_app")
            async with opened(dsn, name) as store:
                assert len(await store.read("s1")) == 4
                error = await refused(store.append("s1", 4, numbered(1)), "permission_denied")
                assert "entries" in error.message and "geheim" not in str(error)
                info = await store.info("s1")
                assert info is not None and info.last == 4
            sql(f"REVOKE USAGE ON SCHEMA {name} FROM {name}_app")
            async with opened(dsn, name) as store:
                await refused(store.read("s1"), "permission_denied")
            async with opened(dsn, new_schema()) as store:
                await refused(store.open(), "permission_denied")


def test_the_page_grants_what_the_tests_grant() -> None:
    said = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text("utf-8")
    for line in RUNTIME.strip().splitlines()[1:]:
        assert line.format(role="turnwise_app", schema="turnwise") in said, line


# --- errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:geheim@[::1/x", "host=x geheim", "password=geheim nonsense=1", "geheim"]
)
def test_a_dsn_that_cannot_be_read_is_not_repeated(dsn: str) -> None:
    """P6"""
    with pytest.raises(ConfigError) as error:
        PostgresStore(dsn)
    assert error.value.code == "invalid_dsn"
    assert "geheim" not in f"{error.value}{error.value.__cause__}{error.value.info.for_log()}"


async def test_a_missing_database_is_named() -> None:
    async with opened(server.with_parts(server.shared(), dbname="nowhere", password="geheim"), "turnwise") as store:
        error = await refused(store.info("s1"), "database_missing")
        assert "nowhere" in error.message and "geheim" not in str(error)


async def test_a_role_that_is_not_there_is_not_let_in() -> None:
    """P6: the password is told nowhere, and nothing is tried again and again."""
    dsn = server.with_parts(server.shared(), user="nobody_at_all", password="geheim")
    async with opened(dsn, "turnwise") as store:
        error = await refused(store.info("s1"), "store_auth_failed")
        assert "nobody_at_all" in error.message
        assert "geheim" not in f"{error}{error.info.for_log()}{store!r}"


async def test_a_database_in_another_encoding_is_refused() -> None:
    name = f"latin_{os.getpid()}"
    sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        async with opened(server.with_parts(server.shared(), dbname=name), "turnwise") as store:
            error = await refused(store.info("s1"), "wrong_encoding")
            assert "LATIN1" in error.message
    finally:
        sql(f"DROP DATABASE {name}")


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [("53100", "disk_full"), ("54000", "append_too_large"), ("XX001", "store_damaged"), ("22000", "store_failed")],
)
async def test_what_the_server_refuses_has_a_code(sqlstate: str, code: str) -> None:
    """A full disk and the like, as the server reports them: nothing is written, and it works again when that is over."""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        await store.append("s1", 0, session_of("s1"))
        body = f"BEGIN RAISE EXCEPTION 'could not extend' USING ERRCODE = '{sqlstate}'; END"
        sql(
            f"CREATE FUNCTION {name}.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER trouble BEFORE INSERT ON {name}.entries EXECUTE FUNCTION {name}.trouble()",
        )
        error = await refused(store.append("s1", 4, numbered(1)), code)
        assert "could not extend" in error.message
        sql(f"DROP TRIGGER trouble ON {name}.entries")
        assert await store.append("s1", 4, numbered(1)) == 0
        assert len(await store.read("s1")) == 5


async def test_a_transaction_that_was_undone_for_another_is_done_again() -> None:
    """D4: deadlocks and failed serialisation are no business of the caller."""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        await store.append("s1", 0, session_of("s1"))
        body = f"BEGIN IF nextval('{name}.tries') < 4 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END IF; RETURN new; END"
        sql(
            f"CREATE SEQUENCE {name}.tries",
            f"CREATE FUNCTION {name}.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER trouble BEFORE INSERT ON {name}.entries FOR EACH ROW EXECUTE FUNCTION {name}.trouble()",
        )
        await store.append("s1", 4, numbered(1))
        assert sql(f"SELECT last_value FROM {name}.tries") == [(4,)]


async def test_too_much_at_once_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnwise.store.postgres.journal.LARGEST_APPEND_BYTES", 1000)
    async with opened() as store:
        await refused(store.append("s1", 0, [created("s1"), said("x" * 1000)]), "append_too_large")
        await store.append("s1", 0, session_of("s1"))


async def test_text_that_is_not_unicode_is_refused() -> None:
    async with opened() as store:
        await refused(store.create(NewSession(id="s1", title="half \ud800")), "invalid_text")
        odd = "a NUL \x00, \uf7f0\uf7f1 and \uf7f0"
        info = await store.create(NewSession(id=odd, name=odd, title=odd, folder=odd, tags=(odd,)))
        assert (info.id, info.name, info.title, info.folder, info.tags) == (odd, odd, odd, odd, (odd,))
        assert await store.info(odd) == info
        await store.put_record(Scope("user", odd), odd, b"1")
        assert [r.key for r in await store.records(Scope("user", odd), "a NUL \x00")] == [odd]


# --- damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE {s}.entries SET body = replace(body, 'number 3', 'number 4') WHERE seq = 4", "damaged_entry"),
        ("UPDATE {s}.entries SET body = left(body, 20) WHERE seq = 4", "damaged_entry"),
        ("UPDATE {s}.entries SET crc = crc + 1 WHERE seq = 4", "damaged_entry"),
        ("DELETE FROM {s}.entries WHERE seq = 4", "damaged_entry"),
        ("DELETE FROM {s}.entries WHERE seq >= 4", "damaged_entry"),
        ("UPDATE {s}.entries SET seq = 99 WHERE seq = 4", "damaged_entry"),
    ],
)
async def test_damage_is_found_and_what_is_good_is_read(damage: str, code: str) -> None:
    """D5: it says which entry; those before it can be read, and other sessions."""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        entries = [created("s1"), *numbered(5)]
        await store.append("s1", 0, entries)
        sql(damage.format(s=name))
        await store.append("s2", 0, session_of("s2"))
        error = await refused(store.read("s1"), code)
        assert "Entry 4 " in error.message and error.info.session == "s1"
        assert list(await store.read("s1", 0, 3)) == entries[:3]
        assert len(await store.read("s2")) == 4


async def test_an_entry_of_a_newer_release_is_unknown() -> None:
    """D7"""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        await store.append("s1", 0, [created("s1"), *numbered(2)])
        body = '{"type":"step.imagined","v":1}'
        crc = zlib.crc32(body.encode())
        sql(f"UPDATE {name}.entries SET body = '{body}', crc = {crc if crc < 2**31 else crc - 2**32} WHERE seq = 3")
        error = await refused(store.read("s1"), "unknown_entry")
        assert "step.imagined" in error.message
        assert len(await store.read("s1", 0, 2)) == 2


@pytest.mark.parametrize("size", [1000, 700_000])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE {s}.pieces SET data = overlay(data PLACING 'Z'::bytea FROM 5) WHERE number = 0",
        "DELETE FROM {s}.pieces WHERE number = 0",
    ],
)
async def test_a_damaged_blob_is_found_and_healed_by_putting_it_again(size: int, damage: str) -> None:
    """D5"""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        blobs = store.blobs("local")
        blob = await blobs.put(b"a" * size)
        sql(damage.format(s=name))
        await refused(blobs.get(blob), "damaged_blob")
        assert await blobs.put(b"a" * size) == blob
        assert await blobs.get(blob) == b"a" * size
        assert sql(f"SELECT count(*) FROM {name}.pieces") == [((size - 1) // (256 * 1024) + 1,)]


async def test_blobs_have_a_limit_and_leave_nothing_behind() -> None:
    async def endless() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(100_000)

    async with fresh_schema(server.shared()) as name, opened(schema=name, max_blob_bytes=1_000_000) as store:
        blobs = store.blobs("local")
        await refused(blobs.put(endless()), "blob_too_large")
        await refused(blobs.put(bytes(1_000_001)), "blob_too_large")
        assert sql(f"SELECT count(*) FROM {name}.pieces") == [(0,)]
        assert await blobs.size(await blobs.put(bytes(1_000_000))) == 1_000_000


async def test_an_upload_that_was_left_is_collected() -> None:
    """A process that was killed in the middle of put() leaves pieces; they go when nobody can still be at it."""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        started = asyncio.Event()

        async def stuck() -> AsyncGenerator[bytes]:
            yield bytes(600_000)
            started.set()
            await asyncio.Event().wait()

        putting = asyncio.ensure_future(store.blobs("local").put(stuck()))
        await started.wait()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        assert sql(f"SELECT count(*) FROM {name}.pieces") == [(2,)]
        assert (await store.collect_blobs("local", unused_for_s=0)).blobs == 0
        assert sql(f"SELECT count(*) FROM {name}.pieces") == [(2,)]
        sql(f"UPDATE {name}.pieces SET at = at - interval '1 hour'")
        await store.collect_blobs("local", unused_for_s=0)
        assert sql(f"SELECT count(*) FROM {name}.pieces") == [(0,)]


async def test_expired_records_go_in_time() -> None:
    """What has expired a day ago is removed by later writes that expire, too; what has expired just now keeps its version."""
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        for n in range(15):
            await store.put_record(Scope("user", f"u{n}"), "k", b"1", ttl_s=0)
        sql(f"UPDATE {name}.records SET expires_at = expires_at - interval '2 days' WHERE scope <> 'u3'")
        await store.put_record(Scope("global"), "lasting", b"1")
        assert sql(f"SELECT count(*) FROM {name}.records") == [(16,)]
        for _ in range(2):
            await store.put_record(Scope("global"), "k", b"1", ttl_s=60)
        assert sorted(sql(f"SELECT scope, key FROM {name}.records")) == [("", "k"), ("", "lasting"), ("u3", "k")]
        assert (await store.put_record(Scope("user", "u3"), "k", b"2", expect=0)).version == 2


# --- whose store it is --------------------------------------------------------------------------------------------------


def test_one_store_for_one_loop_after_another() -> None:
    """I2: `asyncio.run` again and again; the connections of the loop that is gone are dropped without a warning."""
    name = new_schema()
    store = PostgresStore(server.shared(), schema=name)
    try:
        for n in range(3):
            asyncio.run(store.append(f"s{n}", 0, session_of(f"s{n}")))

        async def count() -> int:
            found = len(await store.sessions(Query()))
            await store.close()
            return found

        assert asyncio.run(count()) == 3
    finally:
        sql(f"DROP SCHEMA {name} CASCADE")


async def test_two_loops_at_once_are_refused() -> None:
    async with opened() as store:
        await store.open()
        done: list[BaseException | None] = []

        def elsewhere() -> None:
            try:
                asyncio.run(store.info("s1"))
            except StateError as error:
                done.append(error)

        await asyncio.to_thread(elsewhere)
        assert [getattr(error, "code", None) for error in done] == ["store_in_use"]
        assert await store.info("s1") is None
    await asyncio.get_running_loop().shutdown_default_executor()


FORK = """
import asyncio, os
from turnwise.store.postgres import PostgresStore
from turnwise.testing.store_conformance.samples import session_of

store = PostgresStore({dsn!r}, schema={name!r})

async def parent():
    await store.append("before", 0, session_of("before"))
    pid = os.fork()
    if pid == 0:
        return 0
    await asyncio.gather(*[store.append(f"p{{n}}", 0, session_of(f"p{{n}}")) for n in range(20)])
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    await asyncio.gather(*[store.append(f"q{{n}}", 0, session_of(f"q{{n}}")) for n in range(20)])
    await store.close()
    return 1

async def child():
    await asyncio.gather(*[store.append(f"c{{n}}", 0, session_of(f"c{{n}}")) for n in range(20)])
    await store.close()

loop = asyncio.new_event_loop()
here = loop.run_until_complete(parent())
if here == 0:
    asyncio.events._set_running_loop(None)
    asyncio.run(child())
    os._exit(0)
loop.close()
"""


async def run_script(code: str) -> None:
    """In a process of its own, which must end well and in silence."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", code, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await child.communicate()
    assert child.returncode == 0 and not errors, errors.decode()


async def test_a_forked_child_has_connections_of_its_own() -> None:
    """I2: parent and child use the store at the same time; neither speaks on the other's connections, and ids do not collide."""
    async with fresh_schema(server.shared()) as name:
        await run_script(FORK.format(dsn=server.shared(), name=name))
        assert sql(
            f"SELECT count(*), count(DISTINCT append), sum(last) FROM {name}.entries e JOIN {name}.sessions s ON s.id = e.session AND e.seq = 1"
        ) == [(61, 61, 244)]


FORK_AMID = """
import asyncio, os, select
from turnwise.store.postgres import PostgresStore
from turnwise.testing.store_conformance.samples import session_of

store = PostgresStore({dsn!r}, schema={name!r})
heard, hear = os.pipe()

async def parent():
    await store.append("before", 0, session_of("before"))
    loop.statements = 0
    asked = asyncio.ensure_future(store.append("amid", 0, session_of("amid")))
    while loop.statements == 0:
        await asyncio.sleep(0)
    pid = os.fork()
    if pid == 0:
        select.select([loop._selector.fileno()], [], [], 20)
        return 0
    os.read(heard, 1)
    await asked
    assert os.waitpid(pid, 0)[1] == 0
    await store.close()
    return 1

class Loop(asyncio.SelectorEventLoop):
    statements = 0
    def call_later(self, delay, callback, *args, **more):
        self.statements += getattr(callback, "__name__", "") == "_expire"
        return super().call_later(delay, callback, *args, **more)

loop = Loop()
here = loop.run_until_complete(parent())
if here == 0:
    os.write(hear, b".")
    os._exit(0)
loop.close()
"""


async def test_a_forked_child_does_not_read_what_its_parent_is_told() -> None:
    """I2: the parent's loop goes on in the child for a moment, while an answer of the server arrives."""
    async with fresh_schema(server.shared()) as name:
        await run_script(FORK_AMID.format(dsn=server.shared(), name=name))


async def test_a_closed_store_stays_closed() -> None:
    async with opened() as store:
        await store.append("s1", 0, session_of("s1"))
        waiting = asyncio.ensure_future(store.wait("s1", 4, 60))
        await asyncio.sleep(0.05)
        await store.close()
        await refused(waiting, "store_closed")
        for asked in (store.read("s1"), store.wait("s1", 0, 1), store.blobs("local").size("x"), store.migrate()):
            await refused(asked, "store_closed")
        await store.close()


def test_the_missing_extra_is_named() -> None:
    """I1"""
    code = BLOCK.format(blocked="psycopg") + (
        "import turnwise\n"
        "try:\n"
        "    turnwise.PostgresStore\n"
        "except turnwise.TurnwiseError as error:\n"
        "    assert error.code == 'missing_extra', error\n"
        "    assert \"pip install 'turnwise[postgres]'\" in error.hint, error\n"
        "else:\n"
        "    raise SystemExit('it was there')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_turn_is_kept() -> None:
    """D1: an agent with the store; another process, here another store, reads the same journal and folds the same transcript."""

    @tool
    async def look(what: str) -> str:
        return f"{what}: found"

    script = [reply(text("Let me look."), call("look", what="a"), call("look", what="b")), reply("Found.")]
    async with fresh_schema(server.shared()) as name, opened(schema=name) as store:
        async with ScriptedProvider(script) as provider:
            agent = Agent("openai:a-model", base_url=provider.openai_url, api_key="k", tools=[look], store=store)
            async with agent.session() as session:
                assert (await session.run("Hi")).text == "Found."
        async with opened(schema=name) as other:
            state = fold(list(await other.read(session.id)))
            assert tuple(state.transcript) == session.messages and len(session.messages) == 4
            info = await other.info(session.id)
            assert info is not None and (info.turns, info.status) == (1, "idle")
            assert {hit.session for hit in await other.search("local", "found")} == {session.id}


# --- words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("Red APPLE", ["red", "apple"]),
        ('"red apple" pie', ["red apple", "pie"]),
        ('pie "unfinished busi-ness', ["pie", "unfinished busi ness"]),
        ("src/main.py", ["src main py"]),
        ("snake_case", ["snake case"]),
        ("apple apple", ["apple"]),
        (' - " " ;', []),
        ("Straße", ["strasse"]),
    ],
)
def test_what_a_query_asks_for(query: str, terms: list[str]) -> None:
    assert terms_of(query) == terms


def test_long_texts_are_kept_in_parts_without_cutting_words() -> None:
    text = " ".join(f"word{n}" for n in range(20_000))
    parts = list(parts_of(text))
    assert len(parts) > 2 and " ".join(parts) == words_of(text)
    assert list(parts_of("x" * 100_000)) and "".join(parts_of("x" * 100_000)) == "x" * 100_000
    assert list(parts_of("…")) == []


def test_an_excerpt_shows_what_was_found() -> None:
    text = "begin " + "filler " * 50 + "the Quince\nis a pome " + "filler " * 50
    shown = excerpt(text, ["quince", "pome"])
    assert "the [Quince] is a [pome]" in shown and shown.startswith("…") and shown.endswith("…") and len(shown) < 250
    assert excerpt("short", ["absent"]) == "short"


async def test_all_of_a_long_query_is_asked_for() -> None:
    async with opened() as store:
        words = " ".join(f"word{n}" for n in range(300))
        paths = " ".join(f"src/file{n}.py" for n in range(80))
        await store.append("s1", 0, session_of("s1", f"{words} {paths}"))
        for query in (words, paths, f"{words} {paths}"):
            assert len(await store.search("local", query)) == 1
            assert not await store.search("local", f"{query} absent") and not await store.search(
                "local", f"absent/{query}"
            )


async def test_the_end_of_a_long_text_is_found() -> None:
    async with opened() as store:
        await store.append("s1", 0, session_of("s1", "filler " * 40_000 + "walnut"))
        [hit] = await store.search("local", "walnut")
        assert hit.entry == 2 and "[walnut]" in hit.excerpt
