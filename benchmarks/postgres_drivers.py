"""What an append to PostgreSQL costs the client: drivers in the ways that can be used behind a transaction pooler or not, and the whole store.

    python benchmarks/postgres_drivers.py DSN [--rounds N]

All call the same function of a throw-away schema with three entries of 400 characters; the last line is `PostgresStore.append` with three
entries, everything included. `synchronous_commit` is off for the run's connections, so that the disk does not hide the rest; the store goes by what its role has.
asyncpg is left out if it is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from turnwise import PostgresStore
from turnwise.store.postgres.errors import Address
from turnwise.store.postgres.link import connect
from turnwise.store.postgres.statement import Statement
from turnwise.testing.store_conformance.samples import created, did, said

try:
    import asyncpg
except ImportError:
    asyncpg = None

SCHEMA = "turnwise_benchmark"
SETUP = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.sessions (id text PRIMARY KEY, last int NOT NULL);
CREATE TABLE {SCHEMA}.entries (session text, seq int, append uuid, body text NOT NULL, PRIMARY KEY (session, seq));
CREATE FUNCTION {SCHEMA}.append(p_session text, p_after int, p_append uuid, p_bodies text[]) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {SCHEMA}.sessions SET last = last + cardinality(p_bodies) WHERE id = p_session AND last = p_after;
    IF NOT FOUND THEN INSERT INTO {SCHEMA}.sessions VALUES (p_session, cardinality(p_bodies)); END IF;
    INSERT INTO {SCHEMA}.entries SELECT p_session, p_after + n, p_append, b FROM unnest(p_bodies) WITH ORDINALITY AS x(b, n);
    RETURN p_after + cardinality(p_bodies);
END $$;
"""
SQL = f"SELECT {SCHEMA}.append($1, $2, $3, $4)"
OURS = Statement(SQL, takes="text int4 uuid text[]", gives="int4")
BODIES = ['{"type":"call.outcome","text":"' + "y" * 400 + '"}'] * 3
Append = Callable[[str, int], Awaitable[Any]]


async def main(dsn: str, rounds: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SETUP.encode())
    try:
        if asyncpg is not None:
            await with_asyncpg(dsn, rounds)
        await with_psycopg(dsn, rounds)
        await with_the_store(dsn, rounds)
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE".encode())


async def measured(name: str, append: Append, rounds: int) -> None:
    session = str(uuid.uuid4())
    took: list[float] = []
    cpu = time.process_time()
    for n in range(rounds):
        begun = time.perf_counter()
        await append(session, 3 * n)
        took.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / rounds
    print(f"{name:48} {cpu * 1e6:8.0f} µs CPU {statistics.median(took) * 1e6:8.0f} µs median")


async def with_asyncpg(dsn: str, rounds: int) -> None:
    assert asyncpg is not None
    for name, options, transaction in (
        ("asyncpg, prepared once per connection", {}, False),
        ("asyncpg, no statement cache", {"statement_cache_size": 0}, False),
        ("asyncpg, no statement cache, in a transaction", {"statement_cache_size": 0}, True),
    ):
        connection = await asyncpg.connect(dsn, server_settings={"synchronous_commit": "off"}, **options)

        async def append(session: str, after: int, it: Any = connection, transaction: bool = transaction) -> None:
            if not transaction:
                await it.fetchval(SQL, session, after, uuid.uuid4(), BODIES)
                return
            async with it.transaction():
                await it.fetchval(SQL, session, after, uuid.uuid4(), BODIES)

        await measured(name, append, rounds)
        await connection.close()


async def with_psycopg(dsn: str, rounds: int) -> None:
    dsn = psycopg.conninfo.make_conninfo(dsn, options="-c synchronous_commit=off")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None) as connection:

        async def execute(session: str, after: int) -> None:
            text = f"SELECT {SCHEMA}.append(%s, %s, %s, %s)".encode()
            cursor = await connection.execute(text, (session, after, uuid.uuid4(), BODIES))
            await cursor.fetchone()

        await measured("psycopg, AsyncConnection.execute", execute, rounds)
    link = await connect(Address(dsn))
    sql = OURS.rendered(SCHEMA)

    async def ask(session: str, after: int) -> None:
        parameters = OURS.parameters([session, after, uuid.uuid4().bytes, BODIES])
        OURS.decoded(await link.ask(sql, parameters, OURS.oids, 30))

    await measured("psycopg.pq, as the store uses it", ask, rounds)
    link.close()


async def with_the_store(dsn: str, rounds: int) -> None:
    store = PostgresStore(dsn, schema=f"{SCHEMA}_store")
    try:
        session = str(uuid.uuid4())
        await store.append(session, 0, [created(session)])
        entries = [did("y" * 400), said("some words"), did("and some more")]

        async def append(_: str, after: int) -> None:
            await store.append(session, 1 + after, entries)

        await measured("PostgresStore.append", append, rounds)
    finally:
        await store.close()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}_store CASCADE".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn")
    parser.add_argument("--rounds", type=int, default=1500)
    given = parser.parse_args()
    asyncio.run(main(given.dsn, given.rounds))
