"""Scoped state over every kind of store: what was awaited is there, and concurrent changes of several processes lose nothing."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import pytest
from tests.store.scoped import opened
from tests.store.stores import STORES, Kind

from turnwise import Principal, SqliteStore, State, StateKey
from turnwise.core.store import NewSession
from turnwise.errors import StateError
from turnwise.runtime.runtime import Runtime

every_store = pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.name)
NAMES: StateKey[list[str]] = StateKey("names", list[str])


@every_store
async def test_updates_of_one_key_lose_nothing(kind: Kind, tmp_path: pathlib.Path) -> None:
    """Two handles as two processes have them, ten tasks each."""
    async with opened(kind, tmp_path) as trial, Runtime() as runtime:
        handles = [trial.store, await trial.second_or_same()]
        states = [State(h, writer=f"w{n}", runtime=runtime) for n, h in enumerate(handles)]

        async def add(n: int) -> None:
            await states[n % 2].user.update(NAMES, lambda old: [*old, str(n)], default=[])

        await asyncio.gather(*[add(n) for n in range(20)])
        found = await states[1].user.record(NAMES)
        assert found is not None and found.version == 20
        assert sorted(found.value, key=int) == [str(n) for n in range(20)]
        assert found.writer in ("w0", "w1") and found.created_at <= found.updated_at


@every_store
async def test_deleted_and_expired_records_are_gone_and_versions_go_on(kind: Kind, tmp_path: pathlib.Path) -> None:
    async with opened(kind, tmp_path) as trial:
        ours, theirs = State(trial.store).user, State(await trial.second_or_same()).user
        await ours.set("k", 1)
        await ours.set("short", 1, ttl_s=trial.lease_s)
        assert await theirs.delete("k") and not await ours.delete("k")
        assert await ours.get("k") is None and [r.key for r in await ours.list()] == ["short"]
        with pytest.raises(StateError):
            await ours.compare_and_set("k", 1, 2)
        assert (await ours.compare_and_set("k", 0, 3)).version == 3
        await trial.outlive()
        assert await theirs.get("short") is None
        assert await theirs.update("short", lambda n: n + 1, default=10) == 11
        found = await ours.record("short")
        assert found is not None and (found.version, found.expires_at) == (2, None)


@every_store
async def test_awkward_keys_values_and_names_come_back(kind: Kind, tmp_path: pathlib.Path) -> None:
    async with opened(kind, tmp_path) as trial:
        awkward = ["ü", "🎉", "a/b", "%", "_", "'", '"', "\\", "\x01", "\n", " ", "null", "x" * 512]
        for name in awkward:
            state = State(trial.store, Principal(name, name), agent=name, session=name)
            for scope in (state.global_, state.user, state.agent, state.session):
                await scope.set(name, {name: [name, "\x00", "\uffff", 1 << 60, -1.5e300]})
                assert await scope.get(name) == {name: [name, "\x00", "\uffff", 1 << 60, -1.5e300]}
                assert [r.key for r in await scope.list(name)] == [name]


@every_store
async def test_a_session_takes_its_state_with_it(kind: Kind, tmp_path: pathlib.Path) -> None:
    async with opened(kind, tmp_path) as trial:
        await trial.store.create(NewSession(id="s1"))
        state = State(trial.store, agent="a", session="s1")
        for scope in (state.global_, state.user, state.agent, state.session):
            await scope.set("k", scope.scope.kind)
        assert await trial.store.delete("s1")
        assert await state.session.get("k") is None
        assert [await s.get("k") for s in (state.global_, state.user, state.agent)] == ["global", "user", "agent"]


@every_store
async def test_what_was_awaited_outlives_the_store(kind: Kind, tmp_path: pathlib.Path) -> None:
    """D1, and written back by the next write: the migrated shape."""
    async with opened(kind, tmp_path) as trial:
        if trial.given.reopen is None:
            pytest.skip("nothing outlives it")
        await State(trial.store).user.set("price", 5)
        store = await trial.reopen()
        price: StateKey[dict[str, int]] = StateKey(
            "price", dict[str, int], schema=2, migrations={1: lambda n: {"cents": n}}
        )
        user = State(store).user
        assert await user.get(price) == {"cents": 5}
        await user.update(price, lambda old: {**old, "cents": old["cents"] + 1})
        user = State(await trial.reopen()).user
        found = await user.record(price)
        assert found is not None and (found.value, found.schema, found.version) == ({"cents": 6}, 2, 2)


CHILD = """
import asyncio, sys
from turnwise import Runtime, SqliteStore, State

async def main():
    store = SqliteStore(sys.argv[1])
    async with Runtime() as runtime:
        user = State(store, writer=sys.argv[2], runtime=runtime).user
        async def add(n):
            await user.update("items", lambda old: [*old, f"{sys.argv[2]}.{n}"], list[str], default=[])
        await asyncio.gather(*[add(n) for n in range(15)])
    await store.close()

asyncio.run(main())
"""


async def test_processes_lose_nothing_of_each_other(tmp_path: pathlib.Path) -> None:
    """D1, D4: three processes with 15 tasks each change one record of one SQLite file."""
    path = tmp_path / "state.db"
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", CHILD, str(path), f"p{n}", stderr=asyncio.subprocess.PIPE
        )
        for n in range(3)
    ]
    for child in children:
        _, said = await child.communicate()
        assert child.returncode == 0, said.decode()
    store = SqliteStore(path)
    found = await State(store).user.record("items", list[str])
    await store.close()
    assert found is not None and found.version == 45
    assert sorted(found.value) == sorted(f"p{p}.{n}" for p in range(3) for n in range(15))
