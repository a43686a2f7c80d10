"""A session from code that does not await, from other loops and from other threads (rule I2)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_valid, results, said, until

from turnwise import Allow, Ask, ProposedCall, Session, Tool, tool
from turnwise.errors import ConfigError, SessionBusy, SessionClosed, SessionError
from turnwise.runtime.facade import run_on
from turnwise.runtime.sync import SyncSession
from turnwise.testing import ScriptedProvider, call, hang, repeat, reply


def test_a_whole_conversation_in_a_plain_script(any_host: Host) -> None:
    script = [reply(t) for t in ("One.", "Better.", "On.", "Two.", "Left.", "Three.")]
    with ScriptedProvider(script) as provider:
        session = any_host.agent(provider).session()
        sync = session.sync
        assert sync.run("First", client_ref="r").text == "One."
        assert sync.regenerate().text == "Better."
        assert sync.continue_().text == "On."
        assert sync.undo() == ""
        assert sync.set(temperature=0.5).temperature == 0.5
        assert sync.follow_up("Second").result_sync().text == "Two."
        fork = sync.fork()
        assert fork.sync.run("Third").text == "Left."
        sync.rewind(to=0)
        assert session.messages == () and sync.interrupt() is False and sync.steer("x") is False
        assert sync.drop_follow_ups() == 0
        sync.clear()
        assert sync.run("Again").text == "Three." and sync.status().turns == 5
        sync.close()
        sync.close()
        assert session.closed
        with pytest.raises(SessionClosed):
            sync.run("More")
        with pytest.raises(SessionError):
            fork.sync.resume()
        with pytest.raises(ConfigError):
            fork.sync.set(temperature=9)


def test_calls_that_wait_are_answered(host: Host) -> None:
    """A parked turn needs no loop; whoever has the answer says it, from wherever."""

    @tool
    def delete(path: str) -> str:
        return f"deleted {path}"

    fetch = Tool.external("fetch", "Someone else runs it.", {"type": "object", "properties": {}})

    def policy(call: ProposedCall) -> Allow | Ask:
        return Ask("sure?") if call.name == "delete" else Allow()

    calls = [call("delete", path="a"), call("delete", path="b"), call("fetch")]
    with ScriptedProvider([reply(*calls), reply("Done.")]) as provider:
        session = host.agent(provider, delete, fetch, approvals=policy).session()
        assert session.sync.run("Hi").reason == "parked" and len(session.sync.status().pending) == 3
        assert session.sync.approve("t1.s1.c0", edited_arguments={"path": "c"})
        assert session.sync.deny("t1.s1.c1", "no") and not session.sync.deny("t1.s1.c1")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(session.sync.submit, "t1.s1.c2", {"rows": 3}, summary="3 rows").result()
        result = session.sync.resume()
        assert result.text == "Done."
        assert next(r.text for r in results(result)) == "deleted c"
        fresh = host.agent(provider).session().sync
        assert fresh.compact().why_not == "nothing_to_compact" and not fresh.undo_compaction()


def test_threads_meet_in_one_session(host: Host) -> None:
    """One thread runs a turn, others steer it, look at it and end it; none of them owns the state."""
    with ScriptedProvider([hang(), reply("After.")]) as provider, ThreadPoolExecutor(4) as pool:
        session = host.agent(provider).session()
        running = pool.submit(session.sync.run, "Hi")
        provider.wait("arrived")
        assert all(pool.map(session.sync.steer, [f"{n}" for n in range(20)]))
        queued = session.sync.follow_up("Then?")
        with pytest.raises(SessionBusy):
            session.sync.run("Me too")
        with pytest.raises(SessionBusy):
            session.sync.undo()
        assert session.sync.status().phase == "model" and session.interrupt()
        assert running.result(20).reason == "interrupted"
        assert_valid(session.messages)
        assert sorted(said(session)[1:], key=int) == [f"{n}" for n in range(20)]
        assert session.sync.drop_follow_ups() == 1
        with pytest.raises(SessionError):
            queued.result_sync()
        assert session.sync.run("Go on").text == "After."


async def test_from_a_thread_onto_the_loop_that_it_lives_on(host: Host) -> None:
    """The turn runs where the session's others ran: its tools see that loop."""
    seen: list[asyncio.AbstractEventLoop] = []

    @tool
    async def where() -> str:
        seen.append(asyncio.get_running_loop())
        return "here"

    async with ScriptedProvider([reply("One."), reply(call("where")), reply("Two.")]) as provider:
        session = host.agent(provider, where).session()
        await session.run("First")
        assert (await asyncio.to_thread(session.sync.run, "Second")).text == "Two."
        assert seen == [asyncio.get_running_loop()]
        assert await asyncio.to_thread(session.sync.undo) == "Second"
        await asyncio.to_thread(session.sync.close)
        assert session.closed


