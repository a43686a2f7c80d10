"""What is said while a turn runs: into it, for after it, and to end it (rules T3, C1, E1)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    give_way,
    goes_on,
    names,
    of,
    read_all,
    results,
    said,
    until,
)

from turnwise import Limits, ModelSettings, Move, tool
from turnwise.core.outcomes import Cancelled, Ok
from turnwise.errors import ConfigError, SessionBusy, SessionClosed, SessionError
from turnwise.events import FollowUpAccepted, FollowUpDropped, Notice, Steered, TextDelta, TurnFinished, TurnStarted
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, reply


class Door:
    """A tool that waits until it is let go, and one that is to be skipped."""

    def __init__(self) -> None:
        self.entered, self.go = asyncio.Event(), asyncio.Event()
        self.ran: list[str] = []

        @tool(resource=lambda a: "door")
        async def wait(name: str) -> str:
            self.ran.append(name)
            self.entered.set()
            await self.go.wait()
            return "waited"

        @tool(read_only=True)
        async def look(name: str) -> str:
            self.ran.append(name)
            self.entered.set()
            await self.go.wait()
            return "seen"

        self.wait, self.look = wait, look


# --- steering ----------------------------------------------------------------------------------------------------------


async def test_skipping_calls_that_have_not_begun(any_host: Host, store: SuspendingStore | None) -> None:
    """T3, E1: the call that runs keeps its outcome, the others never run, each has one outcome, and the model hears why."""
    door = Door()
    script = [reply(call("wait", name="a"), call("wait", name="b"), call("wait", name="c")), reply("Changed course.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, door.wait, store=store).session()
        async with session.stream("Hi") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await door.entered.wait()
            assert await session.steer("Stop that.", skip_calls=True, client_ref="s1")
            door.go.set()
            await reading
        assert door.ran == ["a"]
        got = results(assert_ended(events).result)
        assert [type(r.outcome) for r in got] == [Ok, Cancelled, Cancelled]
        assert "said something new" in got[1].text
        assert [(e.text, e.client_ref) for e in of(Steered, events)] == [("Stop that.", "s1")]
        assert said(session)[-2:] == ["Stop that.", "Changed course."]


async def test_skipping_while_the_step_is_being_journalled() -> None:
    """E1: calls whose step is not durable yet have not begun either; none of them runs after all."""
    paused, go = asyncio.Event(), asyncio.Event()
    appends: list[str] = []

    async def pause(when: str) -> None:
        appends.append(when)
        if appends == ["before", "after", "before"]:  # the input is written, the step is not
            paused.set()
            await go.wait()

    ran: list[str] = []

    @tool(resource=lambda a: "one")
    async def act(name: str) -> str:
        ran.append(name)
        return name

    async with ScriptedProvider([reply(call("act", name="a"), call("act", name="b")), reply("Fine.")]) as provider:
        session = ANTHROPIC.agent(provider, act, store=SuspendingStore(pause)).session()
        running = asyncio.create_task(session.run("Hi"))
        await paused.wait()
        steering = asyncio.create_task(session.steer("No.", skip_calls=True))
        await until(lambda: session.state.turn is not None and session.state.turn.steers)
        go.set()
        assert await steering
        result = await running
        assert [type(r.outcome) for r in results(result)] == [Ok, Cancelled] and ran == ["a"]


async def test_nothing_is_added_to_nothing(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = host.agent(provider).session()
        assert not await session.steer("Early.")
        await session.run("Hi")
        assert not await session.steer("Late.", skip_calls=True)
        assert said(session) == ["Hi", "Hi."]


@pytest.mark.parametrize("prompt", ["", "  \n", [], [""]])
async def test_an_empty_prompt_is_refused_everywhere(prompt: Any) -> None:
    """Before anything is journalled."""
    async with ScriptedProvider([reply("Hi.", stall_before_headers=True)]) as provider:
        store = MemoryStore()
        session = ANTHROPIC.agent(provider, store=store).session()
        for say in (session.run, session.follow_up, session.steer):
            with pytest.raises(ConfigError) as raised:
                await say(prompt)
            assert raised.value.code == "empty_prompt"
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        before = len(await store.read(session.id))
        for say in (session.steer, session.follow_up):
            with pytest.raises(ConfigError):
                await say(prompt)
        assert len(await store.read(session.id)) == before
        provider.release()
        await running


# --- follow-ups --------------------------------------------------------------------------------------------------------


async def test_a_follow_up_begins_when_the_turn_has_ended(any_host: Host, store: SuspendingStore | None) -> None:
    """T3: never between; the turns come one after another, in order, and nothing runs when the queue is empty."""
    script = [reply("One.", stall_before_headers=True), reply("Two."), reply("Three.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, store=store).session()
        async with session.stream("First", client_ref="r1") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await provider.reached("stalled")
            second = await session.follow_up("Second", client_ref="r2")
            third = await session.follow_up("Third")
            assert session.follow_ups == ("Second", "Third") and second.waiting and not second.over
            provider.release()
            await reading
        assert assert_ended(events).result.text == "One."
        assert [e.client_ref for e in of(TurnStarted, events)] == ["r1"]
        assert [(e.text, e.client_ref, e.number) for e in of(FollowUpAccepted, events)] == [
            ("Second", "r2", 1), ("Third", None, 2),
        ]  # fmt: skip
        assert (await third.result()).text == "Three."
        assert (await second.result()).turn == 2
        assert said(session) == ["First", "One.", "Second", "Two.", "Third", "Three."]
        await until(lambda: not session.running)
        assert session.follow_ups == ()


async def test_with_nothing_running_it_begins_at_once(host: Host, store: SuspendingStore | None) -> None:
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = host.agent(provider, store=store).session()
        handle = await session.follow_up("First")
        assert (await handle.result()).text == "One."
        assert (await (await session.follow_up("Second")).result()).turn == 2


@pytest.mark.parametrize("ending", ["interrupted", "error", "limit"])
async def test_the_queue_waits_when_a_turn_ends_badly(ending: str) -> None:
    """After an interrupt or an error a person has to look; a turn that ended well goes on with the queue, whoever began it."""
    first = {
        "interrupted": hang(),
        "error": fail(400, "no", stall_before_headers=True),
        "limit": reply(call("look", name="x"), stall_before_headers=True),
    }[ending]
    door = Door()
    door.go.set()
    rest = [reply("Two.")] if ending == "limit" else [reply("Again."), reply("Two.")]
    async with ScriptedProvider([first, *rest]) as provider:
        session = ANTHROPIC.agent(provider, door.look).session()
        running = asyncio.create_task(session.run("First", limits=Limits(steps=1)))
        await provider.reached("arrived")
        queued = await session.follow_up("Second")
        if ending == "interrupted":
            assert session.interrupt()
        else:
            await provider.reached("stalled")
            provider.release()
        await asyncio.wait((running,))
        if ending == "limit":
            assert (await queued.result()).text == "Two."
            assert running.result().reason == "limit"
            return
        assert not session.running and session.follow_ups == ("Second",) and queued.waiting
        running.exception()
        assert (await session.continue_()).text == "Again."
        assert (await queued.result()).text == "Two."


async def test_the_next_follow_up_goes_on_with_those_that_waited() -> None:
    async with ScriptedProvider([hang(), reply("Two."), reply("Three.")]) as provider:
        session = ANTHROPIC.agent(provider).session()
        running = asyncio.create_task(session.run("First"))
        await provider.reached("arrived")
        second = await session.follow_up("Second")
        session.interrupt()
        await running
        third = await session.follow_up("Third")
        assert [(await h.result()).text for h in (second, third)] == ["Two.", "Three."]


async def test_dropping_and_cancelling(store: SuspendingStore | None) -> None:
    """Each handle tells what became of its own; what has begun cannot be taken out."""
    script = [reply("One.", stall_before_headers=True), reply("Three."), reply("Now.")]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, store=store).session()
        async with session.stream("First") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await provider.reached("stalled")
            second, third = await session.follow_up("Second"), await session.follow_up("Third")
            assert await second.cancel() and not await second.cancel()
            provider.release()
            await reading
        assert [e.numbers for e in of(FollowUpDropped, events)] == [(1,)]
        with pytest.raises(SessionError) as raised:
            await second.result()
        assert raised.value.code == "follow_up_dropped"
        assert (await third.result()).text == "Three." and not await third.cancel()
        assert await session.drop_follow_ups() == 0
        await goes_on(session)


async def test_a_follow_up_is_taken_out_as_it_is_about_to_begin() -> None:
    """T3: its turn is claimed and not yet begun; the one behind it begins instead, as its own."""
    async with ScriptedProvider([reply("One.", stall_before_headers=True), reply("Three.")]) as provider:
        session = ANTHROPIC.agent(provider, store=SuspendingStore(give_way)).session()
        running = asyncio.create_task(session.run("First"))
        await provider.reached("stalled")
        second, third = await session.follow_up("Second"), await session.follow_up("Third")
        provider.release()
        await until(lambda: session.turn is not None and not session.turn.opened)
        assert await second.cancel()
        assert (await third.result()).text == "Three."
        await running
        with pytest.raises(SessionError):
            await second.result()
        assert said(session) == ["First", "One.", "Third", "Three."]


async def test_closing_ends_the_queue() -> None:
    """What runs is interrupted, what waits is never said, and handles do not hang."""
    async with ScriptedProvider([hang()]) as provider:
        session = ANTHROPIC.agent(provider).session()
        first = await session.follow_up("First")
        await provider.reached("arrived")
        second = await session.follow_up("Second")
        await session.close()
        await session.close()
        assert (await first.result()).cause == "closed"
        with pytest.raises(SessionClosed):
            await second.result()
        for say in (session.follow_up, session.steer, session.run):
            with pytest.raises(SessionClosed):
                await say("More")


async def test_a_follow_up_that_cannot_begin_says_why() -> None:
    """Its handle raises what beginning the turn raised; it stays in the queue."""
    async with ScriptedProvider([reply("One.", stall_before_headers=True), reply("Two.")]) as provider:
        agent = ANTHROPIC.agent(provider)
        session = agent.session()
        await session.set(stream=False)
        running = asyncio.create_task(session.run("First"))
        await provider.reached("stalled")
        handle = await session.follow_up("Second")
        agent.settings = ModelSettings(seed=1)  # which this API does not take
        provider.release()
        await running
        with pytest.raises(ConfigError) as raised:
            await handle.result()
        assert raised.value.code == "unsupported_feature"
        assert session.follow_ups == ("Second",) and not session.running
        agent.settings = ModelSettings()
        assert await session.drop_follow_ups() == 1
        assert (await session.run("Now?")).text == "Two."


async def test_watchers_of_the_session_see_the_turns_of_follow_ups(host: Host, store: SuspendingStore | None) -> None:
    """Nobody reads such a turn but they; each of its events comes once, in order."""
    async with ScriptedProvider([reply("One.", stall_before_headers=True), reply("Two.")]) as provider:
        session = host.agent(provider, store=store).session()
        watcher = session.watch()
        running = asyncio.create_task(session.run("First"))
        await provider.reached("stalled")
        handle = await session.follow_up("Second", client_ref="f")
        provider.release()
        await running
        await handle.result()
        await session.close()
        events = [event async for event in watcher]
        assert [(e.turn, e.client_ref) for e in of(TurnStarted, events)] == [(1, None), (2, "f")]
        assert [e.result.text for e in of(TurnFinished, events)] == ["One.", "Two."]
        assert "".join(e.text for e in of(TextDelta, events)) == "One.Two."


async def test_moves_in_every_driver(host: Host) -> None:
    """What begins a turn and how it is read have nothing to do with each other."""
    async with ScriptedProvider([reply(f"{n}.") for n in range(1, 7)]) as provider:
        session = host.agent(provider).session()
        await session.run("Hi")
        async with session.channel(Move.REGENERATE) as (channel, handle):
            assert [e async for e in channel]
        assert (await handle.result()).text == "2."
        async with session.steps(Move.CONTINUE) as steps:
            assert [step.text async for step in steps] == ["3."]
        async with session.stream(Move.REGENERATE, on_leave="detach") as turn:
            pass
        assert (await turn.wait()).text == "4."
        assert said(session) == ["Hi", "2.", "Continue.", "4."]
        assert (await session.run(Move.REGENERATE)).text == "5."
        assert (await (await session.follow_up("More")).result()).text == "6."


# --- interrupting ------------------------------------------------------------------------------------------------------


async def test_taking_a_turn_out(any_host: Host, store: SuspendingStore | None) -> None:
    """C1, T4: nothing of the turn is left in the transcript, its entries stay, what ran is named, and its number is not given again."""
    door = Door()
    script = [reply("One."), reply(call("wait", name="a"), call("look", name="b")), reply("Three.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, door.wait, door.look, store=store).session()
        await session.run("First")
        before = session.messages
        async with session.stream("Second") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await until(lambda: len(door.ran) == 2)
            assert session.interrupt(keep="none")
            await reading
        last = assert_ended(events)
        assert last.result.reason == "interrupted" and session.messages == before
        (notice,) = [e for e in of(Notice, events) if e.code == "side_effects"]
        assert "wait" in notice.message and "look" not in notice.message
        assert (await session.run("Third")).turn == 3
        assert said(session) == ["First", "One.", "Third", "Three."]


async def test_taking_a_turn_out_that_did_nothing(host: Host) -> None:
    """No tool ran, so there is nothing to warn of."""
    async with ScriptedProvider([reply("Some text", stall_after_event=4), reply("Fine.")]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            events: list[Any] = []
            reading = asyncio.create_task(read_all(turn, events))
            await provider.reached("stalled")
            session.interrupt("none")
            await reading
        assert session.messages == () and "Notice" not in names(events)
        await goes_on(session)


async def test_interrupting_nothing(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = host.agent(provider).session()
        assert session.interrupt() is False
        await session.run("Hi")
        assert session.interrupt(keep="none") is False
        await session.close()
        assert session.interrupt() is False
        assert said(session) == ["Hi", "Hi."]


async def test_interrupting_a_turn_that_is_about_to_begin(host: Host, tmp_path: Path) -> None:
    """C1: an interrupt that comes before the input is journalled is not lost; here a file is still being read."""
    (tmp_path / "note.txt").write_text("A note.")
    async with ScriptedProvider([reply("Fine.")]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run(tmp_path / "note.txt"))
        await until(lambda: session.running)
        assert session.status().phase == "opening" and session.interrupt()
        assert (await running).reason == "interrupted"
        await goes_on(session)


async def test_closing_while_a_turn_is_about_to_begin(host: Host, tmp_path: Path) -> None:
    """The turn never begins, and its caller is told why."""
    (tmp_path / "note.txt").write_text("A note.")
    async with ScriptedProvider([]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run(tmp_path / "note.txt"))
        await until(lambda: session.running)
        await session.close()
        with pytest.raises(SessionClosed):
            await running
        assert not session.running and session.messages == ()


async def test_one_turn_at_a_time_also_with_moves(host: Host) -> None:
    async with ScriptedProvider([reply("Hi.", stall_before_headers=True)]) as provider:
        session = host.agent(provider).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        for move in Move:
            with pytest.raises(SessionBusy):
                await session.run(move)
        for act in (session.undo, session.clear, lambda: session.rewind(0)):
            with pytest.raises(SessionBusy):
                await act()
        provider.release()
        await running
        assert_valid(session.messages)
