"""A session out of an export: `import_session`. What the lines mean is in `lines`; here they are held to their order, and to what the
checksum, the journal's rules and the blobs' own names say.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from ...core.entries import Entry, SessionCreated
from ...core.errors import StateError
from ...core.evolve import evolve
from ...core.principal import LOCAL, Principal
from ...core.repair import repair
from ...core.state import SessionState
from ...core.store import Edit, NewSession, Query, Scope, SessionInfo, Store
from ...store.codec import decode_entry
from ...store.facts import blobs_of
from ...store.refusals import name_taken
from ..rows import all_or_nothing, row_of
from ..seams import SystemClock, Uuid7
from .lines import (
    EXPORT_VERSION,
    BlobLine,
    CutLine,
    EndLine,
    EntryLine,
    Header,
    Line,
    LostBlobLine,
    RecordLine,
    SessionLine,
    decode_line,
)
from .refusals import invalid_export, newer_export

if TYPE_CHECKING:
    from ..runtime import Runtime

_SHA256 = re.compile(r"[0-9a-f]{64}")

Bytes = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""An export: whole, or in pieces of any size."""


async def import_session(
    store: Store,
    stream: Bytes,
    *,
    name: str | None = None,
    principal: Principal = LOCAL,
    folder: str | None = None,
    runtime: Runtime | None = None,
) -> SessionInfo:
    """Put an exported session (`jsonl`) into a store, as a new session: its transcript, its replay, its attachments and its records are
    those of the exported one. The row as it is afterwards.

    The new session has an id of its own, and belongs to `principal`: its first entry (`SessionCreated`) says so, all other entries are
    kept as they are, the ids of calls among them. `name` is what it is called; without one it keeps its name, if that is free. `folder`
    replaces the one that it was begun in. A turn that was running or parked when it was exported is so in the copy.

    All or nothing: every line is checked and the last one has come before anything shows. A process that dies in the very end may leave an
    empty session; attachments of an import that failed are collected like all that are not used (`Store.collect_blobs`). Entries are held
    in memory, attachments are not. Raises `StateError`: `invalid_export` and `newer_export`, which say which line; `name_taken`;
    `blob_too_large`, and whatever else the store raises. `runtime` gives clock and ids (default: the machine's).
    """
    clock, ids = (SystemClock(), Uuid7()) if runtime is None else (runtime.clock, runtime.ids)
    id = ids.session_id()
    if name is not None:
        await _refuse_name(store, name, principal)
    async with aclosing(_lines(stream)) as lines:
        reading = _Reading(store, principal, id, lines)
        await reading.run()
    row = reading.row
    row = msgspec.structs.replace(row, folder=row.folder if folder is None else folder)
    await _create(store, row, id, principal, name)
    async with all_or_nothing(store, id):
        await _records(store, reading.records, Scope("session", id, principal.tenant), clock.wall())
        if reading.entries:
            await store.append(id, 0, reading.entries)
        if row.archived:
            await store.edit(id, Edit(archived=True))
    return await row_of(store, id)


# --- reading ----------------------------------------------------------------------------------------------------------


