"""What the tests of scoped state share: records that can be seen through, held up and changed by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.store.stores import Kind

from turnwise.core.store import Record, Records, Scope
from turnwise.testing.store_conformance.kit import Trial


async def nothing(_: str) -> None:
    pass


class Elsewhere:
    """The same records as another process has them: a store object of its own, with what happens before and after each access."""

    def __init__(self, records: Records, meet: Callable[[str], Awaitable[None]] = nothing) -> None:
        self._records = records
        self._meet = meet

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        return await self._met("get", self._records.get_record(scope, key))

    async def put_record(self, scope: Scope, key: str, value: bytes, **how: Any) -> Record:
        return await self._met("put", self._records.put_record(scope, key, value, **how))

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        return await self._met("delete", self._records.delete_record(scope, key, expect=expect))

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        return await self._met("list", self._records.records(scope, prefix, after=after, limit=limit))

    async def _met(self, what: str, work: Any) -> Any:
        try:
            await self._meet(f"before {what}")
        except BaseException:
            work.close()
            raise
        found = await work
        await self._meet(f"after {what}")
        return found


def taking(turns: Sequence[int]) -> Callable[[str], Awaitable[None]]:
    """Gives way to other tasks so many times, access by access; not at all when the list is at its end."""
    left = list(turns)

    async def meet(_: str) -> None:
        for _turn in range(left.pop() if left else 0):
            await asyncio.sleep(0)

    return meet


@asynccontextmanager
async def opened(kind: Kind, folder: Path) -> AsyncGenerator[Trial]:
    """A store of that kind, new and empty, closed in the end."""
    if kind.skip:
        pytest.skip(kind.skip)
    given = await kind.make(folder)
    trial = Trial(given, given.store, [given.store])
    try:
        yield trial
    finally:
        await trial.close()
