"""What a session promises beside its turns: one turn at a time, input in between, ids, context, many at once."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, assert_valid, give_way, names, of, read_all, said

from turnwise import Agent, Runtime, ToolContext, UserMessage, tool
from turnwise.core.messages import AssistantMessage
from turnwise.errors import SessionBusy, SessionClosed, SessionError
from turnwise.events import Steered, ToolFinished
from turnwise.store.memory import SuspendingStore
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, hang, raw_call, repeat, reply, text


@tool
async def look(what: str) -> str:
    return what


# --- one at a time -----------------------------------------------------------------------------------------------------


async def test_a_second_turn_is_refused(host: Host) -> None:
    """The error says what the choices are; the running turn is not disturbed."""
    async with ScriptedProvider([reply("Hi.", stall_before_headers=True), reply("Again.")]) as provider:
        session = host.agent(provider).session()
        first = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        with pytest.raises(SessionBusy) as raised:
            await session.run("Me too")
        assert "steer" in raised.value.hint and raised.value.info.session == session.id
        with pytest.raises(SessionBusy):
            async with session.stream("Me too"):
                pass
        provider.release()
        assert (await first).text == "Hi."
        assert (await session.run("Now?")).text == "Again."


async def test_a_closed_session_refuses(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        async with host.agent(provider).session() as session:
            await session.run("Hi")
        assert session.closed and len(session.messages) == 2
        with pytest.raises(SessionClosed):
            await session.run("Again")


async def test_a_closed_runtime_refuses(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        async with Runtime() as runtime:
            session = host.agent(provider, runtime=runtime).session()
            await session.run("Hi")
        with pytest.raises(SessionClosed):
            await session.run("Again")


async def test_a_turn_is_streamed_once(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = host.agent(provider).session()
        turn = session.stream("Hi")
        with pytest.raises(SessionError, match="not open"):
            turn.__aiter__()
        async with turn:
            with pytest.raises(SessionError, match="still running"):
                _ = turn.result
            await read_all(turn)
        with pytest.raises(SessionError, match="streamed once"):
            async with turn:
                pass


async def test_two_readers_are_refused(host: Host) -> None:
    """One task at a time may read; the second is told, the first goes on."""
    async with (
        ScriptedProvider([reply("Hi.", stall_before_headers=True)]) as provider,
        host.agent(provider).session().stream("Hi") as turn,
    ):
        reading = asyncio.create_task(read_all(turn))
        await provider.reached("stalled")
        with pytest.raises(SessionError) as raised:
            await read_all(turn)
        assert raised.value.code == "two_readers"
        provider.release()
        assert assert_ended(await reading).result.text == "Hi."


async def test_sessions_move_between_loops() -> None:
    """An idle session may be used from another loop; each has its own default runtime."""

    def in_thread(made: Agent[Any], history: Any) -> str:
        return asyncio.run(made.run("Hi", history=history)).text

    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        agent = ANTHROPIC.agent(provider)
        session = agent.session()
        await session.run("Hi")
        assert await asyncio.to_thread(in_thread, agent, session.messages) == "Two."


# --- input while a turn runs (T3) ---------------------------------------------------------------------------------------


async def test_steering_while_tools_run(any_host: Host, store: SuspendingStore | None) -> None:
    """T3: what is added while calls are open comes after their outcomes and before the next model call."""
    started, go = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        started.set()
        await go.wait()
        return "waited"

    async with ScriptedProvider([reply(call("wait"), call("wait")), reply("Noted.")]) as provider:
        session = any_host.agent(provider, wait, store=store).session()
        async with session.stream("Hi") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await started.wait()
            assert await session.steer("First.") and await session.steer("Second.")
            assert_valid(session.messages)
            go.set()
            await reading
        assert [e.text for e in of(Steered, events)] == ["First.", "Second."]
        assert [type(m).__name__ for m in session.messages] == [
            "UserMessage", "AssistantMessage", "ToolMessage", "UserMessage", "UserMessage", "AssistantMessage",
        ]  # fmt: skip
        assert_valid(session.messages)
        assert not await session.steer("Too late.")


async def test_steering_while_the_model_answers(host: Host) -> None:
    """T3: the answer under way is kept whole; the model then gets to see what was added."""
    async with ScriptedProvider([reply("First.", stall_before_headers=True), reply("Second.")]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        assert await session.steer("Also this.")
        provider.release()
        assert (await running).text == "Second."
        assert said(session) == [
            "Hi", "First.", "Also this.", "Second.",
        ]  # fmt: skip


async def test_steering_then_interrupting_loses_nothing(host: Host) -> None:
    """T3: what was acknowledged is in the history, although the turn was stopped before the model saw it."""
    async with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            await provider.reached("stalled")
            assert await session.steer("Also this.")
        assert turn.result.reason == "interrupted"
        await session.run("And now?")
        texts = [m.text for m in session.messages if isinstance(m, UserMessage)]
        assert texts == ["Hi", "Also this.", "And now?"]


# --- ids (T4) ----------------------------------------------------------------------------------------------------------


async def test_ids_are_ours(any_host: Host) -> None:
    """T4: providers that repeat ids, from call to call and from step to step, cannot make two calls collide."""
    same = [raw_call("look", '{"what":"a"}', id="call_1"), raw_call("look", '{"what":"b"}', id="call_1")]
    async with ScriptedProvider([reply(*same), reply(*same), reply("So.")]) as provider:
        session = any_host.agent(provider, look).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert_ended(events)
        ids = [e.call_id for e in of(ToolFinished, events)]
        assert ids == ["t1.s1.c0", "t1.s1.c1", "t1.s2.c0", "t1.s2.c1"]
        assert [e.result.text for e in of(ToolFinished, events)] == ["a", "b", "a", "b"]
        assert len(provider.requests) == 3


async def test_turn_numbers_go_on_after_an_interrupt(host: Host) -> None:
    """T4: numbers are never reused, so a late answer cannot hit another call."""
    async with ScriptedProvider([hang(), reply(call("look", what="a")), reply("So.")]) as provider:
        session = host.agent(provider, look).session()
        async with session.stream("Hi"):
            await provider.reached("stalled")
        result = await session.run("Again")
        assert result.turn == 2
        calls = [c.id for m in result.messages if isinstance(m, AssistantMessage) for c in m.tool_calls]
        assert calls == ["t2.s1.c0"]


# --- context -----------------------------------------------------------------------------------------------------------

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


@tool
async def tell_async() -> str:
    return REQUEST.get()


@tool
def tell_in_thread() -> str:
    value = REQUEST.get()
    REQUEST.set("changed by a tool")
    return value


@pytest.mark.parametrize("told_by", [tell_async, tell_in_thread], ids=lambda t: t.name)
async def test_contextvars_reach_tools(any_host: Host, told_by: Any) -> None:
    """Each tool runs in a copy of the context that its turn began in; what it sets reaches nobody."""
    async with ScriptedProvider([reply(call(told_by.name), call(told_by.name)), reply("So.")]) as provider:
        REQUEST.set("r-1")
        session = any_host.agent(provider, told_by).session()
        async with session.stream("Hi") as turn:
            REQUEST.set("r-2")
            events = await read_all(turn)
        assert [e.result.text for e in of(ToolFinished, events)] == ["r-1", "r-1"]
        assert REQUEST.get() == "r-2"


class Caller:
    """An object of the caller's own, which cannot be written down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = asyncio.Lock()


