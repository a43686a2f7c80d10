"""Records in memory: small values under scope and key. One that has expired stays as the number of its version."""

from __future__ import annotations

from bisect import bisect_right

from ...core.store import Record, Scope
from ..refusals import version_conflict

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
        record = self._kept.get(scope, {}).get(key)
        return record if record is not None and _lives(record, now) else None

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
        self._compare(scope, key, expect, now)
        self._written += 1
        if self._written >= self._sweep_at:
            self._sweep(now)
        kept = self._kept.setdefault(scope, {})
        before, living = kept.get(key), self.get(scope, key, now)
        record = kept[key] = Record(
            key,
            value,
            before.version + 1 if before else 1,
            schema,
            living.created_at if living else now,
            now,
            writer,
            None if ttl_s is None else now + ttl_s,
        )
        return record

    def delete(self, scope: Scope, key: str, expect: int | None, now: float) -> bool:
        """Raises as `put`."""
        self._compare(scope, key, expect, now)
        if self.get(scope, key, now) is None:
            return False
        del self._kept[scope][key]
        return True

    def listed(self, scope: Scope, prefix: str, after: str, limit: int, now: float) -> list[Record]:
        kept = self._kept.get(scope, {})
        keys = sorted([key for key in kept if key.startswith(prefix) and _lives(kept[key], now)])
        first = bisect_right(keys, after) if after else 0
        return [kept[key] for key in keys[first : first + limit]]

    def forget(self, scope: Scope) -> None:
        self._kept.pop(scope, None)

    def sizes(self) -> list[int]:
        return [len(record.value) for kept in self._kept.values() for record in kept.values()]

    def _sweep(self, now: float) -> None:
        """Forget what expired long ago; again when as many were written as are left, so that a write costs no more for it."""
        for scope, kept in list(self._kept.items()):
            for key in [key for key, record in kept.items() if not _lives(record, now - VERSIONS_KEPT_S)]:
                del kept[key]
            if not kept:
                del self._kept[scope]
        self._written, self._sweep_at = 0, max(SWEEP_AFTER, sum(map(len, self._kept.values())))

    def _compare(self, scope: Scope, key: str, expect: int | None, now: float) -> None:
        if expect is None:
            return
        record = self.get(scope, key, now)
        version = record.version if record else 0
        if version != expect:
            raise version_conflict(key, expect, version)


def _lives(record: Record, now: float) -> bool:
    return record.expires_at is None or record.expires_at > now
