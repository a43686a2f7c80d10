"""PostgreSQL as a row of `stores`: a schema of its own for each store under test."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.store import server

from turnwise.store.postgres import PostgresStore
from turnwise.testing.store_conformance import StoreUnderTest

_numbers = itertools.count(1)


def new_schema() -> str:
    return f"test_{os.getpid()}_{next(_numbers)}"


def drop(schema: str) -> None:
    server.execute(server.shared(), f"DROP SCHEMA IF EXISTS {schema} CASCADE")


async def postgres(folder: Path) -> StoreUnderTest:
    schema = new_schema()

    async def again() -> PostgresStore:
        return PostgresStore(server.shared(), schema=schema, pool_size=4, poll_s=0.02)

    async def dispose() -> None:
        drop(schema)

    return StoreUnderTest(await again(), second=again, reopen=again, dispose=dispose, lease_s=0.4)
