"""Promises about records: small values under scope and key."""

from __future__ import annotations

import itertools

from ...core.errors import TurnwiseError
from ...core.store import Record, Scope, Store
from .kit import BrokenPromise, Trial, at_once, expect, promises, refused, same, winner
from .samples import session_of

USER = Scope("user", "ann")

KEYS = (
    "a",
    "a-b",
    "a/b",
    "a/c",
    "a/c/d",
    "a%",
    "a%b",
    "a_",
    "a_b",
    "axb",
    "A",
    "B",
    "b",
    "Z",
    "_",
    "%",
    "\\",
    "é",
    "z",
    "世界",
    "🎉",
    "'",
    '"',
)


@promises(
    "A record comes back as it was written, byte for byte, and says who wrote it, when, and how often it was changed."
)
async def records_come_back(t: Trial) -> None:
    same(await t.store.get_record(USER, "k"), None, "get_record() before anything was written")
    first = await t.store.put_record(USER, "k", b'{"b": 1,  "a": [1.0, "\\u00e9"]}', schema=3, writer="tool:look")
    same(first, await t.store.get_record(USER, "k"), "what put_record() gave, and get_record()")
    found = (first.key, first.value, first.version, first.schema, first.writer, first.expires_at)
    same(found, ("k", b'{"b": 1,  "a": [1.0, "\\u00e9"]}', 1, 3, "tool:look", None), "the record")
    same(first.created_at, first.updated_at, "updated_at of a new record")
    await t.tick()
    second = await t.store.put_record(USER, "k", b"null")
    same(second, await t.store.get_record(USER, "k"), "what put_record() gave, and get_record(), the second time")
    same(
        (second.value, second.version, second.schema, second.writer), (b"null", 2, 1, ""), "the record, the second time"
    )
    same(second.created_at, first.created_at, "created_at after a change")
    expect(second.updated_at > first.updated_at, "updated_at does not grow with a change")
    big = b'"' + b"x" * 1_000_000 + b'"'
    same((await t.store.put_record(USER, "big", big)).value, big, "a record of a million bytes")


@promises("Scopes are apart: kind, name and tenant all count.")
async def scopes_are_apart(t: Trial) -> None:
    scopes = [
        Scope("global"),
        Scope("global", tenant="elsewhere"),
        Scope("user", "x"),
        Scope("user", "y"),
        Scope("agent", "x"),
        Scope("session", "x"),
        Scope("user", "x", "elsewhere"),
    ]
    for n, scope in enumerate(scopes):
        await t.store.put_record(scope, "k", b"%d" % n)
    for n, scope in enumerate(scopes):
        record = await t.store.get_record(scope, "k")
        same(record.value if record else None, b"%d" % n, f"the value in {scope}")
        same([r.value for r in await t.store.records(scope)], [b"%d" % n], f"records() of {scope}")
    await t.store.delete_record(scopes[2], "k")
    for n, scope in enumerate(scopes):
        expect(
            (await t.store.get_record(scope, "k") is None) == (n == 2), f"delete_record() in a user's scope met {scope}"
        )


@promises(
    "With `expect`, a record is written only if it has that version (0: if there is none); else version_conflict, and nothing is written."
)
async def expected_versions_are_compared(t: Trial) -> None:
    await refused(t.store.put_record(USER, "k", b"1", expect=1), "version_conflict", "expect=1 where there is none")
    same(await t.store.get_record(USER, "k"), None, "the record after a put that was refused")
    kept = await t.store.put_record(USER, "k", b"1", expect=0)
    for wrong in (0, 2):
        await refused(
            t.store.put_record(USER, "k", b"2", expect=wrong), "version_conflict", f"expect={wrong} at version 1"
        )
        await refused(t.store.delete_record(USER, "k", expect=wrong), "version_conflict", f"a deletion, expect={wrong}")
    same(await t.store.get_record(USER, "k"), kept, "the record after puts that were refused")
    same((await t.store.put_record(USER, "k", b"2", expect=1)).version, 2, "the version after expect=1")
    expect(await t.store.delete_record(USER, "k", expect=2), "delete_record() gave False for a record that there was")
    same(await t.store.get_record(USER, "k"), None, "a record that was deleted")
    expect(not await t.store.delete_record(USER, "k"), "delete_record() gave True where there was none")
    expect(not await t.store.delete_record(USER, "never"), "delete_record() gave True for what never was")
    await t.store.put_record(USER, "k", b"3", expect=0)


@promises("Of several that write with the same `expect` at once, exactly one does; so no change is lost.")
async def changes_are_not_lost(t: Trial) -> None:
    handles = [t.store, await t.second_or_same()]
    outcomes = await at_once(handles[n % 2].put_record(USER, "first", b"%d" % n, expect=0) for n in range(6))
    winner(outcomes, "version_conflict", "writing where there was none")
    await t.store.put_record(USER, "n", b"0")
    for outcome in await at_once(_count_up(handles[n % 2], 5) for n in range(4)):
        expect(outcome is None, f"counting up failed: {outcome!r}")
    record = await t.store.get_record(USER, "n")
    same((record.value, record.version) if record else None, (b"20", 21), "value and version after 20 times one more")


