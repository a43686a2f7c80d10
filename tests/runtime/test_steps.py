"""Turns taken step by step: nothing is asked of the model before the caller asks, and the caller may act in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import (
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    in_virtual_time,
    results,
    said,
    until,
)

from turnwise import Deadlines, Limits, Step, Steps, UserMessage, replay, tool
from turnwise.errors import ConfigError, SessionBusy, SessionError
from turnwise.events import Event, TextDelta
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, reply, text


@tool
async def look(what: str) -> str:
    await asyncio.sleep(0)
    return f"saw {what}"


def three_steps() -> list[Any]:
    return [
        reply(text("Let me look."), call("look", what="x"), call("look", what="y")),
        reply(text("And there."), call("look", what="z")),
        reply(text("That is all.")),
    ]


async def idle(passes: int = 200) -> None:
    for _ in range(passes):
        await asyncio.sleep(0)


async def test_each_round_is_one_step(any_host: Host, store: SuspendingStore | None) -> None:
    """A step has its message, calls, results and usage; the model is not asked for the next one before the caller asks."""
    async with ScriptedProvider(three_steps()) as provider:
        session = any_host.agent(provider, look, store=store).session()
        steps: list[Step] = []
        async with session.steps("Hi") as turn:
            await idle()
            assert not provider.requests, "the first step, too, is made when it is asked for"
            async for step in turn:
                steps.append(step)
                await idle()
                assert len(provider.requests) == len(steps) == step.number
                if step.number < 3:
                    assert session.running
        assert [s.text for s in steps] == ["Let me look.", "And there.", "That is all."]
        assert [[c.name for c in s.calls] for s in steps] == [["look", "look"], ["look"], []]
        assert [[r.text for r in s.results] for s in steps] == [["saw x", "saw y"], ["saw z"], []]
        assert all(s.usage is not None and s.usage.output_tokens for s in steps)
        result = turn.result
        assert (result.reason, result.text, result.steps, result.calls) == ("completed", "That is all.", 3, 3)
        assert [s.message for s in steps] == [m for m in result.messages if m.id in {s.message.id for s in steps}]
        assert_valid(session.messages)


async def test_what_is_injected_enters_before_the_next_call(host: Host, store: SuspendingStore | None) -> None:
    """The message stands behind the results and before the next answer, in the request as in the transcript; replay agrees."""
    kept = store or MemoryStore()
    async with ScriptedProvider([*three_steps(), reply("On.")]) as provider:
        session = host.agent(provider, look, store=kept).session()
        async with session.steps("Hi") as steps:
            assert await steps.inject("First of all: hurry.")
            async for step in steps:
                if step.number == 1:
                    assert await steps.inject("Look there, too.")
                    assert await steps.inject("Please.")
        assert said(session) == [
            "Hi", "First of all: hurry.", "Let me look.", "Look there, too.", "Please.", "And there.", "That is all.",
        ]  # fmt: skip
        assert "hurry" in str(provider.requests[0].body["messages"])
        assert "Please." in str(provider.requests[1].body["messages"][-1])
        assert not await steps.inject("Too late.")
        assert_valid(session.messages)
        again = replay(await kept.read(session.id))
        assert tuple(again.state.transcript) == session.messages
        await goes_on(session)


async def test_settings_changed_between_steps_reach_the_provider(host: Host) -> None:
    """Model, tools and the rest of what is set between two steps is in the very next request."""

    @tool
    async def feel(what: str) -> str:
        return f"felt {what}"

    script = [reply(call("look", what="x")), reply(call("feel", what="y")), reply("Both.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            async for step in steps:
                if step.number == 1:
                    await steps.set(tools=[look, feel], max_output_tokens=77)
        assert [r.text for r in results(steps.result)] == ["saw x", "felt y"]
        first, second, third = [request.body for request in provider.requests]
        assert "feel" not in str(first["tools"]) and "feel" in str(second["tools"])
        assert 77 not in first.values() and 77 in second.values() and 77 in third.values()


async def test_stopping_between_steps(host: Host, store: SuspendingStore | None) -> None:
    async with ScriptedProvider([*three_steps()[:1], reply("On.")]) as provider:
        session = host.agent(provider, look, store=store).session()
        async with session.steps("Hi") as steps:
            async for _ in steps:
                steps.stop("seen enough")
        result = steps.result
        assert (result.reason, result.cause, result.steps) == ("stopped", "seen enough", 1)
        assert [r.text for r in results(result)] == ["saw x", "saw y"] and result.text == "Let me look."
        await goes_on(session)


async def test_stopping_before_the_first_step(host: Host) -> None:
    async with ScriptedProvider([reply("On.")]) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            steps.stop()
            assert [step async for step in steps] == []
        assert (steps.result.reason, steps.result.steps) == ("stopped", 0)
        await goes_on(session)


async def test_leaving_between_steps(any_host: Host, store: SuspendingStore | None) -> None:
    """C2, E10: leaving interrupts the turn; what was done is in the result."""
    async with ScriptedProvider([*three_steps()[:1], reply("On.")]) as provider:
        session = any_host.agent(provider, look, store=store).session()
        async with session.steps("Hi") as steps:
            async for _ in steps:
                break
        assert (steps.result.reason, steps.result.cause, steps.result.steps) == ("interrupted", "left", 1)
        await goes_on(session)


async def test_leaving_in_the_midst_of_a_step(host: Host) -> None:
    async with ScriptedProvider([hang(), reply("On.")]) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            asking = asyncio.create_task(next_of(steps))
            await provider.reached("stalled")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await provider.reached("left")
        assert steps.result.cause == "left"
        await goes_on(session)


async def next_of(steps: Steps) -> Step:
    return await anext(steps)


async def test_an_interrupt_between_steps(host: Host) -> None:
    """C1: a turn that waits for its caller is interrupted like any other."""
    async with ScriptedProvider([*three_steps()[:1], reply("On.")]) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            first = await anext(steps)
            assert session.interrupt()
            assert [step async for step in steps] == []
        assert first.number == 1
        assert (steps.result.reason, steps.result.cause, steps.result.steps) == ("interrupted", "user", 1)
        await goes_on(session)


async def test_the_handle_moves_between_tasks(host: Host, store: SuspendingStore | None) -> None:
    """Each step is asked for by another task, which is gone when the next one is asked for."""
    async with ScriptedProvider(three_steps()) as provider:
        session = host.agent(provider, look, store=store).session()
        steps = session.steps("Hi")
        await asyncio.create_task(enter(steps))
        got = [await asyncio.create_task(next_of(steps)) for _ in range(3)]
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
        await asyncio.create_task(leave(steps))
        assert [s.number for s in got] == [1, 2, 3] and steps.result.reason == "completed"


async def enter(steps: Steps) -> None:
    await steps.__aenter__()


async def leave(steps: Steps) -> None:
    await steps.__aexit__(None, None, None)


async def test_a_cancelled_step_is_there_when_asked_for_again(host: Host) -> None:
    """C3: cancelling the wait loses nothing: the step goes on, and the next question gets it, not the one after."""
    async with ScriptedProvider(three_steps()) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            asking = asyncio.create_task(next_of(steps))
            await provider.reached("arrived")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await idle(2000)
            assert len(provider.requests) == 1
            assert [step.number async for step in steps] == [1, 2, 3]


async def test_two_tasks_do_not_ask_at_once(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            asking = asyncio.create_task(next_of(steps))
            await provider.reached("stalled")
            with pytest.raises(SessionError) as caught:
                await anext(steps)
            assert caught.value.code == "two_readers"
            session.interrupt()
            with pytest.raises(StopAsyncIteration):
                await anext_of(asking)


async def anext_of(asking: asyncio.Task[Step]) -> Step:
    try:
        return await asking
    except RuntimeError as error:  # StopAsyncIteration does not come out of a task
        raise (error.__cause__ or error) from None


async def test_retries_belong_to_their_step(host: Host) -> None:
    script = [fail(529, headers={"retry-after": "0"}), *three_steps()]
    async with ScriptedProvider(script) as provider, host.agent(provider, look).session().steps("Hi") as steps:
        assert (await anext(steps)).number == 1
        assert len(provider.requests) == 2
        assert [step.number async for step in steps] == [2, 3]


async def test_an_error_ends_the_iteration(host: Host) -> None:
    async with ScriptedProvider([*three_steps()[:1], fail(400)]) as provider:
        async with host.agent(provider, look).session().steps("Hi") as steps:
            assert [step.number async for step in steps] == [1]
        assert steps.result.reason == "error" and steps.result.error is not None and steps.result.steps == 1


async def test_limits_hold(host: Host) -> None:
    """E9: the call that would pass the limit is not even held back: the turn ends."""
    async with ScriptedProvider(three_steps()[:2]) as provider:
        async with host.agent(provider, look).session().steps("Hi", limits=Limits(steps=2)) as steps:
            assert [step.number async for step in steps] == [1, 2]
        assert (steps.result.reason, steps.result.cause) == ("limit", "steps")


@in_virtual_time
async def test_the_deadline_runs_on_while_nobody_asks() -> None:
    """C5."""
    host = Host("anthropic")
    async with ScriptedProvider(three_steps()[:1]) as provider:
        agent = host.agent(provider, look, deadlines=Deadlines(turn_s=60))
        async with agent.session().steps("Hi") as steps:
            await anext(steps)
            await asyncio.sleep(61)
            assert [step async for step in steps] == []
        assert steps.result.reason == "timeout"


async def test_steps_are_watched_like_any_turn(host: Host) -> None:
    """The deltas of a step come to a watcher while its caller waits for the whole."""
    async with ScriptedProvider(three_steps()) as provider:
        async with host.agent(provider, look).session().steps("Hi") as steps:
            watcher = steps.watch()

            async def watch() -> list[Event]:
                return [event async for event in watcher]

            watching = asyncio.create_task(watch())
            async for _ in steps:
                pass
            events = await watching
        assert_ended(events)
        deltas = "".join(e.text for e in events if type(e) is TextDelta)
        assert deltas == "Let me look.And there.That is all."


async def test_one_turn_at_a_time(host: Host) -> None:
    async with ScriptedProvider(three_steps()[:1]) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            await anext(steps)
            with pytest.raises(SessionBusy):
                await session.run("Me, too")
            with pytest.raises(SessionError):
                _ = steps.result
            steps.stop()
            await until(lambda: not session.running)
    with pytest.raises(ConfigError):
        async with session.steps("  "):
            pass


async def test_a_steer_from_elsewhere_is_not_lost(host: Host) -> None:
    """`session.steer` works here as anywhere; what it says is told to the model and stands between results and answer or behind it."""
    async with ScriptedProvider(three_steps()) as provider:
        session = host.agent(provider, look).session()
        async with session.steps("Hi") as steps:
            async for step in steps:
                if step.number == 1:
                    assert await session.steer("Hurry.")
        assert "Hurry." in said(session)
        assert [m.text for m in session.messages if isinstance(m, UserMessage)].count("Hurry.") == 1
        assert_valid(session.messages)
        assert "Hurry." in str(provider.requests[2].body["messages"])
