"""Records: small values under scope and key, in SQL.

One that has run out stays as a row for a while, unseen, so that its version goes on if it is written again.
"""

from __future__ import annotations

from sqlite3 import Connection

from ...core.store import Record, Scope
from ..versions import following, living, refuse_other

KEPT_AFTER_END_S = 30 * 86400.0
"""How long the version of a record that has run out is remembered."""
SWEPT = 20
"""Rows of records that ran out long ago which a write takes along."""

_COLUMNS = "key, value, version, schema, created_at, updated_at, writer, expires_at"
_SCOPE = "tenant = ? AND kind = ? AND name = ?"
_LAST_CHARACTER = "\U0010ffff"


def get_record(db: Connection, scope: Scope, key: str, now: float) -> Record | None:
    return living(_kept(db, scope, key), now)


def put_record(
    db: Connection,
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
    before = _kept(db, scope, key)
    record = following(before, key, value, now, expect=expect, schema=schema, writer=writer, ttl_s=ttl_s)
    db.execute(
        f"INSERT OR REPLACE INTO records (tenant, kind, name, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_names(scope), *(getattr(record, field) for field in record.__struct_fields__)),
    )
    if ttl_s is not None:
        _sweep(db, now)
    return record


def delete_record(db: Connection, scope: Scope, key: str, now: float, *, expect: int | None) -> bool:
    there = living(_kept(db, scope, key), now)
    refuse_other(key, expect, there)
    if there is None:
        return False
    db.execute(f"DELETE FROM records WHERE {_SCOPE} AND key = ?", (*_names(scope), key))
    return True


def records(db: Connection, scope: Scope, prefix: str, after: str, limit: int, now: float) -> list[Record]:
    rows = db.execute(
        f"""SELECT {_COLUMNS} FROM records
        WHERE {_SCOPE} AND key > ? AND key >= ? AND key <= ? AND substr(key, 1, ?) = ? AND (expires_at IS NULL OR expires_at > ?)
        ORDER BY key LIMIT ?""",
        (*_names(scope), after, prefix, prefix + 8 * _LAST_CHARACTER, len(prefix), prefix, now, max(limit, 0)),
    )
    return [Record(*row) for row in rows]


def _kept(db: Connection, scope: Scope, key: str) -> Record | None:
    """Also one that is over."""
    row = db.execute(f"SELECT {_COLUMNS} FROM records WHERE {_SCOPE} AND key = ?", (*_names(scope), key)).fetchone()
    return None if row is None else Record(*row)


def _names(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.kind, scope.name


def _sweep(db: Connection, now: float) -> None:
    db.execute(
        """DELETE FROM records WHERE (tenant, kind, name, key) IN (
            SELECT tenant, kind, name, key FROM records WHERE expires_at < ? LIMIT ?)""",
        (now - KEPT_AFTER_END_S, SWEPT),
    )
