"""Promises about journals: appends, reads, and the snapshots beside them. Who may append is in `leases`."""

from __future__ import annotations

from ...core.entries import Entry, StepCommitted
from ...core.errors import TurnwiseError
from ...core.store import NewSession, Snapshot, Store
from .kit import (
    BrokenPromise,
    Trial,
    a_moment,
    at_once,
    begun,
    code_of,
    expect,
    promises,
    refused,
    rounds,
    same,
    same_entries,
    winner,
)
from .samples import (
    TRICKY_TEXTS,
    asked,
    created,
    did,
    entries_of_every_type,
    numbered,
    said,
    session_of,
    whole_turn,
)

BIG_CHARS = 2_000_000
MANY = 3_000


@promises("What was appended is read again, in order; an append without a claim returns 0.")
async def appended_entries_are_read(t: Trial) -> None:
    first, second = session_of("s1"), whole_turn("And now?", turn=2)
    same(await t.store.append("s1", 0, first), 0, "the fence of an append without a claim")
    await t.store.append("s1", len(first), second)
    same_entries(await t.store.read("s1"), [*first, *second], "read")
    same((await t.info("s1")).last, 7, "info().last")


@promises(
    "The first append of a session that was created beforehand goes into its empty journal and leaves its row as it was made."
)
async def created_sessions_take_their_first_append(t: Trial) -> None:
    made = await t.store.create(NewSession(id="s1", name="one", title="The first", agent="helper", tags=("a",)))
    same(made.last, 0, "SessionInfo.last before the first entry")
    same_entries(await t.store.read("s1"), [], "read before the first entry")
    await t.store.append("s1", 0, session_of("s1"))
    info = await t.info("s1")
    same(
        (info.name, info.title, info.agent, info.tags, info.last),
        ("one", "The first", "helper", ("a",), 4),
        "name, title, agent, tags and last after the first append",
    )


@promises(
    "An append whose `after` is not the journal's last number is refused with append_conflict and writes nothing."
)
async def conflicting_appends_write_nothing(t: Trial) -> None:
    first = session_of("s1")
    await t.store.append("s1", 0, first)
    before = await t.info("s1")
    for after in (0, 1, 3, 5, 1000):
        await refused(
            t.store.append("s1", after, whole_turn("Mine!", turn=2)), "append_conflict", f"append(after={after})"
        )
    same_entries(await t.store.read("s1"), first, "the journal after appends that were refused")
    same(await t.info("s1"), before, "the row after appends that were refused")


