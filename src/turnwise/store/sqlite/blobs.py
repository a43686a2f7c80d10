"""Blobs: files named by their sha256, in a folder per tenant beside the database.

A file appears whole (written under another name, synced, renamed) or not at all, and is checked when it is read. Its time of change is when
it was last put. Who puts and who collects hold a lock on the tenant's folder, shared and alone, so that nothing is removed that is
being put.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import BinaryIO

from ...core.errors import StateError
from ...core.store import Collected
from ..refusals import blob_too_large, damaged_blob, missing_blob
from .clock import wall
from .place import blobs_folder, folder_name, make_folder
from .schema import sync_file
from .threads import Threads

PIECE_BYTES = 262_144
"""What is read, or gathered before it is written, at a time."""

LONGEST_UPLOAD_S = 86_400.0
"""What was last written to longer ago than that, by the machine's clock, is not being put any more."""

_NAME = re.compile(r"[0-9a-f]{64}\Z")
_numbers = count(1)


class FolderBlobs:
    """The `StoredBlobs` of one tenant."""

    def __init__(
        self,
        path: Path,
        tenant: str,
        files: Callable[[], Threads[None]],
        max_bytes: int,
        now: Callable[[], float],
        *,
        sync_names: bool,
    ) -> None:
        self._path, self._tenant = path, tenant
        self._files, self._max_bytes, self._now, self._sync_names = files, max_bytes, now, sync_names

    @property
    def _folder(self) -> Path:
        """Made when it is needed: most sessions of a store never have any blob."""
        return tenant_folder(self._path, self._tenant)

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        upload = Upload(self._folder, self._max_bytes)
        threads = self._files()
        try:
            if isinstance(data, (bytes, bytearray, memoryview)):
                whole = bytes(data)
                await threads.run(lambda _: upload.write(whole))
            else:
                async for gathered in _gathered(data):
                    await threads.run(lambda _, piece=gathered: upload.write(piece))
            now, sync_names = self._now(), self._sync_names
            return await threads.run(lambda _: upload.finish(now, sync_names))
        except BaseException:
            with suppress(StateError):  # the store was closed: the file is collected later
                threads.run(lambda _: upload.abandon()).add_done_callback(_taken)
            raise

    async def get(self, sha256: str) -> bytes:
        return await self._files().run(lambda _: read_whole(self._folder, sha256))

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        threads, reading = self._files(), Reading(self._folder, sha256)
        while piece := await threads.run(lambda _: reading.next()):
            yield piece

    async def size(self, sha256: str) -> int | None:
        return await self._files().run(lambda _: size_of(self._folder, sha256))


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces that are worth a write each."""
    waiting, size = list[bytes](), 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _taken(done: asyncio.Future[None]) -> None:
    """What an abandoned file left behind is collected later."""
    if not done.cancelled():
        done.exception()


# --- files ---------------------------------------------------------------------------------------------------------------


def tenant_folder(path: Path, tenant: str) -> Path:
    return blobs_folder(path) / folder_name(tenant)


def file_of(folder: Path, name: str) -> Path:
    """Raises `StateError` (`missing_blob`) for what cannot be the name of a blob."""
    if not _NAME.match(name):
        raise missing_blob(name)
    return folder / name[:2] / name


class Upload:
    """A blob that is being put, in a file without a name of its own yet. Its methods are called from threads, one after the other;
    `abandon` may come while another is at work."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._hash, self._size = sha256(), 0
        self._lock = threading.Lock()
        self._over = False
        self._file: BinaryIO | None = None
        self._path = folder / "new" / f"{os.getpid()}-{next(_numbers)}"

    def write(self, piece: bytes) -> None:
        with self._lock:
            if self._over:
                return
            self._size += len(piece)
            if self._size > self._max_bytes:
                raise blob_too_large(self._max_bytes)
            self._hash.update(piece)
            self._opened().write(piece)

    def finish(self, now: float, sync_names: bool) -> str:
        """Give the file its name; the sha256."""
        with self._lock:
            file, name = self._opened(), self._hash.hexdigest()
            self._over = True
            target = file_of(self._folder, name)
            with locked(self._folder, alone=False):
                if is_good(target, name):
                    file.close()
                    os.utime(target, (now, now))
                    self._path.unlink()
                    return name
                file.flush()
                os.fsync(file.fileno())
                file.close()
                os.utime(self._path, (now, now))
                make_folder(target.parent)
                self._path.replace(target)
                if sync_names:
                    sync_file(target.parent)
                    sync_file(self._folder)
            return name

    def abandon(self) -> None:
        with self._lock:
            self._over = True
            if self._file is not None:
                self._file.close()
                self._path.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            make_folder(self._folder.parent)
            make_folder(self._folder)
            make_folder(self._path.parent)
            self._file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb")
        return self._file


class Reading:
    """A blob that is read piece by piece. No file stays open in between."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._at, self._hash = 0, sha256()

    def next(self) -> bytes:
        """The next piece; b"" at the end, if the whole was good."""
        try:
            with file_of(self._folder, self._name).open("rb") as file:
                file.seek(self._at)
                piece = file.read(PIECE_BYTES)
        except FileNotFoundError:
            raise missing_blob(self._name) from None
        self._at += len(piece)
        self._hash.update(piece)
        if not piece and self._hash.hexdigest() != self._name:
            raise damaged_blob(self._name)
        return piece


def read_whole(folder: Path, name: str) -> bytes:
    try:
        data = file_of(folder, name).read_bytes()
    except FileNotFoundError:
        raise missing_blob(name) from None
    if sha256(data).hexdigest() != name:
        raise damaged_blob(name)
    return data


def size_of(folder: Path, name: str) -> int | None:
    if not _NAME.match(name):
        return None
    try:
        return file_of(folder, name).stat().st_size
    except FileNotFoundError:
        return None


def is_good(path: Path, name: str) -> bool:
    """Whether the file is there and has the bytes that its name says."""
    hashed = sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                hashed.update(piece)
    except FileNotFoundError:
        return False
    return hashed.hexdigest() == name


def files_in(folder: Path) -> Iterator[Path]:
    """All blobs of a tenant's folder."""
    for group in _children(folder):
        if len(group.name) == 2:
            yield from (path for path in _children(group) if _NAME.match(path.name))


def folders_of(path: Path) -> list[Path]:
    """The folders of all tenants that have blobs."""
    return [folder for folder in _children(blobs_folder(path)) if folder.name[:1] in ("t", "=")]


def collect(folder: Path, older_than: float, is_used: Callable[[str], bool]) -> Collected:
    """Remove what is not used and was put before that moment, and what uploads left behind that never ended."""
    blobs = size = 0
    if not folder.is_dir():
        return Collected(0, 0)
    for path in files_in(folder):
        with locked(folder, alone=True):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if found.st_mtime < older_than and not is_used(path.name):
                path.unlink()
                blobs, size = blobs + 1, size + found.st_size
    for path in _children(folder / "new"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < wall() - LONGEST_UPLOAD_S:
                path.unlink()
    return Collected(blobs, size)


@contextmanager
def locked(folder: Path, *, alone: bool) -> Generator[None]:
    """Hold the lock on a tenant's folder, shared or alone."""
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
