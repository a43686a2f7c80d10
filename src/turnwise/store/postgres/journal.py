"""Journals: what is appended is one call of a function in the database, what is read comes in pages.

Appends of one session take turns in this process, in the order of their calls; those of different sessions run beside each other. A read waits
for the appends of its session that were called before, cancelled ones among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from ...core.entries import Entry
from ...core.principal import LOCAL
from ...core.store import Claim, Owner
from .. import refusals
from ..codec import damaged_entry, decode_entry, encode_entries, principal_of
from ..facts import blobs_of, facts_of, text_of
from . import errors
from .database import Database
from .link import Link
from .statement import Statement
from .words import parts_of

PAGE_ENTRIES = 1000
LARGEST_APPEND_BYTES = 256 * 1024 * 1024
"""PostgreSQL takes a message of 1 GB; a row that large would be of no use to anybody."""

APPEND = Statement(
    "SELECT outcome, given, ends, holder, host, pid, until "
    "FROM {s}.append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    takes="text int4 uuid json[] int4[] text text text int4 int4 text[] int4[] text[] text int8 bool",
    gives="text int8 int4 text text int4 float8",
)
READ = Statement(
    "SELECT e.seq, e.crc, e.body FROM {s}.entries e WHERE e.session = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
    takes="text int4 int4",
    gives="int4 int4 json",
)
LAST = Statement("SELECT last FROM {s}.sessions WHERE id = $1", takes="text", gives="int4")


class Journal:
    """Appends and reads. `on_append` is told of every append that took effect."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns: dict[str, asyncio.Lock] = {}

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None) -> int:
        """See `Store.append`. Raises also `StateError`: `append_too_large`."""
        await self._database.ready()
        values = _written(session, after, self._database.new_id(), entries, claim)
        turn = self._turns.get(session)
        if turn is None:
            turn = self._turns[session] = asyncio.Lock()
        await turn.acquire()
        on: list[Link] = []
        try:
            [row] = await self._database.ask(APPEND, *values, on=on)
        finally:
            if on and not on[0].free:
                on[0].when_free(lambda: self._end(session, turn))
            else:
                self._end(session, turn)
        return _fence(row, session, after, claim)

    async def read(self, session: str, after: int, limit: int | None) -> Sequence[Entry]:
        """See `Store.read`."""
        await self._settled(session)
        out: list[Entry] = []
        while limit is None or len(out) < limit:
            wanted = PAGE_ENTRIES if limit is None else min(PAGE_ENTRIES, limit - len(out))
            rows = await self._database.ask(READ, session, after + len(out), wanted)
            for number, crc, body in rows:
                out.append(_checked(session, after + len(out) + 1, number, crc, body))
            if len(rows) < wanted:
                await self._see_the_end(session, after + len(out))
                break
        return out

    async def _settled(self, session: str) -> None:
        turn = self._turns.get(session)
        if turn is not None:
            async with turn:
                pass
            self._forget(session, turn)

    async def _see_the_end(self, session: str, end: int) -> None:
        """Entries may be missing at the end, too."""
        row = await self._database.row(LAST, session)
        if row is not None and row[0] > end:
            more = await self._database.ask(READ, session, end, 1)
            if not more:
                raise damaged_entry(session, end + 1, "it is missing")

    def _end(self, session: str, turn: asyncio.Lock) -> None:
        turn.release()
        self._forget(session, turn)

    def _forget(self, session: str, turn: asyncio.Lock) -> None:
        if not turn.locked() and self._turns.get(session) is turn:
            del self._turns[session]


def _written(session: str, after: int, append: bytes, entries: Sequence[Entry], claim: Claim | None) -> list[Any]:
    """The parameters of an append, as `APPEND` takes them."""
    bodies = encode_entries(entries)
    if sum(map(len, bodies)) > LARGEST_APPEND_BYTES:
        raise errors.too_large(f"{sum(map(len, bodies))} bytes of entries; {LARGEST_APPEND_BYTES} are the limit.")
    facts = facts_of(entries)
    principal = (principal_of(entries) if after == 0 else None) or LOCAL
    blobs: set[str] = set()
    said: list[str] = []
    said_at: list[int] = []
    for number, entry in enumerate(entries, after + 1):
        blobs |= blobs_of(entry)
        if text := text_of(entry):
            for part in parts_of(text):
                said.append(part)
                said_at.append(number)
    return [
        session,
        after,
        append,
        bodies,
        [_signed(crc32(body)) for body in bodies],
        principal.tenant,
        principal.user,
        facts.status,
        facts.turns,
        facts.messages,
        list(blobs),
        said_at,
        said,
        None if claim is None else claim.owner,
        0 if claim is None else claim.fence,
        claim is not None and claim.hold,
    ]


def _fence(row: Sequence[Any], session: str, after: int, claim: Claim | None) -> int:
    """What an append has come to."""
    outcome, fence, last, holder, host, pid, until = row
    match outcome:
        case "done":
            return fence
        case "deleted":
            raise refusals.session_deleted(session)
        case "busy":
            raise refusals.claimed(session, Owner(holder, host, pid), until)
        case "lost":
            assert claim is not None
            raise refusals.lease_lost(session, claim.owner)
        case _:
            raise refusals.append_conflict(session, after, last)


def _checked(session: str, wanted: int, number: int, crc: int, body: bytes) -> Entry:
    """Raises `StateError`: `damaged_entry`, `unknown_entry`."""
    if number != wanted:
        raise damaged_entry(session, wanted, "it is missing")
    if _signed(crc32(body)) != crc:
        raise damaged_entry(session, number, "its checksum is another one")
    return decode_entry(body, session, number)


def _signed(number: int) -> int:
    """The same 32 bits, as PostgreSQL's int keeps them."""
    return number - 0x1_0000_0000 if number & 0x8000_0000 else number
