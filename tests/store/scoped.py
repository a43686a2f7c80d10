"""What the tests of scoped state share: records that can be seen through, held up and changed by others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from turnwise.core.store import Record, Records, Scope
from turnwise.store.refusals import version_conflict


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


class TinyRecords:
    """Records in memory, by a clock that the test moves."""

    def __init__(self, wall: Callable[[], float] = lambda: 1.0) -> None:
        self._wall = wall
        self._kept: dict[tuple[Scope, str], Record] = {}

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        found = self._kept.get((scope, key))
        return None if found is None or self._over(found) else found

    async def put_record(
        self,
        scope: Scope,
        key: str,
        value: bytes,
        *,
        expect: int | None = None,
        schema: int = 1,
        writer: str = "",
        ttl_s: float | None = None,
    ) -> Record:
        last = self._kept.get((scope, key))
        alive = last if last is not None and not self._over(last) else None
        now = self._wall()
        if expect is not None and expect != (alive.version if alive else 0):
            raise version_conflict(key, expect, alive.version if alive else 0)
        record = Record(
            key,
            value,
            last.version + 1 if last else 1,
            schema,
            alive.created_at if alive else now,
            now,
            writer,
            None if ttl_s is None else now + ttl_s,
        )
        self._kept[scope, key] = record
        return record

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        raise NotImplementedError

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        found = [r for (s, k), r in self._kept.items() if s == scope and k.startswith(prefix) and k > after]
        return sorted([r for r in found if not self._over(r)], key=lambda r: r.key)[:limit]

    def _over(self, record: Record) -> bool:
        return record.expires_at is not None and record.expires_at <= self._wall()
