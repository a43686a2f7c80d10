"""Promises about rows: what a list of sessions shows, how it is asked and changed, and what deleting leaves."""

from __future__ import annotations

import asyncio
import weakref

from ...core.entries import Entry
from ...core.principal import LOCAL, Principal
from ...core.store import Edit, NewSession, Query, Scope, Snapshot
from .kit import BrokenPromise, Trial, at_once, begun, expect, promises, refused, rounds, same, same_entries, winner
from .samples import AT, SessionCreated, asked, created, did, numbered, parked, resumed, said, session_of, whole_turn

OTHER = Principal("elsewhere", "local")
LONG_S = 20.0


@promises("create() makes a row with what was given, an empty journal, and no turn.")
async def created_rows_are_as_given(t: Trial) -> None:
    expect(weakref.ref(t.store)() is t.store, "the store cannot be referred to weakly")
    given = NewSession(
        id="s1",
        principal=Principal("acme", "ann"),
        name="n",
        title="T",
        agent="a",
        folder="/home/ann",
        tags=("x", "y z"),
    )
    made = await t.store.create(given)
    for info, where in ((made, "what create() gave"), (await t.info("s1"), "info()")):
        found = (info.id, info.principal, info.name, info.title, info.agent, info.folder, info.tags)
        same(found, (given.id, given.principal, "n", "T", "a", "/home/ann", ("x", "y z")), where)
        found = (info.last, info.turns, info.messages, info.status, info.archived, info.owner, info.claimed_until)
        same(found, (0, 0, 0, "idle", False, "", None), where)
        same(info.created_at, info.updated_at, f"{where}: updated_at of a new session")


@promises("A session that was not created gets its row by its first append, from the SessionCreated in it.")
async def first_appends_make_rows(t: Trial) -> None:
    begin = SessionCreated("s1", Principal("acme", "ann"), AT, agent="helper")
    await t.store.append("s1", 0, [begin, *whole_turn("Hello.")])
    info = await t.info("s1")
    same(
        (info.id, info.principal, info.name, info.title, info.agent, info.folder, info.tags, info.archived),
        ("s1", Principal("acme", "ann"), None, "", "helper", "", (), False),
        "the row",
    )


@promises("An id is used once, also when two create it at the same moment.")
async def ids_are_used_once(t: Trial) -> None:
    other = await t.second_or_same()
    await t.store.create(NewSession(id="s1", title="first"))
    await refused(
        t.store.create(NewSession(id="s1", title="second")), "session_exists", "create() of an id that there is"
    )
    same((await t.info("s1")).title, "first", "the title after a create() that was refused")
    outcomes = await at_once((other if n % 2 else t.store).create(NewSession(id="s2", title=str(n))) for n in range(6))
    winner(outcomes, "session_exists", "create() of one id at once")


@promises("A name is unique within its tenant; another tenant may use it, too.")
async def names_are_unique_within_a_tenant(t: Trial) -> None:
    other = await t.second_or_same()
    await t.store.create(NewSession(id="s1", name="mine"))
    await refused(t.store.create(NewSession(id="s2", name="mine")), "name_taken", "create() with a name that is taken")
    same(await t.store.info("s2"), None, "info() of a session that was not created")
    user = NewSession(id="s3", name="mine", principal=Principal(LOCAL.tenant, "someone"))
    await refused(t.store.create(user), "name_taken", "create() by another user of the tenant")
    await t.store.create(NewSession(id="s4", name="mine", principal=OTHER))
    outcomes = await at_once((other if n % 2 else t.store).create(NewSession(id=f"n{n}", name="new")) for n in range(6))
    winner(outcomes, "name_taken", "create() with one name at once")
    for n in range(3):
        await t.store.create(NewSession(id=f"nameless{n}"))


