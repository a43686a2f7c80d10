"""More stores that break one promise each; see `broken.py`. With these there is one for every check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from tests.store.broken import WithClaims, breaks

from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.errors import StateError
from turnwise.core.store import Claim, Edit, Hit, NewSession, Owner, Query, SessionInfo
from turnwise.store.memory import MemoryBlobs, MemoryStore
from turnwise.store.memory.claims import Claims
from turnwise.store.refusals import session_exists

# --- handles: `test_kit.py` asks the class for them ---------------------------------------------------------------------


@breaks("everything_outlives_a_restart")
@breaks("blobs_outlive_a_restart")
@breaks("records_outlive_a_restart")
class OutlivedByNothing(MemoryStore):
    """It says that it can be opened again."""

    def reopened(self) -> MemoryStore:
        return MemoryStore(self._wall)


@breaks("other_handles_see_what_is_written")
class SecondHandleIsStale(MemoryStore):
    """It sees what was there when it was opened."""

    def seconded(self) -> MemoryStore:
        other = MemoryStore(self._wall)
        for row in self._rows.values():
            other.append_now(row.id, 0, row.journal)
        return other


@breaks("closing_twice_is_no_error")
class ForgetsWhatIsUnderWay(MemoryStore):
    _closed = False

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        if self._closed:
            raise ConnectionError("closed")
        return await super().append(session, after, entries, claim)

    async def close(self) -> None:
        self._closed = True


# --- journals -----------------------------------------------------------------------------------------------------------


@breaks("appended_entries_are_read")
class ReadsTheLatestFirst(MemoryStore):
    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return tuple(reversed(await super().read(session, after, limit)))


@breaks("created_sessions_take_their_first_append")
@breaks("first_appends_make_rows")
class FirstAppendsCreate(MemoryStore):
    """Every first append makes the row anew, by the id alone."""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        fence = await super().append(session, after, entries, claim)
        if not after:
            row = self._rows[session]
            row.name, row.title, row.agent, row.tags = None, "", "", ()
        return fence


@breaks("big_entries_come_back")
class CutsLongTexts(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        short = [e for e in entries if len(msgspec.json.encode(e)) < 1_000_000]
        return await super().append(session, after, short, claim)


@breaks("reading_nothing_is_no_error")
class MinusOne(MemoryStore):
    """A limit of 0 is no limit."""

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return await super().read(session, after, limit or None)


@breaks("many_at_a_time")
class OneStatementAtATime(MemoryStore):
    """What is asked while something else is under way goes to the session of that."""

    _under_way = ""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        self._under_way = session
        await asyncio.sleep(0)
        return await super().append(self._under_way, after, entries, claim)


# --- claims -------------------------------------------------------------------------------------------------------------


@breaks("appends_take_keep_and_give_back")
@breaks("a_fence_given_back_is_refused")
class KeepsWhatIsGivenBack(WithClaims):
    class claims(Claims):
        def take(self, session: str, claim: Claim) -> int:
            return super().take(session, Claim(claim.owner, claim.fence))


@breaks("one_append_may_take_and_give_back")
class HoldsByTaking(WithClaims):
    class claims(Claims):
        def take(self, session: str, claim: Claim) -> int:
            return super().take(session, claim if claim.fence else Claim(claim.owner))


@breaks("a_lease_lasts_as_long_as_it_says")
class LeasesInMilliseconds(MemoryStore):
    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        await super().heartbeat(owner, ttl_s * 1000)


@breaks("an_expired_claim_keeps_nobody_out")
class ClaimsWithoutEnd(WithClaims):
    class claims(Claims):
        def admit(self, session: str, claim: Claim | None, now: float) -> None:
            super().admit(session, claim, 0.0 if claim is None else now)


@breaks("a_lease_can_be_renewed_late")
class LateOwnersAreNew(WithClaims):
    class claims(Claims):
        def renew(self, owner: Owner, until: float) -> None:
            if 0 < self.until(owner.id) < until - 30:
                self.retire(owner.id)
            super().renew(owner, until)


@breaks("claiming_without_an_append")
class ClaimsAnew(WithClaims):
    class claims(Claims):
        def take(self, session: str, claim: Claim) -> int:
            if not claim.fence:
                self.held.pop(session, None)
            return super().take(session, claim)


# --- rows ---------------------------------------------------------------------------------------------------------------


@breaks("created_rows_are_as_given")
class ForgetsTheFolder(MemoryStore):
    async def create(self, session: NewSession) -> SessionInfo:
        return await super().create(msgspec.structs.replace(session, folder=""))


@breaks("lists_go_by_age")
class AgeInclusive(MemoryStore):
    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        before = query.updated_before and query.updated_before + 1e-6
        return await super().sessions(msgspec.structs.replace(query, updated_before=before))


# --- search -------------------------------------------------------------------------------------------------------------


class Searching(MemoryStore):
    async def search(self, tenant: str, text: str, **given: Any) -> Sequence[Hit]:
        return [self.changed(hit) for hit in await super().search(tenant, text, **given)]

    def changed(self, hit: Hit) -> Hit:
        return hit


@breaks("what_was_said_is_found")
class CountsFromZero(Searching):
    def changed(self, hit: Hit) -> Hit:
        return msgspec.structs.replace(hit, entry=hit.entry - 1)


@breaks("the_best_come_first")
class TheOldestComeFirst(Searching):
    async def search(self, tenant: str, text: str, **given: Any) -> Sequence[Hit]:
        limit = given.pop("limit", 20)
        return sorted(await super().search(tenant, text, **given), key=lambda hit: hit.session)[:limit]


@breaks("forks_are_not_found_twice")
class ForksAreSearched(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        own = [msgspec.structs.replace(e, forked_from="") if isinstance(e, SessionCreated) else e for e in entries]
        return await super().append(session, after, own, claim)


@breaks("searches_are_up_to_date")
class IndexHasTitles(Searching):
    """The index keeps the title that the session had when the text came."""

    def changed(self, hit: Hit) -> Hit:
        return msgspec.structs.replace(hit, title="")


# --- blobs --------------------------------------------------------------------------------------------------------------


class WithBlobs(MemoryStore):
    blobs_of_tenant: type[MemoryBlobs]

    def blobs(self, tenant: str) -> MemoryBlobs:
        return self._blobs.setdefault(tenant, self.blobs_of_tenant(self._wall))


@breaks("bytes_come_back")
class EmptyIsMissing(WithBlobs):
    class blobs_of_tenant(MemoryBlobs):
        async def size(self, sha256: str) -> int | None:
            return await super().size(sha256) or None


@breaks("bytes_may_be_put_by_pieces")
class StopsAtAnEmptyPiece(WithBlobs):
    class blobs_of_tenant(MemoryBlobs):
        async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
            if isinstance(data, bytes):
                return await super().put(data)
            whole = b""
            async for piece in data:
                if not piece:
                    break
                whole += piece
            return await super().put(whole)


@breaks("broken_puts_keep_nothing")
class KeepsTheBeginning(WithBlobs):
    class blobs_of_tenant(MemoryBlobs):
        async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
            if isinstance(data, bytes):
                return await super().put(data)
            pieces: list[bytes] = []
            try:
                async for piece in data:
                    pieces.append(piece)  # noqa: PERF401 - what came before it breaks is kept
            finally:
                name = await super().put(b"".join(pieces))
            return name


@breaks("names_are_unique_within_a_tenant")
class NamesArePerUser(MemoryStore):
    async def create(self, session: NewSession) -> SessionInfo:
        users = {row.principal.user for row in self._rows.values() if row.name == session.name}
        if session.name is None or session.principal.user in users:
            return await super().create(session)
        info = await super().create(msgspec.structs.replace(session, name=None))
        self._rows[session.id].name = session.name
        return info


@breaks("ids_are_used_once")
class IdsAreNamesToo(MemoryStore):
    async def create(self, session: NewSession) -> SessionInfo:
        if session.id in self._rows:
            await self.edit(session.id, Edit(title=session.title))
            raise session_exists(session.id)
        return await super().create(session)


@breaks("deleting_leaves_nothing")
class DeletesTwice(MemoryStore):
    async def delete(self, session: str) -> bool:
        try:
            await super().delete(session)
        except StateError:
            return False
        return True
