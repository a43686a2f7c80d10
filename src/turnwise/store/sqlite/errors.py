"""What SQLite and the file system refuse, as errors that say what happened to which file and what to do now."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from ...core.errors import StateError, TurnwiseError, state_error
from ..refusals import disk_full, store_damaged
from .clock import code_of

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
FATAL = frozenset(
    (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)
"""After these a connection is not used again: what it remembers of the file may be wrong."""


def is_fatal(error: BaseException) -> bool:
    """Whether the connection that met this is of no more use."""
    return isinstance(error, sqlite3.Error) and code_of(error) & 0xFF in FATAL


def corrupt(what: str) -> sqlite3.DatabaseError:
    """What SQLite would raise if it looked at values, not only at pages."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def translated(error: Exception, path: Path) -> Exception:
    """The error for callers; what is neither SQLite's nor the system's stays as it is."""
    if isinstance(error, TurnwiseError):
        return error
    if isinstance(error, UnicodeDecodeError):
        found = file_damaged(path, "there is text in it that is none")
    elif isinstance(error, sqlite3.Error):
        found = _of_sqlite(error, path)
    elif isinstance(error, OSError):
        found = _of_system(error, path)
    else:
        return error
    found.__cause__ = error
    return found


def _of_sqlite(error: sqlite3.Error, path: Path) -> StateError:
    what = f"{error}"
    match code_of(error) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return store_busy(path)
        case sqlite3.SQLITE_NOTADB:
            return not_a_database(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH:
            return file_damaged(path, what)
        case sqlite3.SQLITE_FULL:
            return disk_full(f"{path}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return store_read_only(path)
        case sqlite3.SQLITE_CANTOPEN:
            return store_unavailable(path, what)
        case sqlite3.SQLITE_IOERR:
            return store_io(path, what)
        case _:
            damaged = "no such" in what or "not decode" in what  # what we ask for is there in a file that is whole
            return file_damaged(path, what) if damaged else store_failed(path, what)


def _of_system(error: OSError, path: Path) -> StateError:
    where = Path(error.filename) if isinstance(error.filename, str) else path
    if error.errno in FULL:
        return disk_full(f"{where}")
    if error.errno in FORBIDDEN:
        return store_read_only(where)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return store_unavailable(where, error.strerror or type(error).__name__)
    return store_io(where, error.strerror or type(error).__name__)


def file_damaged(path: Path, what: str) -> StateError:
    return store_damaged(
        f"{path}",
        what,
        "Nothing was written. store.verify() tells what is still good; export that, and restore a backup.",
    )


def store_busy(path: Path) -> StateError:
    return state_error(
        "store_busy",
        f"Another process has kept {path} locked for too long.",
        "Nothing was written. Find the program that holds a transaction open (a database browser, say), or raise busy_timeout_s.",
        retryable=True,
    )


def not_a_database(path: Path) -> StateError:
    return state_error(
        "not_a_database",
        f"{path} is not an SQLite database, or its first page is damaged.",
        "It was left as it is. Give the path of another file, or restore a backup.",
    )


def not_a_store(path: Path) -> StateError:
    return state_error(
        "not_a_store",
        f"{path} is a database of another program.",
        "It was left as it is. Give a path of the store's own.",
    )


def store_read_only(path: Path) -> StateError:
    return state_error(
        "store_read_only",
        f"{path} may not be written.",
        "Check its permissions, those of its folder, and how the disk is mounted.",
    )


def store_unavailable(path: Path, what: str) -> StateError:
    return state_error(
        "store_unavailable",
        f"{path} cannot be opened: {what}.",
        "Check that the path is that of a file in a folder that may be written.",
    )


def store_io(path: Path, what: str) -> StateError:
    return state_error(
        "store_io",
        f"Reading or writing {path} failed: {what}.",
        "Check the disk and its file system. What was acknowledged before is not touched by this.",
        retryable=True,
    )


def store_moved(path: Path) -> StateError:
    return state_error(
        "store_moved",
        f"{path} was moved, removed or replaced while it was in use.",
        "Nothing was written. Put it back, or close the store and open it again.",
    )


def store_failed(path: Path, what: str) -> StateError:
    return state_error("store_failed", f"SQLite refused to work on {path}: {what}.", "Nothing was written.")


def store_forked(path: Path) -> StateError:
    return state_error(
        "store_forked",
        f"This process was forked while {path} was in the middle of something that did not end in time.",
        "The file cannot be used safely here: start the process by 'spawn', or fork before the store is used.",
    )
