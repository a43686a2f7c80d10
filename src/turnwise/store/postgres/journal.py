"""Journals: what is appended is one call of a function in the database, what is read comes in pages.

Appends of one session take turns in this process, in the order of their calls; those of different sessions run beside each other. A read waits
for the appends of its session that were called before, cancelled ones among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from ...core.entries import Entry
from ...core.store import Claim, Owner
from .. import refusals
from ..codec import damaged_entry, decode_entry, encode_entries
from ..facts import begun_by, blobs_of, facts_of, text_of
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
    "FROM {s}.append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    takes="text int4 uuid json[] int4[] text text text text int4 int4 text[] int4[] text[] text int8 bool",
    gives="text int8 int4 text text int4 float8",
)
READ = Statement(
    "SELECT s.last, e.seq, e.crc, e.body FROM {s}.sessions s LEFT JOIN LATERAL ("
    "SELECT x.seq, x.crc, x.body FROM {s}.entries x WHERE x.session = s.id AND x.seq > $2 ORDER BY x.seq LIMIT $3) e ON true "
    "WHERE s.id = $1 ORDER BY e.seq",
    takes="text int4 int4",
    gives="int4 int4 int4 json",
)


class _Turn:
    """Whose turn it is to append to a session. `users` counts who holds or awaits it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Journal:
    """Appends and reads. `tell` is called with session and last number after each append."""

    def __init__(self, database: Database, tell: Callable[[str, int], None]) -> None:
        self._database = database
        self._tell = tell
        self._turns: dict[str, _Turn] = {}

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None) -> int:
        """See `Store.append`. Raises also `StateError`: `append_too_large`."""
        database = self._database
        turn = await self._turn(session)
        on: list[Link] = []
        try:
            await database.ready()
            values = _written(session, after, database.new_id(), entries, claim)
            [row] = await database.ask(APPEND, *values, on=on)
        finally:
            if on and not on[0].free:
                on[0].when_free(lambda: self._end(session, turn))
            else:
                self._end(session, turn)
        fence = _fence(row, session, after, claim)
        self._tell(session, row[2])
        return fence

    async def read(self, session: str, after: int, limit: int | None) -> Sequence[Entry]:
        """See `Store.read`."""
        if session in self._turns:
            self._end(session, await self._turn(session))
        out: list[Entry] = []
        while limit is None or len(out) < limit:
            start = after + len(out)
            wanted = PAGE_ENTRIES if limit is None else min(PAGE_ENTRIES, limit - len(out))
            rows = await self._database.ask(READ, session, start, wanted)
            if not rows or start >= rows[0][0]:
                break
            for place, (_, number, crc, body) in enumerate(rows, start + 1):
                out.append(_checked(session, place, number, crc, body))
            if start + len(rows) < min(rows[0][0], start + wanted):
                raise damaged_entry(session, start + len(rows) + 1, "it is missing")
        return out

    async def _turn(self, session: str) -> _Turn:
        """Wait for one's turn."""
        turn = self._turns.get(session)
        if turn is None:
            turn = self._turns[session] = _Turn()
        turn.users += 1
        try:
            await turn.lock.acquire()
        except BaseException:
            self._leave(session, turn)
            raise
        return turn

    def _end(self, session: str, turn: _Turn) -> None:
        turn.lock.release()
        self._leave(session, turn)

    def _leave(self, session: str, turn: _Turn) -> None:
        turn.users -= 1
        if not turn.users and self._turns.get(session) is turn:
            del self._turns[session]


def _written(session: str, after: int, append: bytes, entries: Sequence[Entry], claim: Claim | None) -> list[Any]:
    """The parameters of an append, as `APPEND` takes them."""
    bodies = encode_entries(entries)
    if sum(map(len, bodies)) > LARGEST_APPEND_BYTES:
        raise errors.too_large(f"{sum(map(len, bodies))} bytes of entries; {LARGEST_APPEND_BYTES} are the limit.")
    facts = facts_of(entries)
    new = begun_by(session, entries if after == 0 else ())
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
        new.principal.tenant,
        new.principal.user,
        new.agent,
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


def _checked(session: str, wanted: int, number: int | None, crc: int, body: bytes) -> Entry:
    """Raises `StateError`: `damaged_entry`, `unknown_entry`."""
    if number != wanted:
        raise damaged_entry(session, wanted, "it is missing")
    if _signed(crc32(body)) != crc:
        raise damaged_entry(session, wanted, "its checksum is another one")
    return decode_entry(body, session, wanted)


def _signed(number: int) -> int:
    """The same 32 bits, as PostgreSQL's int keeps them."""
    return number - 0x1_0000_0000 if number & 0x8000_0000 else number