@promises("edit() changes what it is given and leaves everything else; it gives the row as it is then.")
async def edits_change_what_they_say(t: Trial) -> None:
    await t.store.create(NewSession(id="s1", name="n", title="T", agent="a", folder="/f", tags=("x",)))
    await t.store.append("s1", 0, session_of("s1"))
    before = await t.info("s1")
    for edit, name in (
        (Edit(title="New"), "title"),
        (Edit(name="other"), "name"),
        (Edit(agent="b"), "agent"),
        (Edit(tags=("y", "z")), "tags"),
        (Edit(archived=True), "archived"),
        (Edit(name=None), "name"),
        (Edit(tags=()), "tags"),
        (Edit(title=""), "title"),
        (Edit(archived=False), "archived"),
    ):
        await t.tick()
        after = await t.store.edit("s1", edit)
        same(after, await t.info("s1"), "what edit() gave, and info() afterwards")
        same(getattr(after, name), getattr(edit, name), f"{name} after {edit}")
        for field in before.__struct_fields__:
            if field != name:
                same(getattr(after, field), getattr(before, field), f"{field} after {edit}")
        before = after
    same_entries(await t.store.read("s1"), session_of("s1"), "the journal")
    same(await t.store.edit("s1", Edit()), before, "the row after an edit of nothing")
    await refused(t.store.edit("nobody", Edit(title="x")), "unknown_session", "edit() of an unknown session")


@promises(
    "Renaming to a name that is taken is refused with name_taken and changes nothing; a name that was given up is free."
)
async def renaming_minds_who_has_the_name(t: Trial) -> None:
    await t.store.create(NewSession(id="s1", name="one"))
    await t.store.create(NewSession(id="s2", name="two", title="T"))
    await refused(t.store.edit("s2", Edit(name="one", title="New")), "name_taken", "edit() to a name that is taken")
    info = await t.info("s2")
    same((info.name, info.title), ("two", "T"), "name and title after an edit() that was refused")
    await t.store.edit("s2", Edit(name="two"))
    await t.store.edit("s1", Edit(name="first"))
    await t.store.edit("s2", Edit(name="one"))
    await t.store.edit("s1", Edit(name=None))
    await t.store.create(NewSession(id="s3", name="first"))
    await t.store.delete("s3")
    await t.store.create(NewSession(id="s4", name="first"))


@promises("A row counts entries, turns and messages, and says whether a turn runs, is parked, or neither.")
async def rows_follow_the_journal(t: Trial) -> None:
    steps: list[tuple[list[Entry], str, int, int]] = [
        ([created("s1")], "idle", 0, 0),
        ([asked("Hello.")], "running", 1, 1),
        ([said("One moment."), did("a result"), did("another")], "running", 1, 4),
        ([parked()], "parked", 1, 4),
        ([resumed(), said("Done.")], "running", 1, 5),
        ([*whole_turn("x")[2:]], "idle", 1, 5),
        (whole_turn("Again", turn=2), "idle", 2, 7),
        ([*whole_turn("And", turn=3), asked("again", 4)], "running", 4, 10),
    ]
    last = 0
    for entries, status, turns, messages in steps:
        await t.store.append("s1", last, entries)
        last += len(entries)
        info = await t.info("s1")
        found = (info.last, info.status, info.turns, info.messages)
        same(
            found,
            (last, status, turns, messages),
            f"last, status, turns and messages after {type(entries[-1]).__name__}",
        )
        listed = [i.id for i in await t.store.sessions(Query(status=info.status))]
        same(listed, ["s1"], f"sessions(status={status!r})")


