"""The rows of sessions: made, shown, listed, edited, deleted; and the snapshot beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.principal import Principal
from ...core.store import Edit, NewSession, Owner, Query, SessionInfo, Snapshot
from .. import refusals
from .database import Database
from .errors import Refused
from .statement import Statement

_COLUMNS = (
    "s.id, s.tenant, s.username, s.name, s.title, s.agent, s.folder, s.tags, extract(epoch FROM s.created_at)::float8, "
    "extract(epoch FROM s.updated_at)::float8, s.last, s.turns, s.messages, s.status, s.archived, coalesce(s.owner, ''), "
    "(SELECT extract(epoch FROM l.expires_at)::float8 FROM {s}.leases l WHERE l.owner = s.owner)"
)
_GIVES = "text text text text text text text text[] float8 float8 int4 int4 int4 text bool text float8"

CREATE = Statement(
    "INSERT INTO {s}.sessions AS s (id, tenant, username, name, title, agent, folder, tags, created_at, updated_at, minute, made) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), now(), extract(epoch FROM now())::bigint / 60, $9) "
    "ON CONFLICT (id) DO UPDATE SET made = s.made WHERE s.made = excluded.made RETURNING " + _COLUMNS,
    takes="text text text text text text text text[] uuid",
    gives=_GIVES,
)
INFO = Statement(f"SELECT {_COLUMNS} FROM {{s}}.sessions s WHERE s.id = $1", takes="text", gives=_GIVES)
LIST = Statement(
    f"SELECT {_COLUMNS} FROM {{s}}.sessions s WHERE ($1::text IS NULL OR s.tenant = $1) "
    "AND ($2::text IS NULL OR s.username = $2) AND ($3::text IS NULL OR s.name = $3) AND ($4::text IS NULL OR s.agent = $4) "
    "AND ($5::text IS NULL OR s.folder = $5) AND ($6::text[] IS NULL OR s.tags @> $6) AND ($7::text IS NULL OR s.status = $7) "
    "AND ($8::bool IS NULL OR s.archived = $8) AND ($9::float8 IS NULL OR extract(epoch FROM s.updated_at)::float8 < $9) "
    "AND (NOT $10 OR (s.status = 'running' AND NOT EXISTS "
    "(SELECT FROM {s}.leases l WHERE l.owner = s.owner AND l.expires_at > clock_timestamp()))) "
    "AND ($11::text IS NULL OR (s.minute, s.updated_at, s.id) < (SELECT a.minute, a.updated_at, a.id FROM {s}.sessions a WHERE a.id = $11)) "
    "ORDER BY s.minute DESC, s.updated_at DESC, s.id DESC LIMIT $12",
    takes="text text text text text text[] text bool float8 bool text int8",
    gives=_GIVES,
)
EDIT = Statement(
    "UPDATE {s}.sessions s SET name = CASE WHEN $2 THEN $3 ELSE s.name END, title = coalesce($4, s.title), "
    "agent = coalesce($5, s.agent), tags = coalesce($6, s.tags), archived = coalesce($7, s.archived) "
    f"WHERE s.id = $1 RETURNING {_COLUMNS}",
    takes="text bool text text text text[] bool",
    gives=_GIVES,
)
DELETE = Statement(
    "SELECT outcome, holder, host, pid, until FROM {s}.delete_session_1($1)",
    takes="text",
    gives="text text text int4 float8",
)
SAVE = Statement(
    "WITH there AS (SELECT id, tenant FROM {s}.sessions WHERE id = $1 FOR SHARE) "
    "INSERT INTO {s}.snapshots AS o (session, tenant, seq, version, data) SELECT id, tenant, $2, $3, $4 FROM there "
    "ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, version = excluded.version, data = excluded.data "
    "WHERE o.seq <= excluded.seq",
    takes="text int4 int4 bytea",
)
SNAPSHOT = Statement(
    "SELECT seq, version, data FROM {s}.snapshots WHERE session = $1", takes="text", gives="int4 int4 bytea"
)
STATS = Statement(
    "SELECT (SELECT count(*) FROM {s}.sessions), (SELECT coalesce(sum(last), 0)::bigint FROM {s}.sessions), "
    "(SELECT count(*) FROM {s}.blobs), (SELECT coalesce(sum(size), 0)::bigint FROM {s}.blobs), "
    "(SELECT count(*) FROM {s}.records), (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r')",
    takes="text",
    gives="int8 int8 int8 int8 int8 int8",
)


async def create(database: Database, new: NewSession) -> SessionInfo:
    await database.ready()
    who = new.principal
    try:
        row = await database.row(
            CREATE,
            new.id,
            who.tenant,
            who.user,
            new.name,
            new.title,
            new.agent,
            new.folder,
            new.tags,
            database.new_id(),
        )
    except Refused as error:
        raise _taken(new.name, error) from None
    if row is None:
        raise refusals.session_exists(new.id)
    return _info(row)


async def info(database: Database, session: str) -> SessionInfo | None:
    row = await database.row(INFO, session)
    return None if row is None else _info(row)


async def listed(database: Database, query: Query) -> Sequence[SessionInfo]:
    rows = await database.ask(
        LIST,
        query.tenant,
        query.user,
        query.name,
        query.agent,
        query.folder,
        query.tags or None,
        query.status,
        query.archived,
        query.updated_before,
        query.orphaned,
        query.after,
        query.limit,
    )
    return [_info(row) for row in rows]


async def edit(database: Database, session: str, change: Edit) -> SessionInfo:
    name = change.name
    try:
        row = await database.row(
            EDIT,
            session,
            name is not msgspec.UNSET,
            _given(name),
            _given(change.title),
            _given(change.agent),
            _given(change.tags),
            _given(change.archived),
        )
    except Refused as error:
        raise _taken(_given(name), error) from None
    if row is None:
        raise refusals.unknown_session(session)
    return _info(row)


async def delete(database: Database, session: str) -> bool:
    """If its answer is lost and it is done again, it may say False of what it has deleted."""
    [[outcome, holder, host, pid, until]] = await database.ask(DELETE, session)
    if outcome == "busy":
        raise refusals.claimed(session, Owner(holder, host, pid), until)
    return outcome == "done"


async def save_snapshot(database: Database, session: str, snapshot: Snapshot) -> None:
    await database.ask(SAVE, session, snapshot.seq, snapshot.version, snapshot.data)


async def snapshot(database: Database, session: str) -> Snapshot | None:
    row = await database.row(SNAPSHOT, session)
    return None if row is None else Snapshot(*row)


async def stats(database: Database) -> Mapping[str, int]:
    """`bytes` is what the tables take on disk, with their indexes; `blob_bytes` what the blobs have."""
    [row] = await database.ask(STATS, database.schema)
    return dict(zip(("sessions", "entries", "blobs", "blob_bytes", "records", "bytes"), row, strict=True))


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _taken(name: str | None, error: Refused) -> Exception:
    return refusals.name_taken(name or "", "") if error.object == "sessions_name" else error


def _info(row: Sequence[Any]) -> SessionInfo:
    (
        id,
        tenant,
        user,
        name,
        title,
        agent,
        folder,
        tags,
        created,
        updated,
        last,
        turns,
        messages,
        status,
        archived,
        owner,
        until,
    ) = row
    return SessionInfo(
        id=id,
        principal=Principal(tenant, user),
        name=name,
        title=title,
        agent=agent,
        folder=folder,
        tags=tags,
        created_at=created,
        updated_at=updated,
        last=last,
        turns=turns,
        messages=messages,
        status=status,
        archived=archived,
        owner=owner,
        claimed_until=until,
    )
