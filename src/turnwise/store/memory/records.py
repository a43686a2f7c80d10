"""Records in memory: small values under scope and key. One that has expired stays as the number of its version."""

from __future__ import annotations

from bisect import bisect_right

from ...core.store import Record, Scope
from ..versions import following, lives, living, refuse_other

VERSIONS_KEPT_S = 3600.0
SWEEP_AFTER = 1000


class Records:
    """Every question comes with the time."""

    __slots__ = ("_kept", "_sweep_at", "_written")

    def __init__(self) -> None:
        self._kept: dict[Scope, dict[str, Record]] = {}
        self._written = 0
        self._sweep_at = SWEEP_AFTER

    def get(self, scope: Scope, key: str, now: float) -> Record | None:
        return living(self._kept.get(scope, {}).get(key), now)

    def put(
        self,
        scope: Scope,
        key: str,
        value: bytes,
        now: float,
        *,
        expect: int | None,
        schema: int,
        writer: str,
        ttl_s: float | None,
    ) -> Record:
        """Raises `StateError` (`version_conflict`)."""
        before = self._kept.get(scope, {}).get(key)
        record = following(before, key, value, now, expect=expect, schema=schema, writer=writer, ttl_s=ttl_s)
        self._written += 1
        if self._written >= self._sweep_at:
            self._sweep(now)
        self._kept.setdefault(scope, {})[key] = record
        return record

    def delete(self, scope: Scope, key: str, expect: int | None, now: float) -> bool:
        """Raises as `put`."""
        there = self.get(scope, key, now)
        refuse_other(key, expect, there)
        if there is None:
            return False
        del self._kept[scope][key]
        return True

    def listed(self, scope: Scope, prefix: str, after: str, limit: int, now: float) -> list[Record]:
        kept = self._kept.get(scope, {})
        keys = sorted([key for key in kept if key.startswith(prefix) and lives(kept[key], now)])
        first = bisect_right(keys, after) if after else 0
        return [kept[key] for key in keys[first : first + limit]]

    def forget(self, scope: Scope) -> None:
        self._kept.pop(scope, None)

    def sizes(self) -> list[int]:
        return [len(record.value) for kept in self._kept.values() for record in kept.values()]

    def _sweep(self, now: float) -> None:
        """Forget what expired long ago; again when as many were written as are left, so that a write costs no more for it."""
        for scope, kept in list(self._kept.items()):
            for key in [key for key, record in kept.items() if not lives(record, now - VERSIONS_KEPT_S)]:
                del kept[key]
            if not kept:
                del self._kept[scope]
        self._written, self._sweep_at = 0, max(SWEEP_AFTER, sum(map(len, self._kept.values())))