async def _count_up(store: Store, times: int) -> None:
    for _ in range(times):
        for attempt in itertools.count():
            now = await store.get_record(USER, "n")
            assert now is not None
            try:
                await store.put_record(USER, "n", b"%d" % (int(now.value) + 1), expect=now.version)
                break
            except TurnwiseError as error:
                same(error.code, "version_conflict", "what a put with `expect` was refused with")
                if attempt > 200:
                    raise BrokenPromise("a put with `expect` was refused 200 times in a row") from error


@promises("A record is gone when its time to live is over: it counts as none, but its version goes on.")
async def records_expire(t: Trial) -> None:
    ttl = t.lease_s
    made = await t.store.put_record(USER, "k", b"1", ttl_s=ttl)
    await t.store.put_record(USER, "other", b"1")
    expect(
        made.expires_at is not None and abs(made.expires_at - made.updated_at - ttl) < 1,
        f"expires_at is {made.expires_at}",
    )
    same(await t.store.get_record(USER, "k"), made, "the record before its time is over")
    await t.outlive()
    same(await t.store.get_record(USER, "k"), None, "the record when its time is over")
    same([r.key for r in await t.store.records(USER)], ["other"], "keys of records() when its time is over")
    expect(not await t.store.delete_record(USER, "k"), "delete_record() gave True for a record whose time is over")
    await refused(
        t.store.put_record(USER, "k", b"2", expect=1), "version_conflict", "expect=1 for a record whose time is over"
    )
    again = await t.store.put_record(USER, "k2", b"1", ttl_s=ttl)
    await t.outlive()
    again = await t.store.put_record(USER, "k2", b"2", expect=0)
    same((again.version, again.expires_at), (2, None), "version and expires_at of a record written anew")
    expect(again.created_at > made.created_at, "created_at of a record written anew is that of the one before")
    await t.outlive()
    same(await t.store.get_record(USER, "k2"), again, "a record that was written anew without a time to live")
    await t.store.put_record(USER, "k2", b"null", expect=2, ttl_s=0.0)
    same(await t.store.get_record(USER, "k2"), None, "a record that was written with no time to live at all")
    same((await t.store.put_record(USER, "k2", b"4", expect=0)).version, 4, "the version of the one written after it")


@promises(
    "records() gives the keys that begin with a prefix, whatever characters it has, in the order of their code points, by pages."
)
async def records_are_listed_by_prefix(t: Trial) -> None:
    for key in KEYS:
        await t.store.put_record(USER, key, b"1")
    for prefix in (
        "",
        "a",
        "a/",
        "a/c",
        "a%",
        "a_",
        "_",
        "%",
        "\\",
        "é",
        "世",
        "🎉",
        "'",
        "A",
        "nothing",
        "a/c/d",
        "a/c/d/e",
    ):
        wanted = sorted(key for key in KEYS if key.startswith(prefix))
        for limit in (1, 2, 100):
            same(await _listed(t, prefix, limit), wanted, f"records({prefix!r}) by pages of {limit}")
    found = [record.key for record in await t.store.records(USER, "a", after="a/b")]
    same(found, sorted(k for k in KEYS if k.startswith("a") and k > "a/b"), "records('a', after='a/b')")
    same(
        [r.key for r in await t.store.records(USER, "a/", after="a")],
        ["a/b", "a/c", "a/c/d"],
        "records('a/', after='a')",
    )


async def _listed(t: Trial, prefix: str, limit: int) -> list[str]:
    found: list[Record] = []
    while page := await t.store.records(USER, prefix, after=found[-1].key if found else "", limit=limit):
        expect(len(page) <= limit, f"records(limit={limit}) gave {len(page)}")
        found += page
        if len(found) > len(KEYS):
            raise BrokenPromise(f"pages of {limit} never end: {[r.key for r in found]}")
    return [record.key for record in found]


@promises(
    "What one handle has written, another reads at once; records are there when the data is opened again.",
    "reopen",
    "second",
)
async def records_outlive_a_restart(t: Trial) -> None:
    made = await t.store.put_record(USER, "k", b"1", writer="w", schema=2)
    await t.store.append("s1", 0, session_of("s1"))
    mine = await t.store.put_record(Scope("session", "s1"), "k", b"2")
    same(await (await t.second()).get_record(USER, "k"), made, "a record read by another handle")
    await t.reopen()
    same(await t.store.get_record(USER, "k"), made, "a record after reopening")
    same(await t.store.get_record(Scope("session", "s1"), "k"), mine, "a session's record after reopening")
