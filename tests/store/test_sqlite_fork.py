"""After `fork()`: the child opens the file anew, the parent goes on, and neither hurts the other (rule I2)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.store.journals import created, ended, same, write

from turnwise import SqliteStore
from turnwise.errors import StateError
from turnwise.store.sqlite import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here")


def in_child(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Fork, run `main` in the child, and wait for it; its exit status."""
    pid = fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(main())
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)
    return reaped(pid)


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the test's process
        return os.fork()


def reaped(pid: int) -> int:
    """The exit status of a child; it may take half a minute."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -9


def test_parent_and_child_go_on(tmp_path: Path) -> None:
    """The same object in both, with a reader, a writer and somebody who waits, all of them at work before."""
    store = SqliteStore(tmp_path / "t.db")

    async def before() -> None:
        await write(store, "before", 5)
        await store.wait("before", 3, 1)

    async def child() -> None:
        assert len(await store.read("before")) == 5
        await write(store, "child", 50)
        await store.append("before", 5, [ended()])
        assert (await store.verify()).ok
        await store.close()

    async def parent() -> None:
        await write(store, "parent", 50)
        assert len(await store.read("before")) == 6
        assert len(await store.read("child")) == len(await store.read("parent")) == 50
        assert (await store.verify()).ok
        await store.close()

    asyncio.run(before())
    assert in_child(child) == 0
    asyncio.run(parent())


def test_they_write_at_the_same_time(tmp_path: Path) -> None:
    """D4: the child's locks are its own. The parent is closed while the child has the file open, which must not take the log away."""
    store = SqliteStore(tmp_path / "t.db")
    asyncio.run(write(store, "first", 3))
    read, wrote = os.pipe()

    async def child() -> None:
        await store.append("child", 0, [created("child")])
        os.write(wrote, b"x")
        for n in range(1, 300):
            await store.append("child", n, [ended(n)])
        await asyncio.sleep(0.05)
        assert len(await store.read("child")) == 300

    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(in_child(child)))
    waiting.start()
    os.read(read, 1)

    async def parent() -> None:
        await write(store, "parent", 100)
        await store.close()

    asyncio.run(parent())
    waiting.join(60)
    os.close(read)
    os.close(wrote)
    assert results == [0]

    async def look() -> None:
        again = SqliteStore(tmp_path / "t.db")
        assert [len(await again.read(s)) for s in ("first", "parent", "child")] == [3, 100, 300]
        assert (await again.verify()).ok
        await again.close()

    asyncio.run(look())


async def test_what_is_queued_is_written_by_the_parent_alone(tmp_path: Path) -> None:
    """A fork in the middle of appends: each of them takes effect once."""
    store = SqliteStore(tmp_path / "t.db")
    await store.append("s", 0, [created("s")])
    appends = [asyncio.ensure_future(store.append("s", n, [ended(n)])) for n in range(1, 60)]
    await asyncio.sleep(0)

    async def nothing() -> None:
        await asyncio.sleep(0.1)

    assert in_child(nothing) == 0
    assert await asyncio.gather(*appends) == [0] * 59
    read = await store.read("s")
    assert same(read[1:], [ended(n) for n in range(1, 60)])
    await store.close()


def test_who_waits_is_told_after_a_fork(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")

    async def main() -> None:
        await write(store, "s", 2)
        waiting = asyncio.ensure_future(store.wait("s", 2, 30))
        await asyncio.sleep(0.02)

        async def child() -> None:
            await store.append("s", 2, [ended()])
            await store.close()

        assert await asyncio.to_thread(in_child, child) == 0
        assert await waiting == 3
        await store.close()

    asyncio.run(main())


def test_a_fork_that_cannot_be_made_safe_is_refused_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that does not end in time: SQLite would take the parent's locks for the child's own."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.05)
    store, other = SqliteStore(tmp_path / "t.db"), SqliteStore(tmp_path / "other.db")
    release = threading.Event()

    async def child() -> None:
        for refused in (store, SqliteStore(tmp_path / "t.db")):
            with pytest.raises(StateError) as caught:
                await refused.read("s")
            assert caught.value.code == "store_forked"
        await other.append("s", 0, [created("s")])

    async def main() -> None:
        await write(store, "s", 2)
        reading = store._readers.run(lambda db: release.wait(30))
        status = await asyncio.to_thread(in_child, child)
        release.set()
        await reading
        assert status == 0
        assert len(await store.read("s")) == 2
        await store.append("s", 2, [ended()])
        await store.close()
        await other.close()

    asyncio.run(main())


def test_many_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    """D4: whoever comes second finds a file that is being made, and takes it neither for a foreign nor for a locked one."""
    for round in range(5):
        stores = [SqliteStore(tmp_path / f"{round}.db") for _ in range(5)]
        at = time.time() + 0.03
        children: list[int] = []
        for number, store in enumerate(stores):
            children.append(fork())
            if children[-1] == 0:
                os._exit(first_use(store, f"s{number}", at))
        assert [reaped(pid) for pid in children] == [0] * 5


def first_use(store: SqliteStore, session: str, at: float) -> int:
    """In a child: make the file at that moment; the exit status."""

    async def main() -> None:
        while time.time() < at:
            pass
        await store.append(session, 0, [created(session)])
        await store.close()

    try:
        asyncio.run(main())
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        return 1
    return 0
