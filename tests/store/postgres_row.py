"""PostgreSQL as a row of `stores`, and the stores that the tests of PostgreSQL alone are made with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from tests.store import server

from turnwise.store.postgres import PostgresStore
from turnwise.testing.store_conformance import StoreUnderTest

LEASE_S = 30.0
TABLES = ["sessions", "entries", "snapshots", "leases", "texts", "blobs", "pieces", "blob_refs", "records"]
_numbers = itertools.count(1)
_empty: list[str] = []


def new_schema() -> str:
    return f"test_{os.getpid()}_{next(_numbers)}"


async def postgres(folder: Path) -> StoreUnderTest:
    """Making a schema takes longer than most checks: one that is empty again is used again."""
    dsn = server.shared()
    schema = _empty.pop() if _empty else new_schema()

    async def again() -> PostgresStore:
        return PostgresStore(dsn, schema=schema, pool_size=4, poll_s=0.02)

    async def advance(seconds: float) -> None:
        """The server's clock cannot be moved. What ends at a time ends so much earlier instead; dates that are shown stay."""
        if seconds < 0.1:
            await asyncio.sleep(seconds)
            return
        earlier = f"- interval '{seconds} s'"
        server.execute(
            dsn,
            f"UPDATE {schema}.leases SET expires_at = expires_at {earlier}",
            f"UPDATE {schema}.records SET expires_at = expires_at {earlier}",
            f"UPDATE {schema}.blobs SET put_at = put_at {earlier}",
            f"UPDATE {schema}.pieces SET at = at {earlier}",
        )

    async def dispose() -> None:
        server.execute(dsn, ";".join(f"DELETE FROM {schema}.{table}" for table in TABLES))
        _empty.append(schema)

    return StoreUnderTest(await again(), second=again, reopen=again, advance=advance, dispose=dispose, lease_s=LEASE_S)


@contextlib.asynccontextmanager
async def fresh_schema(dsn: str) -> AsyncGenerator[str]:
    """A name that nothing has yet; what has it then is removed at the end."""
    schema = new_schema()
    try:
        yield schema
    finally:
        server.execute(dsn, f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@contextlib.asynccontextmanager
async def opened(dsn: str = "", schema: str = "", **options: Any) -> AsyncGenerator[PostgresStore]:
    """A store, closed at the end; in a schema of its own unless one is given."""
    async with contextlib.AsyncExitStack() as stack:
        schema = schema or await stack.enter_async_context(fresh_schema(server.shared()))
        store = PostgresStore(dsn or server.shared(), schema=schema, **{"poll_s": 0.02, **options})
        stack.push_async_callback(store.close)
        yield store
