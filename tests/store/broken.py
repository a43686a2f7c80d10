"""Stores that break one promise each, as real ones have been known to. `test_kit.py` sees that the kit finds each of them out."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from turnwise.core.entries import Entry
from turnwise.core.errors import StateError, TurnwiseError
from turnwise.core.store import (
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
from turnwise.store.codec import decode_entry, encode_entry
from turnwise.store.memory import MemoryBlobs, MemoryStore
from turnwise.store.memory.claims import Claims, Held
from turnwise.store.refusals import append_conflict

Wall = Callable[[], float]
CATCHES: list[tuple[type[MemoryStore], str]] = []
"""Broken stores, and the check that must find each."""


def breaks(check: str) -> Callable[[type[MemoryStore]], type[MemoryStore]]:
    def register(broken: type[MemoryStore]) -> type[MemoryStore]:
        CATCHES.append((broken, check))
        return broken

    return register


# --- journals ---------------------------------------------------------------------------------------------------------


@breaks("conflicting_appends_write_nothing")
class WritesFirst(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        last = len(await self.read(session))
        if last != after:
            await super().append(session, last, entries, claim)
            raise append_conflict(session, after, last)
        return await super().append(session, after, entries, claim)


@breaks("appends_to_a_deleted_session_are_refused")
class Resurrects(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        if after and await self.info(session) is None:
            after = 0
        return await super().append(session, after, entries, claim)


@breaks("one_of_many_writers_wins")
class LooksThenWrites(MemoryStore):
    """The comparison and the write are two transactions."""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        last = len(await self.read(session))
        if last != after:
            raise append_conflict(session, after, last)
        await asyncio.sleep(0)
        return await super().append(session, len(await self.read(session)), entries, claim)


@breaks("appends_take_effect_in_the_order_of_calls")
class Overtakes(MemoryStore):
    """Each append goes to whatever connection is free."""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        for _ in range(after % 3):
            await asyncio.sleep(0)
        return await super().append(session, after, entries, claim)


@breaks("appends_are_seen_whole")
class WritesOneByOne(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        fence = await super().append(session, after, entries[:1], claim)
        for n, entry in enumerate(entries[1:], 1):
            await asyncio.sleep(0)
            self.append_now(session, after + n, [entry])
        return fence


@breaks("cancelled_appends_are_whole")
class CancelledInTheMiddle(WritesOneByOne):
    pass


@breaks("a_refused_append_harms_no_other")
class GroupsFailTogether(MemoryStore):
    """What is committed together fails together."""

    _failing = False

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        if len(await self.read(session)) != after:
            self._failing = True
        await asyncio.sleep(0)
        if self._failing:
            raise append_conflict(session, after, after)
        return await super().append(session, after, entries, claim)


@breaks("any_text_comes_back")
class Normalises(MemoryStore):
    """As a database does that was made with the wrong settings."""

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        entries = await super().read(session, after, limit)
        texts = [unicodedata.normalize("NFC", encode_entry(e).decode()) for e in entries]
        return [decode_entry(text.encode(), session, n) for n, text in enumerate(texts, 1)]


@breaks("entries_of_every_type_come_back")
class DropsFields(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        known = [msgspec.structs.replace(e, client_ref=None) if hasattr(e, "client_ref") else e for e in entries]
        return await super().append(session, after, known, claim)


@breaks("long_journals_are_read_by_pieces")
class ReadsAPage(MemoryStore):
    """A limit that was meant for lists."""

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return await super().read(session, after, limit or 1000)


@breaks("the_newest_snapshot_is_kept")
class KeepsAnySnapshot(MemoryStore):
    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        self._snapshots[session] = snapshot


# --- claims -----------------------------------------------------------------------------------------------------------


class WithClaims(MemoryStore):
    claims: type[Claims]

    def __init__(self, wall: Wall) -> None:
        super().__init__(wall)
        self._claims = self.claims()


@breaks("an_expired_claim_is_taken_over")
class ForgivesFences(WithClaims):
    """Whoever has ever had it may write on."""

    class claims(Claims):
        def admit(self, session: str, claim: Claim | None, now: float) -> None:
            if claim is None or not claim.fence:
                super().admit(session, claim, now)


@breaks("fences_only_grow")
class ForgetsFences(WithClaims):
    """The row of a claim goes when it is given back, and its fence with it."""

    class claims(Claims):
        def take(self, session: str, claim: Claim) -> int:
            fence = super().take(session, claim)
            if not claim.hold:
                self._fences.pop(session, None)
            return fence

        def release(self, session: str, claim: Claim) -> None:
            super().release(session, claim)
            self._fences.pop(session, None)


@breaks("heartbeats_keep_claims")
class LeasesEndAsTheyBegan(WithClaims):
    class claims(Claims):
        def renew(self, owner: Owner, until: float) -> None:
            if owner.id not in self._leases:
                super().renew(owner, until)


@breaks("an_expired_claim_is_good_until_taken")
class EndsWithTheLease(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        if claim and claim.fence and not self._claims.living(session, self._wall()):
            self._claims.forget(session)
        return await super().append(session, after, entries, claim)


@breaks("retiring_ends_all_claims")
class RetiresTheLeaseOnly(WithClaims):
    class claims(Claims):
        def retire(self, owner: str) -> None:
            self._leases.pop(owner, None)


@breaks("refused_appends_claim_nothing")
class ClaimsFirst(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        if claim and not claim.fence and await self.info(session):
            await self.claim(session, claim.owner)
        return await super().append(session, after, entries, claim)


@breaks("releasing")
class ReleasesWhateverThereIs(WithClaims):
    class claims(Claims):
        def release(self, session: str, claim: Claim) -> None:
            self.held.pop(session, None)


@breaks("one_of_many_claims_it")
class AllClaim(WithClaims):
    class claims(Claims):
        def admit(self, session: str, claim: Claim | None, now: float) -> None:
            pass

        def take(self, session: str, claim: Claim) -> int:
            self._fences[session] = fence = self._fences.get(session, 0) + 1
            self.held[session] = Held(claim.owner, fence)
            return fence


@breaks("busy_says_who_and_until_when")
class BusyWithSomebody(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        try:
            return await super().append(session, after, entries, claim)
        except TurnwiseError as error:
            raise type(error)(error.info) from None


@breaks("claimed_sessions_are_not_deleted")
class DeletesUnderTheHands(MemoryStore):
    async def delete(self, session: str) -> bool:
        self._claims.forget(session)
        return await super().delete(session)


@breaks("orphans_are_found")
class OrphansHaveNoOwner(MemoryStore):
    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        found = await super().sessions(msgspec.structs.replace(query, orphaned=False))
        return [i for i in found if not query.orphaned or (i.status == "running" and not i.owner)]


@breaks("any_sequence_agrees_with_the_model")
class FencesOfTheDeadCount(ForgivesFences):
    pass


# --- rows -------------------------------------------------------------------------------------------------------------


@breaks("names_are_unique_within_a_tenant")
class NamesAreUniqueEverywhere(MemoryStore):
    def _refuse_taken(self, tenant: str, name: str | None, session: str) -> None:
        for row in self._rows.values():
            super()._refuse_taken(row.principal.tenant, name, session)


@breaks("renaming_minds_who_has_the_name")
class RenamesFreely(MemoryStore):
    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        taken, edit = edit.name, msgspec.structs.replace(edit, name=msgspec.UNSET)
        info = await super().edit(session, edit)
        self._rows[session].name = info.name if taken is msgspec.UNSET else taken
        return await super().edit(session, edit)


@breaks("edits_change_what_they_say")
class EditsAreChanges(MemoryStore):
    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        await super().edit(session, edit)
        row = self._rows[session]
        row.dates[len(row.journal)] = self._wall()
        return await super().edit(session, Edit())


@breaks("rows_follow_the_journal")
class CountsFromTheLastAppend(MemoryStore):
    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        fence = await super().append(session, after, entries, claim)
        self._rows[session].fold()
        self._rows[session].status = "running" if entries[-1].__class__.__name__ == "InputAccepted" else "idle"
        return fence


@breaks("lists_give_what_fits")
class TagsAreLikeTags(MemoryStore):
    """`LIKE '%tag%'` over a joined column."""

    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        found = await super().sessions(msgspec.structs.replace(query, tags=()))
        like = [re.compile(tag.replace("%", ".*").replace("_", ".")) for tag in query.tags]
        return [i for i in found if all(any(p.search(tag) for tag in i.tags) for p in like)]


@breaks("lists_come_in_pages")
class PagesByDate(MemoryStore):
    """What was changed at the same moment as the last one of a page is left out of the next."""

    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        found = await super().sessions(query)
        last = await self.info(query.after) if query.after else None
        return [i for i in found if last is None or i.updated_at < last.updated_at]


@breaks("deleting_leaves_nothing")
class DeletesRowsOnly(MemoryStore):
    async def delete(self, session: str) -> bool:
        kept = self._snapshots.get(session)
        gone = await super().delete(session)
        if kept is not None:
            self._snapshots[session] = kept
        return gone


@breaks("dates_go_by_the_stores_clock")
class DatesOfTheEntries(MemoryStore):
    async def info(self, session: str) -> SessionInfo | None:
        info = await super().info(session)
        return info and msgspec.structs.replace(info, updated_at=info.created_at)


@breaks("waiting_ends_with_an_append")
class DoesNotWait(MemoryStore):
    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        return len(await self.read(session))


@breaks("figures_follow_what_is_kept")
class CountsOnce(MemoryStore):
    async def stats(self) -> Any:
        return {"sessions": 0, "entries": 0, "blobs": 0, "bytes": 0}


# --- search -----------------------------------------------------------------------------------------------------------


@breaks("searches_stay_where_they_belong")
class SearchesEverywhere(MemoryStore):
    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        tenants = sorted({row.principal.tenant for row in self._rows.values()})
        hits = [await super(SearchesEverywhere, self).search(t, text, user=user, session=session) for t in tenants]
        return [hit for some in hits for hit in some][:limit]


@breaks("any_text_is_a_query")
class QueriesAreALanguage(MemoryStore):
    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        re.compile(text)
        return await super().search(tenant, text, user=user, session=session, limit=limit)


@breaks("all_words_are_asked_for")
class IgnoresQuotes(MemoryStore):
    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        return await super().search(tenant, text.replace('"', " "), user=user, session=session, limit=limit)


@breaks("any_text_is_found")
class WordsAreAscii(MemoryStore):
    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        text = re.sub(r"[^\x00-\x7f]", " ", text)
        return await super().search(tenant, text, user=user, session=session, limit=limit)


# --- blobs and records ------------------------------------------------------------------------------------------------


@breaks("tenants_have_their_own_blobs")
class OneBlobStore(MemoryStore):
    def blobs(self, tenant: str) -> MemoryBlobs:
        return super().blobs("")


@breaks("unused_blobs_are_collected")
class ForgetsHistories(MemoryStore):
    """Only messages count as references."""

    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        firsts = {id: row.journal[:1] for id, row in self._rows.items()}
        for row in self._rows.values():
            row.journal[:1] = []
        try:
            return await super().collect_blobs(tenant, unused_for_s=unused_for_s)
        finally:
            for id, first in firsts.items():
                self._rows[id].journal[:0] = first


@breaks("putting_again_keeps")
class DatesOnce(MemoryStore):
    class Blobs(MemoryBlobs):
        async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
            before = dict(self._put_at)
            name = await super().put(data)
            self._put_at.update(before)
            return name

    def blobs(self, tenant: str) -> MemoryBlobs:
        return self._blobs.setdefault(tenant, self.Blobs(self._wall))


@breaks("large_blobs_are_streamed")
class StreamsAtOnce(MemoryStore):
    class Blobs(MemoryBlobs):
        async def stream(self, sha256: str) -> AsyncIterator[bytes]:
            yield await self.get(sha256)

    def blobs(self, tenant: str) -> MemoryBlobs:
        return self._blobs.setdefault(tenant, self.Blobs(self._wall))


@breaks("shared_blobs_are_kept")
class AnyTenantsReferencesCount(MemoryStore):
    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        principals = {id: row.principal for id, row in self._rows.items()}
        for row in self._rows.values():
            row.principal = msgspec.structs.replace(row.principal, tenant=tenant)
        try:
            return await super().collect_blobs(tenant, unused_for_s=unused_for_s)
        finally:
            for id, principal in principals.items():
                self._rows[id].principal = principal


@breaks("expected_versions_are_compared")
class LastWriterWins(MemoryStore):
    async def put_record(self, scope: Scope, key: str, value: bytes, **given: Any) -> Record:
        given["expect"] = None
        return await super().put_record(scope, key, value, **given)


@breaks("changes_are_not_lost")
class ComparesThenWrites(MemoryStore):
    async def put_record(self, scope: Scope, key: str, value: bytes, **given: Any) -> Record:
        expected = given.pop("expect", None)
        now = await self.get_record(scope, key)
        if expected is not None and expected != (now.version if now else 0):
            return await super().put_record(scope, key, value, expect=expected, **given)
        await asyncio.sleep(0)
        return await super().put_record(scope, key, value, **given)


@breaks("records_expire")
class VersionsBeginAnew(MemoryStore):
    async def put_record(self, scope: Scope, key: str, value: bytes, **given: Any) -> Record:
        if await self.get_record(scope, key) is None:
            self._records.forget(scope)
        return await super().put_record(scope, key, value, **given)


@breaks("records_are_listed_by_prefix")
class PrefixesAreLike(MemoryStore):
    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        like = re.compile("".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in prefix))
        every = await super().records(scope, "", after=after, limit=10_000)
        return [r for r in every if like.match(r.key)][:limit]


@breaks("records_come_back")
class Reformats(MemoryStore):
    async def put_record(self, scope: Scope, key: str, value: bytes, **given: Any) -> Record:
        return await super().put_record(scope, key, msgspec.json.encode(msgspec.json.decode(value)), **given)


@breaks("scopes_are_apart")
class ScopesHaveNoTenant(MemoryStore):
    async def put_record(self, scope: Scope, key: str, value: bytes, **given: Any) -> Record:
        return await super().put_record(Scope(scope.kind, scope.name), key, value, **given)

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        return await super().get_record(Scope(scope.kind, scope.name), key)


@breaks("ids_are_used_once")
class CreatesAgain(MemoryStore):
    async def create(self, session: NewSession) -> SessionInfo:
        try:
            return await super().create(session)
        except StateError:
            return await super().edit(session.id, Edit(title=session.title))
