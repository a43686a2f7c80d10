"""What was told is in the journal; what is not in the journal was not told; a store that fails or hangs hurts one turn only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    give_way,
    goes_on,
    in_virtual_time,
    names,
    of,
    read_all,
    until,
)

from turnwise import Deadlines, Runtime, tool
from turnwise.core.entries import CallOutcome, CallStarted, Entry, InputAccepted, StepCommitted, TurnEnded
from turnwise.core.evolve import fold
from turnwise.core.result import result_of
from turnwise.errors import StateError
from turnwise.events import StepFinished, ToolFinished, ToolStarted, TurnFinished, TurnStarted
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, repeat, reply, text

SCRIPT = [reply(text("Let me look."), call("look", what="a"), call("look", what="b")), reply("Found.")]


@tool
async def look(what: str) -> str:
    return what


class Watched:
    """A store that tells what is durable; `trouble` is awaited before and after each append with its number from 1."""

    def __init__(self, trouble: Callable[[str, int], Awaitable[None]] | None = None) -> None:
        self._store = MemoryStore()
        self._trouble = trouble
        self.appends = 0
        self.durable: list[Entry] = []

    async def append(self, session: str, after: int, entries: Sequence[Entry]) -> int:
        self.appends += 1
        number = self.appends
        await self._meet("before", number)
        last = await self._store.append(session, after, entries)
        await self._meet("written", number)
        self.durable += entries
        return last

    async def read(self, session: str, after: int = 0) -> Sequence[Entry]:
        return await self._store.read(session, after)

    async def _meet(self, when: str, number: int) -> None:
        await asyncio.sleep(0)
        if self._trouble is not None:
            await self._trouble(when, number)


async def test_nothing_is_told_before_it_is_durable(any_host: Host) -> None:
    """D1: when a watcher reads that a tool or a turn has ended, the entry that says so is on disk."""
    store = Watched()
    async with (
        ScriptedProvider(SCRIPT) as provider,
        any_host.agent(provider, look, store=store).session().stream("Hi") as turn,
    ):
        async for event in turn:
            kept = names(store.durable)
            match event:
                case TurnStarted():
                    assert "InputAccepted" in kept
                case StepFinished():
                    assert kept.count("StepCommitted") == event.step
                case ToolStarted(call_id=id):
                    assert any(isinstance(e, CallStarted) and e.call_id == id for e in store.durable)
                case ToolFinished(call_id=id):
                    assert any(isinstance(e, CallOutcome) and e.result.call_id == id for e in store.durable)
                case TurnFinished():
                    assert kept[-1] == "TurnEnded"
                case _:
                    pass


async def test_a_tool_runs_only_after_its_start_is_durable(any_host: Host) -> None:
    """D2: a crash can never hide that a tool may have had its effect."""
    store = Watched()
    seen: list[bool] = []

    @tool
    async def act() -> str:
        seen.append(any(isinstance(e, CallStarted) and e.name == "act" for e in store.durable))
        return ""

    async with ScriptedProvider([reply(call("act")), reply("Done.")]) as provider:
        await any_host.agent(provider, act, store=store).run("Hi")
    assert seen == [True]


async def test_a_call_that_never_ran_has_no_start(host: Host) -> None:
    """A call that is refused has an outcome and no `CallStarted` (ARCHITECTURE, a call)."""
    store = Watched()
    async with ScriptedProvider([reply(call("nobody"), call("look")), reply("Done.")]) as provider:
        await host.agent(provider, look, store=store).run("Hi")
    assert "CallStarted" not in names(store.durable)
    assert [e.ran for e in store.durable if isinstance(e, CallOutcome)] == [False, False]


async def test_the_journal_tells_the_same_story(any_host: Host, store: SuspendingStore | None) -> None:
    """Folding the journal gives the session's own transcript, usage and result."""
    kept = store or SuspendingStore(give_way)
    async with ScriptedProvider([*SCRIPT, reply("More.")]) as provider:
        session = any_host.agent(provider, look, store=kept).session()
        await session.run("Hi")
        last = await session.run("Go on")
        again = fold(list(await kept.read(session.id)))
        assert tuple(again.transcript) == session.messages
        assert again.usage == session.usage and result_of(again) == last


def found(request: RecordedRequest) -> Reply:
    """Two calls for a user, an answer for outcomes: right for any number of turns."""
    last = request.body["messages"][-1]
    outcomes = last["role"] == "tool" or (
        isinstance(last["content"], list) and last["content"][0]["type"] == "tool_result"
    )
    return SCRIPT[1] if outcomes else SCRIPT[0]


