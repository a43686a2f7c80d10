"""Leaving a stream early (rule C2) and cancellation from outside (rule C3), at every moment at which it can happen."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import (
    ANTHROPIC,
    OPENAI,
    Host,
    assert_ended,
    assert_valid,
    give_way,
    goes_on,
    of,
    read_all,
    read_until,
    results,
    run_guarded,
    until,
)

from turnwise import Runtime, tool
from turnwise.events import Event, TextDelta, ToolStarted
from turnwise.store.memory import SuspendingStore
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, hang, repeat, reply, text

FEW = examples(30)


@tool
async def look(what: str) -> str:
    """Gives way a few times, so that there are moments to be caught in."""
    for _ in range(3):
        await asyncio.sleep(0)
    return what


def two_steps(request: RecordedRequest) -> Reply:
    """To a user: text and two calls. To outcomes: text."""
    last = request.body["messages"][-1]
    if last["role"] == "tool" or b"tool_result" in request.raw[request.raw.rindex(b'"role"') :]:
        return reply(text("That is what I found."))
    return reply(text("Let me look."), call("look", what="here"), call("look", what="there"))


class Left(Exception):
    """Raised by a consumer's body."""


async def leave_at(host: Host, index: int, by_exception: bool, store: SuspendingStore | None) -> None:
    async with Runtime() as runtime, ScriptedProvider([repeat(two_steps)]) as provider:
        session = host.agent(provider, look, runtime=runtime, store=store).session()
        seen = 0
        turn = session.stream("Hi")
        with contextlib.suppress(Left):
            async with turn:
                if index == 0:
                    if by_exception:
                        raise Left
                else:
                    async for _ in turn:
                        seen += 1
                        if seen == index:
                            if by_exception:
                                raise Left
                            break
        assert turn.result.reason in ("interrupted", "completed")
        if turn.result.reason == "interrupted":
            assert turn.result.cause == "left"
        assert not session.running and not runtime.abandoned_bodies
        assert_valid(session.messages)
        await goes_on(session)


@FEW
@given(
    host=st.sampled_from([ANTHROPIC, OPENAI, Host("anthropic", False), Host("openai", False)]),
    index=st.integers(0, 30),
    by_exception=st.booleans(),
    suspending=st.booleans(),
)
def test_leaving_at_any_event_stops_the_turn(host: Host, index: int, by_exception: bool, suspending: bool) -> None:
    """C2, T1: whichever event was the last one read, no task is left and the next turn is accepted."""
    run_guarded(leave_at(host, index, by_exception, SuspendingStore(give_way) if suspending else None))


async def test_leaving_frees_the_connection(any_host: Host) -> None:
    """C2: the server sees the disconnect at once, whether headers are waited for or a body is read."""
    stalled = reply(text("one two three"), stall_after_event=4) if any_host.streamed else hang()
    async with ScriptedProvider([stalled, reply("Here we are.")]) as provider:
        session = any_host.agent(provider).session()
        async with session.stream("Hi"):
            await provider.reached("stalled")
        await provider.reached("left")
        await goes_on(session)


async def test_leaving_stops_tools(host: Host) -> None:
    stopped = asyncio.Event()

    @tool
    async def wait() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    async with ScriptedProvider([reply(call("wait")), reply("Here we are.")]) as provider:
        session = host.agent(provider, wait).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, ToolStarted)
        assert stopped.is_set()
        await goes_on(session)


