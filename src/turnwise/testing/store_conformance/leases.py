"""Promises about who may write (rule D3): leases, claims, and the fences that keep a late owner out."""

from __future__ import annotations

from ...core.store import Claim, NewSession, Owner, Query
from .kit import Trial, at_once, busy, expect, promises, refused, same, same_entries, winner
from .samples import asked, created, ended, numbered, parked, said, session_of, whole_turn


@promises(
    "The first append of a turn claims the session and returns a fence; later ones keep it; the last gives it back."
)
async def appends_take_keep_and_give_back(t: Trial) -> None:
    one = await t.owner()
    fence = await t.store.append("s1", 0, [created("s1"), asked("Hello.")], Claim(one))
    expect(fence > 0, f"the fence of a claim is {fence}: it must be above 0")
    held = await t.info("s1")
    same(held.owner, one, "info().owner while claimed")
    expect(held.claimed_until is not None, "info().claimed_until is None while the session is claimed")
    same(await t.store.append("s1", 2, [said("Yes.")], Claim(one, fence)), fence, "the fence of the second append")
    expect(await t.store.holds("s1", Claim(one, fence)), "holds() is false while the session is claimed")
    await t.store.append("s1", 3, [ended()], Claim(one, fence, hold=False))
    free = await t.info("s1")
    same((free.owner, free.claimed_until), ("", None), "owner and claimed_until after the claim was given back")
    expect(not await t.store.holds("s1", Claim(one, fence)), "holds() is true after the claim was given back")
    same_entries(await t.store.read("s1"), session_of("s1"), "the journal")