@promises("created_at stays, updated_at grows with every append; both go by the store's own clock.")
async def dates_go_by_the_stores_clock(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1"))
    first = await t.info("s1")
    await t.advance(0.05)
    await t.store.append("s1", 4, whole_turn("x", turn=2))
    later = await t.info("s1")
    same(later.created_at, first.created_at, "created_at after an append")
    grown = later.updated_at - first.updated_at
    expect(grown >= 0.04, f"updated_at has grown by {grown:g} s in 0.05 s")
    await t.store.append("s2", 0, session_of("s2"))
    expect((await t.info("s2")).created_at >= later.updated_at, "a later session has an earlier created_at")


@promises(
    "A list gives the sessions that fit, of one tenant or (None) of all, and no others, for each thing that can be asked."
)
async def lists_give_what_fits(t: Trial) -> None:
    bob = Principal(LOCAL.tenant, "bob")
    await t.store.create(NewSession(id="a", name="Ann's", agent="x", folder="/f", tags=("red", "big")))
    await t.store.create(NewSession(id="b", principal=bob, agent="x", folder="/f/g", tags=("red",)))
    await t.store.create(NewSession(id="c", agent="y", folder="/f", tags=("big", "red", "old")))
    await t.store.create(NewSession(id="d", tags=("re", "100%", "_ig")))
    await t.store.create(NewSession(id="e", principal=OTHER, name="Ann's", agent="x", folder="/f", tags=("red",)))
    await t.store.edit("d", Edit(archived=True))
    await t.store.append("b", 0, [created("b", bob), asked("Hello.")])
    for query, wanted in (
        (Query(), "abc"),
        (Query(archived=None), "abcd"),
        (Query(archived=True), "d"),
        (Query(user="bob"), "b"),
        (Query(user="local"), "ac"),
        (Query(user=""), ""),
        (Query(name="Ann's"), "a"),
        (Query(name="ann's"), ""),
        (Query(name="%"), ""),
        (Query(agent="x"), "ab"),
        (Query(folder="/f"), "ac"),
        (Query(tags=("red",)), "abc"),
        (Query(tags=("red", "big")), "ac"),
        (Query(tags=("big", "red", "old")), "c"),
        (Query(tags=("re",), archived=None), "d"),
        (Query(tags=("100%",), archived=None), "d"),
        (Query(tags=("_ig",), archived=None), "d"),
        (Query(tags=("nothing",), archived=None), ""),
        (Query(status="running"), "b"),
        (Query(status="idle"), "ac"),
        (Query(status="parked"), ""),
        (Query(agent="x", status="running", tags=("red",)), "b"),
        (Query(tenant="elsewhere"), "e"),
        (Query(tenant="nowhere"), ""),
        (Query(tenant=None), "abce"),
        (Query(tenant=None, name="Ann's"), "ae"),
    ):
        found = "".join(sorted(info.id for info in await t.store.sessions(query)))
        same(found, wanted, f"ids of sessions({query})")


@promises("`updated_before` gives the sessions that were not changed since.")
async def lists_go_by_age(t: Trial) -> None:
    await t.store.append("old", 0, session_of("old"))
    await t.tick()
    await t.store.append("new", 0, session_of("new"))
    at = (await t.info("new")).updated_at
    found = [info.id for info in await t.store.sessions(Query(updated_before=at))]
    same(found, ["old"], "sessions(updated_before=) at the date of the newer one")
    found = [info.id for info in await t.store.sessions(Query(updated_before=(await t.info("old")).updated_at))]
    same(found, [], "sessions(updated_before=) at the date of the older one")


@promises("Sessions come in the order of their last change, the latest first, page by page, each once.")
async def lists_come_in_pages(t: Trial) -> None:
    for n in range(10):
        await t.store.append(f"s{n}", 0, session_of(f"s{n}"))
        await t.tick()
    for n in (3, 7):
        await t.store.append(f"s{n}", 4, whole_turn("Again", turn=2))
        await t.tick()
    wanted = [f"s{n}" for n in (7, 3, 9, 8, 6, 5, 4, 2, 1, 0)]
    for limit in (1, 3, 10, 100):
        same(await _paged(t, limit), wanted, f"ids by pages of {limit}")
    await at_once(t.store.append(f"burst{n}", 0, session_of(f"burst{n}")) for n in range(20))
    found = await _paged(t, 4)
    same(sorted(found), sorted([*wanted, *[f"burst{n}" for n in range(20)]]), "ids by pages of 4, many of one moment")
    same(found[20:], wanted, "the older ones, behind 20 of one moment")


async def _paged(t: Trial, limit: int) -> list[str]:
    found: list[str] = []
    while page := await t.store.sessions(Query(limit=limit, after=found[-1] if found else None)):
        expect(len(page) <= limit, f"sessions(limit={limit}) gave {len(page)}")
        found += [info.id for info in page]
        if len(found) > 100:
            raise BrokenPromise(f"pages of {limit} never end: {found[:20]} …")
    return found


@promises(
    "Deleting removes the journal, the snapshot, the session's records and the row, and nothing of another session."
)
async def deleting_leaves_nothing(t: Trial) -> None:
    mine, others = Scope("session", "s1"), Scope("session", "s2")
    for session, scope in (("s1", mine), ("s2", others)):
        await t.store.append(session, 0, session_of(session, "Remarkable words."))
        await t.store.save_snapshot(session, Snapshot(4, 1, b"state"))
        await t.store.put_record(scope, "k", b"1")
    await t.store.put_record(Scope("user", "s1"), "k", b"1")
    expect(await t.store.delete("s1"), "delete() gave False for a session that there was")
    expect(not await t.store.delete("s1"), "delete() gave True for a session that was deleted")
    expect(not await t.store.delete("nobody"), "delete() gave True for an unknown session")
    same(await t.store.info("s1"), None, "info() of a deleted session")
    same_entries(await t.store.read("s1"), [], "the journal of a deleted session")
    same(await t.store.snapshot("s1"), None, "the snapshot of a deleted session")
    same(await t.store.get_record(mine, "k"), None, "a record of a deleted session")
    same([i.id for i in await t.store.sessions(Query())], ["s2"], "the list after delete()")
    hits = await t.store.search(LOCAL.tenant, "remarkable")
    same({hit.session for hit in hits}, {"s2"}, "where search() finds the words of both")
    await refused(t.store.edit("s1", Edit(title="x")), "unknown_session", "edit() of a deleted session")
    same_entries(await t.store.read("s2"), session_of("s2", "Remarkable words."), "the journal of the other session")
    expect(await t.store.snapshot("s2"), "the snapshot of the other session is gone")
    expect(await t.store.get_record(others, "k"), "a record of the other session is gone")
    expect(await t.store.get_record(Scope("user", "s1"), "k"), "a record of a user is gone with a session of that name")


@promises(
    "wait() returns the journal's last number as soon as that is above `after`, whoever appends; else when its time is up."
)
async def waiting_ends_with_an_append(t: Trial) -> None:
    other = await t.second_or_same()
    began = asyncio.get_running_loop().time()
    await t.store.append("s1", 0, session_of("s1"))
    same(await t.store.wait("s1", 3, LONG_S), 4, "wait(after=3) with 4 entries there")
    same(await t.store.wait("s1", 4, 0.05), 4, "wait(after=4) when its time is up")
    same(await t.store.wait("nobody", 0, 0.05), 0, "wait() for an unknown session when its time is up")
    for store, who in ((t.store, "the same handle"), (other, "another handle")):
        last = len(await t.store.read("s1"))
        waiting = [begun(t.store.wait("s1", last, LONG_S)) for _ in range(3)]
        await rounds(3)
        await t.store.append(f"not by {who}", 0, session_of(f"not by {who}"))
        await store.append("s1", last, numbered(2))
        same(await at_once(waiting), [last + 2] * 3, f"three wait() that an append of {who} ends")
    took_s = asyncio.get_running_loop().time() - began
    expect(took_s < LONG_S / 2, f"waiting took {took_s:.1f} s, though there was always something to wake up for")
    gone = begun(t.store.wait("s1", 99, LONG_S))
    await rounds()
    gone.cancel()
    await at_once([gone])
    expect(gone.cancelled(), "a wait() that was cancelled went on")


@promises("stats() has at least sessions, entries, blobs and bytes, and they follow what is kept.")
async def figures_follow_what_is_kept(t: Trial) -> None:
    before = await t.store.stats()
    lacking = {"sessions", "entries", "blobs", "bytes"} - set(before)
    expect(not lacking, f"stats() has no {lacking}")
    await t.store.append("s1", 0, session_of("s1"))
    await t.store.append("s2", 0, session_of("s2"))
    await t.store.blobs(LOCAL.tenant).put(b"some bytes")
    after = await t.store.stats()
    grown = [after[name] - before[name] for name in ("sessions", "entries", "blobs")]
    same(grown, [2, 8, 1], "how sessions, entries and blobs have grown")
    await t.store.delete("s1")
    last = await t.store.stats()
    same([last[name] - before[name] for name in ("sessions", "entries")], [1, 4], "the same after a delete()")


@promises("close() finishes what was begun, and may be called again.")
async def closing_twice_is_no_error(t: Trial) -> None:
    await t.store.append("s1", 0, [created("s1")])
    under_way = [begun(t.store.append("s1", 1 + n, numbered(1, n))) for n in range(5)]
    await rounds()
    await t.store.close()
    outcomes = await at_once(under_way)
    wrong = [o for o in outcomes if isinstance(o, BaseException)]
    expect(not wrong, f"appends that were under way at close() failed: {wrong[:1]}")
    await t.store.close()
    if t.given.reopen is not None:
        await t.reopen()
        same(len(await t.store.read("s1")), 6, "entries after closing with appends under way")
