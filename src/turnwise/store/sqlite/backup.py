"""A backup is one file: the database as of one moment, with the blobs in a table of it. Restoring puts them where they belong again.

It is written under another name, checked, and only then given its own; an older backup of that name is replaced then, not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from sqlite3 import Connection, DatabaseError
from sqlite3 import Error as SqliteError

from ...core.errors import StateError, state_error
from .blobs import PIECE_BYTES, Upload, files_in, folders_of
from .errors import file_damaged, store_unavailable, translated
from .place import blobs_folder, make_file, tenant_of
from .schema import VERSION, checked_version, connect, migrate, open_to_read, sync_file
from .verify import Verified, verified

NO_LIMIT = 1 << 62
WAIT_S = 5.0
"""For whoever else has one of these files open."""

_TABLE = """CREATE TABLE backup_blobs (
    folder TEXT NOT NULL, sha256 TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (folder, sha256, part)
)"""


def back_up(source: Connection, path: Path, target: Path) -> None:
    """Copy everything there is into `target`, which is checked before it gets that name."""
    if target == path:
        raise backup_exists(target, "that is the store itself")
    temporary = _temporary(target)
    try:
        make_file(temporary)
        copy = connect(temporary, "rw", WAIT_S)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("BEGIN")
            copy.execute(_TABLE)
            copy.executemany("INSERT INTO backup_blobs VALUES (?, ?, ?, ?)", _parts(path))
            copy.execute("COMMIT")
            _refuse_damaged(copy, temporary)
        finally:
            copy.close()
        sync_file(temporary)
        temporary.replace(target)
        sync_file(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def restore(backup: Path, path: Path, busy_timeout_s: float) -> Verified:
    """Make a store at `path` of a backup; what it came to. Raises `StateError`: `backup_exists` if there is something at `path`."""
    if path.exists() or blobs_folder(path).exists():
        raise backup_exists(path, "there is a store")
    if not backup.is_file():
        raise store_unavailable(backup, "there is no such file")
    temporary = _temporary(path)
    try:
        make_file(temporary)
        try:
            _unpack(backup, temporary)
        except SqliteError as error:
            raise translated(error, backup) from error
        sync_file(temporary)
        if blobs_folder(temporary).exists():
            blobs_folder(temporary).replace(blobs_folder(path))
        temporary.replace(path)
        sync_file(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        rmtree(blobs_folder(temporary), ignore_errors=True)
    db = open_to_read(path, busy_timeout_s)
    try:
        return verified(db, path)
    finally:
        db.close()


def _unpack(backup: Path, path: Path) -> None:
    """A store at `path`, of the newest version, of a backup."""
    source, copy = connect(backup, "ro", WAIT_S), connect(path, "rw", WAIT_S)
    try:
        version = checked_version(source, backup)
        source.backup(copy)
        _refuse_damaged(copy, backup)
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'backup_blobs'").fetchone():
            _unpack_blobs(copy, path)
            copy.execute("DROP TABLE backup_blobs")
            copy.execute("VACUUM")
        if version < VERSION:
            migrate(copy, path, keep_old=False)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.close()
        copy.close()


def _parts(path: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """All blobs, in pieces."""
    for folder in folders_of(path):
        for file in files_in(folder):
            try:
                with file.open("rb") as opened:
                    part = 0
                    while (piece := opened.read(PIECE_BYTES)) or not part:
                        yield folder.name, file.name, part, piece
                        part += 1
            except FileNotFoundError:
                continue  # collected meanwhile: nothing refers to it


def _unpack_blobs(db: Connection, path: Path) -> None:
    """A blob that was damaged when it was backed up gets the name of what it is, so it is missing under its own."""
    now = os.stat(path).st_mtime
    rows = db.execute("SELECT folder, sha256, data FROM backup_blobs ORDER BY folder, sha256, part")
    for (folder, _), parts in groupby(rows, key=lambda row: row[:2]):
        upload = Upload(blobs_folder(path) / _checked_folder(folder, path), NO_LIMIT)
        for _, _, data in parts:
            upload.write(data)
        upload.finish(now, False)


def _checked_folder(folder: str, path: Path) -> str:
    """A backup is data: the names in it do not lead out of the folder (rule P7)."""
    plain = tenant_of(folder) is not None or (folder[:1] == "=" and folder[1:].isalnum())
    if not plain or "/" in folder or "." in folder:
        raise file_damaged(path, f"the backup names a folder {folder!r}")
    return folder


def _refuse_damaged(db: Connection, path: Path) -> None:
    try:
        (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except DatabaseError as error:
        raise file_damaged(path, f"{error}") from error
    if answer != "ok":
        raise file_damaged(path, answer)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def backup_exists(path: Path, what: str) -> StateError:
    return state_error(
        "backup_exists",
        f"Nothing can be written to {path}: {what}.",
        "Give another path, or move away what is there.",
    )