async def test_leaving_after_the_end_changes_nothing(host: Host) -> None:
    async with ScriptedProvider([reply("All said.")]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            assert_ended(await read_all(turn))
        assert turn.result.reason == "completed" and turn.result.text == "All said."


# --- cancellation from outside -----------------------------------------------------------------------------------------


async def cancel_after(host: Host, passes: int, suspending: bool) -> None:
    async with Runtime() as runtime, ScriptedProvider([repeat(two_steps)]) as provider:
        store = SuspendingStore(give_way) if suspending else None
        session = host.agent(provider, look, runtime=runtime, store=store).session()
        task = asyncio.create_task(session.run("Hi"))
        for _ in range(passes):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
        else:
            assert task.result().reason == "completed"
        assert not session.running
        await goes_on(session)


@FEW
@given(
    host=st.sampled_from([ANTHROPIC, OPENAI]), passes=st.integers(0, 60) | st.integers(0, 200), suspending=st.booleans()
)
def test_a_cancelled_run_ends_cancelled(host: Host, passes: int, suspending: bool) -> None:
    """C3: at whichever await it is caught, the cancellation comes out; the session stays whole."""
    run_guarded(cancel_after(host, passes, suspending))


async def test_timeout_around_run(any_host: Host) -> None:
    """C3: `asyncio.timeout` sees its own cancellation and nothing else does."""
    limits: list[asyncio.Timeout] = []

    async def bounded() -> int:
        try:
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                await session.run("Hi")
        except TimeoutError:
            task = asyncio.current_task()
            return task.cancelling() if task else -1
        raise AssertionError("the timeout was swallowed")

    async with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = any_host.agent(provider).session()
        running = asyncio.create_task(bounded())
        await provider.reached("stalled")
        limits[0].reschedule(asyncio.get_running_loop().time())
        assert await running == 0
        await provider.reached("left")
        await goes_on(session)


async def test_interrupting_does_not_cancel_the_consumer(host: Host) -> None:
    """C3: our own stopping is never a cancellation of a task that we did not create."""
    async with ScriptedProvider([reply(text("one two three"), stall_after_event=4)]) as provider:
        session = host.agent(provider).session()
        caught: list[BaseException] = []

        async def consume() -> list[Event]:
            try:
                async with session.stream("Hi") as turn:
                    events = await read_all(turn)
                    await asyncio.sleep(0)
                    return events
            except BaseException as error:
                caught.append(error)
                raise

        consumer = asyncio.create_task(consume())
        await provider.reached("stalled")
        await until(lambda: session.running)
        session.interrupt()
        assert_ended(await consumer)
        assert not caught and consumer.cancelling() == 0


async def test_cancelling_a_pull_loses_no_event(host: Host) -> None:
    """C3: whoever gives up one `anext` may ask again and misses nothing."""
    said = "one two three four five six seven eight nine ten"
    async with ScriptedProvider([reply(text(said), chunk_size=7)]) as provider:
        events: list[Event] = []
        cancelled = 0
        async with host.agent(provider).session().stream("Hi") as turn:
            while not events or type(events[-1]).__name__ != "TurnFinished":
                pull = asyncio.ensure_future(anext(turn))
                for _ in range(len(events) % 3):
                    await asyncio.sleep(0)
                cancelled += pull.cancel()
                await asyncio.wait((pull,))
                if not pull.cancelled():
                    events.append(pull.result())
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.01):
                            events.append(await anext(turn))
        assert cancelled
        assert "".join([e.text for e in of(TextDelta, events)]) == said
        assert assert_ended(events).result.text == said


async def test_a_second_cancellation_stops_only_the_waiting(host: Host) -> None:
    """C3: the finisher is nobody's to cancel: it ends the turn although its caller has gone."""
    waiting, release = asyncio.Event(), asyncio.Event()
    entries = 0

    async def pause(when: str) -> None:
        nonlocal entries
        entries += when == "before"
        if entries > 1 and not release.is_set():
            waiting.set()
            await release.wait()

    store = SuspendingStore(pause)
    async with Runtime() as runtime, ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider, runtime=runtime, store=store).session()
        task = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        task.cancel()
        await waiting.wait()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.running
        release.set()
        await until(lambda: not session.running)
        assert type((await store.read(session.id))[-1]).__name__ == "TurnEnded"
        await goes_on(session)


async def test_a_tool_that_cancels_itself_cancels_nobody_else(any_host: Host) -> None:
    """C3, E1: `CancelledError` raised by a tool's own doing is that tool's failure."""

    @tool
    async def dies() -> str:
        raise asyncio.CancelledError("by itself")

    async with ScriptedProvider([reply(call("dies"), call("look", what="x")), reply("I see.")]) as provider:
        result = await any_host.agent(provider, dies, look).run("Hi")
        assert result.reason == "completed"
        first, second = results(result)
        assert first.is_error and "cancelled itself" in first.text and second.text == "x"
