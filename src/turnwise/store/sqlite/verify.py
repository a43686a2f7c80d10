"""Is everything still what was written? What is damaged, and what is still good (rule D5).

Reads all of the file: SQLite's own check, every entry's checksum, type and place, snapshots, and every blob's hash. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from sqlite3 import Connection, DatabaseError
from typing import Literal
from zlib import crc32

import msgspec

from ...core.errors import StateError
from .blobs import files_in, folders_of, is_good
from .clock import is_busy
from .journal_sql import checked
from .place import folder_name
from .schema import SEQ_BITS, SEQ_MASK, one_moment

Kind = Literal["file", "session", "entry", "snapshot", "blob", "missing_blob"]

_REFERENCES = """SELECT tenant, sha256 FROM blob_refs JOIN sessions ON key = session
    WHERE session = ? AND sha256 > ? ORDER BY sha256 LIMIT 1000"""

MAX_FILE_REPORTS = 100
"""Lines that SQLite's check says at most."""


class Damage(msgspec.Struct, frozen=True):
    """Something that is not what was written. `session` and `entry` say where, if it is in a journal; `blob` is the sha256 of an
    attachment. A `missing_blob` is referred to by that session and is not there."""

    kind: Kind
    what: str
    session: str = ""
    entry: int = 0
    blob: str = ""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, what is damaged, and what is still good: `good` says for every damaged session how many entries from its first
    one on can be read; a session that is not among them is good altogether."""

    path: str
    sessions: int
    entries: int
    blobs: int
    damage: tuple[Damage, ...]
    good: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def verified(db: Connection, path: Path, *, thorough: bool = True) -> Verified:
    """Look at everything. `thorough` also compares indexes with their tables, which takes longer."""
    found, good = list[Damage](), dict[str, int]()
    counts = {"sessions": 0, "entries": 0}
    with one_moment(db):
        found += _file(db, "integrity_check" if thorough else "quick_check")
        known = dict[int, str]()
        for key, session, last in _sessions(db, found):
            known[key] = session
            counts["sessions"] += 1
            damage, readable = _journal(db, key, session, last)
            counts["entries"] += readable
            if damage:
                found += damage
                good[session] = damage[0].entry - 1
        found += _strays(db, known)
        found += _snapshots(db, known)
        referred = _references(db, known, found)
    blobs, there = 0, set[tuple[str, str]]()
    for folder in folders_of(path):
        for file in files_in(folder):
            blobs += 1
            there.add((folder.name, file.name))
            if not is_good(file, file.name):
                found.append(Damage("blob", f"{file} does not have the bytes that were put there", blob=file.name))
    for tenant, sha256, session in referred:
        if (folder_name(tenant), sha256) not in there:
            found.append(Damage("missing_blob", "an attachment is not there", session, blob=sha256))
    return Verified(path=str(path), blobs=blobs, damage=tuple(found), good=good, **counts)


def _file(db: Connection, check: str) -> Iterator[Damage]:
    """What SQLite itself says."""
    try:
        for (line,) in db.execute(f"PRAGMA {check}({MAX_FILE_REPORTS})"):
            if line != "ok":
                yield Damage("file", line)
    except DatabaseError as error:
        _refuse_busy(error)
        yield Damage("file", f"{error}")


def _sessions(db: Connection, found: list[Damage]) -> Iterator[tuple[int, str, int]]:
    """The rows of all sessions that can be read: from the front up to a damaged page, then from the back."""
    seen = set[int]()
    for direction in ("", "DESC"):
        try:
            for key, session, last in db.execute(f"SELECT key, id, last FROM sessions ORDER BY key {direction}"):
                if key in seen:
                    return
                seen.add(key)
                yield key, session, last
            return
        except DatabaseError as error:
            _refuse_busy(error)
            if not direction:
                found.append(Damage("file", f"the rows of some sessions cannot be read: {error}"))


def _journal(db: Connection, key: int, session: str, last: int) -> tuple[list[Damage], int]:
    """What is wrong with a session's entries, in their order, and how many are good."""
    base, found, good, expected = key << SEQ_BITS, list[Damage](), 0, 1
    rows = db.execute(
        "SELECT id, crc, data FROM entries WHERE id BETWEEN ? AND ? ORDER BY id", (base + 1, base | SEQ_MASK)
    )
    try:
        for id, crc, data in rows:
            number = id - base
            if not expected <= number <= last:
                what = f"entry {number} comes here, of {last} that there should be"
                found.append(Damage("entry", what, session, min(expected, number)))
                return found, good
            found += _gap(session, expected, number)
            expected = number + 1
            try:
                checked(session, number, id, crc, data)
                good += 1
            except StateError as error:
                found.append(Damage("entry", error.message, session, number))
    except DatabaseError as error:
        _refuse_busy(error)
        found.append(Damage("entry", f"this one, and maybe later ones, cannot be read: {error}", session, expected))
        return found, good
    return [*found, *_gap(session, expected, last + 1)], good


def _gap(session: str, first: int, end: int) -> list[Damage]:
    """The entries from `first` up to `end` (not with it) are not there."""
    if first == end:
        return []
    what = "it is not there" if end == first + 1 else f"this one and those up to {end - 1} are not there"
    return [Damage("entry", what, session, first)]


def _strays(db: Connection, known: dict[int, str]) -> Iterator[Damage]:
    """Entries of sessions whose rows are not there."""
    after = 0
    try:
        while row := db.execute("SELECT id FROM entries WHERE id >= ? LIMIT 1", (after,)).fetchone():
            (id,) = row
            if id < after:
                return  # the order is broken: SQLite's check says so
            if id >> SEQ_BITS not in known:
                yield Damage("session", f"there are entries (from id {id} on) of a session whose row is not there")
            after = ((id >> SEQ_BITS) + 1) << SEQ_BITS
    except (DatabaseError, OverflowError) as error:
        _refuse_busy(error)


def _snapshots(db: Connection, known: dict[int, str]) -> Iterator[Damage]:
    for key, session in known.items():
        try:
            row = db.execute("SELECT crc, data FROM snapshots WHERE session = ?", (key,)).fetchone()
            if row is not None and not (isinstance(row[1], bytes) and crc32(row[1]) == row[0]):
                yield Damage("snapshot", "it is made again when the session is opened", session)
        except DatabaseError as error:
            _refuse_busy(error)
            yield Damage("snapshot", f"it cannot be read: {error}", session)


def _references(db: Connection, known: dict[int, str], found: list[Damage]) -> list[tuple[str, str, str]]:
    """(tenant, sha256, session) of every reference to a blob."""
    referred = list[tuple[str, str, str]]()
    for key, session in known.items():
        after = ""
        try:
            while rows := db.execute(_REFERENCES, (key, after)).fetchall():
                referred += [(tenant, sha256, session) for tenant, sha256 in rows]
                if rows[-1][1] <= after:
                    break  # the order is broken: SQLite's check says so
                after = rows[-1][1]
        except (DatabaseError, TypeError) as error:
            _refuse_busy(error)
            found.append(Damage("session", f"its references to attachments cannot be read: {error}", session))
    return referred


def _refuse_busy(error: Exception) -> None:
    if isinstance(error, DatabaseError) and is_busy(error):
        raise error
