"""Leases of processes and claims of sessions, in SQL (rule D3). Appends decide about claims in `journal_sql`.

A session's row says who has it claimed (`owner`, "" for nobody) and the fence that was given then. The fence stays when a claim is given
back and grows when the next one is taken, so that an old one never fits again.
"""

from __future__ import annotations

from sqlite3 import Connection

from ...core.store import Claim, Owner
from ..refusals import unknown_session
from .journal_sql import refuse_if_living


def heartbeat(db: Connection, owner: Owner, expires_at: float) -> None:
    db.execute(
        """INSERT INTO leases (owner, host, pid, expires_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (owner) DO UPDATE SET host = excluded.host, pid = excluded.pid, expires_at = excluded.expires_at""",
        (owner.id, owner.host, owner.pid, expires_at),
    )


def retire(db: Connection, owner: str) -> None:
    db.execute("DELETE FROM leases WHERE owner = ?", (owner,))
    if owner:
        db.execute("UPDATE sessions SET owner = '' WHERE owner = ?", (owner,))


def claim(db: Connection, session: str, owner: str, now: float) -> int:
    row = db.execute(
        """SELECT owner, fence, expires_at, host, pid FROM sessions LEFT JOIN leases USING (owner) WHERE id = ?""",
        (session,),
    ).fetchone()
    if row is None:
        raise unknown_session(session)
    holder, fence = row[:2]
    if holder == owner:
        return fence
    refuse_if_living(session, row, now)
    db.execute("UPDATE sessions SET owner = ?, fence = ? WHERE id = ?", (owner, fence + 1, session))
    return fence + 1


def holds(db: Connection, session: str, claim: Claim) -> bool:
    row = db.execute("SELECT owner, fence FROM sessions WHERE id = ?", (session,)).fetchone()
    return row is not None and row == (claim.owner, claim.fence)


def release(db: Connection, session: str, claim: Claim) -> None:
    db.execute(
        "UPDATE sessions SET owner = '' WHERE id = ? AND owner = ? AND fence = ?", (session, claim.owner, claim.fence)
    )
