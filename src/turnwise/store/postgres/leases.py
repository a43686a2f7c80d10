"""Leases of processes, and the claims on sessions that hang on them. All times are the database's."""

from __future__ import annotations

from ...core.store import Claim, Owner
from .. import refusals
from .database import Database
from .statement import Statement

FORGET_AFTER_S = 7 * 86400.0
"""A lease that ran out so long ago is removed when a new one is made. Whether it is there makes no difference: its owner is not alive."""

HEARTBEAT = Statement(
    "WITH old AS (DELETE FROM {s}.leases l WHERE l.owner <> $1 AND l.expires_at < clock_timestamp() - make_interval(secs => $5) "
    "AND NOT EXISTS (SELECT FROM {s}.leases m WHERE m.owner = $1)) "
    "INSERT INTO {s}.leases (owner, host, pid, expires_at) VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) "
    "ON CONFLICT (owner) DO UPDATE SET host = excluded.host, pid = excluded.pid, expires_at = excluded.expires_at",
    takes="text text int4 float8 float8",
)
RETIRE = Statement(
    "WITH gone AS (DELETE FROM {s}.leases WHERE owner = $1) UPDATE {s}.sessions SET owner = NULL WHERE owner = $1",
    takes="text",
)
CLAIM = Statement(
    "SELECT outcome, given, holder, host, pid, until FROM {s}.claim_1($1, $2)",
    takes="text text",
    gives="text int8 text text int4 float8",
)
HOLDS = Statement(
    "SELECT true FROM {s}.sessions WHERE id = $1 AND owner = $2 AND fence = $3", takes="text text int8", gives="bool"
)
RELEASE = Statement(
    "UPDATE {s}.sessions SET owner = NULL WHERE id = $1 AND owner = $2 AND fence = $3", takes="text text int8"
)


async def heartbeat(database: Database, owner: Owner, ttl_s: float) -> None:
    await database.ask(HEARTBEAT, owner.id, owner.host, owner.pid, ttl_s, FORGET_AFTER_S)


async def retire(database: Database, owner: str) -> None:
    await database.ask(RETIRE, owner)


async def claim(database: Database, session: str, owner: str) -> int:
    [[outcome, fence, holder, host, pid, until]] = await database.ask(CLAIM, session, owner)
    if outcome == "unknown":
        raise refusals.unknown_session(session)
    if outcome == "busy":
        raise refusals.claimed(session, Owner(holder, host, pid), until)
    return fence


async def holds(database: Database, session: str, claim: Claim) -> bool:
    return bool(await database.ask(HOLDS, session, claim.owner, claim.fence))


async def release(database: Database, session: str, claim: Claim) -> None:
    await database.ask(RELEASE, session, claim.owner, claim.fence)