class _Reading:
    """One import on its way through the lines, in order: header, row, entries, then blobs and records, end."""

    row: SessionLine

    def __init__(self, store: Store, principal: Principal, id: str, lines: AsyncIterator[bytes]) -> None:
        self._blobs = store.blobs(principal.tenant)
        self._principal = principal
        self._id = id
        self._lines = lines
        self._digest = sha256()
        self._number = 0
        self._line: Line | None = None
        self._state = SessionState()
        self._wanted: set[str] = set()
        self.entries: list[Entry] = []
        self.records: list[RecordLine] = []

    async def run(self) -> None:
        await self._head()
        await self._journal()
        while not isinstance(line := self._line, EndLine):
            if isinstance(line, BlobLine):
                await self._blob(line)
                continue
            if isinstance(line, LostBlobLine):
                self._found(line.sha256)
            elif isinstance(line, RecordLine):
                self.records.append(line)
            else:
                raise self._wrong("it is out of order")
            await self._next()
        if self._wanted:
            raise self._wrong(f"the bytes of the attachment {min(self._wanted)} did not come")
        async for rest in self._lines:
            if rest.strip():
                self._number += 1
                raise self._wrong("it stands behind the last line")

    async def _head(self) -> None:
        await self._next()
        if not isinstance(self._line, Header):
            raise self._wrong("an export begins with a line of type turnwise.export")
        await self._next()
        if not isinstance(self._line, SessionLine):
            raise self._wrong("it is not the session's row")
        self.row = self._line
        await self._next()

    async def _journal(self) -> None:
        while isinstance(line := self._line, EntryLine):
            self._entry(line)
            await self._next()
        if repair(self._state.history) is not self._state.history:
            raise self._wrong(
                "the messages before it are no valid conversation: some call has no outcome, or two have one id"
            )
        count, last = len(self.entries), self.row.last
        if isinstance(line := self._line, CutLine):
            if line.after != count:
                raise self._wrong(f"it says that {line.after} entries could be read, and {count} came")
            await self._next()
        elif count != last:
            raise self._wrong(f"{count} entries came, and the session has {last}")

    def _entry(self, line: EntryLine) -> None:
        number = len(self.entries) + 1
        if line.number != number:
            raise self._wrong(f"entry {line.number} comes where {number} was due")
        try:
            entry = decode_entry(bytes(line.entry), self.row.id, number)
        except StateError as error:
            if error.code == "unknown_entry":
                raise newer_export(self._number, error.message) from error
            raise self._wrong(error.message) from error
        if (number == 1) is not isinstance(entry, SessionCreated):
            raise self._wrong("a journal begins with the creation of its session, and only there")
        if isinstance(entry, SessionCreated):
            if entry.session != self.row.id:
                raise self._wrong("the journal is that of another session than the row")
            entry = msgspec.structs.replace(entry, session=self._id, principal=self._principal)
        try:
            evolve(self._state, entry)
        except StateError as error:
            raise self._wrong(error.message) from error
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            raise self._wrong(f"it cannot follow the entries before it ({error})") from error
        self.entries.append(entry)
        for name in blobs_of(entry):
            if _SHA256.fullmatch(name) is None:
                raise self._wrong(f"{name!r} is not the name of an attachment")
            self._wanted.add(name)

    def _found(self, name: str) -> None:
        if name not in self._wanted:
            raise self._wrong(f"no entry refers to the attachment {name!r}, or it has come before")
        self._wanted.discard(name)

    async def _blob(self, first: BlobLine) -> None:
        """A blob goes to the store piece by piece."""
        self._found(first.sha256)
        number = self._number
        pieces = self._pieces(first)
        async with aclosing(pieces):
            name = await self._blobs.put(pieces)
        if name != first.sha256:
            raise invalid_export(number, f"the bytes of the attachment {first.sha256} are not those of that name")

    async def _pieces(self, first: BlobLine) -> AsyncGenerator[bytes, None]:
        at, line = 0, first
        while True:
            if line.sha256 != first.sha256 or line.at != at or line.size != first.size:
                raise self._wrong(f"the bytes of the attachment {first.sha256} from {at} on were due")
            at += len(line.data)
            if at > first.size or not (line.data or at == first.size):
                raise self._wrong(f"the attachment {first.sha256} is not of {first.size} bytes")
            yield line.data
            await self._next()
            if at == first.size:
                return
            if not isinstance(following := self._line, BlobLine):
                raise self._wrong(f"the bytes of the attachment {first.sha256} from {at} on were due")
            line = following

    # --- line by line

    async def _next(self) -> None:
        """Read and check one line."""
        data = await anext(self._lines, None)
        self._number += 1
        if data is None:
            raise self._wrong("the export ends before its last line, it was cut off")
        self._line = self._decoded(data)
        if isinstance(self._line, EndLine):
            self._check_end(self._line)
        self._digest.update(data)

    def _decoded(self, data: bytes) -> Line:
        if self._number == 1:
            self._check_version(data)
        if not data.endswith(b"\n") and b'"end"' not in data:
            raise self._wrong("it has no end, the export was cut off")
        try:
            return decode_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._wrong(str(error)) from error

    def _check_version(self, data: bytes) -> None:
        try:
            head = _head(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._wrong("an export begins with a line of type turnwise.export") from error
        if head.type != Header.__struct_config__.tag:
            raise self._wrong("an export begins with a line of type turnwise.export")
        if head.v > EXPORT_VERSION:
            raise newer_export(1, f"its format is version {head.v}, and {EXPORT_VERSION} is the latest known here")

    def _check_end(self, end: EndLine) -> None:
        before = self._number - 1
        if end.lines != before:
            raise self._wrong(f"{end.lines} lines should stand before it, and {before} do")
        if end.sha256 != self._digest.hexdigest():
            raise self._wrong("the checksum does not fit: some line before it was changed")

    def _wrong(self, what: str) -> StateError:
        return invalid_export(self._number, what)


class _Head(msgspec.Struct):
    type: str
    v: int


_head = msgspec.json.Decoder(_Head).decode


async def _lines(stream: Bytes) -> AsyncGenerator[bytes, None]:
    """The stream cut into lines, each with its line break; the last one may have none."""
    held: list[bytes] = []
    async for piece in _pieces(stream):
        start = 0
        while (end := piece.find(b"\n", start) + 1) > 0:
            held.append(piece[start:end])
            yield b"".join(held)
            held, start = [], end
        if start < len(piece):
            held.append(piece[start:])
    if held:
        yield b"".join(held)


async def _pieces(stream: Bytes) -> AsyncGenerator[bytes, None]:
    if isinstance(stream, bytes):
        yield stream
    elif isinstance(stream, AsyncIterable):
        async for piece in stream:
            yield piece
    else:
        for piece in stream:
            yield piece


# --- writing ----------------------------------------------------------------------------------------------------------


async def _refuse_name(store: Store, name: str, principal: Principal) -> None:
    """Raise `name_taken` before anything is read."""
    for row in await store.sessions(Query(tenant=principal.tenant, name=name, archived=None, limit=1)):
        raise name_taken(name, row.id)


async def _create(store: Store, row: SessionLine, id: str, principal: Principal, name: str | None) -> SessionInfo:
    """The row; under the name that it had only if nobody else has that by now."""
    new = NewSession(
        id=id,
        principal=principal,
        name=name or row.name,
        title=row.title,
        agent=row.agent,
        folder=row.folder,
        tags=row.tags,
    )
    try:
        return await store.create(new)
    except StateError as error:
        if error.code != "name_taken" or name is not None:
            raise
        return await store.create(msgspec.structs.replace(new, name=None))


async def _records(store: Store, records: list[RecordLine], scope: Scope, now: float) -> None:
    for record in records:
        left_s = None if record.expires_at is None else record.expires_at - now
        if left_s is not None and left_s <= 0:
            continue
        await store.put_record(
            scope, record.key, bytes(record.value), schema=record.schema, writer=record.writer, ttl_s=left_s
        )