@pytest.mark.parametrize("when", ["before", "written"])
@pytest.mark.parametrize("failing", range(1, 7))
async def test_a_failing_append(host: Host, failing: int, when: str) -> None:
    """Whichever append fails, before or after it took effect: the turn ends with a `StateError`; nothing that was told is
    missing from the journal; the next turn reads it again and works."""
    broken = True

    async def trouble(at: str, number: int) -> None:
        if broken and number == failing and at == when:
            raise OSError("the disk is full")

    store = Watched(trouble)
    async with ScriptedProvider([repeat(found)]) as provider:
        session = host.agent(provider, look, store=store).session()
        name = session.id
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        if turn.result.error is None:
            assert store.appends < failing
            return
        assert names(events)[-1] == "TurnFinished" and names(events).count("TurnFinished") == 1
        result = turn.result
        assert result.reason == "error" and result.error is not None
        assert result.error.branch == "state" and "disk is full" in result.error.message and result.error.hint
        written = list(await store.read(session.id))
        outcomes = {e.result.call_id for e in written if isinstance(e, CallOutcome)}
        assert {e.call_id for e in of(ToolFinished, events)} <= outcomes
        assert len(of(StepFinished, events)) <= names(written).count("StepCommitted")
        await until(lambda: not session.running)
        broken = False
        again = await session.run("Again")
        assert again.reason == "completed" and again.text == "Found."
        assert_valid(session.messages)
        assert session.id == name and names(await store.read(name))[0] == "SessionCreated"
        assert tuple(fold(list(await store.read(name))).transcript) == session.messages
        numbers = [e.message.turn for e in of(InputAccepted, await store.read(name))]
        assert numbers == sorted(set(numbers))


async def test_run_raises_the_stores_error(host: Host) -> None:
    async def trouble(at: str, number: int) -> None:
        if number == 2 and at == "before":
            raise OSError("the disk is full")

    async with ScriptedProvider([repeat(found)]) as provider:
        with pytest.raises(StateError) as raised:
            await host.agent(provider, look, store=Watched(trouble)).run("Hi")
        assert raised.value.code == "append_failed" and raised.value.result is not None


async def test_the_account_after_a_failing_append(host: Host) -> None:
    """E10: what the journal had acknowledged by then is in the account; other turns' tokens are not."""

    async def trouble(at: str, number: int) -> None:
        if number == fails_at and at == "before":
            raise OSError("the disk is full")

    fails_at = 0
    store = Watched(trouble)
    async with ScriptedProvider([repeat(found)]) as provider:
        session = host.agent(provider, look, store=store).session()
        first = await session.run("Hi")
        before = store.appends
        fails_at = before + 3
        async with session.stream("Again") as turn:
            events = await read_all(turn)
        result = turn.result
        assert result.error is not None and result.turn == 2
        assert first.usage.input_tokens is not None
        told = len(of(StepFinished, events))
        assert told == 1 and result.steps == told
        assert result.text == "Let me look."
        written = list(await store.read(session.id))
        assert result.usage == of(StepCommitted, written)[2].message.usage


@pytest.mark.parametrize("hangs_at", [1, 2])
@pytest.mark.parametrize("ended_by", ["interrupt", "deadline", "leaving"])
def test_a_store_that_never_answers(ended_by: str, hangs_at: int) -> None:
    """C1, C5: not even a store that hangs keeps a turn from ending within its grace; the error names the store."""

    @in_virtual_time
    async def run() -> None:
        hanging, for_ever = asyncio.Event(), asyncio.Event()

        async def trouble(at: str, number: int) -> None:
            if number >= hangs_at and at == "before" and not for_ever.is_set():
                hanging.set()
                await for_ever.wait()

        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            deadlines = Deadlines(turn_s=30, grace_s=4)
            agent = ANTHROPIC.agent(provider, look, store=Watched(trouble), deadlines=deadlines, runtime=runtime)
            session = agent.session()
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with session.stream("Hi") as turn:
                reading = asyncio.create_task(read_all(turn))
                await hanging.wait()
                if ended_by == "interrupt":
                    session.interrupt()
                if ended_by != "leaving":
                    assert_ended(await reading)
            if ended_by == "leaving":
                assert_ended(await reading)
            assert loop.time() - began < (35 if ended_by == "deadline" else 5)
            result = turn.result
            assert result.reason in ("error", "interrupted", "timeout")
            if result.reason == "error":
                assert result.error is not None and "store" in result.error.hint.lower() + result.error.message.lower()
            for_ever.set()
            await goes_on(session)

    run()


async def test_two_writers_of_one_journal(host: Host) -> None:
    """D3: whoever comes second is told, and what the first wrote stays."""
    store = MemoryStore()
    async with ScriptedProvider([repeat(reply("Hi."))]) as provider:
        agent: Any = host.agent(provider, store=store)
        first, second = agent.session(id="same"), agent.session(id="same")
        await first.run("Hi")
        with pytest.raises(StateError) as raised:
            await second.run("Hi")
        assert raised.value.code == "append_conflict" and raised.value.hint
        entries = await store.read("same")
        assert names(entries) == ["SessionCreated", "InputAccepted", "StepCommitted", "TurnEnded"]
        assert isinstance(entries[-1], TurnEnded)
        await goes_on(first)
