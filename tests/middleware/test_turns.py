"""Middleware around whole turns: every driver goes through it, it may refuse before anything is journalled, it cannot change the account."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import Host, read_all, until

from turnwise import Ask, Move, Runtime, Session, Sessions, ToolContext, TurnResult, tool
from turnwise.errors import ConfigError, HookError, ProviderError, SessionError
from turnwise.events import TextDelta
from turnwise.hooks import HookContext, hook
from turnwise.middleware import TurnRequest, middleware
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, fail, reply


class Watching:
    """Notes what it sees."""

    def __init__(self) -> None:
        self.asked: list[TurnRequest] = []
        self.results: list[TurnResult] = []

    async def turn(self, request: TurnRequest, next: Any) -> TurnResult:
        self.asked.append(request)
        result = await next(request)
        self.results.append(result)
        return result


async def by_run(session: Session[Any]) -> TurnResult:
    return await session.run("Hi")


async def by_stream(session: Session[Any]) -> TurnResult:
    async with session.stream("Hi") as turn:
        await read_all(turn)
    return turn.result


async def by_channel(session: Session[Any]) -> TurnResult:
    async with session.channel("Hi") as (channel, handle):
        async for _ in channel:
            pass
        return await handle.result()


async def by_steps(session: Session[Any]) -> TurnResult:
    async with session.steps("Hi") as steps:
        async for _ in steps:
            pass
    return steps.result


async def by_follow_up(session: Session[Any]) -> TurnResult:
    return await (await session.follow_up("Hi")).result()


DRIVERS = [by_run, by_stream, by_channel, by_steps, by_follow_up]


@pytest.mark.parametrize("drive", DRIVERS)
async def test_every_driver_goes_through_it(host: Host, drive: Callable[[Session[Any]], Awaitable[TurnResult]]) -> None:
    """H1: it sees the turn before its input is journalled, and the true account of it."""
    watching = Watching()
    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = host.agent(provider, middleware=[watching]).session()
        result = await drive(session)
        await until(lambda: watching.results)
        assert watching.results == [result] and result.text == "Hello."
        asked = watching.asked[0]
        assert asked.session is session and asked.prompt == (None if drive is by_follow_up else "Hi")


async def test_what_the_input_becomes_is_what_is_journalled(host: Host) -> None:
    @middleware("turn")
    async def politely(request: TurnRequest, next: Any) -> TurnResult:
        return await next(request.replace(prompt=f"{request.prompt}, please?", context={"from": "middleware"}))

    seen: list[Any] = []

    @tool
    async def who(context: ToolContext[Any]) -> str:
        seen.append(context.context)
        return "you"

    async with ScriptedProvider([reply(call("who")), reply("You.")]) as provider:
        session = host.agent(provider, who, middleware=[politely]).session()
        await session.run("Who am I")
        assert session.messages[0].text == "Who am I, please?"  # type: ignore[union-attr]
        assert seen == [{"from": "middleware"}]


@pytest.mark.parametrize("drive", [by_run, by_stream, by_channel, by_steps])
async def test_a_refused_turn_leaves_no_trace(
    host: Host, drive: Callable[[Session[Any]], Awaitable[TurnResult]]
) -> None:
    @middleware("turn")
    async def refusing(request: TurnRequest, next: Any) -> TurnResult:
        raise PermissionError("not today")

    async with ScriptedProvider([reply("Hello.")]) as provider:
        store = MemoryStore()
        agent = host.agent(provider, store=store)
        session = agent.session()
        remove = agent.extensions.add_middleware(refusing)
        with pytest.raises(HookError) as caught:
            await drive(session)
        assert caught.value.code == "middleware_failed" and "not today" in caught.value.message
        assert not session.running and session.messages == ()
        remove()
        assert (await session.run("Hi")).turn == 1


async def test_it_cannot_answer_in_the_place_of_a_turn(host: Host) -> None:
    @middleware("turn")
    async def lazy(request: TurnRequest, next: Any) -> TurnResult:
        return TurnResult(request.session.id, 1, "completed", "Nothing to do.")

    async with ScriptedProvider([]) as provider:
        with pytest.raises(HookError) as caught:
            await host.agent(provider, middleware=[lazy]).run("Hi")
        assert caught.value.code == "middleware_result"


@pytest.mark.parametrize("what", ["changed", "raised"])
async def test_it_cannot_change_the_account(host: Host, what: str) -> None:
    """The turn is over and true; that its middleware went wrong is told beside it."""

    @middleware("turn")
    async def embellishing(request: TurnRequest, next: Any) -> TurnResult:
        result = await next(request)
        if what == "raised":
            raise ValueError("afterwards")
        return msgspec.structs.replace(result, text="Something better.")

    async with ScriptedProvider([reply("Hello."), reply("Hello.")]) as provider:
        session = host.agent(provider, middleware=[embellishing]).session()
        with pytest.raises(HookError) as caught:
            await session.run("Hi")
        assert caught.value.result is not None and caught.value.result.text == "Hello."
        with pytest.raises(HookError):
            async with session.stream("Hi") as turn:
                await read_all(turn)
        assert turn.result.text == "Hello."
        assert [m.text for m in session.messages][1::2] == ["Hello.", "Hello."]  # type: ignore[union-attr]


async def test_failing_in_the_middle_interrupts_the_turn(host: Host) -> None:
    @middleware("turn")
    async def impatient(request: TurnRequest, next: Any) -> TurnResult:
        going = asyncio.ensure_future(next(request))
        await arrived.wait()
        going.cancel()
        raise TimeoutError("too slow")

    arrived = asyncio.Event()
    async with ScriptedProvider([reply("Never.", stall_before_headers=True)]) as provider:
        session = host.agent(provider, middleware=[impatient]).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await provider.reached("stalled")
        arrived.set()
        with pytest.raises(HookError) as caught:
            await running
        assert caught.value.result is not None
        assert (caught.value.result.reason, caught.value.result.cause) == ("interrupted", "middleware")


@pytest.mark.parametrize("how", ["interrupt", "cancel", "close", "runtime"])
async def test_holding_a_turn_back_can_be_ended(host: Host, how: str) -> None:
    """C1: a turn that a middleware holds back has not begun; whoever ends it leaves nothing behind."""
    held = asyncio.Event()
    gone: list[str] = []

    @middleware("turn")
    async def holding(request: TurnRequest, next: Any) -> TurnResult:
        held.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.append("gone")
        return await next(request)

    async with ScriptedProvider([]) as provider, Runtime() as runtime:
        session = host.agent(provider, middleware=[holding], runtime=runtime).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await held.wait()
        if how == "interrupt":
            assert session.interrupt()
            with pytest.raises(SessionError) as caught:
                await running
            assert caught.value.code == "turn_called_off"
        elif how == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        elif how == "close":
            await session.close()
            with pytest.raises(SessionError):
                await running
        else:
            await runtime.close()
            with pytest.raises(SessionError):
                await running
        await until(lambda: gone)
        assert not session.running and session.messages == ()


@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("how", ["interrupt", "close"])
async def test_hooks_are_not_asked_about_a_turn_that_was_stopped_behind_its_middleware(
    host: Host, how: str, fail: Any
) -> None:
    """C1, H4: it is let through and stopped in the same moment."""
    called: list[str] = []
    stopping: list[asyncio.Future[Any]] = []

    async def stop() -> None:
        if how == "close":
            await session.close()
        else:
            session.interrupt()

    @middleware("turn")
    async def lets_through(request: TurnRequest, next: Any) -> TurnResult:
        await asyncio.sleep(0)  # so that whoever begins the turn waits for it, on every Python
        stopping.append(asyncio.ensure_future(stop()))
        return await next(request)

    @hook("turn.before", fail=fail)
    def asked(context: HookContext) -> None:
        called.append(context.point)

    async with ScriptedProvider([]) as provider, Runtime() as runtime:
        session = host.agent(provider, middleware=[lets_through], hooks=[asked], runtime=runtime).session()
        if how == "interrupt" and fail == "open":
            assert (await session.run("Hi")).reason == "interrupted"
        else:
            with pytest.raises((SessionError, HookError)) as caught:
                await session.run("Hi")
            assert caught.value.code == ("hook_cut_off" if fail == "closed" else "session_closed")
        await stopping[0]
        assert called == [] and not session.running


async def test_errors_and_parking_are_seen(host: Host) -> None:
    """A parked turn is over for its middleware; what resumes it goes through anew."""
    watching = Watching()

    @tool
    async def pay() -> str:
        return "paid"

    async with ScriptedProvider([reply(call("pay")), reply("Paid."), fail(400)]) as provider:
        session = host.agent(provider, pay, middleware=[watching], approvals=lambda _: Ask("sure?")).session()
        parked = await session.run("Pay")
        await session.approve(parked.pending[0].call_id)
        await session.resume()
        with pytest.raises(ProviderError):
            await session.run(Move.CONTINUE)
        assert [r.reason for r in watching.results] == ["parked", "completed", "error"]
        assert [a.prompt for a in watching.asked] == ["Pay", None, None]


async def test_a_begin_that_fails_later_is_told(host: Host) -> None:
    """What refuses the turn behind the middleware comes through it."""
    seen: list[str] = []

    @middleware("turn")
    async def watching(request: TurnRequest, next: Any) -> TurnResult:
        try:
            return await next(request)
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    async with ScriptedProvider([]) as provider:
        with pytest.raises(ConfigError):
            await host.agent(provider, middleware=[watching]).run("   ")
        await until(lambda: seen)
        assert seen == ["ConfigError"]


async def test_what_it_sets_in_its_context_reaches_tools(host: Host) -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    @middleware("turn")
    async def tracing(request: TurnRequest, next: Any) -> TurnResult:
        trace.set("t-1")
        return await next(request)

    @tool
    async def look() -> str:
        seen.append(trace.get())
        return "seen"

    async with ScriptedProvider([reply(call("look")), reply("Ok.")]) as provider:
        await host.agent(provider, look, middleware=[tracing]).run("Look")
    assert seen == ["t-1"] and trace.get() == "none"


async def test_a_thousand_ends_leave_nothing(host: Host) -> None:
    """Turns that end in every way leave no task of their middleware behind."""
    watching = Watching()
    async with ScriptedProvider([reply("Ok.")] * 20) as provider, Runtime() as runtime:
        session = host.agent(provider, middleware=[watching], runtime=runtime).session()
        for n in range(20):
            if n % 2:
                await session.run("Hi")
            else:
                async with session.stream("Hi") as turn:
                    async for event in turn:
                        if isinstance(event, TextDelta):
                            break
        assert len(watching.results) == 20
        await until(lambda: not runtime._tasks)  # pyright: ignore[reportPrivateUsage]


async def test_turns_of_many_sessions_go_through_it(host: Host) -> None:
    watching = Watching()
    async with ScriptedProvider([reply("Hello.")]) as provider:
        agent = host.agent(provider, middleware=[watching])
        async with Sessions(MemoryStore(), agents=[agent]) as sessions:
            session = await sessions.open("chat", create=True)
            await session.run("Hi")
        assert len(watching.results) == 1


async def test_what_ends_the_steps_of_a_turn_is_not_hidden_by_its_middleware(host: Host) -> None:
    """C3: an error of the caller's (or its cancellation) goes on, whatever the middleware fails with afterwards."""

    @middleware("turn")
    async def fails_late(request: TurnRequest, next: Callable[[TurnRequest], Awaitable[TurnResult]]) -> TurnResult:
        await next(request)
        raise RuntimeError("too late")

    async with ScriptedProvider([reply("One.")]) as provider:
        session = host.agent(provider, middleware=[fails_late]).session()
        with pytest.raises(asyncio.CancelledError):
            async with session.steps("Hi") as steps:
                async for _ in steps:
                    pass
                raise asyncio.CancelledError
