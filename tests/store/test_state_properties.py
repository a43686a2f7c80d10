"""Scoped state under any interleaving: concurrent changes lose nothing, times to live end, old shapes become today's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.store.scoped import Elsewhere, taking

from turnwise import State, StateKey
from turnwise.errors import ConfigError, StateError
from turnwise.store.memory import MemoryStore

TURNS = st.lists(st.integers(0, 3), max_size=60)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


# --- many at once -------------------------------------------------------------------------------------------------------

CHANGES = st.sampled_from(["add", "delete", "set"])


@examples(150)
@given(st.lists(st.tuples(TURNS, st.integers(1, 8)), min_size=1, max_size=4))
def test_updates_lose_nothing(processes: list[tuple[list[int], int]]) -> None:
    """Several processes with several tasks each add to one list: every item is in it once, versions count the changes."""

    async def all_together() -> None:
        records = MemoryStore()
        wanted: list[str] = []
        tasks: list[Coroutine[Any, Any, Any]] = []
        for process, (turns, count) in enumerate(processes):
            user = State(Elsewhere(records, taking(turns))).user
            for task in range(count):
                item = f"{process}.{task}"
                wanted.append(item)
                tasks.append(user.update("items", lambda old, item=item: [*old, item], list[str], default=[]))
        await asyncio.gather(*tasks)
        found = await State(records).user.record("items", list[str])
        assert found is not None
        assert sorted(found.value) == sorted(wanted) and found.version == len(wanted)

    run(all_together())


@examples(150)
@given(TURNS, TURNS, st.lists(CHANGES, min_size=1, max_size=6), st.lists(CHANGES, min_size=1, max_size=6))
def test_no_change_is_made_of_a_value_that_was_not_there(
    mine: list[int], theirs: list[int], my_changes: list[str], their_changes: list[str]
) -> None:
    """With deletions in between: each value that was written by an update follows from the very version before it."""

    async def all_together() -> None:
        records = MemoryStore()
        written: dict[int, Any] = {}

        class Noting(Elsewhere):
            async def put_record(self, scope: Any, key: str, value: bytes, **how: Any) -> Any:
                record = await records.put_record(scope, key, value, **how)
                assert record.version not in written, "a version was given twice"
                written[record.version] = int(value) if record.schema else None
                await self._meet("after put")
                return record

        async def change(turns: list[int], changes: list[str], base: int) -> None:
            user = State(Noting(records, taking(turns)), writer=str(base)).user
            for n, what in enumerate(changes):
                if what == "add":
                    await user.update("n", lambda old: old + 1, default=0)
                elif what == "delete":
                    await user.delete("n")
                else:
                    await user.set("n", base + 100 * n)

        await asyncio.gather(change(mine, my_changes, 1000), change(theirs, their_changes, 500_000))
        for version, value in written.items():
            if value is not None and value % 100:
                before = written.get(version - 1)
                assert value == (before or 0) + 1

    run(all_together())


# --- time ---------------------------------------------------------------------------------------------------------------


@examples(200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.one_of(st.none(), st.integers(1, 9))),
            st.tuples(st.just("update"), st.one_of(st.just("as before"), st.none(), st.integers(1, 9))),
            st.tuples(st.just("wait"), st.integers(1, 9)),
            st.tuples(st.just("delete"), st.none()),
        ),
        max_size=25,
    )
)
def test_records_live_as_long_as_they_were_given(steps: list[tuple[str, Any]]) -> None:
    """TTL: a set gives a new time or none, an update as long again unless it says otherwise, and what is over is not there."""

    async def step_by_step() -> None:
        now = [1_000.0]
        user = State(MemoryStore(lambda: now[0])).user
        value, ttl, ends = None, None, None
        for what, number in steps:
            if what == "wait":
                now[0] += number
            elif what == "set":
                value, ttl = 1, number
                await user.set("k", 1, ttl_s=number)
            elif what == "delete":
                assert await user.delete("k") == (value is not None)
                value = None
            else:
                alive = value is not None
                if number == "as before":
                    await user.update("k", lambda n: n + 1, default=0)
                    ttl = ttl if alive else None
                else:
                    await user.update("k", lambda n: n + 1, default=0, ttl_s=number)
                    ttl = number
                value = (value or 0) + 1
            if what in ("set", "update"):
                ends = None if ttl is None else now[0] + ttl
            if value is not None and ends is not None and ends <= now[0]:
                value = None
            found = await user.record("k")
            assert (None if found is None else found.value) == value
            assert [r.value for r in await user.list()] == ([] if value is None else [value])
            if found is not None:
                assert found.expires_at == ends

    run(step_by_step())


# --- shapes -------------------------------------------------------------------------------------------------------------


def steps_to(schema: int) -> dict[int, Any]:
    """Each migration notes that it was made."""
    return {n: lambda data, n=n: {"made": [*data["made"], n]} for n in range(1, schema)}


@examples(100)
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["get", "set", "update", "list"])), max_size=12))
def test_old_shapes_become_today_s(programs: list[tuple[int, str]]) -> None:
    """Programs of several releases use one record: each reads older ones through all migrations, in order, and none reads a newer one."""

    async def one_after_the_other() -> None:
        user = State(MemoryStore()).user
        schema, value = 0, None
        for own, what in programs:
            key: StateKey[Any] = StateKey("box/k", dict[str, list[int]], schema=own, migrations=steps_to(own))
            made = None if value is None else {"made": [*value["made"], *range(schema, own)]}
            if what == "set":
                schema, value = own, {"made": []}
                await user.set(key, value)
            elif value is not None and schema > own:
                with pytest.raises(StateError) as raised:
                    await (user.get(key) if what != "update" else user.update(key, lambda old: old))
                assert raised.value.code == "newer_schema"
            elif what == "update" and value is not None:
                schema, value = own, made
                assert await user.update(key, lambda old: old) == made
            elif what == "list":
                boxes: StateKey[Any] = StateKey("box", dict[str, list[int]], schema=own, migrations=steps_to(own))
                assert [r.value for r in await user.list(boxes)] == ([] if made is None else [made])
            elif what == "get":
                assert await user.get(key) == made
                found = await user.record(key)
                assert found is None or found.schema == schema, "reading writes nothing"

    run(one_after_the_other())


async def test_what_cannot_be_migrated_is_said() -> None:
    user = State(MemoryStore()).user
    await user.set("k", {"a": 1})

    def broken(_: Any) -> Any:
        raise KeyError("b")

    async def code_of(key: StateKey[Any]) -> str:
        with pytest.raises(StateError) as raised:
            await user.get(key)
        return raised.value.code

    assert await code_of(StateKey("k", dict[str, int], schema=3, migrations={2: lambda d: d})) == "no_migration"
    assert await code_of(StateKey("k", dict[str, int], schema=2, migrations={1: broken})) == "migration_failed"
    assert (
        await code_of(StateKey("k", dict[str, int], schema=2, migrations={1: lambda _: object()})) == "migration_failed"
    )
    assert await code_of(StateKey("k", list[int], schema=2, migrations={1: lambda d: d})) == "damaged_record"
    assert await code_of(StateKey("k", list[int])) == "damaged_record"
    assert await user.get("k") == {"a": 1}


@pytest.mark.parametrize(
    "how",
    [
        {"schema": 0},
        {"schema": 2, "migrations": {2: str}},
        {"schema": 2, "migrations": {0: str}},
        {"type": str | bytes},
    ],
)
def test_keys_that_make_no_sense_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        StateKey("k", **how)
    assert raised.value.code == "invalid_value"