async def test_the_callers_object_reaches_tools_and_nothing_else(any_host: Host) -> None:
    seen: list[str] = []

    @tool
    async def who(ctx: ToolContext[Caller]) -> str:
        seen.append(f"{ctx.context.name} {ctx.session == session.id} {ctx.turn} {ctx.step} {ctx.call_id} {ctx.tool}")
        return ctx.context.name

    store = SuspendingStore(give_way)
    async with ScriptedProvider([repeat(asks_who)]) as provider:
        agent: Agent[Caller] = any_host.agent(provider, who, store=store)
        session = agent.session(context=Caller("of the session"))
        await session.run("Hi")
        await session.run("Hi", context=Caller("of the turn"))
        assert seen == ["of the session True 1 1 t1.s1.c0 who", "of the turn True 2 1 t2.s1.c0 who"]
        assert "Caller" not in repr(await store.read(session.id))


def asks_who(request: RecordedRequest) -> Reply:
    last = request.body["messages"][-1]
    answered = last["role"] == "tool" or (
        isinstance(last["content"], list) and last["content"][0]["type"] == "tool_result"
    )
    return reply("I see.") if answered else reply(call("who"))


# --- many at once ------------------------------------------------------------------------------------------------------


def asks_look(request: RecordedRequest) -> Reply:
    last = request.body["messages"][-1]
    answered = last["role"] == "tool" or (
        isinstance(last["content"], list) and last["content"][0]["type"] == "tool_result"
    )
    return reply(text("Found it.")) if answered else reply(call("look", what="a"), call("look", what="b"))


async def test_two_hundred_sessions_at_once(host: Host) -> None:
    """Sessions of one runtime do not mix, wait for each other, or leave anything behind."""
    async with Runtime() as runtime, ScriptedProvider([repeat(asks_look)]) as provider:
        agent = host.agent(provider, look, runtime=runtime)
        sessions = [agent.session() for _ in range(200)]
        done = await asyncio.gather(*[s.run(f"Number {n}") for n, s in enumerate(sessions)])
        assert {d.reason for d in done} == {"completed"} and {d.text for d in done} == {"Found it."}
        assert len({s.id for s in sessions}) == 200
        for number, session in enumerate(sessions):
            assert names(session.messages) == ["UserMessage", "AssistantMessage", "ToolMessage", "AssistantMessage"]
            assert said(session)[0] == f"Number {number}"
        assert len(provider.requests) == 400


async def test_many_interrupts_at_once(host: Host) -> None:
    async with Runtime() as runtime, ScriptedProvider([repeat(hang())]) as provider:
        agent = host.agent(provider, runtime=runtime)
        sessions = [agent.session() for _ in range(50)]
        running = [asyncio.create_task(s.run("Hi")) for s in sessions]
        await provider.reached("stalled", 50)
        interrupt: Callable[[Any], bool] = lambda s: s.interrupt()  # noqa: E731
        assert all(map(interrupt, sessions))
        assert {r.reason for r in await asyncio.gather(*running)} == {"interrupted"}
