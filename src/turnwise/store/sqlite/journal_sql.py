"""Appends and reads, in SQL: who may append is decided in one statement where nothing stands against it, else by looking.

Everything here runs in a transaction of its caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sqlite3 import Connection, Cursor, DatabaseError
from typing import Any
from zlib import crc32

from ...core.entries import Entry
from ...core.store import Claim, Owner
from ..codec import damaged_entry, decode_entry, encode_entries
from ..facts import begun_by, blobs_among, facts_of
from ..refusals import append_conflict, claimed, lease_lost, session_deleted
from .clock import is_busy
from .jobs import Job
from .schema import SEQ_BITS, SEQ_MASK, one_moment

QUICK_BYTES = 65_536
"""What an append may have to be written on the event loop."""
MAX_KEYS = 20_000
"""Sessions whose keys are remembered."""

_SET = "UPDATE sessions SET last = ?, updated_at = ?, turns = turns + ?, messages = messages + ?, status = coalesce(?, status)"
_FREE = f"{_SET} WHERE key = ? AND last = ? AND owner = ''"
_HELD = f"{_SET} WHERE key = ? AND last = ? AND owner = ? AND fence = ?"
_GIVEN_BACK = f"{_SET}, owner = '' WHERE key = ? AND last = ? AND owner = ? AND fence = ?"
_JUDGED = f"{_SET}, owner = ?, fence = ? WHERE key = ?"
_INSERT = "INSERT INTO entries (id, at, crc, data) VALUES (?, ?, ?, ?)"
_REFER = "INSERT OR IGNORE INTO blob_refs (session, sha256) VALUES (?, ?)"
_LOOK = """SELECT key, last, owner, fence, expires_at, host, pid
    FROM sessions LEFT JOIN leases USING (owner) WHERE id = ?"""
_MAKE = """INSERT INTO sessions
    (id, tenant, user, agent, created_at, last, updated_at, turns, messages, status, owner, fence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(?, 'idle'), ?, ?) ON CONFLICT (id) DO NOTHING"""


class Keys:
    """What the writer remembers of sessions: their keys, which are never given twice. Forgotten when a transaction is rolled back,
    for it may have made some of them."""

    __slots__ = ("by_id",)

    def __init__(self) -> None:
        self.by_id: dict[str, int] = {}

    def note(self, session: str, key: int) -> None:
        if len(self.by_id) >= MAX_KEYS:
            self.by_id.clear()
        self.by_id[session] = key

    def forget(self) -> None:
        self.by_id.clear()


class Append(Job):
    """One append. Encoding is done when it is made, on the caller's thread."""

    __slots__ = ("_blobs", "_claim", "_data", "_facts", "_first", "_keys", "_now", "after", "last", "pages", "session")

    def __init__(
        self,
        session: str,
        after: int,
        entries: Sequence[Entry],
        claim: Claim | None,
        keys: Keys,
        now: Callable[[], float],
    ) -> None:
        self._data = data = encode_entries(entries)
        size = sum(map(len, data))
        self.value = self.error = None
        self.quick = size <= QUICK_BYTES
        self.pages = 1 + (size >> 12)
        self.session, self.after, self.last = session, after, after + len(data)
        self._claim, self._keys, self._now = claim, keys, now
        self._facts, self._blobs = facts_of(entries), blobs_among(entries)
        self._first = entries[:1] if after == 0 else ()

    def run(self, db: Connection, cursor: Cursor) -> int:
        key = self._keys.by_id.get(self.session)
        claim, facts, after, now = self._claim, self._facts, self.after, self._now()
        news = (self.last, now, facts.turns, facts.messages, facts.status)
        fence = 0
        if key is None:
            key, fence = self._made(cursor, news) or self._judge(db, cursor, news, now)
        elif claim is None:
            if cursor.execute(_FREE, (*news, key, after)).rowcount != 1:
                key, fence = self._judge(db, cursor, news, now)
        elif claim.fence and (
            cursor.execute(_HELD if claim.hold else _GIVEN_BACK, (*news, key, after, claim.owner, claim.fence)).rowcount
            == 1
        ):
            fence = claim.fence
        else:
            key, fence = self._judge(db, cursor, news, now)
        base = key << SEQ_BITS
        cursor.executemany(  # each with its `checksum`, in short
            _INSERT,
            [(base + number, now, crc32(one, number ^ key), one) for number, one in enumerate(self._data, after + 1)],
        )
        if self._blobs is not None:
            cursor.executemany(_REFER, [(key, sha256) for sha256 in self._blobs])
        return fence

    def _made(self, cursor: Cursor, news: tuple[Any, ...]) -> tuple[int, int] | None:
        """The key and the fence of a session that begins with this append; None if it cannot, or there is one by this id."""
        claim = self._claim
        if self.after or (claim is not None and claim.fence):
            return None
        new = begun_by(self.session, self._first)
        owner, fence = ("", 0) if claim is None else (claim.owner if claim.hold else "", 1)
        row = (self.session, new.principal.tenant, new.principal.user, new.agent, news[1], *news, owner, fence)
        done = cursor.execute(_MAKE, row)
        key = done.lastrowid
        if done.rowcount != 1 or key is None:
            return None
        self._keys.note(self.session, key)
        return key, fence

    def _judge(self, db: Connection, cursor: Cursor, news: tuple[Any, ...], now: float) -> tuple[int, int]:
        """Look who has the session and how far it is, and write its row if nothing stands against it: its key and the fence."""
        session, claim = self.session, self._claim
        row = db.execute(_LOOK, (session,)).fetchone()
        if row is None:
            if made := self._made(cursor, news):
                return made  # it was deleted, and begins once more
            raise session_deleted(session) if self.after or claim is None else lease_lost(session, claim.owner)
        key, last, holder, fence, _, _, _ = row
        owner = "" if claim is not None else holder
        if claim is not None and claim.fence:
            if (holder, fence) != (claim.owner, claim.fence):
                raise lease_lost(session, claim.owner)
        elif claim is not None and holder == claim.owner:
            pass
        else:
            refuse_if_living(session, row[2:], now)
            fence += 0 if claim is None else 1
        if claim is not None and claim.hold:
            owner = claim.owner
        if last != self.after:
            raise append_conflict(session, self.after, last)
        cursor.execute(_JUDGED, (*news, owner, fence, key))
        self._keys.note(session, key)
        return key, fence if claim is not None else 0


