"""Scoped state from inside: what tools and sessions keep, for whom, how long, and what it costs those who never ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.conftest import Host, give_way, read_until, results

from turnwise import Principal, Runtime, State, ToolContext, tool
from turnwise.core.store import Scope
from turnwise.errors import SessionError
from turnwise.events import ToolStarted
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, reply


@tool
async def count(context: ToolContext[Any]) -> str:
    """Counts its calls, in all scopes."""
    scopes = context.state
    return ",".join(
        [
            str(await scope.update("count", lambda n: n + 1, int, default=0))
            for scope in (scopes.session, scopes.user, scopes.agent, scopes.global_)
        ]
    )


@tool
def count_in_a_thread(context: ToolContext[Any]) -> str:
    """The same, as a plain function."""
    user, own = context.state.user.sync, f"by/{context.call_id}"
    user.set(own, 1)
    assert user.get(own) == 1
    assert own in [r.key for r in user.list("by/")]
    assert user.delete(own) and user.record(own) is None
    user.compare_and_set(own, 0, 2)
    return str(user.update("count", lambda n: n + 1, int, default=0))


STORES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "memory": MemoryStore,
    "journals only": lambda: SuspendingStore(give_way),
}


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
async def test_tools_keep_state_in_each_scope(host: Host, store: Callable[[], Any]) -> None:
    """With a store, without one, and with one that keeps journals only."""
    script = [reply(call("count"), call("count")), reply("Done."), *([reply(call("count")), reply("Done.")] * 3)]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        agent = host.agent(provider, count, name="counter", store=store(), runtime=runtime)
        first, second = agent.session(), agent.session(principal=Principal("local", "bob"))
        got = [r.text for r in results(await first.run("Hi"))]
        assert got == ["1,1,1,1", "2,2,2,2"]
        (one,) = results(await second.run("Hi"))
        assert one.text == "1,1,3,3"
        (one,) = results(await first.run("And again"))
        assert one.text == "3,3,4,4"
        found = await first.scopes.session.record("count", int)
        assert found is not None and (found.value, found.writer) == (3, f"{first.id}/t2.s1.c0")
        again = agent.session()
        assert await again.scopes.session.get("count") is None and await again.scopes.user.get("count") == 3
        (one,) = results(await again.run("Hi"))
        assert one.text == "1,4,5,5"


async def test_plain_functions_keep_state_too(any_host: Host) -> None:
    script = [reply(*[call("count_in_a_thread") for _ in range(5)]), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, count_in_a_thread, store=MemoryStore()).session()
        got = [r.text for r in results(await session.run("Hi"))]
        assert sorted(got) == ["1", "2", "3", "4", "5"]
        with pytest.raises(SessionError) as raised:
            session.scopes.user.sync.get("count")
        assert raised.value.code == "sync_in_loop"


async def test_state_is_reached_before_and_without_a_turn(host: Host) -> None:
    store = MemoryStore()
    async with Runtime(store=store) as runtime:
        agent = host.agent("http://127.0.0.1:1/", runtime=runtime, name="shop")
        session = agent.session(principal=Principal("acme", "ann"))
        await session.scopes.user.set("lang", "de")
        outside = runtime.scopes(Principal("acme", "ann"), agent="shop", writer="nightly")
        assert await outside.user.get("lang") == "de"
        await outside.agent.set("motto", "Hi")
        assert await session.scopes.agent.get("motto") == "Hi"
        assert await State(store, Principal("acme", "ann")).user.get("lang") == "de"
        record = await store.get_record(Scope("user", "ann", "acme"), "lang")
        assert record is not None and record.writer == session.id


async def test_another_loop_reaches_a_session_s_state_where_it_lives(host: Host) -> None:
    store = MemoryStore()
    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = host.agent(provider, store=store).session()
        await session.run("Hi")

        def elsewhere() -> Any:
            async def write() -> Any:
                await session.scopes.session.set("k", 1)
                return await session.scopes.session.get("k")

            return asyncio.run(write())

        assert await session.runtime.blocking.run(elsewhere) == 1


async def test_a_tool_that_is_stopped_may_still_write_down_what_it_did(host: Host) -> None:
    """C1: closing the session interrupts the call; its clean-up has its state."""

    @tool
    async def work(context: ToolContext[Any]) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await context.state.session.set("stopped", context.call_id)
        return ""

    store = MemoryStore()
    async with ScriptedProvider([reply(call("work"))]) as provider:
        session = host.agent(provider, work, store=store).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, ToolStarted)
            await session.close()
        record = await store.get_record(Scope("session", session.id), "stopped")
        assert record is not None and record.value == b'"t1.s1.c0"'


async def test_watchers_see_what_tools_do(host: Host) -> None:
    async with ScriptedProvider([reply(call("count"), call("count")), reply("Done.")]) as provider:
        session = host.agent(provider, count, store=MemoryStore()).session()
        async with session.scopes.user.watch("count", int) as changes:
            await session.run("Hi")
            assert (changes.waiting, changes.dropped) == (1, 1)
            change = await anext(changes)
            assert change.record is not None and change.record.value == 2


async def test_undo_takes_no_state_back_and_a_fork_begins_with_none(host: Host) -> None:
    script = [reply(call("count")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, count, store=MemoryStore()).session()
        await session.run("Hi")
        await session.undo()
        assert await session.scopes.session.get("count") == 1
        fork = session.fork()
        assert await fork.scopes.session.get("count") is None and await fork.scopes.user.get("count") == 1


async def test_a_context_made_by_hand_keeps_state_in_memory() -> None:
    context: ToolContext[Any] = ToolContext(None, session="s", call_id="c")
    await context.state.user.set("k", 1)
    found = await context.state.user.record("k")
    assert found is not None and found.writer == "s/c"
    shared = State(MemoryStore(), session="s")
    one: ToolContext[Any] = ToolContext(None, scopes=shared)
    two: ToolContext[Any] = ToolContext(None, scopes=shared)
    await one.state.session.set("k", 2)
    assert await two.state.session.get("k") == 2


def test_who_never_asks_pays_nothing() -> None:
    """Neither an import nor a store in memory comes of a turn whose tools keep no state."""
    code = (
        "import asyncio, sys\n"
        "from turnwise import Agent, tool\n"
        "from turnwise.testing import ScriptedProvider, call, reply\n"
        "@tool\n"
        "async def look() -> str:\n"
        "    return 'x'\n"
        "async def main():\n"
        "    async with ScriptedProvider([reply(call('look')), reply('Done.')]) as p:\n"
        "        s = Agent('anthropic:m', base_url=p.anthropic_url, api_key='k', tools=[look]).session()\n"
        "        await s.run('Hi')\n"
        "        assert s._records is None and s._blobs is None and s.runtime._records is None\n"
        "asyncio.run(main())\n"
        "loaded = [m for m in sys.modules if m in ('turnwise.store.scopes', 'turnwise.store.board', 'turnwise.store.changing')]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