@promises(
    "An append to a session that is not there, `after` not being 0, is refused with session_deleted and makes nothing."
)
async def appends_to_a_deleted_session_are_refused(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1"))
    await t.store.delete("s1")
    await refused(
        t.store.append("s1", 4, whole_turn("Still there?", turn=2)), "session_deleted", "an append after delete"
    )
    same(await t.store.info("s1"), None, "info() of a deleted session after a late append")
    same_entries(await t.store.read("s1"), [], "the journal of a deleted session after a late append")


@promises(
    "Of appends at the same place, from several handles at once, exactly one is written, whole; the others get append_conflict."
)
async def one_of_many_writers_wins(t: Trial) -> None:
    other = await t.second_or_same()
    await t.store.append("s1", 0, session_of("s1"))
    batches: list[list[Entry]] = [[said(f"writer {n}"), did(f"writer {n}"), said(f"writer {n}, too")] for n in range(8)]
    outcomes = await at_once((other if n % 2 else t.store).append("s1", 4, batch) for n, batch in enumerate(batches))
    won = winner(outcomes, "append_conflict", "appends at the same place")
    same_entries((await t.store.read("s1"))[4:], batches[won], "what the winner wrote")


@promises("Several appends to one session may be under way; they take effect in the order of their calls.")
async def appends_take_effect_in_the_order_of_calls(t: Trial) -> None:
    await t.store.append("s1", 0, [created("s1")])
    entries = numbered(60)
    done = await at_once(t.store.append("s1", 1 + n, [entry]) for n, entry in enumerate(entries))
    wrong = [outcome for outcome in done if isinstance(outcome, BaseException)]
    expect(not wrong, f"{len(wrong)} of 60 appends, each behind the one before, failed; the first with {wrong[:1]}")
    same_entries((await t.store.read("s1"))[1:], entries, "the journal")


@promises("An append that is refused does no harm to appends of other sessions that are under way with it.")
async def a_refused_append_harms_no_other(t: Trial) -> None:
    for n in range(6):
        await t.store.append(f"s{n}", 0, session_of(f"s{n}"))
    wrong = {1, 4}
    outcomes = await at_once(
        t.store.append(f"s{n}", 99 if n in wrong else 4, whole_turn(f"turn of {n}", turn=2)) for n in range(6)
    )
    for n, outcome in enumerate(outcomes):
        entries = await t.store.read(f"s{n}")
        if n in wrong:
            same(code_of(outcome), "append_conflict", f"the outcome of append {n} of 6, at a wrong place")
            same_entries(entries, session_of(f"s{n}"), f"the journal of append {n} of 6, at a wrong place")
        else:
            same(outcome, 0, f"the outcome of append {n} of 6, at the right place, beside two at a wrong one")
            same_entries(entries[4:], whole_turn(f"turn of {n}", turn=2), f"the journal of append {n} of 6")


@promises(
    "An append that is cancelled takes effect wholly or not at all, and the journal can be appended to as it is then."
)
async def cancelled_appends_are_whole(t: Trial) -> None:
    await t.store.append("s1", 0, [created("s1")])
    for yields in range(12):
        await _cancel_one(t, yields)
    entries = (await t.store.read("s1"))[1:]
    for at in range(0, len(entries), 5):
        same(
            len({_batch_of(e) for e in entries[at : at + 5]}),
            1,
            "how many appends the five entries of an append are of",
        )


async def _cancel_one(t: Trial, yields: int) -> None:
    batch: list[Entry] = [said(f"cancelled {yields}, {part}") for part in range(5)]
    before = len(await t.store.read("s1"))
    appending = begun(t.store.append("s1", before, batch))
    await rounds(yields)
    appending.cancel()
    await at_once([appending])
    follow: list[Entry] = [said(f"after {yields}, {part}") for part in range(5)]
    for _ in range(200):
        now = len(await t.store.read("s1"))
        same(
            (now - before) % 5,
            0,
            f"how many entries an append of 5 that was cancelled (after {yields} rounds) left over",
        )
        try:
            await t.store.append("s1", now, follow)
        except TurnwiseError as error:
            same(error.code, "append_conflict", "what an append after a cancelled one was refused with")
            await a_moment()
        else:
            return
    raise BrokenPromise("after a cancelled append no other came through")


def _batch_of(entry: Entry) -> str:
    assert isinstance(entry, StepCommitted)
    return entry.message.text.partition(",")[0]


@promises("An append is seen wholly or not at all, by every handle, also while it is being made.")
async def appends_are_seen_whole(t: Trial) -> None:
    reader = await t.second_or_same()
    await t.store.append("s1", 0, [created("s1")])

    async def write() -> None:
        for n in range(20):
            await t.store.append("s1", 1 + n * 7, numbered(7, n * 7))

    writing = begun(write())
    try:
        while not writing.done():
            seen = len(await reader.read("s1"))
            same(max(seen - 1, 0) % 7, 0, "entries seen of an append of 7 that was under way")
            await rounds()
    finally:
        await writing
    same(len(await reader.read("s1")), 141, "entries in the end")


@promises("What one handle was told is written, any other handle sees at once.", "second")
async def other_handles_see_what_is_written(t: Trial) -> None:
    other = await t.second()
    for n in range(5):
        await t.store.append("s1", 4 * n, session_of("s1") if n == 0 else [*whole_turn("Again", turn=n + 1), said("x")])
        same(len(await other.read("s1")), 4 * n + 4, "entries that another handle reads right after an append")
        info = await other.info("s1")
        same(info.last if info else None, 4 * n + 4, "info().last by another handle right after an append")
    await refused(t.store.append("s1", 3, numbered(1)), "append_conflict", "an append at a wrong place")
    await other.append("s1", 20, numbered(1))
    await refused(
        t.store.append("s1", 20, numbered(1)), "append_conflict", "an append where another handle has written"
    )
    same(len(await t.store.read("s1")), 21, "entries read after another handle has written")


@promises("Everything that was told to be kept is there when the data is opened again.", "reopen")
async def everything_outlives_a_restart(t: Trial) -> None:
    await t.store.create(NewSession(id="s1", name="kept", title="Title", agent="helper", folder="/f", tags=("x", "y")))
    await t.store.append("s1", 0, session_of("s1"))
    await t.store.save_snapshot("s1", Snapshot(4, 2, b"state \x00"))
    await t.store.append("s2", 0, session_of("s2"))
    before = [await t.info("s1"), await t.info("s2")]
    for reopening in (1, 2):
        await t.reopen()
        same_entries(await t.store.read("s1"), session_of("s1"), f"the journal after reopening {reopening}")
        same([await t.info("s1"), await t.info("s2")], before, f"the rows after reopening {reopening}")
        same(await t.store.snapshot("s1"), Snapshot(4, 2, b"state \x00"), f"the snapshot after reopening {reopening}")
    await refused(
        t.store.append("s1", 3, numbered(1)), "append_conflict", "an append at a wrong place, after reopening"
    )
    await t.store.append("s1", 4, whole_turn("On", turn=2))
    same(len(await t.store.read("s1")), 7, "entries after going on")


@promises("Entries of every type come back equal, with whatever their fields hold.")
async def entries_of_every_type_come_back(t: Trial) -> None:
    entries = [created("s1"), *entries_of_every_type()]
    for at in range(0, len(entries), 25):
        await t.store.append("s1", at, entries[at : at + 25])
    same_entries(await t.store.read("s1"), entries, "read")


@promises("Any text comes back as it was, in any script, with any character.")
async def any_text_comes_back(t: Trial) -> None:
    entries = [created("s1"), *[e for text in TRICKY_TEXTS for e in (asked(text), said(text), did(text))]]
    await t.store.append("s1", 0, entries)
    same_entries(await t.store.read("s1"), entries, "read")
    for number, text in enumerate(TRICKY_TEXTS):
        session = f"odd-{number}"
        await t.store.append(session, 0, session_of(session, text))
        same_entries(await t.store.read(session), session_of(session, text), f"a session that began with {text!r}")


@promises("An entry may be large.")
async def big_entries_come_back(t: Trial) -> None:
    big = "".join(chr(0x61 + n % 26) if n % 97 else "é" for n in range(BIG_CHARS))
    await t.store.append("s1", 0, [created("s1"), asked(big), said("short"), did(big)])
    same_entries(await t.store.read("s1"), [created("s1"), asked(big), said("short"), did(big)], "read")


@promises("A journal may have thousands of entries, and is read from any place on, with any limit.")
async def long_journals_are_read_by_pieces(t: Trial) -> None:
    entries: list[Entry] = [created("s1"), *numbered(MANY - 1, 2)]
    for at in range(0, MANY, 500):
        await t.store.append("s1", at, entries[at : at + 500])
    same_entries(await t.store.read("s1"), entries, "read of all")
    read: list[Entry] = []
    while piece := await t.store.read("s1", len(read), 700):
        expect(len(piece) <= 700, f"read(limit=700) gave {len(piece)} entries")
        read += piece
    same_entries(read, entries, "read by pieces of 700")
    for after, limit in ((0, 1), (1, 1), (MANY - 1, 5), (MANY - 1, None), (17, 3)):
        wanted = entries[after : None if limit is None else after + limit]
        same_entries(await t.store.read("s1", after, limit), wanted, f"read(after={after}, limit={limit})")


@promises("There is nothing to read behind the end of a journal, with a limit of 0, or of a session that is not there.")
async def reading_nothing_is_no_error(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1"))
    same(len(await t.store.read("s1", 4)), 0, "entries behind the last")
    same(len(await t.store.read("s1", 400)), 0, "entries far behind the last")
    same(len(await t.store.read("s1", 0, 0)), 0, "entries with limit=0")
    same(len(await t.store.read("nobody")), 0, "entries of an unknown session")
    same(await t.store.info("nobody"), None, "info() of an unknown session")


@promises("Many sessions are written and read at the same time, and no journal gets what belongs to another.")
async def many_at_a_time(t: Trial) -> None:
    handles: list[Store] = [t.store, await t.second_or_same()]

    async def live(n: int) -> None:
        store, session = handles[n % 2], f"s{n}"
        await store.append(session, 0, session_of(session, f"I am {n}."))
        for turn in (2, 3, 4):
            at = len(await store.read(session))
            await store.append(session, at, whole_turn(f"I am {n}, turn {turn}.", turn=turn))

    for outcome in await at_once(live(n) for n in range(40)):
        expect(outcome is None, f"one of 40 sessions at the same time failed: {outcome!r}")
    for n in range(40):
        wanted = session_of(f"s{n}", f"I am {n}.")
        for turn in (2, 3, 4):
            wanted += whole_turn(f"I am {n}, turn {turn}.", turn=turn)
        same_entries(await t.store.read(f"s{n}"), wanted, f"the journal of session {n} of 40")


# --- snapshots ----------------------------------------------------------------------------------------------------------


@promises(
    "The newest snapshot is kept: an older one than that is ignored, and so is one of a session that is not there."
)
async def the_newest_snapshot_is_kept(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1"))
    same(await t.store.snapshot("s1"), None, "the snapshot before any was saved")
    middle, newest = Snapshot(3, 1, bytes(range(256))), Snapshot(4, 1, b"x" * 100_000)
    await t.store.save_snapshot("s1", middle)
    same(await t.store.snapshot("s1"), middle, "the snapshot that was saved")
    await t.store.save_snapshot("s1", newest)
    await t.store.save_snapshot("s1", Snapshot(2, 1, b"old"))
    await t.store.save_snapshot("s1", middle)
    same(await t.store.snapshot("s1"), newest, "the snapshot after older ones were saved again")
    await t.store.save_snapshot("nobody", newest)
    same(await t.store.snapshot("nobody"), None, "the snapshot of an unknown session")
    same(await t.store.info("nobody"), None, "info() of a session that only a snapshot was saved for")
    await t.store.append("s2", 0, session_of("s2"))
    same(await t.store.snapshot("s2"), None, "the snapshot of another session")
