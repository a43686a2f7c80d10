"""Blobs, in pieces of one size under the id of their upload: neither putting nor reading one ever has all of it in memory.

A blob is there when its row is, which is made last and leads to the pieces. An upload that breaks off leaves pieces that nothing leads
to; they go with the next collection. What is put again replaces what is there if that is not sound any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from ...core.store import Collected
from .. import refusals
from .database import Database
from .statement import Statement

PIECE_BYTES = 256 * 1024
PIECES_AT_ONCE = 4

TOUCH = Statement("SELECT {s}.touch_blob_1($1, $2)", takes="text text", gives="bool")
PIECE = Statement(
    "INSERT INTO {s}.pieces (tenant, upload, number, digest, data) VALUES ($1, $2, $3, sha256($4), $4) ON CONFLICT DO NOTHING",
    takes="text uuid int4 bytea",
)
PUT_SMALL = Statement("SELECT {s}.put_blob_1($1, $2, $3, $4, $5)", takes="text text int8 uuid bytea", gives="bool")
DISCARD = Statement("DELETE FROM {s}.pieces WHERE upload = $1", takes="uuid")
FINISH = Statement("SELECT {s}.finish_blob_1($1, $2, $3, $4)", takes="text text int8 uuid", gives="bool")
PIECES = Statement(
    "SELECT b.size, p.number, p.data FROM {s}.blobs b LEFT JOIN LATERAL (SELECT q.number, q.data FROM {s}.pieces q "
    "WHERE q.upload = b.upload AND q.number >= $3 ORDER BY q.number LIMIT $4) p ON true "
    "WHERE b.tenant = $1 AND b.sha256 = $2 ORDER BY p.number",
    takes="text text int4 int8",
    gives="int8 int4 bytea",
)
SIZE = Statement("SELECT size FROM {s}.blobs WHERE tenant = $1 AND sha256 = $2", takes="text text", gives="int8")
COLLECT = Statement("SELECT number, bytes FROM {s}.collect_blobs_1($1, $2)", takes="text float8", gives="int8 int8")


class PostgresBlobs:
    """The `StoredBlobs` of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        with self._database as database:
            limit = database.options.max_blob_bytes
            if not isinstance(data, (bytes, bytearray, memoryview)):
                return await self._upload(_evened(data), limit)
            if len(data) > limit:
                raise refusals.blob_too_large(limit)
            name = hashlib.sha256(data).hexdigest()
            await database.ready()
            if len(data) <= PIECE_BYTES:
                await database.ask(PUT_SMALL, self._tenant, name, len(data), database.new_id(), bytes(data))
                return name
            [[there]] = await database.ask(TOUCH, self._tenant, name)
            return name if there else await self._upload(_cut(bytes(data)), limit)

    async def get(self, sha256: str) -> bytes:
        return b"".join([piece async for piece in self.stream(sha256)])

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        digest, seen, number = hashlib.sha256(), 0, 0
        while True:
            with self._database as database:
                rows = await database.ask(PIECES, self._tenant, sha256, number, PIECES_AT_ONCE)
            if not rows:
                raise refusals.missing_blob(sha256)
            size = rows[0][0]
            for _, at, piece in rows:
                if at != number:  # None if there is no piece behind the last one
                    raise refusals.damaged_blob(sha256)
                digest.update(piece)
                seen, number = seen + len(piece), number + 1
                if seen >= size and (seen > size or digest.hexdigest() != sha256):
                    raise refusals.damaged_blob(sha256)
                yield piece
            if seen >= size:
                return

    async def size(self, sha256: str) -> int | None:
        with self._database as database:
            row = await database.row(SIZE, self._tenant, sha256)
        return None if row is None else row[0]

    async def collect(self, unused_for_s: float) -> Collected:
        with self._database as database:
            [row] = await database.ask(COLLECT, self._tenant, unused_for_s)
        return Collected(*row)

    async def _upload(self, pieces: AsyncIterator[bytes], limit: int) -> str:
        database = self._database
        await database.ready()
        upload, digest, seen, number = database.new_id(), hashlib.sha256(), 0, 0
        try:
            async for piece in pieces:
                seen += len(piece)
                if seen > limit:
                    raise refusals.blob_too_large(limit)
                digest.update(piece)
                await database.ask(PIECE, self._tenant, upload, number, piece)
                number += 1
        except Exception:
            if number:
                await database.ask(DISCARD, upload)
            raise
        name = digest.hexdigest()
        [[done]] = await database.ask(FINISH, self._tenant, name, seen, upload)
        if not done:  # it took so long that a collection thought it abandoned
            raise refusals.damaged_blob(name)
        return name


async def _cut(data: bytes) -> AsyncIterator[bytes]:
    """At least one piece, an empty one for no bytes."""
    for start in range(0, len(data) or 1, PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


async def _evened(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `PIECE_BYTES`; at least one piece."""
    kept = bytearray()
    empty = True
    async for data in source:
        kept += data
        while len(kept) >= PIECE_BYTES:
            yield bytes(kept[:PIECE_BYTES])
            del kept[:PIECE_BYTES]
            empty = False
    if kept or empty:
        yield bytes(kept)
