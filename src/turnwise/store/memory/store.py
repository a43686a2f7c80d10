"""`MemoryStore`: the whole contract of a store, in memory. An append is dated and held against claims; what rows show is counted
when they are looked at. `MemoryJournals` is what a session has that nobody gave a store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from ...core.entries import Entry
from ...core.store import (
    Claim,
    Collected,
    Edit,
    Hit,
    NewSession,
    Owner,
    Query,
    Record,
    Scope,
    SessionInfo,
    Snapshot,
)
from ..facts import begun_by, blobs_of, text_of
from ..refusals import append_conflict, name_taken, session_deleted, session_exists, unknown_session
from .blobs import MemoryBlobs
from .claims import Claims
from .records import Records
from .rows import Row, listed
from .words import Term, find, terms_of


class MemoryJournals:
    """Journals in memory and nothing else. `append_now` is `append` without waiting: there is nothing to wait for.

    Entries are immutable, so they are kept as they are.
    """

    __slots__ = ("_journals",)
    where: ClassVar[str] = "memory"
    lasting: ClassVar[bool] = False

    def __init__(self) -> None:
        self._journals: dict[str, list[Entry]] = {}

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        self.append_now(session, after, entries)
        return 0

    def append_now(self, session: str, after: int, entries: Sequence[Entry]) -> int:
        """The number of the last entry. Raises `StateError` (`append_conflict`)."""
        journal = self._journals.get(session)
        if journal is None:
            journal = self._journals[session] = []
        if len(journal) != after:
            raise append_conflict(session, after, len(journal))
        journal.extend(entries)
        return len(journal)

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return tuple(self._journals.get(session, ())[after : None if limit is None else after + limit])


class MemoryStore:
    """A `Store` in memory. `append_now` is `append` without a claim and without waiting. `wall` is the store's clock, in Unix seconds.

    Entries are immutable, so they are kept as they are.
    """

    __slots__ = (
        "__weakref__",
        "_added",
        "_blobs",
        "_claims",
        "_names",
        "_records",
        "_rows",
        "_snapshots",
        "_waiting",
        "_wall",
    )
    where: ClassVar[str] = "memory"
    lasting: ClassVar[bool] = False

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._rows: dict[str, Row] = {}
        self._names: dict[tuple[str, str], Row] = {}
        self._added = 0
        self._claims = Claims()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._blobs: dict[str, MemoryBlobs] = {}
        self._records = Records()

    async def close(self) -> None:
        """Nothing is let go of: what is in memory can be read as long as somebody has the store."""

    # --- journals -------------------------------------------------------------------------------------------------------

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        row = self._rows.get(session)
        if row is None and after:
            raise session_deleted(session)
        self._claims.admit(session, claim, self._wall())
        if row is None:
            row = self._add(begun_by(session, entries))
        self._extend(row, after, entries)
        return 0 if claim is None else self._claims.take(session, claim)

    def append_now(self, session: str, after: int, entries: Sequence[Entry]) -> int:
        """The number of the last entry. Raises as `append`."""
        row = self._rows.get(session)
        if row is None:
            if after:
                raise session_deleted(session)
            row = self._add(begun_by(session, entries))
        elif session in self._claims.held:
            self._claims.admit(session, None, self._wall())
        return self._extend(row, after, entries)

    def _add(self, new: NewSession) -> Row:
        self._added += 1
        row = self._rows[new.id] = Row(new, self._wall(), self._added)
        self._call(row, new.name)
        return row

    def _call(self, row: Row, name: str | None) -> None:
        """Note under which name the row is found."""
        tenant = row.principal.tenant
        if row.name is not None:
            self._names.pop((tenant, row.name), None)
        if name is not None:
            self._names[tenant, name] = row

    def _extend(self, row: Row, after: int, entries: Sequence[Entry]) -> int:
        journal = row.journal
        if len(journal) != after:
            raise append_conflict(row.id, after, len(journal))
        journal.extend(entries)
        last = len(journal)
        row.dates[last] = self._wall()
        if self._waiting:
            self._wake(row.id)
        return last

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        row = self._rows.get(session)
        return () if row is None else tuple(row.journal[after : None if limit is None else after + limit])

    def _wake(self, session: str) -> None:
        for grown in self._waiting.pop(session, ()):
            if not grown.done():
                grown.set_result(None)

    def _row(self, session: str) -> Row:
        try:
            return self._rows[session]
        except KeyError:
            raise unknown_session(session) from None

    # --- sessions -------------------------------------------------------------------------------------------------------

    async def create(self, session: NewSession) -> SessionInfo:
        if session.id in self._rows:
            raise session_exists(session.id)
        self._refuse_taken(session.principal.tenant, session.name, session.id)
        return self._add(session).info(self._claims)

    async def info(self, session: str) -> SessionInfo | None:
        row = self._rows.get(session)
        return None if row is None else row.info(self._claims)

    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        after = None if query.after is None else self._rows.get(query.after)
        if query.after is not None and after is None:
            return ()
        rows = self._rows.values()
        if query.name is not None and query.tenant is not None:
            named = self._names.get((query.tenant, query.name))
            rows = () if named is None else (named,)
        return listed(rows, query, after, self._claims, self._wall())

    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        row = self._row(session)
        if edit.name is not msgspec.UNSET:
            self._refuse_taken(row.principal.tenant, edit.name, session)
            self._call(row, edit.name)
        row.edit(edit)
        return row.info(self._claims)

    async def delete(self, session: str) -> bool:
        row = self._rows.get(session)
        if row is None:
            return False
        self._claims.refuse_if_living(session, self._wall())
        del self._rows[session]
        self._call(row, None)
        self._snapshots.pop(session, None)
        self._claims.forget(session)
        self._records.forget(Scope("session", session, row.principal.tenant))
        return True

    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        terms = terms_of(text)
        hits: list[tuple[float, float, Hit]] = []
        for row in self._rows.values() if terms else ():
            principal = row.principal
            if principal.tenant == tenant and user in (None, principal.user) and session in (None, row.id):
                hits += _hits_in(row, terms)
        hits.sort(key=lambda hit: hit[:2], reverse=True)
        return [hit for _, _, hit in hits[:limit]]

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while (last := self._last(session)) <= after and (left := until - loop.time()) > 0:
            grown = loop.create_future()
            waiting = self._waiting.setdefault(session, set())
            waiting.add(grown)
            try:
                await asyncio.wait((grown,), timeout=left)
            finally:
                waiting.discard(grown)
                if not waiting and self._waiting.get(session) is waiting:
                    del self._waiting[session]
        return last

    def _last(self, session: str) -> int:
        row = self._rows.get(session)
        return 0 if row is None else len(row.journal)

    def _refuse_taken(self, tenant: str, name: str | None, session: str) -> None:
        """Raises if another session of the tenant has the name."""
        row = None if name is None else self._names.get((tenant, name))
        if name is not None and row is not None and row.id != session:
            raise name_taken(name, row.id)

    # --- snapshots ------------------------------------------------------------------------------------------------------

    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        kept = self._snapshots.get(session)
        if session in self._rows and (kept is None or snapshot.seq >= kept.seq):
            self._snapshots[session] = snapshot

    async def snapshot(self, session: str) -> Snapshot | None:
        return self._snapshots.get(session)

    # --- leases ---------------------------------------------------------------------------------------------------------

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        self._claims.renew(owner, self._wall() + ttl_s)

    async def retire(self, owner: str) -> None:
        self._claims.retire(owner)

    async def claim(self, session: str, owner: str) -> int:
        self._row(session)
        claim = Claim(owner)
        self._claims.admit(session, claim, self._wall())
        return self._claims.take(session, claim)

    async def holds(self, session: str, claim: Claim) -> bool:
        return self._claims.holds(session, claim)

    async def release(self, session: str, claim: Claim) -> None:
        self._claims.release(session, claim)

    # --- blobs ----------------------------------------------------------------------------------------------------------

    def blobs(self, tenant: str) -> MemoryBlobs:
        blobs = self._blobs.get(tenant)
        if blobs is None:
            blobs = self._blobs[tenant] = MemoryBlobs(self._wall)
        return blobs

    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        rows = [row for row in self._rows.values() if row.principal.tenant == tenant]
        used = {name for row in rows for entry in row.journal for name in blobs_of(entry)}
        return self.blobs(tenant).collect(used, self._wall() - unused_for_s)

    # --- records --------------------------------------------------------------------------------------------------------

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        return self._records.get(scope, key, self._wall())

    async def put_record(
        self,
        scope: Scope,
        key: str,
        value: bytes,
        *,
        expect: int | None = None,
        schema: int = 1,
        writer: str = "",
        ttl_s: float | None = None,
    ) -> Record:
        now = self._wall()
        return self._records.put(scope, key, value, now, expect=expect, schema=schema, writer=writer, ttl_s=ttl_s)

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        return self._records.delete(scope, key, expect, self._wall())

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        return self._records.listed(scope, prefix, after, limit, self._wall())

    # --- upkeep ---------------------------------------------------------------------------------------------------------

    async def stats(self) -> Mapping[str, int]:
        """`bytes` are those of blobs, records and snapshots: entries are objects here."""
        sizes = [len(snapshot.data) for snapshot in self._snapshots.values()]
        sizes += [blobs.bytes_kept for blobs in self._blobs.values()]
        return {
            "sessions": len(self._rows),
            "entries": sum([len(row.journal) for row in self._rows.values()]),
            "blobs": sum(map(len, self._blobs.values())),
            "bytes": sum(sizes) + sum(self._records.sizes()),
        }


def _hits_in(row: Row, terms: Sequence[Term]) -> Iterator[tuple[float, float, Hit]]:
    """(weight, date, hit) of the entries that have all the terms."""
    for number, entry in enumerate(row.journal, 1):
        text = text_of(entry)
        found = find(terms, text) if text else None
        if found is not None:
            at = row.date_of(number)
            yield found.weight, at, Hit(row.id, row.name, row.title, number, at, found.excerpt)
