"""Is everything still what was written? What is damaged, and what is still good (rule D5).

Reads all of the file: SQLite's own check, every entry's checksum, type and place, snapshots, and every blob's hash. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from sqlite3 import Connection, DatabaseError
from typing import Any, Literal
from zlib import crc32

import msgspec

from ...core.errors import StateError
from .blobs import files_in, folders_of, is_good
from .clock import is_busy
from .journal_sql import checked
from .place import folder_name
from .schema import SEQ_BITS, SEQ_MASK, one_moment

Kind = Literal["file", "session", "entry", "snapshot", "blob", "missing_blob"]

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
        found += _snapshots(db)
        referred = _references(db, found)
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
            if number > last:
                found.append(Damage("entry", f"the session's row says that there are {last}", session, number))
                return found, good
            found += [Damage("entry", "it is not there", session, n) for n in range(expected, number)]
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
    found += [Damage("entry", "it is not there", session, n) for n in range(expected, last + 1)]
    return found, good


def _strays(db: Connection, known: dict[int, str]) -> Iterator[Damage]:
    """Entries of sessions whose rows are not there."""
    key = 0
    try:
        while (
            row := db.execute("SELECT id FROM entries WHERE id >= ? LIMIT 1", (key << SEQ_BITS,)).fetchone()
        ) is not None:
            key = row[0] >> SEQ_BITS
            if key not in known:
                yield Damage("session", f"there are entries (from id {row[0]} on) of a session whose row is not there")
            key += 1
    except (DatabaseError, OverflowError) as error:
        _refuse_busy(error)


def _snapshots(db: Connection) -> Iterator[Damage]:
    try:
        rows = db.execute("SELECT sessions.id, crc, data FROM snapshots JOIN sessions ON key = session")
        for session, crc, data in rows:
            if crc32(data) != crc:
                yield Damage("snapshot", "it is made again when the session is opened", session)
    except DatabaseError as error:
        _refuse_busy(error)
        yield Damage("file", f"some snapshots cannot be read: {error}")


def _references(db: Connection, found: list[Damage]) -> list[tuple[Any, ...]]:
    try:
        return db.execute(
            "SELECT tenant, sha256, sessions.id FROM blob_refs JOIN sessions ON key = blob_refs.session"
        ).fetchall()
    except DatabaseError as error:
        _refuse_busy(error)
        found.append(Damage("file", f"the references to attachments cannot be read: {error}"))
        return []


def _refuse_busy(error: Exception) -> None:
    if isinstance(error, DatabaseError) and is_busy(error):
        raise error
