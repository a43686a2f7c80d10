"""The conformance kit can fail, says what was broken, and can be used by anybody."""

from __future__ import annotations

import unittest
from typing import get_args

import pytest
from tests.store import broken_more
from tests.store.broken import CATCHES

from turnwise.core.entries import Entry
from turnwise.store.codec import decode_entry, encode_entry
from turnwise.store.memory import MemoryStore
from turnwise.testing.store_conformance import CHECKS, BrokenPromise, StoreUnderTest, run_conformance
from turnwise.testing.store_conformance.samples import entries_of_every_type

BY_NAME = {check.name: check for check in CHECKS}


def maker(kind: type[MemoryStore]):
    async def make() -> StoreUnderTest:
        now = [1_800_000_000.0]

        async def advance(seconds: float) -> None:
            now[0] += seconds

        store = kind(lambda: now[0])

        async def second() -> MemoryStore:
            return store.seconded() if isinstance(store, broken_more.SecondHandleIsStale) else store

        async def reopen() -> MemoryStore:
            return store.reopened() if isinstance(store, broken_more.OutlivedByNothing) else store

        reopens = reopen if isinstance(store, broken_more.OutlivedByNothing) else None
        return StoreUnderTest(store, second=second, reopen=reopens, advance=advance)

    return make


@pytest.mark.parametrize(("broken", "check"), CATCHES, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_a_broken_store_is_found_out(broken: type[MemoryStore], check: str) -> None:
    """The check of that name says that its promise is broken, and what was found."""
    with pytest.raises(BrokenPromise) as raised:
        await BY_NAME[check](maker(broken))
    said = str(raised.value)
    assert said.startswith(check) and BY_NAME[check].promise in said and "found: " in said
    assert "raised AttributeError" not in said and "raised TypeError" not in said, (
        "the broken store is broken otherwise"
    )


def test_every_check_can_fail() -> None:
    assert {check.name for check in CHECKS} == {check for _, check in CATCHES}


async def test_a_run_reports_what_is_kept_broken_and_skipped() -> None:
    names = ["appended_entries_are_read", "the_newest_snapshot_is_kept", "everything_outlives_a_restart"]
    broken = next(kind for kind, check in CATCHES if check == names[1])
    report = await run_conformance(maker(broken), only=names)
    assert report.kept == (names[0],) and list(report.broken) == [names[1]] and list(report.skipped) == [names[2]]
    assert not report.ok and "1 promises kept, 1 broken, 1 checks skipped" in str(report) and "reopen" in str(report)
    with pytest.raises(BrokenPromise, match="older"):
        report.raise_if_broken()
    with pytest.raises(ValueError, match="no check nonsense"):
        await run_conformance(maker(MemoryStore), only=["nonsense"])


async def test_a_bare_store_will_do() -> None:
    """Without hooks, checks that need them are skipped; the others are made, in real time."""

    async def make() -> MemoryStore:
        return MemoryStore()

    await BY_NAME["appended_entries_are_read"](make)
    await BY_NAME["unused_blobs_are_collected"](make)
    with pytest.raises(unittest.SkipTest, match="needs reopen"):
        await BY_NAME["everything_outlives_a_restart"](make)


async def test_the_store_is_closed_and_disposed_of_whatever_happens() -> None:
    done: list[str] = []

    class Noting(MemoryStore):
        async def close(self) -> None:
            done.append("closed")

        async def read(self, session: str, after: int = 0, limit: int | None = None) -> list[Entry]:
            return []

    async def dispose() -> None:
        done.append("disposed")

    async def make() -> StoreUnderTest:
        return StoreUnderTest(Noting(), dispose=dispose)

    with pytest.raises(BrokenPromise):
        await BY_NAME["appended_entries_are_read"](make)
    assert done == ["closed", "disposed"]


def test_every_check_makes_a_promise() -> None:
    assert len({check.promise for check in CHECKS}) == len(CHECKS) == len(BY_NAME) > 70
    assert all(check.promise.endswith(".") for check in CHECKS)


def test_the_samples_have_every_type_of_entry() -> None:
    """A new type of entry is written by the kit without anybody's doing."""
    samples = entries_of_every_type()
    assert {type(entry) for entry in samples} == set(get_args(Entry))
    assert all(decode_entry(encode_entry(entry), "s", 1) == entry for entry in samples)
