"""Files on their way in: read piece by piece in threads, so that a large one is never in memory as a whole.

What becomes of the pieces is decided in `attachments`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from io import FileIO
from pathlib import Path

from ..core.errors import ConfigError, ErrorInfo
from ..core.protocols import Blocking

PIECE_BYTES = 1 << 20

Pieces = AsyncGenerator[bytes]


async def pieces_of(path: Path, blocking: Blocking) -> AsyncGenerator[bytes]:
    """The bytes of a file, at most `PIECE_BYTES` at a time. Raises `ConfigError` (`unreadable_file`). Closing or cancelling it closes
    the file, as soon as a read that is under way in a thread returns."""
    opened = _Opened(path)
    try:
        while not opened.ended:
            try:
                piece = await blocking.run(opened.read)
            except OSError as error:
                raise unreadable(path, error) from error
            if piece:
                yield piece
    finally:
        opened.close()


def unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        ErrorInfo("config", "unreadable_file", f"{path} cannot be read: {error.strerror or error}.", "Check the path.")
    )


class _Opened:
    """A file that is opened, read and closed in threads, and may be given up from the loop meanwhile: then the thread closes it."""

    __slots__ = ("_file", "_given_up", "_lock", "_path", "ended")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._lock = threading.Lock()
        self._given_up = False
        self.ended = False

    def read(self) -> bytes:
        """The next piece; shorter than `PIECE_BYTES` only at the end. Blocks."""
        with self._lock:
            if self._given_up:
                return b""
            if self._file is None:
                self._file = self._path.open("rb", buffering=0)
            parts, wanted = list[bytes](), PIECE_BYTES
            while wanted and (part := self._file.read(wanted)):
                parts.append(part)
                wanted -= len(part)
            self.ended = wanted > 0
        if self._given_up:
            self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Never waits."""
        self._given_up = True
        if self._lock.acquire(blocking=False):
            try:
                if self._file is not None:
                    self._file.close()
            finally:
                self._lock.release()
