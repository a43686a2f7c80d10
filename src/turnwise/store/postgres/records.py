"""Records: small values under scope and key."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.store import Record, Scope
from .. import refusals
from .database import Database
from .statement import Statement

_COLUMNS = (
    "r.key, r.value, r.version, r.schema, extract(epoch FROM r.created_at)::float8, extract(epoch FROM r.updated_at)::float8, "
    "r.writer, extract(epoch FROM r.expires_at)::float8"
)
_GIVES = "text bytea int8 int4 float8 float8 text float8"
_IN_SCOPE = "r.tenant = $1 AND r.kind = $2 AND r.scope = $3"
_LIVE = "(r.expires_at IS NULL OR r.expires_at > clock_timestamp())"

GET = Statement(
    f"SELECT {_COLUMNS} FROM {{s}}.records r WHERE {_IN_SCOPE} AND r.key = $4 AND {_LIVE}",
    takes="text text text text",
    gives=_GIVES,
)
PUT = Statement(
    "SELECT outcome, number, created, updated, expires FROM {s}.put_record_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    takes="text text text text bytea int8 int4 text float8 uuid",
    gives="text int8 float8 float8 float8",
)
DELETE = Statement(
    "SELECT outcome, number FROM {s}.delete_record_1($1, $2, $3, $4, $5)",
    takes="text text text text int8",
    gives="text int8",
)
LIST = Statement(
    f"SELECT {_COLUMNS} FROM {{s}}.records r WHERE {_IN_SCOPE} AND r.key >= $4 AND starts_with(r.key, $4) "
    f"AND (r.key > $5 OR $5 = '') AND {_LIVE} ORDER BY r.key LIMIT $6",
    takes="text text text text text int8",
    gives=_GIVES,
)


async def get(database: Database, scope: Scope, key: str) -> Record | None:
    row = await database.row(GET, scope.tenant, scope.kind, scope.name, key)
    return None if row is None else Record(*row)


async def put(
    database: Database,
    scope: Scope,
    key: str,
    value: bytes,
    expect: int | None,
    schema: int,
    writer: str,
    ttl_s: float | None,
) -> Record:
    await database.ready()
    op = database.new_id()
    [[outcome, version, created, updated, expires]] = await database.ask(
        PUT, scope.tenant, scope.kind, scope.name, key, value, expect, schema, writer, ttl_s, op
    )
    if outcome == "conflict":
        assert expect is not None
        raise refusals.version_conflict(key, expect, version)
    return Record(key, bytes(value), version, schema, created, updated, writer, expires)


async def delete(database: Database, scope: Scope, key: str, expect: int | None) -> bool:
    """If its answer is lost and it is done again, it may say False of what it has deleted, or that the version is another one."""
    [[outcome, version]] = await database.ask(DELETE, scope.tenant, scope.kind, scope.name, key, expect)
    if outcome == "conflict":
        assert expect is not None
        raise refusals.version_conflict(key, expect, version)
    return outcome == "done"


async def listed(database: Database, scope: Scope, prefix: str, after: str, limit: int) -> Sequence[Record]:
    rows = await database.ask(LIST, scope.tenant, scope.kind, scope.name, prefix, after, limit)
    return [Record(*row) for row in rows]
