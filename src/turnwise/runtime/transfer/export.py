"""A session as a stream of bytes: `export_session`, and the form that can be imported again. The readable forms are told by `account`
and written by `markdown` and `html`; what is done here for them is the reading.

The journal is read page by page and blobs piece by piece, so that an export takes no more memory than its largest entry.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec

from ...core.entries import Entry
from ...core.errors import ErrorInfo, StateError, config_error
from ...core.store import Record, Scope, SessionInfo, Store
from ...store.codec import encode_entry
from ...store.facts import blobs_of
from ...store.refusals import missing_blob, session_deleted
from ..rows import row_of
from ..seams import SystemClock
from .lines import (
    EXPORT_VERSION,
    PIECE_BYTES,
    BlobLine,
    CutLine,
    EndLine,
    EntryLine,
    Header,
    LostBlobLine,
    RecordLine,
    SessionLine,
    encode_line,
)

if TYPE_CHECKING:
    from ..runtime import Runtime

ExportFormat = Literal["jsonl", "markdown", "html", "text"]
"""`jsonl` is complete and can be imported; the others are for people: a document, a page, plain text."""

PAGE = 256
"""Entries that are read at a time."""


def export_session(
    store: Store,
    session: str,
    *,
    format: ExportFormat = "jsonl",
    salvage: bool = False,
    runtime: Runtime | None = None,
) -> AsyncGenerator[bytes, None]:
    """A session of that id, piece by piece: `async for piece in export_session(store, id): file.write(piece)`. UTF-8 in all formats.

    It is the session as of the call's first piece; what is appended meanwhile is left out. Nothing is ever whole in memory but one
    entry. Attachments that the store does not have are named in the export instead. `salvage` ends it at the first entry that cannot
    be read and says so in it; without, such an entry raises (`unknown_entry`, `damaged_entry`), and what was written so far has no
    last line, so that nobody takes it for the whole. Leave it early with `aclosing`.

    Raises `ConfigError` (`invalid_value`) at once for an unknown format; `StateError`: `unknown_session`, `session_deleted`, and
    whatever else the store raises. `runtime` gives the clock (default: the machine's).
    """
    if format not in get_args(ExportFormat):
        raise config_error(
            "invalid_value",
            f"There is no export format {format!r}.",
            f"It is one of {', '.join(get_args(ExportFormat))}.",
        )
    clock = SystemClock() if runtime is None else runtime.clock
    if format == "jsonl":
        return _jsonl(store, session, salvage, clock.wall)
    from .readable import readable

    return readable(store, session, format, salvage)


async def _jsonl(store: Store, session: str, salvage: bool, wall: Callable[[], float]) -> AsyncGenerator[bytes, None]:
    row = await row_of(store, session)
    digest, count = sha256(), 0
    async with aclosing(_lines(store, row, salvage, wall())) as lines:
        async for line in lines:
            digest.update(line)
            count += 1
            yield line
    yield _line(EndLine(count, digest.hexdigest()))


async def _lines(store: Store, row: SessionInfo, salvage: bool, now: float) -> AsyncGenerator[bytes, None]:
    """All lines but the last."""
    from ... import __version__

    yield _line(Header(EXPORT_VERSION, now, f"turnwise {__version__}"))
    yield _line(SessionLine(**{name: getattr(row, name) for name in SessionLine.__struct_fields__}))
    blobs: dict[str, None] = {}  # in the order in which they are first referred to
    journal = Journal(store, row, salvage)
    async with aclosing(journal.pages()) as pages:
        async for first, page in pages:
            for number, entry in enumerate(page, first):
                blobs.update(dict.fromkeys(sorted(blobs_of(entry))))
                yield _line(EntryLine(number, msgspec.Raw(encode_entry(entry))))
    if journal.trouble is not None:
        yield _line(CutLine(journal.read, journal.trouble.code, journal.trouble.message))
    for name in blobs:
        async with aclosing(_blob(store, row.principal.tenant, name, salvage)) as lines:
            async for line in lines:
                yield line
    async with aclosing(_records(store, row)) as records:
        async for record in records:
            yield _line(_record_line(record))


class Journal:
    """The reading of a journal up to where it ended when the reading began. `read` is the number of the last entry that was read;
    `trouble` is why it ended before its end, which only happens with `salvage`."""

    def __init__(self, store: Store, row: SessionInfo, salvage: bool) -> None:
        self._store = store
        self._row = row
        self._salvage = salvage
        self.read = 0
        self.trouble: ErrorInfo | None = None

    async def pages(self) -> AsyncGenerator[tuple[int, Sequence[Entry]], None]:
        """(number of the first entry, entries)."""
        size = PAGE
        while self.read < self._row.last:
            try:
                page = await self._store.read(self._row.id, self.read, min(size, self._row.last - self.read))
            except StateError as error:
                if not self._salvage:
                    raise
                if size > 1:
                    size = 1  # some entry of the page is unreadable: up to it one by one
                    continue
                self.trouble = error.info
                return
            if not page:
                raise session_deleted(self._row.id)
            first = self.read + 1
            self.read += len(page)
            yield first, page


async def blob_pieces(store: Store, tenant: str, name: str) -> AsyncGenerator[bytes, None]:
    """A blob in pieces of `PIECE_BYTES`, the last one shorter, never none. Raises as the store does."""
    held = bytearray()
    sent = False
    async with _closing(store.blobs(tenant).stream(name)) as stream:
        async for data in stream:
            held += data
            while len(held) >= PIECE_BYTES:
                yield bytes(held[:PIECE_BYTES])
                del held[:PIECE_BYTES]
                sent = True
    if held or not sent:
        yield bytes(held)


async def _blob(store: Store, tenant: str, name: str, salvage: bool) -> AsyncGenerator[bytes, None]:
    """The lines of one blob; of one that is not there, a line that says so. One that is damaged ends the export, since a part of it was
    written when that is found out; with `salvage` it is read through before."""
    size = await store.blobs(tenant).size(name)
    trouble = missing_blob(name).info if size is None else await _damage(store, tenant, name) if salvage else None
    if size is None or trouble is not None:
        assert trouble is not None
        yield _line(LostBlobLine(name, trouble.code, trouble.message))
        return
    at = 0
    async with aclosing(blob_pieces(store, tenant, name)) as pieces:
        async for piece in pieces:
            yield _line(BlobLine(name, size, at, piece))
            at += len(piece)


async def _damage(store: Store, tenant: str, name: str) -> ErrorInfo | None:
    """What is wrong with a blob."""
    try:
        async with _closing(store.blobs(tenant).stream(name)) as stream:
            async for _ in stream:
                pass
    except StateError as error:
        return error.info
    return None


@asynccontextmanager
async def _closing(stream: AsyncIterator[bytes]) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """A stream that is closed when it is left early, if it can be."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await cast("AsyncGenerator[bytes, None]", stream).aclose()


async def _records(store: Store, row: SessionInfo) -> AsyncGenerator[Record, None]:
    scope, after = Scope("session", row.id, row.principal.tenant), ""
    while page := await store.records(scope, after=after, limit=PAGE):
        for record in page:
            yield record
        after = page[-1].key


def _record_line(record: Record) -> RecordLine:
    given: dict[str, Any] = {name: getattr(record, name) for name in RecordLine.__struct_fields__}
    given["value"] = msgspec.Raw(record.value)
    return RecordLine(**given)


def _line(value: msgspec.Struct) -> bytes:
    return encode_line(value) + b"\n"
