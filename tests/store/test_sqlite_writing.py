"""Many tasks, loops and processes append to one SQLite file: everything acknowledged is there, once, in order; commits are shared."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.store.journals import created, ended, said, same, write
from tests.store.sqlite_child import entry
from tests.store.sqlite_support import child, join_closing, line, names_in, threads, until

import turnwise
from turnwise import SqliteStore
from turnwise.core.store import Claim, NewSession, Owner, Query
from turnwise.errors import StateError
from turnwise.store.sqlite import writer as writing

LONG = os.environ.get("TURNWISE_LONG") == "1"


# --- processes ----------------------------------------------------------------------------------------------------------


async def test_eight_processes_append_at_once(tmp_path: Path) -> None:
    """D4: nobody ever hears that the database is locked, and nothing is missing."""
    path, count = tmp_path / "t.db", 500 if LONG else 60
    with ExitStack() as stack:
        processes = [stack.enter_context(child("append", path, f"s{n}", count)) for n in range(8)]
        assert [line(p) for p in processes] == ['"ready"\n'] * 8
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [line(p) for p in processes] == ['"done"\n'] * 8
        assert [p.wait(30) for p in processes] == [0] * 8
    store = SqliteStore(path)
    for n in range(8):
        assert same(await store.read(f"s{n}"), [entry(f"s{n}", i) for i in range(count)])
    assert (await store.verify()).ok
    await store.close()


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_what_was_acknowledged_survives_a_kill(durability: str, tmp_path: Path) -> None:
    """D1"""
    path = tmp_path / "t.db"
    with child("count", path, "s", durability) as process:
        told = [line(process) for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
    told += rest.splitlines(keepends=True)
    acknowledged = int(next(number for number in reversed(told) if number.endswith("\n")))
    store = SqliteStore(path)
    read = await store.read("s")
    assert len(read) >= acknowledged >= 40
    assert same(read, [entry("s", i) for i in range(len(read))])
    await store.append("s", len(read), [ended()])
    assert (await store.verify()).ok
    await store.close()


# --- one process --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_appends_that_are_due_together_share_a_commit(durability: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db", durability=durability)  # type: ignore[arg-type]
    await store.create(NewSession(id="first"))
    before = (await store.stats())["commits"]
    await asyncio.gather(*[store.append(f"s{n}", 0, [created(f"s{n}")]) for n in range(100)])
    after = await store.stats()
    assert after["sessions"] == 101
    assert after["commits"] - before <= 10
    await store.close()


async def test_one_append_after_the_other_makes_a_commit_each(tmp_path: Path) -> None:
    """The counter counts what it says: else the test before would hold for nothing."""
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 20)
    assert (await store.stats())["commits"] == 20
    await store.close()


async def test_a_refused_append_does_not_hurt_those_beside_it(tmp_path: Path) -> None:
    """D3, D4: conflict, busy session and lost lease in the same commit with good appends."""
    store = SqliteStore(tmp_path / "t.db")
    await store.heartbeat(Owner("a"), 60)
    await write(store, "good", 3)
    await store.append("held", 0, [created("held")], Claim("a"))
    outcomes = await asyncio.gather(
        store.append("good", 3, [ended(1)]),
        store.append("good", 3, [ended(2)]),
        store.append("held", 1, [ended()], Claim("b")),
        store.append("held", 1, [ended()], Claim("a", 7)),
        store.append("none", 4, [ended()]),
        store.append("good", 4, [ended(3)]),
        store.append("new", 0, [created("new")]),
        return_exceptions=True,
    )
    codes = [getattr(outcome, "code", outcome) for outcome in outcomes]
    assert codes == [0, "append_conflict", "session_busy", "lease_lost", "session_deleted", 0, 0]
    assert [e.turn for e in (await store.read("good"))[3:]] == [1, 3]  # type: ignore[attr-defined]
    assert len(await store.read("held")) == len(await store.read("new")) == 1
    await store.close()


async def test_a_job_that_sqlite_fails_does_not_hurt_those_beside_it(tmp_path: Path) -> None:
    """The whole transaction is rolled back, and the others are done again, each alone."""
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 2)
    too_large = store.save_snapshot("s", turnwise.core.store.Snapshot(2**70, 1, b""))  # type: ignore[attr-defined]
    outcomes = await asyncio.gather(
        store.append("a", 0, [created("a")]), too_large, store.append("s", 2, [ended()]), return_exceptions=True
    )
    assert isinstance(outcomes[1], OverflowError)
    assert [outcomes[0], outcomes[2]] == [0, 0]
    assert len(await store.read("a")) == 1 and len(await store.read("s")) == 3
    assert (await store.verify()).ok
    await store.close()


async def test_a_cancelled_append_is_whole_or_not_there(tmp_path: Path) -> None:
    """D1: cancelled before, while and after it is written; the next one goes on from what is there."""
    store = SqliteStore(tmp_path / "t.db", durability="full")
    await store.append("s", 0, [created("s")])
    for rounds in range(12):
        last = len(await store.read("s"))
        task = asyncio.ensure_future(store.append("s", last, [said("a", rounds + 1), ended(rounds + 1)]))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert len(await store.read("s")) in (last, last + 2)
    assert (await store.verify()).ok
    await store.close()


async def test_appends_of_one_session_keep_their_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    await store.append("s", 0, [created("s")])
    outcomes = await asyncio.gather(*[store.append("s", n, [ended(n)]) for n in range(1, 700)])
    assert set(outcomes) == {0}
    assert [e.turn for e in (await store.read("s"))[1:]] == list(range(1, 700))  # type: ignore[attr-defined]
    await store.close()


async def test_a_full_queue_lets_them_wait_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded; who waits for room and is cancelled does not keep others waiting."""
    monkeypatch.setattr(writing, "MAX_QUEUED", 8)
    store = SqliteStore(tmp_path / "t.db", durability="full")
    await store.append("s", 0, [created("s")])
    tasks = [asyncio.ensure_future(store.append("s", n, [ended(n)])) for n in range(1, 200)]
    waiting = [asyncio.ensure_future(store.append("s", 1000, [ended()])) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*tasks)
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert len(await store.read("s")) == 200
    await store.append("s", 200, [ended()])
    await store.close()


