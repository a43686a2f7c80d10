"""Full-text search by FTS5. Appends do not pay for it: what has come since the last search is indexed when somebody searches.

The index has a row per entry with text, under the entry's id, so what belongs to a session is found, and removed, as a range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from sqlite3 import SQLITE_CORRUPT, Connection, DatabaseError

from ...core.errors import StateError
from ...core.store import Hit
from ..facts import text_of
from .clock import code_of
from .journal_sql import checked
from .schema import SEQ_BITS, SEQ_MASK

BATCH_ENTRIES = 400
"""Entries that one transaction looks at: appends get their turn in between."""
BATCH_BYTES = 4_000_000
EXCERPT_WORDS = 16
MAX_TERMS = 64
"""Words of a query that are looked for; what more there is, is left out."""

_TERMS = re.compile(r'"([^"]*)"?|([^\s"]+)')


def query_of(text: str) -> str:
    """Any text as an FTS5 query: all words, those in double quotes together; "" if there is none."""
    text = text.replace("\0", " ").encode("utf-8", "replace").decode()
    terms = [quoted or word for quoted, word in _TERMS.findall(text)]
    wanted = [term for term in terms if any(c.isalnum() or c == "_" for c in term)]
    return " ".join([f'"{term}"' for term in dict.fromkeys(wanted)][:MAX_TERMS])


def index_some(db: Connection, tenant: str, session: str | None) -> bool:
    """Take a batch of entries into the index; whether there may be more to do."""
    behind = db.execute(
        f"""SELECT key, id, indexed, last FROM sessions
        WHERE tenant = ? AND indexed < last {"AND id = ?" if session is not None else ""} ORDER BY key LIMIT 50""",
        (tenant,) if session is None else (tenant, session),
    ).fetchall()
    room = BATCH_ENTRIES
    for key, name, indexed, last in behind:
        until = min(last, indexed + room)
        done = _index(db, key, name, indexed, until)
        db.execute("UPDATE sessions SET indexed = ? WHERE key = ?", (done, key))
        room -= done - indexed
        if done < last or room <= 0:
            return True
    return len(behind) == 50


def _index(db: Connection, key: int, session: str, after: int, until: int) -> int:
    """Index a session's entries up to `until`, or less if they are long; the number of the last one that was looked at."""
    base, size = key << SEQ_BITS, 0
    rows = db.execute(
        "SELECT id, crc, data FROM entries WHERE id > ? AND id <= ? ORDER BY id", (base + after, base + until)
    )
    found = list[tuple[int, str]]()
    before = base + after
    for id, crc, data in _readable(rows):
        if id <= before:
            break  # the file is damaged: there is no end to what comes like this
        before = id
        try:
            entry = checked(session, id - base, id, crc, data)
        except StateError:
            continue  # what cannot be read cannot be found; `read` and `verify` say so
        text = text_of(entry)
        if text:
            found.append((id, text))
        size += len(data)
        if size > BATCH_BYTES:
            until = id - base
            break
    db.executemany("INSERT OR REPLACE INTO texts (rowid, text) VALUES (?, ?)", found)
    return until


def _readable(rows: Iterator[tuple[int, int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """The rows up to where the file is damaged."""
    try:
        yield from rows
    except DatabaseError as error:
        if code_of(error) & 0xFF != SQLITE_CORRUPT:
            raise


def find(db: Connection, tenant: str, query: str, user: str | None, session: str | None, limit: int) -> list[Hit]:
    values: list[object] = [query, tenant]
    more = ""
    for column, value in (("user", user), ("id", session)):
        if value is not None:
            more += f" AND sessions.{column} = ?"
            values.append(value)
    rows = db.execute(
        f"""SELECT sessions.id, name, title, texts.rowid & {SEQ_MASK}, entries.at,
            snippet(texts, 0, '[', ']', '…', {EXCERPT_WORDS})
        FROM texts JOIN entries ON entries.id = texts.rowid JOIN sessions ON sessions.key = texts.rowid >> {SEQ_BITS}
        WHERE texts MATCH ? AND tenant = ? {more} ORDER BY rank, texts.rowid DESC LIMIT ?""",
        (*values, max(limit, 0)),
    )
    return [Hit(*row) for row in rows]
