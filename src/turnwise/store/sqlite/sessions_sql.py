"""The rows of sessions: making, listing, editing and deleting them; and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection, IntegrityError
from typing import Any
from zlib import crc32

import msgspec

from ...core.principal import Principal
from ...core.store import Edit, NewSession, Query, SessionInfo, Snapshot
from ..refusals import name_taken, session_exists, unknown_session
from .journal_sql import refuse_if_living
from .schema import SEQ_BITS, SEQ_MASK

_COLUMNS = """id, tenant, user, name, title, agent, folder, tags, created_at, updated_at, last, turns, messages, status, archived,
    sessions.owner, leases.expires_at"""
_FROM = "FROM sessions LEFT JOIN leases ON leases.owner = sessions.owner"


def create(db: Connection, new: NewSession, now: float) -> SessionInfo:
    if db.execute("SELECT 1 FROM sessions WHERE id = ?", (new.id,)).fetchone():
        raise session_exists(new.id)
    _refuse_taken(db, new.principal.tenant, new.name)
    db.execute(
        """INSERT INTO sessions (id, tenant, user, name, title, agent, folder, tags, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            new.id,
            new.principal.tenant,
            new.principal.user,
            new.name,
            new.title,
            new.agent,
            new.folder,
            _json(new.tags),
            now,
            now,
        ),
    )
    return _present(db, new.id)


def info(db: Connection, session: str) -> SessionInfo | None:
    row = db.execute(f"SELECT {_COLUMNS} {_FROM} WHERE id = ?", (session,)).fetchone()
    return None if row is None else _info(row)


def listed(db: Connection, query: Query, now: float) -> list[SessionInfo]:
    where, values = _conditions(query, now)
    rows = db.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY updated_at DESC, id DESC LIMIT ?",
        (*values, max(query.limit, 0)),
    )
    return [_info(row) for row in rows]


def edit(db: Connection, session: str, change: Edit) -> SessionInfo:
    now_there = info(db, session)
    if now_there is None:
        raise unknown_session(session)
    given: dict[str, Any] = {
        field: value
        for field in ("name", "title", "agent", "tags", "archived")
        if (value := getattr(change, field)) is not msgspec.UNSET
    }
    if not given:
        return now_there
    if given.get("name") is not None and given["name"] != now_there.name:
        _refuse_taken(db, now_there.principal.tenant, given["name"])
    if "tags" in given:
        given["tags"] = _json(given["tags"])
    db.execute(
        f"UPDATE sessions SET {', '.join(f'{field} = ?' for field in given)} WHERE id = ?", (*given.values(), session)
    )
    return _present(db, session)


def delete(db: Connection, session: str, now: float) -> bool:
    """Also what was noted of it for search, its references to blobs and the records of its scope."""
    row = db.execute(
        """SELECT key, tenant, owner, fence, expires_at, host, pid
        FROM sessions LEFT JOIN leases USING (owner) WHERE id = ?""",
        (session,),
    ).fetchone()
    if row is None:
        return False
    key, tenant = row[:2]
    refuse_if_living(session, row[2:], now)
    first, last = key << SEQ_BITS, (key << SEQ_BITS) | SEQ_MASK
    db.execute("DELETE FROM texts WHERE rowid BETWEEN ? AND ?", (first, last))
    db.execute("DELETE FROM entries WHERE id BETWEEN ? AND ?", (first, last))
    db.execute("DELETE FROM blob_refs WHERE session = ?", (key,))
    db.execute("DELETE FROM snapshots WHERE session = ?", (key,))
    db.execute("DELETE FROM records WHERE tenant = ? AND kind = 'session' AND name = ?", (tenant, session))
    db.execute("DELETE FROM sessions WHERE key = ?", (key,))
    return True


def save_snapshot(db: Connection, session: str, snapshot: Snapshot) -> None:
    db.execute(
        """INSERT INTO snapshots (session, seq, version, crc, data)
        SELECT key, ?, ?, ?, ? FROM sessions WHERE id = ?
        ON CONFLICT (session) DO UPDATE
        SET seq = excluded.seq, version = excluded.version, crc = excluded.crc, data = excluded.data WHERE excluded.seq >= seq""",
        (snapshot.seq, snapshot.version, crc32(snapshot.data), snapshot.data, session),
    )


def snapshot(db: Connection, session: str) -> Snapshot | None:
    """None, too, for one that is damaged: it is made again from the journal."""
    row = db.execute(
        "SELECT seq, version, crc, data FROM snapshots WHERE session = (SELECT key FROM sessions WHERE id = ?)",
        (session,),
    ).fetchone()
    if row is None:
        return None
    seq, version, crc, data = row
    return Snapshot(seq, version, data) if crc32(data) == crc else None


def _conditions(query: Query, now: float) -> tuple[str, list[Any]]:
    parts, values = ["TRUE"], list[Any]()
    for field in ("tenant", "user", "name", "agent", "folder", "status", "archived"):
        value = getattr(query, field)
        if value is not None:
            parts.append(f"{field} = ?")
            values.append(value)
    for tag in query.tags:
        parts.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        values.append(tag)
    if query.orphaned:
        parts.append("status = 'running' AND (sessions.owner = '' OR coalesce(leases.expires_at, 0) <= ?)")
        values.append(now)
    if query.updated_before is not None:
        parts.append("updated_at < ?")
        values.append(query.updated_before)
    if query.after is not None:
        parts.append("(updated_at, id) < (SELECT updated_at, id FROM sessions WHERE id = ?)")
        values.append(query.after)
    return " AND ".join(parts), values


def _refuse_taken(db: Connection, tenant: str, name: str | None) -> None:
    if name is None:
        return
    row = db.execute("SELECT id FROM sessions WHERE tenant = ? AND name = ?", (tenant, name)).fetchone()
    if row is not None:
        raise name_taken(name, row[0])


def _present(db: Connection, session: str) -> SessionInfo:
    found = info(db, session)
    if found is None:
        raise IntegrityError("a row that was just written is not there")
    return found


def _info(row: Sequence[Any]) -> SessionInfo:
    id, tenant, user, name, title, agent, folder, tags, created_at, updated_at, last, turns, messages, status = row[:14]
    archived, owner, claimed_until = row[14:]
    return SessionInfo(
        id=id,
        principal=Principal(tenant, user),
        name=name,
        title=title,
        agent=agent,
        folder=folder,
        tags=msgspec.json.decode(tags, type=tuple[str, ...]),
        created_at=created_at,
        updated_at=updated_at,
        last=last,
        turns=turns,
        messages=messages,
        status=status,
        archived=bool(archived),
        owner=owner,
        claimed_until=(claimed_until or 0.0) if owner else None,
    )


def _json(tags: Sequence[str]) -> str:
    return msgspec.json.encode(tags).decode()
