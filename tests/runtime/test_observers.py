"""Whoever watches all turns of a runtime is told of everything that is journalled, in order and once, and of nothing after it has ended (H4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, names, of, read_all
from tests.runtime.stored import SharedStore

from turnwise import Ask, Limits, Runtime, replay, tool
from turnwise.events import (
    ApprovalGiven,
    Event,
    StepStarted,
    TextDelta,
    ToolFinished,
    TurnFinished,
    TurnParked,
    TurnStarted,
)
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text


@tool
async def look(what: str) -> str:
    return f"saw {what}"


class Notebook:
    """Writes down what it is told, of which session and turn."""

    def __init__(self) -> None:
        self.told_of: list[Event] = []
        self.sessions: list[str] = []
        self.turns: list[Any] = []

    def told(self, session: Any, turn: Any, events: Sequence[Event]) -> None:
        self.told_of += events
        self.sessions += [session.id] * len(events)
        self.turns += [turn] * len(events)


def journalled(notes: Notebook) -> list[Event]:
    return [event for event in notes.told_of if type(event) is not StepStarted]


SCRIPTS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text": ([reply("Hello.")], {}),
    "tools": (
        [reply(text("So"), call("look", what="a"), call("look", what="b"), call("nonsense")), reply("Done.")],
        {},
    ),
    "a retry": ([fail(500), reply("At last.")], {}),
    "an error": ([fail(400)], {}),
    "a limit": ([reply(call("look", what="a"))], {"limits": Limits(steps=1)}),
}


@pytest.mark.parametrize("case", SCRIPTS)
async def test_all_that_is_journalled_is_told_in_order(
    any_host: Host, case: str, store: SuspendingStore | None
) -> None:
    """What the journal tells when it is replayed, and with it the beginnings of model calls; no deltas. The consumer is told the same."""
    script, options = SCRIPTS[case]
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        notes = Notebook()
        runtime.observe(notes)
        session = any_host.agent(provider, look, runtime=runtime, store=store, **options).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        journal = await session.journal(0)
    assert journalled(notes) == replay(journal).events
    assert of(StepStarted, notes.told_of) == of(StepStarted, events)
    assert not of(TextDelta, notes.told_of)
    ours = [event for event in events if event in notes.told_of]
    assert sorted(names(notes.told_of)) == sorted(names(ours)), "nothing is told to an observer that a consumer is not"
    assert set(notes.turns) == {turn} and set(notes.sessions) == {session.id}
    starts = names(notes.told_of)
    assert starts.index("TurnStarted") < starts.index("StepStarted") and starts[-1] == "TurnFinished"


async def test_it_is_told_once_it_is_durable() -> None:
    """D1: never of what a store has not acknowledged."""
    acknowledged = 0

    class Counting(SharedStore):
        async def append(self, session: str, after: int, entries: Any, claim: Any = None) -> int:
            nonlocal acknowledged
            fence = await super().append(session, after, entries, claim)
            acknowledged = after + len(entries)
            return fence

    async with Runtime() as runtime, ScriptedProvider([reply(call("look", what="a")), reply("Done.")]) as provider:
        seen: list[tuple[str, int]] = []

        class Late:
            def told(self, session: Any, turn: Any, events: Sequence[Event]) -> None:
                seen.extend((type(event).__name__, acknowledged) for event in events)

        runtime.observe(Late())
        async with ANTHROPIC.agent(provider, look, runtime=runtime, store=Counting()).session() as session:
            await session.run("Hi")
            journal = await session.journal(0)
    by_name = dict(seen)
    numbers = {type(entry).__name__: number for number, entry in enumerate(journal, 1)}
    assert by_name["TurnStarted"] >= numbers["InputAccepted"]
    assert by_name["ToolFinished"] >= numbers["CallOutcome"]
    assert by_name["TurnFinished"] >= numbers["TurnEnded"] == len(journal)


@pytest.mark.parametrize("failing", [2, 3])
async def test_a_turn_that_is_lost_is_told_to_end(failing: int) -> None:
    """A store that fails in the middle: the last thing told is `TurnFinished` with the error, once, as the consumer is told."""
    calls = 0

    async def moody(moment: str) -> None:
        nonlocal calls
        if moment == "before":
            calls += 1
            if calls == failing:
                raise OSError("the disk is gone")

    async with (
        Runtime() as runtime,
        ScriptedProvider([reply(call("look", what="a")), repeat(reply("Done."))]) as provider,
    ):
        notes = Notebook()
        runtime.observe(notes)
        session = ANTHROPIC.agent(provider, look, runtime=runtime, store=SuspendingStore(moody)).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        last = events[-1]
        assert isinstance(last, TurnFinished)
        result = last.result
        assert result.reason == "error" and result.cause == "append_failed"
        finished = of(TurnFinished, notes.told_of)
        assert finished == [TurnFinished(result)] and notes.told_of[-1] is finished[0]
        assert names(notes.told_of).count("TurnStarted") == 1


async def test_an_observer_that_has_ended_is_told_nothing(host: Host) -> None:
    """H4: neither in the middle of a turn nor later; the others go on. The same observer twice is told twice, and ends once."""
    async with (
        Runtime() as runtime,
        ScriptedProvider([reply(call("look", what="a")), repeat(reply("Done."))]) as provider,
    ):
        leaving, staying = Notebook(), Notebook()
        end, stay = runtime.observe(leaving), runtime.observe(staying)
        session = host.agent(provider, look, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            async for event in turn:
                if type(event) is ToolFinished:
                    end()
                    end()
                    seen = len(leaving.told_of)
        assert len(leaving.told_of) == seen and staying.told_of[:seen] == leaving.told_of
        assert type(staying.told_of[-1]) is TurnFinished
        await session.run("Again")
        assert len(leaving.told_of) == seen and len(of(TurnStarted, staying.told_of)) == 2
        stay()
        assert runtime.observers == ()


async def test_one_that_ends_while_it_is_told_is_not_told_again() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        told: list[str] = []

        class Shy:
            def told(self, session: Any, turn: Any, events: Sequence[Event]) -> None:
                told.extend(names(events))
                if events:
                    end()

        after = Notebook()
        end = runtime.observe(Shy())
        runtime.observe(after)
        await ANTHROPIC.agent(provider, runtime=runtime).session().run("Hi")
    assert told == ["TurnStarted"] and names(after.told_of)[-1] == "TurnFinished", "the next one is not skipped"


async def test_what_happens_to_a_parked_turn_is_told_without_a_turn() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply(call("look", what="a")), reply("Done.")]) as provider:
        notes = Notebook()
        runtime.observe(notes)
        agent = ANTHROPIC.agent(provider, look, runtime=runtime, approvals=lambda _: Ask())
        session = agent.session()
        await session.run("Hi")
        assert type(notes.told_of[-1]) is TurnParked
        await session.approve("t1.s1.c0")
        assert type(notes.told_of[-1]) is ApprovalGiven and notes.turns[-1] is None
        await session.resume()
        assert type(notes.told_of[-1]) is TurnFinished and notes.turns[-1] is not None
        assert journalled(notes) == replay(await session.journal(0)).events


@pytest.mark.parametrize("how", ["interrupted", "left", "closed"])
async def test_a_turn_that_is_ended_from_outside_is_told_to_end(how: str) -> None:
    async with Runtime() as runtime, ScriptedProvider([hang()]) as provider:
        notes = Notebook()
        runtime.observe(notes)
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await provider.reached("stalled")
            if how == "interrupted":
                session.interrupt()
            elif how == "closed":
                await session.close()
            if how != "left":
                await reading
        if how == "left":
            await reading
        assert names(notes.told_of)[-1] == "TurnFinished" and len(of(TurnFinished, notes.told_of)) == 1


async def test_all_sessions_of_a_runtime_are_told_of_and_no_others() -> None:
    async with Runtime() as runtime, Runtime() as other, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        notes = Notebook()
        runtime.observe(notes)
        agent = ANTHROPIC.agent(provider, store=MemoryStore())
        mine: list[str] = []
        for owner in (runtime, other, runtime):
            agent.runtime = owner
            session = agent.session()
            await session.run("Hi")
            if owner is runtime:
                mine.append(session.id)
        assert list(dict.fromkeys(notes.sessions)) == mine


def test_an_idle_runtime_has_none() -> None:
    """One shared empty tuple: with nobody there, there is nothing to pay."""
    assert Runtime().observers is Runtime().observers and Runtime().observers == ()