def refuse_if_living(session: str, row: Sequence[Any], now: float) -> None:
    """Raise `SessionBusy` if the owner in `row` (owner, fence, expires_at, host, pid) has a lease that has not run out."""
    holder, _, expires_at, host, pid = row
    if holder and expires_at is not None and expires_at > now:
        raise claimed(session, Owner(holder, host, pid), expires_at)


def checksum(data: bytes, id: int) -> int:
    """Of an entry's bytes in their place: a row that has moved does not pass."""
    return crc32(data, (id ^ (id >> SEQ_BITS)) & SEQ_MASK)


def entries_of(db: Connection, session: str, after: int, limit: int | None) -> list[Entry]:
    """The entries from number `after` + 1 on. Raises `StateError`: `unknown_entry`, `damaged_entry`."""
    with one_moment(db):
        row = db.execute("SELECT key, last FROM sessions WHERE id = ?", (session,)).fetchone() or _unlisted(db, session)
        if row is None:
            return []
        key, last = row
        if not isinstance(last, int):
            raise damaged_entry(session, after + 1, "the session's row does not say how many there are")
        whole = limit is None or after + limit >= last
        until = last if whole or limit is None else after + limit
        entries = decoded(db, session, key, after, until)
        if whole and after <= last:
            _refuse_more(db, session, key, last)
        return entries


def _unlisted(db: Connection, session: str) -> tuple[int, int] | None:
    """The row of a session that the index of ids does not have: none, unless the index is damaged."""
    return db.execute("SELECT key, last FROM sessions NOT INDEXED WHERE id = ?", (session,)).fetchone()


def decoded(db: Connection, session: str, key: int, after: int, until: int) -> list[Entry]:
    """Those entries, each checked; raises at the first that is not what was written, or not there."""
    base, entries, expected = key << SEQ_BITS, list[Entry](), after + 1
    rows = db.execute(
        "SELECT id, crc, data FROM entries WHERE id > ? AND id <= ? ORDER BY id", (base + after, base + until)
    )
    try:
        for id, crc, data in rows:
            if id - base != expected:
                raise damaged_entry(session, expected, "it is not there")
            entries.append(checked(session, expected, id, crc, data))
            expected += 1
    except DatabaseError as error:
        if is_busy(error):
            raise
        raise damaged_entry(session, expected, f"SQLite cannot read it ({error})") from error
    if expected <= until:
        raise damaged_entry(session, expected, "it is not there")
    return entries


def checked(session: str, number: int, id: int, crc: object, data: object) -> Entry:
    """An entry as it was written. Raises `StateError`: `unknown_entry`, `damaged_entry`."""
    if not isinstance(data, bytes) or not isinstance(crc, int) or checksum(data, id) != crc:
        raise damaged_entry(session, number, "its checksum is another one")
    return decode_entry(data, session, number)


def _refuse_more(db: Connection, session: str, key: int, last: int) -> None:
    """Raise if there are entries that the session's row does not know of: then the row is damaged."""
    base = key << SEQ_BITS
    if db.execute("SELECT 1 FROM entries WHERE id > ? AND id <= ?", (base + last, base | SEQ_MASK)).fetchone():
        raise damaged_entry(session, last + 1, f"the session's row says that there are {last}")
