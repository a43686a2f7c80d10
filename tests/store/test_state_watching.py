"""Watching scoped state: written first, then told; and nobody who watches holds up who writes (H4)."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from tests.store.scoped import Elsewhere

from turnwise import State, StateChange, StateKey, StateWatcher
from turnwise.errors import ConfigError, SessionError, StateError
from turnwise.store.memory import MemoryStore


async def waiting(changes: StateWatcher[Any]) -> list[StateChange[Any]]:
    """What waits to be read."""
    return [await anext(changes) for _ in range(changes.waiting)]


def values(changes: list[StateChange[Any]]) -> list[tuple[str, Any]]:
    return [(c.key, None if c.record is None else c.record.value) for c in changes]


async def test_changes_are_told_to_those_who_watch_them() -> None:
    records = MemoryStore()
    ours, theirs = State(records, session="s1"), State(records, session="s2")
    cart: StateKey[list[str]] = StateKey("cart", list[str])
    async with ours.session.watch("c") as some, ours.session.watch(cart) as carts, ours.user.watch() as users:
        await ours.session.set(cart, ["a"])
        await ours.session.set("card", 1)
        await ours.session.set("other", 2)
        await theirs.session.set(cart, ["not ours"])
        await theirs.user.set("lang", "de")
        await ours.session.update(cart.of("x"), lambda old: [*old, "b"], default=[])
        await ours.session.delete("card")
        await ours.session.delete("never was")
        told = await waiting(some)
        assert values(told) == [("cart", ["a"]), ("card", None), ("cart/x", ["b"])]
        assert told[0].record is not None and told[0].record.version == 1
        assert values(await waiting(carts)) == [("cart", ["a"]), ("cart/x", ["b"])]
        assert values(await waiting(users)) == [("lang", "de")]
        assert (some.dropped, carts.dropped, users.dropped) == (1, 0, 0)
    await ours.session.set(cart, [])
    with pytest.raises(StopAsyncIteration):
        await anext(carts)


async def test_it_is_written_before_it_is_told() -> None:
    """D1: who is told of a change finds it in the store."""
    records = MemoryStore()
    gate = asyncio.Event()

    async def meet(when: str) -> None:
        if when == "before put":
            await gate.wait()

    user = State(Elsewhere(records, meet)).user
    async with user.watch() as changes:
        writing = asyncio.create_task(user.set("k", 1))
        for _ in range(5):
            await asyncio.sleep(0)
        assert changes.waiting == 0
        gate.set()
        change = await anext(changes)
        assert await State(records).user.get("k") == 1 and change.record is not None and change.record.value == 1
        await writing


async def test_a_write_that_was_refused_is_not_told() -> None:
    user = State(MemoryStore()).user
    await user.set("k", 1)
    async with user.watch() as changes:
        with pytest.raises(StateError):
            await user.compare_and_set("k", 5, 2)
        assert (changes.waiting, changes.dropped) == (0, 0)


@pytest.mark.parametrize("when", ["before put", "after put"])
async def test_a_write_that_may_have_been_made_counts_as_dropped(when: str) -> None:
    """Whoever watches learns that there may be something to look at, however the write ended."""
    records = MemoryStore()

    async def meet(now: str) -> None:
        if now == when:
            raise ConnectionError("lost")

    broken, user = State(Elsewhere(records, meet)), State(records)
    del user
    async with broken.user.watch() as changes:
        with pytest.raises(ConnectionError):
            await broken.user.set("k", 1)
        assert (changes.waiting, changes.dropped) == (0, 1)


async def test_who_does_not_read_holds_nobody_up_and_finds_the_newest() -> None:
    """H4: at most `buffer` changes wait, the newest of each key; the rest is counted."""
    user = State(MemoryStore()).user
    async with user.watch(buffer=3) as changes:
        for n in range(1000):
            await user.set("hot", n)
        await user.set("quiet", 0)
        assert changes.waiting == 2 and changes.dropped == 999
        for n in range(10):
            await user.set(f"k{n}", n)
        assert changes.waiting == 3 and changes.dropped == 999 + 9
        assert values(await waiting(changes)) == [("k7", 7), ("k8", 8), ("k9", 9)]


async def test_versions_are_told_in_order() -> None:
    """Also when a store answers a later write sooner."""
    records = MemoryStore()
    turns = [0, 7, 1, 5, 0, 3]

    async def meet(when: str) -> None:
        if when == "after put" and turns:
            for _ in range(turns.pop()):
                await asyncio.sleep(0)

    user = State(Elsewhere(records, meet)).user
    seen: list[int] = []

    async def watch() -> None:
        async with user.watch("k") as changes:
            started.set()
            async for change in changes:
                assert change.record is not None
                seen.append(change.record.version)
                if change.record.version == 6:
                    return

    started = asyncio.Event()
    watching = asyncio.create_task(watch())
    await started.wait()
    await asyncio.gather(*[user.set("k", n) for n in range(6)])
    await watching
    assert seen == sorted(seen) and seen[-1] == 6


async def test_a_value_that_cannot_be_read_does_not_end_the_watching() -> None:
    user = State(MemoryStore()).user
    async with user.watch("k", int) as changes:
        await user.set("k1", "text")
        await user.set("k2", 2)
        with pytest.raises(StateError):
            await anext(changes)
        assert values([await anext(changes)]) == [("k2", 2)]


async def test_one_task_reads_and_leaving_loses_nothing() -> None:
    """C3: cancelling a pending read loses nothing; a second reader is refused."""
    user = State(MemoryStore()).user
    async with user.watch() as changes:
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        with pytest.raises(SessionError) as raised:
            await anext(changes)
        assert raised.value.code == "two_readers"
        first.cancel()
        await asyncio.wait([first])
        await user.set("k", 1)
        assert values([await anext(changes)]) == [("k", 1)]


async def test_who_has_left_is_told_nothing_and_kept_by_nobody() -> None:
    """H4: unsubscribing really stops delivery; a watcher that was forgotten takes no memory."""
    from turnwise.store.board import board_of

    records = MemoryStore()
    user = State(records).user
    changes = await user.watch().__aenter__()
    assert len(board_of(records)._mailboxes) == 1
    changes.close()
    await user.set("k", 1)
    assert changes.waiting == 0
    del changes
    gc.collect()
    assert not board_of(records)._mailboxes and not board_of(records)._lines
    with pytest.raises(ConfigError):
        user.watch(buffer=0)