async def test_who_leaves_the_line_lets_the_next_one_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Woken, and cancelled before it could take its place in the queue: there is room, and somebody waits for it."""
    monkeypatch.setattr(writing, "MAX_QUEUED", 1)
    store = SqliteStore(tmp_path / "t.db", durability="full")
    await store.append("s", 0, [created("s")])
    begun, release = threading.Event(), threading.Event()
    holding = asyncio.ensure_future(store._write(lambda db: begun.set() or release.wait(20)))
    await until(begun.is_set)
    filling = asyncio.ensure_future(store._write(lambda db: None))
    await until(lambda: store._writer.full)
    waiting = [asyncio.ensure_future(store._write(lambda db, n=n: n)) for n in range(3)]
    await until(lambda: len(store._writer._waiting) == 3)
    release.set()
    woken = store._writer._waiting[0][1]
    while not woken.done():  # noqa: ASYNC110 (between being woken and going on)
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait_for(asyncio.gather(holding, filling, *waiting[1:]), 20)
    await store.close()


async def test_keys_of_a_rolled_back_transaction_are_forgotten(tmp_path: Path) -> None:
    """A session that was made in it has no row; its key is that of the next one that is made."""
    store = SqliteStore(tmp_path / "t.db", durability="full")
    await store.append("first", 0, [created("first")])

    def breaks(db: object) -> None:
        raise LookupError("here")

    outcomes = await asyncio.gather(
        store.append("a", 0, [created("a")], Claim("nobody", 7)),
        store.append("b", 0, [created("b")]),
        store._write(breaks),
        return_exceptions=True,
    )
    assert [getattr(outcome, "code", outcome) for outcome in outcomes[:2]] == ["lease_lost", 0]
    broken = asyncio.ensure_future(asyncio.gather(store.append("c", 0, [created("c")]), store._write(breaks)))
    await asyncio.wait((broken,))
    assert isinstance(broken.exception(), LookupError)
    await store.append("d", 0, [created("d"), ended(1)])
    await store.append("c", 1, [ended(2)])
    assert [len(await store.read(session)) for session in ("first", "b", "c", "d")] == [1, 1, 2, 2]
    assert (await store.verify()).ok
    await store.close()


def test_several_loops_use_one_store(tmp_path: Path) -> None:
    """Each append is resolved on the loop that waits for it."""
    store = SqliteStore(tmp_path / "t.db")
    errors: list[BaseException] = []

    async def use(name: str) -> None:
        for number in range(40):
            await store.append(name, number, [entry(name, number)])
            assert asyncio.get_running_loop() is loop_of[name]
        assert len(await store.read(name)) == 40

    loop_of: dict[str, asyncio.AbstractEventLoop] = {}

    def run(name: str) -> None:
        async def main() -> None:
            loop_of[name] = asyncio.get_running_loop()
            await use(name)

        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(f"s{n}",)) for n in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not errors
    asyncio.run(store.close())


def test_a_store_outlives_its_first_loop(tmp_path: Path) -> None:
    """I2: repeated `asyncio.run`, also where the first one was left with an append under way."""
    store = SqliteStore(tmp_path / "t.db")

    async def leave() -> None:
        await write(store, "s", 3)
        task = asyncio.ensure_future(store.append("s", 3, [ended()]))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())

    async def go_on() -> None:
        last = len(await store.read("s"))
        assert last in (3, 4)
        await store.append("s", last, [ended()])
        assert len(await store.read("s")) == last + 1
        await store.close()

    asyncio.run(go_on())


# --- closing ------------------------------------------------------------------------------------------------------------


async def test_closing_does_what_is_queued(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    appends = [asyncio.ensure_future(store.append(f"s{n}", 0, [created(f"s{n}")])) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*appends) == [0] * 300
    again = SqliteStore(tmp_path / "t.db")
    assert (await again.stats())["sessions"] == 300
    await again.close()


async def test_nothing_is_left_of_a_closed_store(tmp_path: Path) -> None:
    """I3: no thread, no log beside the file; using it says so; closing again does nothing."""
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 3)
    await store.blobs("local").put(b"x")
    waiting = asyncio.ensure_future(store.wait("s", 3, 60))
    await asyncio.sleep(0.01)
    assert {name.rpartition("-")[2] for name in threads()} >= {"writer", "files"}
    await asyncio.gather(store.close(), store.close())
    await store.close()
    assert threads() == []
    assert names_in(tmp_path) == ["t.db", "t.db-blobs"]
    asked = [store.append("s", 3, [ended()]), store.read("s"), store.info("s"), store.blobs("local").put(b"y"), waiting]
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(outcome, StateError) and outcome.code == "store_closed"


async def test_a_store_that_was_forgotten_leaves_no_threads(tmp_path: Path) -> None:
    """I3"""
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 3)
    await store.sessions(Query())
    of_it = [thread for thread in threading.enumerate() if thread.name.startswith("turnwise-sqlite")]
    assert of_it
    del store
    gc.collect()
    for thread in of_it:
        thread.join(10)
    assert not any(thread.is_alive() for thread in of_it)


async def test_a_cancelled_close_still_closes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 3)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait((closing,))
    await store.close()
    await asyncio.to_thread(join_closing)
    assert threads() == []


# --- programs that keep the file locked ---------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's transaction, as a database browser leaves it open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db


async def test_the_loop_does_not_wait_for_another_program(tmp_path: Path) -> None:
    """C1: appends wait, in the thread; everything else goes on, and reads do."""
    store = SqliteStore(tmp_path / "t.db")
    await write(store, "s", 3)
    with locked(tmp_path / "t.db") as other:
        appending = asyncio.ensure_future(store.append("s", 3, [ended()]))
        longest, before = 0.0, time.monotonic()
        for _ in range(50):
            await asyncio.sleep(0.002)
            now = time.monotonic()
            longest, before = max(longest, now - before), now
        assert not appending.done()
        assert longest < 1.0
        assert len(await store.read("s")) == 3
        other.execute("ROLLBACK")
        assert await appending == 0
    assert len(await store.read("s")) == 4
    await store.close()


async def test_a_program_that_never_lets_go_is_named(tmp_path: Path) -> None:
    """D4: an error of its own, not "database is locked"; nothing is written, and it goes on afterwards."""
    store = SqliteStore(tmp_path / "t.db", busy_timeout_s=0.1)
    await write(store, "s", 3)
    with locked(tmp_path / "t.db"):
        with pytest.raises(StateError) as caught:
            await store.append("s", 3, [ended()])
        assert caught.value.code == "store_busy" and caught.value.info.retryable
        assert len(await store.read("s")) == 3
    await store.append("s", 3, [ended()])
    await store.close()


async def test_appends_at_once_are_appends(tmp_path: Path) -> None:
    """D3, D4: what need not be waited for is durable, checked and refused like any other; in `full`, on another loop and when something is
    queued before it, nothing is done."""
    with closing(sqlite3.connect(tmp_path / "t.db")) as other:
        store, full = SqliteStore(tmp_path / "t.db"), SqliteStore(tmp_path / "t.db", durability="full")
        assert store.append_at_once("s", 0, [created("s")]) is None  # the file is not open yet
        await store.heartbeat(Owner("me"), 30)
        await asyncio.sleep(0)
        assert store.append_at_once("s", 0, [created("s")], Claim("me", 0, True)) == 1
        assert store.append_at_once("s", 1, [said("hello")], Claim("me", 1, True)) == 1
        assert (
            store.append_at_once("s", 2, [ended()], Claim("me", 1, False)) is None
        )  # two were done in this turn of the loop
        assert other.execute("SELECT last FROM sessions WHERE id = 's'").fetchone() == (2,)
        await asyncio.sleep(0)
        with pytest.raises(StateError) as refused:
            store.append_at_once("s", 1, [said("late")], Claim("me", 1, True))
        assert refused.value.code == "append_conflict"
        with pytest.raises(StateError) as lost:
            store.append_at_once("s", 2, [said("late")], Claim("me", 7, True))
        assert lost.value.code == "lease_lost"
        await full.heartbeat(Owner("me"), 30)
        await asyncio.sleep(0)
        assert full.append_at_once("s", 2, [ended()], Claim("me", 1, False)) is None
        assert len(await store.read("s")) == 2
        await full.close()
        await store.close()
        assert store.append_at_once("s", 2, [ended()], Claim("me", 1, False)) is None
