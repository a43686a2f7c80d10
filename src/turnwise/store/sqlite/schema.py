"""The tables, how they came to be, and how a connection is opened.

`MIGRATIONS` is the whole history: step n makes version n + 1 of version n, and a new file goes through all of them. A step is never
changed once it was released. A file that is not new is copied aside before it is migrated.

An entry's `id` is its session's key in the upper half and its number in the lower: a journal lies together in the file, needs no index,
and is appended to in one place. What changes with every append (the row of the session) is in no index either.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from sqlite3 import Connection
from typing import Literal

from ..refusals import store_newer
from .clock import patiently
from .errors import not_a_store, store_unavailable
from .place import address_of, make_file

Durability = Literal["normal", "full"]

APPLICATION_ID = 0x54574A31
"""What tells our files from those of other programs: "TWJ1"."""

CHECKPOINT_PAGES = 1000
"""When so much was written to the log, it is brought into the file."""

SEQ_BITS = 32
SEQ_MASK = (1 << SEQ_BITS) - 1

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            user TEXT NOT NULL,
            name TEXT,
            title TEXT NOT NULL DEFAULT '',
            agent TEXT NOT NULL DEFAULT '',
            folder TEXT NOT NULL DEFAULT '',
            tags TEXT NOT NULL DEFAULT '[]',
            archived INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            last INTEGER NOT NULL DEFAULT 0,
            turns INTEGER NOT NULL DEFAULT 0,
            messages INTEGER NOT NULL DEFAULT 0,
            status TEXT NOT NULL DEFAULT 'idle',
            owner TEXT NOT NULL DEFAULT '',
            fence INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE UNIQUE INDEX session_names ON sessions (tenant, name) WHERE name IS NOT NULL",
        "CREATE TABLE entries (id INTEGER PRIMARY KEY, at REAL NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL)",
        """CREATE TABLE snapshots (
            session INTEGER PRIMARY KEY, seq INTEGER NOT NULL, version INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL
        )""",
        """CREATE TABLE blob_refs (
            session INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (session, sha256)
        ) WITHOUT ROWID""",
        "CREATE INDEX blob_users ON blob_refs (sha256)",
        """CREATE TABLE leases (
            owner TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, expires_at REAL NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE records (
            tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
            value BLOB NOT NULL, version INTEGER NOT NULL, schema INTEGER NOT NULL,
            created_at REAL NOT NULL, updated_at REAL NOT NULL, writer TEXT NOT NULL, expires_at REAL,
            PRIMARY KEY (tenant, kind, name, key)
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE sessions ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0",
        "CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = \"unicode61 remove_diacritics 2 tokenchars '_'\")",
        "CREATE INDEX records_ending ON records (expires_at) WHERE expires_at IS NOT NULL",
    ),
)
VERSION = len(MIGRATIONS)
"""The version of the schema that this release writes."""


def open_to_write(path: Path, durability: Durability, busy_timeout_s: float) -> Connection:
    """The connection that writes: makes the file, and migrates it, if that is needed. Afterwards it waits for nobody: who uses it does."""
    make_file(path)
    return patiently(lambda: _opened(path, "rw", durability, 0.0), busy_timeout_s)


def open_to_read(path: Path, busy_timeout_s: float) -> Connection:
    """A connection that reads a file which has been opened to write before."""
    return patiently(lambda: _opened(path, "ro", None, busy_timeout_s), busy_timeout_s)


def connect(path: Path, mode: str, wait_s: float) -> Connection:
    """A bare connection. It may be used by any thread, by one at a time; transactions are begun and ended by hand."""
    return sqlite3.connect(
        address_of(path, mode), uri=True, isolation_level=None, check_same_thread=False, timeout=wait_s
    )


def _opened(path: Path, mode: str, durability: Durability | None, wait_s: float) -> Connection:
    db = connect(path, mode, wait_s)
    try:
        version = checked_version(db, path)
        if durability is not None:
            if version < VERSION:
                migrate(db, path)
            db.execute(f"PRAGMA synchronous = {durability.upper()}")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -8000")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        db.close()
        raise
    return db


def checked_version(db: Connection, path: Path) -> int:
    """The version of the file's schema; 0 if it is empty. Raises `StateError`: `not_a_store`, `store_newer`; SQLite's own errors."""
    with nullcontext() if db.in_transaction else one_moment(db):  # another process may be making the file
        version, application = pragma(db, "user_version"), pragma(db, "application_id")
        empty = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    if application != APPLICATION_ID:
        if version or not empty:
            raise not_a_store(path)
        return 0
    if version > VERSION:
        raise store_newer(f"{path}", version, VERSION)
    return version


def pragma(db: Connection, name: str) -> int:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def migrate(db: Connection, path: Path, *, keep_old: bool = True) -> None:
    """All steps that are missing, in one transaction; nothing is changed if one fails, or if another process was quicker."""
    _use_wal(db, path)
    db.execute("BEGIN IMMEDIATE")
    try:
        version = checked_version(db, path)
        if keep_old and 0 < version < VERSION:
            copy_aside(path, version)
        for step in MIGRATIONS[version:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def one_moment(db: Connection) -> Generator[None]:
    """Several statements that read see the same state of the file."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _use_wal(db: Connection, path: Path) -> None:
    """Readers do not wait for the writer, nor the writer for them. The file remembers it."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise store_unavailable(path, f"its file system cannot share memory between processes (journal mode {mode})")


def checkpoint(path: Path) -> None:
    """Bring the log into the file, as far as readers allow. Waits for the disk, but nobody else has to."""
    db = connect(path, "rw", 0.0)
    try:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    finally:
        db.close()


def begin_log_anew(db: Connection) -> None:
    """Bring the rest of the log into the file, and write something that changes nothing where it begins anew: that, too, waits for the disk."""
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    db.execute("BEGIN IMMEDIATE")
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def copy_aside(path: Path, version: int) -> Path:
    """The file as it is now, with all that was committed, beside it. The caller holds the write lock, so nothing is missing."""
    target = path.with_name(f"{path.name}.v{version}.bak")
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    make_file(temporary)
    source, copy = connect(path, "ro", 5.0), connect(temporary, "rw", 5.0)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.close()
        copy.close()
    sync_file(temporary)
    temporary.replace(target)
    return target


def sync_file(path: Path) -> None:
    """Have the system write a file (or the names in a folder) to the disk. Not for a database that is open in this process."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