async def test_on_its_own_loop_it_refuses(host: Host) -> None:
    """Waiting there would never end, whichever method it is; the error says what to do instead, and nothing has happened."""
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = host.agent(provider).session()
        await session.run("First")
        for act in (
            lambda: session.sync.run("x"),
            session.sync.undo,
            session.sync.status,
            lambda: session.run_sync("x"),
        ):
            with pytest.raises(SessionError) as raised:
                act()
            assert raised.value.code == "sync_in_loop" and "await" in raised.value.hint
        assert (await session.run("Second")).text == "Two."


def test_on_its_own_loop_it_refuses_at_once() -> None:
    """It does not wait for itself."""

    async def use() -> str:
        loop = asyncio.get_running_loop()
        with pytest.raises(SessionError) as raised:
            run_on(loop, session.clear)
        return raised.value.code

    session = ANTHROPIC.agent("http://localhost:1").session()
    thread_ended, said = threading.Event(), list[str]()

    def run() -> None:
        said.append(asyncio.run(use()))
        thread_ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert thread_ended.wait(10), "it waits for itself"
    assert said == ["sync_in_loop"]


def test_from_a_tool_in_a_thread(host: Host) -> None:
    """A plain function is not on the loop, so it may steer the very turn that called it."""

    @tool
    def hurry() -> str:
        session.sync.steer("Hurry.")
        return "told"

    with ScriptedProvider([reply(call("hurry")), reply("Done.")]) as provider:
        session: Session[Any] = host.agent(provider, hurry).session()
        assert session.sync.run("Hi").text == "Done."
        assert said(session)[-2:] == ["Hurry.", "Done."]


async def test_from_another_loop(host: Host) -> None:
    """C3: what another loop asks for is done on the session's own; cancelling the asking undoes nothing and hurts nobody."""
    async with ScriptedProvider([reply("One.", stall_before_headers=True), reply("Two."), reply("Three.")]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")

        async def elsewhere() -> list[Any]:
            steered = await session.steer("Also this.")
            handle = await session.follow_up("Then?")
            await session.set(temperature=0.5)
            with pytest.raises(SessionBusy):
                await session.undo()
            waiting = asyncio.ensure_future(handle.result())
            await asyncio.sleep(0)
            waiting.cancel()
            return [steered, handle]

        steered, handle = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        assert steered and handle.waiting
        provider.release()
        assert (await running).text == "Two." and (await handle.result()).text == "Three."
        assert provider.requests[-1].body["temperature"] == 0.5
        assert_valid(session.messages)


def test_loops_that_come_and_go(host: Host) -> None:
    """When the loop it lived on is gone, whoever comes next takes it over: another loop, or the background one."""
    with ScriptedProvider([repeat(reply("Fine."))]) as provider:
        session = host.agent(provider).session()
        asyncio.run(session.run("1"))
        assert session.sync.run("2").turn == 2
        assert asyncio.run(session.run("3")).turn == 3
        asyncio.run(session.set(temperature=0.5))
        assert session.sync.undo() == "3"
        assert len(session.messages) == 4


def test_a_caller_on_another_loop_is_told_of_errors() -> None:
    """The error of a coroutine that ran elsewhere is the caller's to catch, with its class."""
    with ScriptedProvider([reply("Fine.")]) as provider:
        session = ANTHROPIC.agent(provider).session()
        session.sync.run("Hi")

        async def elsewhere() -> str:
            with pytest.raises(ConfigError) as raised:
                await session.set(top_p=3)
            return raised.value.code

        assert asyncio.run(elsewhere()) == "invalid_value"


def test_interrupting_from_a_thread_while_a_stream_is_read(host: Host) -> None:
    """C1: the reader gets its `TurnFinished`."""
    with ScriptedProvider([hang(), reply("Fine.")]) as provider:
        session = host.agent(provider).session()

        async def read() -> str:
            async with session.stream("Hi") as turn:
                async for _ in turn:
                    pass
            return turn.result.reason

        def stop() -> None:
            provider.wait("arrived")
            assert session.sync.interrupt(keep="none")

        stopper = threading.Thread(target=stop)
        stopper.start()
        assert asyncio.run(read()) == "interrupted"
        stopper.join(20)
        assert session.messages == () and session.sync.run("Again").text == "Fine."


def test_it_has_what_the_session_has() -> None:
    """Each method takes what the session's own takes, but for the object that only one of them can use."""
    for name, method in inspect.getmembers(SyncSession, inspect.isfunction):
        if name.startswith("_"):
            continue
        own = inspect.signature(getattr(Session, name)).parameters
        given = inspect.signature(method).parameters
        assert set(given) <= set(own), f"{name} takes what Session.{name} does not"
        for parameter in given:
            assert given[parameter].default == own[parameter].default or parameter == "self"


async def test_closing_from_a_thread_ends_what_runs(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("arrived")
        await asyncio.to_thread(session.sync.close)
        assert (await running).cause == "closed"
        await until(lambda: not session.running)
