"""How one record follows another under its key: versions, and when a record is over. For stores that decide so here and not in their
database, and for `changing`."""

from __future__ import annotations

from ..core.store import Record
from .refusals import version_conflict


def lives(record: Record, now: float) -> bool:
    return record.expires_at is None or record.expires_at > now


def living(record: Record | None, now: float) -> Record | None:
    """The record, if there is one and it is not over."""
    return record if record is not None and lives(record, now) else None


def version_of(record: Record | None) -> int:
    return 0 if record is None else record.version


def refuse_other(key: str, expect: int | None, there: Record | None) -> None:
    """Raise `StateError` (`version_conflict`) if a version is expected and what is there has another one."""
    if expect is not None and expect != version_of(there):
        raise version_conflict(key, expect, version_of(there))


def following(
    before: Record | None,
    key: str,
    value: bytes,
    now: float,
    *,
    expect: int | None,
    schema: int,
    writer: str,
    ttl_s: float | None,
) -> Record:
    """What a write makes of the record that is kept under the key, be it over or not: its version goes on. Raises as `refuse_other`."""
    there = living(before, now)
    refuse_other(key, expect, there)
    return Record(
        key,
        value,
        version_of(before) + 1,
        schema,
        there.created_at if there is not None else now,
        now,
        writer,
        None if ttl_s is None else now + ttl_s,
    )
