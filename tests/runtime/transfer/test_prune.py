"""What is old or too much goes, and nothing else does. Also what only some stores can do: verify and back up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.transfer.journals import put, rich

from turnwise import Runtime
from turnwise.core.entries import InputAccepted, SessionCreated
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.principal import LOCAL
from turnwise.core.store import Owner, Query, SessionInfo
from turnwise.errors import ConfigError, StateError
from turnwise.runtime.seams import SystemClock
from turnwise.runtime.transfer.prune import Weighed, chosen, prune, total
from turnwise.runtime.transfer.upkeep import backup_store, verify_store
from turnwise.store.memory import MemoryStore
from turnwise.store.sqlite import SqliteStore

DAY_S = 86_400.0


class Later:
    """A clock that is ahead of the store's."""

    def __init__(self, by_s: float) -> None:
        self._by_s = by_s

    def monotonic(self) -> float:
        return SystemClock.monotonic()

    def wall(self) -> float:
        return SystemClock.wall() + self._by_s


async def filled() -> MemoryStore:
    """Sessions `a` to `e`, begun in that order: `b` has a name, `c` a turn that runs, `d` an attachment."""
    store = MemoryStore()
    await put(store, [SessionCreated("a", LOCAL, 0.0)])
    await put(store, [SessionCreated("b", LOCAL, 0.0)], name="keep me")
    await put(store, [SessionCreated("c", LOCAL, 0.0), InputAccepted(UserMessage("Hi", 1), Limits())])
    await rich(store, "d")
    await put(store, [SessionCreated("e", LOCAL, 0.0)])
    return store


async def left(store: MemoryStore) -> list[str]:
    return sorted([row.id for row in await store.sessions(Query(archived=None))])


async def test_by_age() -> None:
    store = await filled()
    async with Runtime(clock=Later(DAY_S)) as runtime:
        assert not (await prune(store, older_than_s=2 * DAY_S, runtime=runtime)).pruned
        report = await prune(store, older_than_s=DAY_S / 2, runtime=runtime)
    assert [(one.session.id, one.why) for one in report.pruned] == [("a", "age"), ("d", "age"), ("e", "age")]
    assert await left(store) == ["b", "c"], "one with a name, and one with a turn that runs"


async def test_named_and_unfinished_ones_go_if_that_is_asked_for() -> None:
    store = await filled()
    async with Runtime(clock=Later(DAY_S)) as runtime:
        await prune(store, older_than_s=1, keep_named=False, keep_unfinished=False, runtime=runtime)
    assert await left(store) == []


async def test_a_dry_run_changes_nothing_and_says_the_same() -> None:
    store = await filled()
    async with Runtime(clock=Later(DAY_S)) as runtime:
        said = await prune(store, older_than_s=1, max_bytes=0, dry_run=True, runtime=runtime)
        assert await left(store) == ["a", "b", "c", "d", "e"] and said.collected is None
        done = await prune(store, older_than_s=1, max_bytes=0, runtime=runtime)
    assert (said.pruned, said.bytes) == (done.pruned, done.bytes)


async def test_by_size_the_oldest_go_first() -> None:
    store = await filled()
    everything = (await prune(store, max_bytes=10**9, dry_run=True)).bytes
    assert everything is not None and everything > 200_000
    report = await prune(store, max_bytes=everything - 1)
    assert [(one.session.id, one.why) for one in report.pruned] == [("a", "size")]
    report = await prune(store, max_bytes=1000)
    assert [one.session.id for one in report.pruned] == ["d"], "b and c are spared"
    assert report.bytes is not None and report.bytes < 1000
    assert await left(store) == ["b", "c", "e"]


async def test_what_somebody_has_is_kept() -> None:
    """D3: a living owner's session is not deleted from under it."""
    store = await filled()
    await store.heartbeat(Owner("other"), 30.0)
    await store.claim("e", "other")
    async with Runtime(clock=Later(DAY_S)) as runtime:
        report = await prune(store, older_than_s=1, runtime=runtime)
    assert [row.id for row in report.kept] == ["e"]
    assert await left(store) == ["b", "c", "e"]


async def test_one_that_is_gone_on_with_meanwhile_is_kept() -> None:
    """D3: it was old when it was chosen, and is not any more."""

    class Busy(MemoryStore):
        async def delete(self, session: str) -> bool:
            if session == "a":  # the first to go: now somebody says something in the next one
                await self.append("e", 1, [InputAccepted(UserMessage("Hi", 1), Limits())])
            return await super().delete(session)

    store = Busy()
    for id in ("a", "e"):
        await put(store, [SessionCreated(id, LOCAL, 0.0)])
    async with Runtime(clock=Later(DAY_S)) as runtime:
        report = await prune(store, older_than_s=1, runtime=runtime)
    assert ([one.session.id for one in report.pruned], [row.id for row in report.kept]) == (["a"], ["e"])
    assert await left(store) == ["e"]


async def test_another_tenant_is_left_alone() -> None:
    store = await filled()
    async with Runtime(clock=Later(DAY_S)) as runtime:
        assert not (await prune(store, older_than_s=1, tenant="other", runtime=runtime)).pruned


@pytest.mark.parametrize("bounds", [{}, {"older_than_s": -1}, {"max_bytes": -1}, {"older_than_s": float("nan")}])
async def test_bounds_that_mean_nothing(bounds: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="prune"):
        await prune(MemoryStore(), **bounds)  # type: ignore[arg-type]


def row(number: int) -> SessionInfo:
    return SessionInfo(
        id=f"s{number}",
        principal=LOCAL,
        name=None,
        title="",
        agent="",
        folder="",
        tags=(),
        created_at=0.0,
        updated_at=100.0 - number,
        last=1,
        turns=1,
        messages=1,
        status="idle",
        archived=False,
        owner="",
        claimed_until=None,
    )


@given(
    sizes=st.lists(st.tuples(st.integers(0, 50), st.sets(st.sampled_from("xyz"))), max_size=8),
    bound=st.integers(0, 300),
    spared=st.sets(st.integers(0, 7)),
)
def test_as_many_go_as_must_and_no_more(sizes: list[tuple[int, set[str]]], bound: int, spared: set[int]) -> None:
    """What is left fits unless all the rest is spared; without the last one that went it would not have fitted."""
    weighed = [Weighed(row(i), size, dict.fromkeys(blobs, 20) if size else {}) for i, (size, blobs) in enumerate(sizes)]
    spare = {f"s{i}" for i in spared}
    went = [one.session.id for one in chosen(weighed, None, bound, spare)]
    rest = [one for one in weighed if one.session.id not in went]
    assert total(rest) <= bound or all(one.session.id in spare or not one.journal_bytes for one in rest)
    if went:
        assert total([one for one in weighed if one.session.id not in went[:-1]]) > bound
    assert went == sorted(went, reverse=True) and not spare & set(went)


async def test_what_only_some_stores_can_do(tmp_path: Path) -> None:
    """D5: SQLite verifies itself and writes itself into one file; a store that cannot says so."""
    store, copy = SqliteStore(tmp_path / "a.db"), SqliteStore(tmp_path / "b.db")
    await rich(store)
    assert (await verify_store(store)).ok
    await backup_store(store, tmp_path / "all.db")
    await SqliteStore.restore(tmp_path / "all.db", tmp_path / "b.db")
    assert list(await copy.read("s1")) == list(await store.read("s1"))
    for work in (verify_store(MemoryStore()), backup_store(MemoryStore(), "x.db")):
        with pytest.raises(StateError, match="MemoryStore cannot") as raised:
            await work
        assert raised.value.code == "not_supported"
    await store.close()
    await copy.close()