@promises("A claim can be taken and given back by one append.")
async def one_append_may_take_and_give_back(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    await t.store.append("s1", 0, session_of("s1"), Claim(one, hold=False))
    same((await t.info("s1")).owner, "", "info().owner after one append took the claim and gave it back")
    await t.store.append("s1", 4, whole_turn("Mine.", turn=2), Claim(two))
    same((await t.info("s1")).owner, two, "info().owner after another has taken it")


@promises("A fence that was given back is valid no more.")
async def a_fence_given_back_is_refused(t: Trial) -> None:
    one = await t.owner()
    claim = await t.taken("s1", session_of("s1"), one)
    await t.store.append("s1", 4, [asked("x", 2), ended(2)], Claim(one, claim.fence, hold=False))
    await refused(
        t.store.append("s1", 6, numbered(1), claim), "lease_lost", "an append with a fence that was given back"
    )
    same(len(await t.store.read("s1")), 6, "entries after it")


@promises(
    "While a living owner has a session, appends of others and appends without a claim get SessionBusy, with who has it and until when."
)
async def busy_says_who_and_until_when(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    other = await t.second_or_same()
    await t.taken("s1", session_of("s1"), one)
    until = (await t.info("s1")).claimed_until
    for what, claim in (("an append that takes it for another owner", Claim(two)), ("an append without a claim", None)):
        error = await busy(other.append("s1", 4, numbered(1), claim), what)
        same(error.owner, one, f"SessionBusy.owner of {what}")
        expect(error.until is not None, f"SessionBusy.until of {what} is None")
        assert error.until is not None and until is not None
        expect(abs(error.until - until) < 1, f"SessionBusy.until of {what} is {error.until}; info() said {until}")
        same(error.info.session, "s1", f"ErrorInfo.session of {what}")
    await busy(other.append("s1", 0, session_of("s1"), Claim(two)), "an append of another at a wrong place")
    same_entries(await t.store.read("s1"), session_of("s1"), "the journal after appends of others")
    same((await t.info("s1")).owner, one, "info().owner after appends of others")


@promises(
    "A claim runs out with its owner's lease: `claimed_until` is about that far ahead, counted by the store's clock."
)
async def a_lease_lasts_as_long_as_it_says(t: Trial) -> None:
    one = await t.owner()
    await t.store.append("s1", 0, session_of("s1"), Claim(one))
    info = await t.info("s1")
    assert info.claimed_until is not None
    ahead = info.claimed_until - info.updated_at
    expect(
        0 < ahead <= t.lease_s + 0.5, f"claimed_until is {ahead:g} s after updated_at, with a lease of {t.lease_s:g} s"
    )
    await t.store.heartbeat(Owner(one), t.lease_s * 10)
    later = (await t.info("s1")).claimed_until
    expect(later is not None and later > info.claimed_until, "claimed_until does not grow with a longer heartbeat")


@promises(
    "When the owner's lease has run out, another may take the session over, with a higher fence; then the old owner's fence is refused for ever."
)
async def an_expired_claim_is_taken_over(t: Trial) -> None:
    one = await t.owner()
    old = await t.taken("s1", [created("s1"), asked("Hello.")], one)
    await t.outlive()
    two, other = await t.owner(), await t.second_or_same()
    fence = await other.append("s1", 2, [said("Taken over.")], Claim(two))
    expect(fence > old.fence, f"the fence after a takeover is {fence}, before it was {old.fence}")
    same((await t.info("s1")).owner, two, "info().owner after the takeover")
    expect(not await t.store.holds("s1", old), "holds() is true for the old owner after the takeover")
    await t.store.heartbeat(Owner(one), t.lease_s)
    for after in (3, 2):
        await refused(t.store.append("s1", after, [said("Late.")], old), "lease_lost", f"a late append (after={after})")
    await other.append("s1", 3, [ended()], Claim(two, fence, hold=False))
    await refused(t.store.append("s1", 4, [said("Late.")], old), "lease_lost", "a late append, when it is free again")
    wanted = [created("s1"), asked("Hello."), said("Taken over."), ended()]
    same_entries(await t.store.read("s1"), wanted, "the journal")


@promises("A claim whose lease has run out is good until somebody takes it over.")
async def an_expired_claim_is_good_until_taken(t: Trial) -> None:
    one = await t.owner()
    claim = await t.taken("s1", [created("s1"), asked("Hello.")], one)
    await t.outlive()
    expect(await t.store.holds("s1", claim), "holds() is false though nobody has taken the claim over")
    same(
        await t.store.append("s1", 2, [said("Yes.")], claim),
        claim.fence,
        "the fence of an append after the lease ran out",
    )
    same(len(await t.store.read("s1")), 3, "entries after it")


@promises("A claim whose lease has run out does not keep out an append without a claim.")
async def an_expired_claim_keeps_nobody_out(t: Trial) -> None:
    one = await t.owner()
    await t.taken("s1", session_of("s1"), one)
    await t.outlive()
    await t.store.append("s1", 4, whole_turn("Without.", turn=2))
    same(len(await t.store.read("s1")), 7, "entries after an append without a claim")


@promises("A heartbeat in time keeps all claims of its owner, and of no other.")
async def heartbeats_keep_claims(t: Trial) -> None:
    one, lazy = await t.owner(), await t.owner()
    for session in ("s1", "s2"):
        await t.taken(session, session_of(session), one)
    await t.taken("s3", session_of("s3"), lazy)
    for _ in range(3):
        await t.advance(t.lease_s * 0.5)
        await t.store.heartbeat(Owner(one, "a-host", 4001), t.lease_s)
    two = await t.owner()
    for session in ("s1", "s2"):
        error = await busy(t.store.claim(session, two), f"claim({session}) after heartbeats of its owner")
        same(error.owner, one, "SessionBusy.owner")
    expect(await t.store.claim("s3", two) > 0, "a session whose owner's lease ran out was not claimed")


@promises("A lease that has run out can be renewed: what nobody has taken over is kept then.")
async def a_lease_can_be_renewed_late(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    kept, lost = await t.taken("s1", session_of("s1"), one), await t.taken("s2", session_of("s2"), one)
    await t.outlive()
    await t.store.heartbeat(Owner(two), t.lease_s)
    await t.store.claim("s2", two)
    await t.store.heartbeat(Owner(one), t.lease_s)
    await busy(t.store.append("s1", 4, numbered(1), Claim(two)), "an append of another after a late heartbeat")
    expect(await t.store.holds("s1", kept), "holds() is false for a claim that was never taken over")
    expect(not await t.store.holds("s2", lost), "holds() is true for a claim that was taken over")
    await t.store.append("s1", 4, numbered(1), kept)


@promises("An owner that retires has no lease and no claims any more; its fences are refused.")
async def retiring_ends_all_claims(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    claims = [await t.taken(session, session_of(session), one) for session in ("s1", "s2")]
    others = await t.taken("s3", session_of("s3"), two)
    await t.store.retire(one)
    for session, claim in zip(("s1", "s2"), claims, strict=True):
        same((await t.info(session)).owner, "", "info().owner after its owner has retired")
        expect(not await t.store.holds(session, claim), "holds() is true after retire()")
        await refused(t.store.append(session, 4, numbered(1), claim), "lease_lost", "an append after retire()")
    expect(await t.store.holds("s3", others), "retire() ended a claim of another owner")
    expect(await t.store.claim("s1", two) > claims[0].fence, "the fence did not grow when the claim changed hands")
    await t.store.retire("nobody")


@promises("A session is claimed without an append by claim(); again for the same owner, the fence is the same.")
async def claiming_without_an_append(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    await t.store.append("s1", 0, session_of("s1"))
    fence = await t.store.claim("s1", one)
    expect(fence > 0, f"the fence of a claim is {fence}: it must be above 0")
    same(await t.store.claim("s1", one), fence, "the fence of claiming again")
    same(await t.store.append("s1", 4, numbered(1), Claim(one)), fence, "the fence of taking again by an append")
    error = await busy(t.store.claim("s1", two), "claim() for another owner")
    same(error.owner, one, "SessionBusy.owner")
    await t.store.append("s1", 5, numbered(1), Claim(one, fence))
    await refused(t.store.claim("nobody", one), "unknown_session", "claim() of an unknown session")
    await t.store.create(NewSession(id="empty"))
    expect(await t.store.claim("empty", one) > 0, "a session without entries was not claimed")


@promises("A claim is given back by release(); one that is no longer held is left alone.")
async def releasing(t: Trial) -> None:
    one, two = await t.owner(), await t.owner()
    old = await t.taken("s1", session_of("s1"), one)
    await t.store.release("s1", old)
    same((await t.info("s1")).owner, "", "info().owner after release()")
    new = Claim(two, await t.store.claim("s1", two))
    expect(new.fence > old.fence, f"the fence is {new.fence} after the claim changed hands, before it was {old.fence}")
    await t.store.release("s1", old)
    expect(await t.store.holds("s1", new), "release() of a claim that was not held any more ended another's")
    await t.store.release("nobody", old)
    expect(not await t.store.holds("nobody", old), "holds() is true for an unknown session")


@promises("Fences grow whenever a claim changes hands, also when it was given back in between.")
async def fences_only_grow(t: Trial) -> None:
    owners = [await t.owner(), await t.owner()]
    await t.store.append("s1", 0, session_of("s1"))
    fences: list[int] = []
    for n in range(6):
        owner = owners[n % 2]
        fences.append(await t.store.append("s1", 4 + n, numbered(1), Claim(owner, hold=n % 3 == 0)))
        if n % 3 == 0:
            await t.store.release("s1", Claim(owner, fences[-1]))
    expect(fences == sorted(set(fences)), f"the fences of six owners in turn are {fences}")


@promises("Of several that take a session at the same moment, exactly one gets it; the others get SessionBusy.")
async def one_of_many_claims_it(t: Trial) -> None:
    other = await t.second_or_same()
    old = await t.owner()
    await t.taken("s1", session_of("s1"), old)
    await t.outlive()
    owners = [await t.owner() for _ in range(6)]
    outcomes = await at_once(
        (other if n % 2 else t.store).append("s1", 4, [said(owner)], Claim(owner)) for n, owner in enumerate(owners)
    )
    won = winner(outcomes, "session_busy", "taking a session over at once")
    same((await t.info("s1")).owner, owners[won], "info().owner")
    same_entries((await t.store.read("s1"))[4:], [said(owners[won])], "what was written")


@promises("An append that is refused claims nothing.")
async def refused_appends_claim_nothing(t: Trial) -> None:
    one = await t.owner()
    await t.store.append("s1", 0, session_of("s1"))
    await refused(t.store.append("s1", 2, numbered(1), Claim(one)), "append_conflict", "an append at a wrong place")
    same((await t.info("s1")).owner, "", "info().owner after an append that was refused")
    await t.store.append("s1", 4, numbered(1))


@promises("A session that a living owner has claimed cannot be deleted; when the lease has run out, it can.")
async def claimed_sessions_are_not_deleted(t: Trial) -> None:
    one = await t.owner()
    claim = await t.taken("s1", session_of("s1"), one)
    error = await busy(t.store.delete("s1"), "delete() of a claimed session")
    same(error.owner, one, "SessionBusy.owner")
    same(len(await t.store.read("s1")), 4, "entries after a delete() that was refused")
    await t.outlive()
    expect(await t.store.delete("s1"), "delete() gave False for a session that there was")
    await refused(t.store.append("s1", 4, numbered(1), claim), "session_deleted", "an append of its late owner")


@promises("Orphaned are the sessions whose turn runs while no living owner has claimed them.")
async def orphans_are_found(t: Trial) -> None:
    one = await t.owner()
    await t.taken("running", [created("running"), asked("Hello.")], one)
    await t.taken("parked", [created("parked"), asked("Hello."), parked()], one)
    await t.taken("idle", session_of("idle"), one)
    await t.store.append("unclaimed", 0, [created("unclaimed"), asked("Hello.")])
    await _orphans(t, {"unclaimed"}, "while the owner lives")
    await t.outlive()
    await _orphans(t, {"unclaimed", "running"}, "when the owner's lease has run out")
    two = await t.owner()
    await t.store.claim("running", two)
    await _orphans(t, {"unclaimed"}, "when another owner has claimed one")
    await t.store.retire(two)
    await _orphans(t, {"unclaimed", "running"}, "when that owner has retired")


async def _orphans(t: Trial, wanted: set[str], when: str) -> None:
    found = {info.id for info in await t.store.sessions(Query(orphaned=True))}
    same(found, wanted, f"sessions(orphaned=True) {when}")
