"""Bytes in memory, under their sha256."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from hashlib import sha256 as sha256_of

from ...core.store import Collected
from ..refusals import missing_blob

PIECE_BYTES = 256 * 1024


class MemoryBlobs:
    """A blob store in memory (`StoredBlobs`), of one tenant or for whoever is given it. `wall` is the clock that `collect` goes by
    (Unix seconds); without one nothing is old."""

    __slots__ = ("_blobs", "_put_at", "_wall")

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        self._blobs: dict[str, bytes] = {}
        self._put_at: dict[str, float] = {}
        self._wall = wall

    def __len__(self) -> int:
        return len(self._blobs)

    @property
    def bytes_kept(self) -> int:
        return sum(map(len, self._blobs.values()))

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        """Keep bytes, given whole or piece by piece; their sha256. Raises what the pieces raise, having kept nothing."""
        if not isinstance(data, bytes):
            data = b"".join([piece async for piece in data])
        name = sha256_of(data).hexdigest()
        self._blobs.setdefault(name, data)
        if self._wall is not None:
            self._put_at[name] = self._wall()
        return name

    async def get(self, sha256: str) -> bytes:
        """The bytes. Raises `StateError` (`missing_blob`) if they were never put here."""
        try:
            return self._blobs[sha256]
        except KeyError:
            raise missing_blob(sha256) from None

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes, piece by piece. Raises as `get`."""
        data = await self.get(sha256)
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]

    async def size(self, sha256: str) -> int | None:
        data = self._blobs.get(sha256)
        return None if data is None else len(data)

    def collect(self, used: Collection[str], before: float) -> Collected:
        """Remove what is not in `used` and was put before that moment."""
        unused = [name for name in self._blobs if name not in used and self._put_at.get(name, before) < before]
        removed = sum([len(self._blobs[name]) for name in unused])
        for name in unused:
            del self._blobs[name], self._put_at[name]
        return Collected(len(unused), removed)
