"""Scoped state under a prefix: whoever has it sees and writes only what is under it, by every method, and never notices."""

from __future__ import annotations

import pytest

from turnwise import MemoryStore, Principal, State, StateKey
from turnwise.errors import ConfigError, StateError

NUMBER = StateKey("n", int)


def states() -> tuple[State, State, State]:
    """All of it, and two namespaces."""
    whole = State(MemoryStore(), Principal("acme", "ann"), agent="shop", session="s", writer="w")
    return whole, whole.within("a"), whole.within("ab")


@pytest.mark.parametrize("kind", ["session", "user", "agent", "global"])
async def test_a_namespace_is_by_itself(kind: str) -> None:
    whole, a, ab = (s.scope(kind) for s in states())  # pyright: ignore[reportArgumentType]
    await whole.set("n", 0)
    made = await a.set(NUMBER, 1)
    assert made.key == "n" and made.writer == "w"
    await ab.set("n", 2)
    assert [await s.get("n") for s in (whole, a, ab)] == [0, 1, 2]
    assert [r.key for r in await whole.list()] == ["a/n", "ab/n", "n"]
    assert [(r.key, r.value) for r in await a.list()] == [("n", 1)]
    record = await a.record(NUMBER)
    assert record is not None and record.key == "n"
    assert await a.update(NUMBER, lambda n: n + 10) == 11
    assert (await a.compare_and_set("n", 2, 12)).version == 3
    with pytest.raises(StateError):
        await a.compare_and_set("n", 2, 13)
    assert await a.delete("n") and not await a.delete("n")
    assert [await s.get("n") for s in (whole, a, ab)] == [0, None, 2]


async def test_pages_and_keys_below_others() -> None:
    whole, a, _ = (s.session for s in states())
    for key in ("x/1", "x/2", "x/3", "y"):
        await a.set(key, key)
    await whole.set("x/0", "not a's")
    first = await a.list("x/", limit=2)
    assert [r.key for r in first] == ["x/1", "x/2"]
    assert [r.key for r in await a.list("x/", after=first[-1].key)] == ["x/3"]
    assert [r.key for r in await a.list(StateKey("x", str))] == ["x/1", "x/2", "x/3"]


async def test_watching_is_within_the_namespace_and_shared_with_the_whole() -> None:
    whole, a, ab = (s.session for s in states())
    async with a.watch() as inside, a.watch(NUMBER) as one, whole.watch("a/") as outside:
        await ab.set("n", 0)
        await a.set("n", 1)
        await whole.set("a/n", 2)
        for watcher, key in ((inside, "n"), (one, "n"), (outside, "a/n")):
            change = await anext(watcher)
            assert change.key == key and change.record is not None
            assert (change.record.key, change.record.value, watcher.waiting) == (key, 2, 0)


async def test_namespaces_within_namespaces() -> None:
    whole, a, _ = states()
    await a.within("b").session.set("n", 1)
    assert [r.key for r in await whole.session.list()] == ["a/b/n"]
    assert await a.session.get("b/n") == 1


async def test_keys_are_not_longer_than_stores_take() -> None:
    _, a, _ = states()
    await a.session.set("k" * 510, 1)
    with pytest.raises(ConfigError, match="512"):
        await a.session.set("k" * 511, 1)
    for wrong in ("", "a\0b", "x" * 600):
        with pytest.raises(ConfigError):
            a.within(wrong)
