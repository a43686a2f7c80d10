"""What sessions tell is on the bus, is read again from their journals without gap or double, and a full bus costs no turn (rules H4, C4, D6)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, give_way, read_until, until

from turnwise import Agent, Limits, MemoryStore, Runtime, Session, SqliteStore, State, StateKey, ToolContext, tool
from turnwise.bus import BusEvent, BusPolicy
from turnwise.core.inputs import Interrupt
from turnwise.errors import ConfigError, StateError
from turnwise.events import BudgetLow, StepStarted, TextDelta
from turnwise.runtime.opening import save_snapshot
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text


@tool
async def look(what: str) -> str:
    return what


SCRIPT = [reply(text("Let me look."), call("look", what="a"), call("look", what="b")), reply("Found.")]


def brief(events: list[BusEvent]) -> list[tuple[str, int | None, int | None]]:
    return [(event.topic, event.turn, event.entry) for event in events]


async def collected(subscription: Any, last: str = "turn.finished") -> list[BusEvent]:
    """What comes up to the first event of that topic."""
    out: list[BusEvent] = []
    async for event in subscription:
        out.append(event)
        if event.topic == last:
            break
    return out


# --- live -------------------------------------------------------------------------------------------------------------


async def test_every_event_of_a_turn_is_published_with_its_entry(any_host: Host, store: Any) -> None:
    """The same structs that a stream gives, but for what a model says bit by bit; in their order; after they are durable."""
    async with Runtime(store=store) as runtime, ScriptedProvider(SCRIPT) as provider:
        events = runtime.bus.subscribe("**")
        session = any_host.agent(provider, look, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            streamed: list[Any] = [event async for event in turn]
        seen = await collected(events)
        told = [
            event
            for event in streamed
            if not type(event).__name__.endswith("Delta") and type(event).__name__ != "ToolCallStarted"
        ]
        assert [event.data for event in seen] == told
        assert [event.topic for event in seen] == [event.__struct_config__.tag for event in told]
        assert {(event.session, event.turn) for event in seen} == {(session.id, 1)}
        numbered = [event.entry for event in seen if not isinstance(event.data, StepStarted)]
        assert numbered == sorted(numbered) and numbered[0] == 2 and numbered[-1] == session.state.seq
        assert all(event.entry is None for event in seen if isinstance(event.data, StepStarted))


async def test_what_was_published_is_what_the_journal_tells(store: Any) -> None:
    """The live events that are in an entry, and those that are read again, are the same, numbers included."""
    async with Runtime(store=store) as runtime, ScriptedProvider([*SCRIPT, fail(400), reply("Yes.")]) as provider:
        events = runtime.bus.subscribe("**")
        session = ANTHROPIC.agent(provider, look, runtime=runtime).session()
        await session.run("Hi")
        async with session.stream("Again") as turn:
            async for _ in turn:
                pass
        await session.run("And again")
        live = [event for n in range(3) for event in await collected(events) if event.entry is not None]
        again = [event async for event in runtime.bus.replay(session)]
        assert brief(again) == brief(live) and [e.data for e in again] == [e.data for e in live]
        assert {event.cursor for event in again} == {0}


async def test_only_what_a_session_tells(host: Host) -> None:
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        agent = host.agent(provider, runtime=runtime)
        one, other = agent.session(), agent.session()
        events = runtime.bus.subscribe("turn.*", session=one.id)
        await other.run("Hi")
        await one.run("Hi")
        assert {event.session for event in await collected(events)} == {one.id} and events.waiting == 0


async def test_what_is_in_no_entry_is_published_too() -> None:
    """Warnings of limits are what a bus is for."""
    async with Runtime() as runtime, ScriptedProvider([reply(call("look", what="a")), reply("Found.")]) as provider:
        events = runtime.bus.subscribe("budget.low")
        await ANTHROPIC.agent(provider, look, runtime=runtime, limits=Limits(steps=2)).session().run("Hi")
        event = await anext(events)
        assert isinstance(event.data, BudgetLow) and event.entry is None and event.turn == 1


async def test_nobody_listens_to_turns_unless_somebody_wants_to_hear() -> None:
    """With no subscriber nothing is paid, nor with one who wants something else."""
    async with Runtime() as runtime:
        bus = runtime.bus
        statuses = bus.subscribe(["status.**", "mine.*"])
        assert runtime.observers == ()
        turns = bus.subscribe("turn.*")
        assert len(runtime.observers) == 1
        more = bus.subscribe("**")
        assert len(runtime.observers) == 1
        turns.close()
        more.close()
        assert runtime.observers == () and not statuses.closed


# --- a full bus -------------------------------------------------------------------------------------------------------

COUNT = StateKey("count", int)


@tool
async def count(context: ToolContext[Any]) -> int:
    """Writes the state of the session and of the user."""
    state: State = context.state
    await state.user.update(COUNT, lambda n: n + 1, default=0)
    return await state.session.update(COUNT, lambda n: n + 1, default=0)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "coalesce", "disconnect"])
async def test_a_full_bus_never_fails_a_state_write(policy: BusPolicy, tmp_path: Path) -> None:
    """Proof 2, H4: queues without room, handlers that hang or fail, keys that raise; turn, journal and state are whole."""
    entered = asyncio.Event()

    async def hangs(event: BusEvent) -> None:
        entered.set()
        await asyncio.Event().wait()

    def fails(event: BusEvent) -> None:
        raise ValueError("no")

    calls = [reply(*[call("count") for _ in range(3)]) for _ in range(4)]
    store = SqliteStore(tmp_path / "kept.db")
    async with Runtime(store=store) as runtime, ScriptedProvider([*calls, reply("Counted.")]) as provider:
        bus = runtime.bus
        full = bus.subscribe("**", policy=policy, size=1)
        stuck, failing = bus.subscribe("**", hangs, size=1), bus.subscribe("**", fails)
        if policy == "coalesce":
            bus.subscribe("**", policy=policy, size=1, key=lambda event: 1 // 0)
        bus.publish("begin.now")
        await entered.wait()
        session = ANTHROPIC.agent(provider, count, runtime=runtime).session()
        result = await session.run("Count.")
        assert (result.reason, result.text, result.calls) == ("completed", "Counted.", 12)
        assert await session.scopes.session.get(COUNT) == 12 and await session.scopes.user.get(COUNT) == 12
        assert len(await store.read(session.id)) == session.state.seq
        assert stuck.dropped and failing.status.errors and (full.dropped or policy == "coalesce")
        assert ("bus", "bus_full") in {(one.part, one.code) for one in result.warnings}
        full.close()
        stuck.close()
    await store.close()


# --- from a cursor ----------------------------------------------------------------------------------------------------


async def _store(kind: str, folder: Path) -> Any:
    if kind == "sqlite":
        return SqliteStore(folder / "kept.db")
    return MemoryStore() if kind == "rows" else SuspendingStore(give_way) if kind == "suspending" else None


@pytest.mark.parametrize("kind", ["memory", "suspending", "rows", "sqlite"])
async def test_following_has_no_gap_and_no_double(kind: str, tmp_path: Path) -> None:
    """D6: from each entry on, joined before, between and during turns; across stores that can say when they grow and that cannot."""
    given = await _store(kind, tmp_path)
    async with Runtime(store=given) as runtime, ScriptedProvider([*SCRIPT, *SCRIPT, *SCRIPT]) as provider:
        session = ANTHROPIC.agent(provider, look, runtime=runtime).session()
        early = await runtime.bus.follow(session, after=0)
        reading = asyncio.create_task(_turns(early, 3))
        await session.run("Hi")
        middle = await runtime.bus.follow(session)
        whole = [event async for event in runtime.bus.replay(session)]
        async with session.stream("Again") as turn:
            await read_until(turn, TextDelta)
            joined = await runtime.bus.follow(session, after=3)
            joining = asyncio.create_task(_turns(joined, 3))
            async for _ in turn:
                pass
        await session.run("And again")
        whole = [event async for event in runtime.bus.replay(session)]
        assert brief(await reading) == brief(whole)
        assert brief(await joining) == [one for one in brief(whole) if one[2] and one[2] > 3]
        assert brief(await _turns(middle, 2)) == [one for one in brief(whole) if one[1] != 1]
        for after in range(session.state.seq + 1):
            rest = [event async for event in runtime.bus.replay(session, after=after)]
            assert brief(rest) == [one for one in brief(whole) if one[2] and one[2] > after]
        for followed in (early, middle, joined):
            assert followed.cursor == session.state.seq
            followed.close()
            assert [event async for event in followed] == []
        assert runtime.observers == () and runtime.status().tasks == 0
    if kind == "sqlite":
        await given.close()


async def _turns(followed: Any, turns: int) -> list[BusEvent]:
    out: list[BusEvent] = []
    while turns:
        out += await collected(followed)
        turns -= 1
    return out


async def test_a_cursor_stands_behind_entries_that_were_read_whole() -> None:
    """Whoever leaves in the middle of an entry is told all of it again; whoever has read it, nothing of it."""
    async with Runtime() as runtime, ScriptedProvider(SCRIPT) as provider:
        session = ANTHROPIC.agent(provider, look, runtime=runtime).session()
        await session.run("Hi")
        whole = [event async for event in runtime.bus.replay(session)]
        for taken in range(1, len(whole) + 1):
            async with await runtime.bus.follow(session, after=0) as followed:
                first = [await anext(followed) for _ in range(taken)]
                then = [event async for event in runtime.bus.replay(session, after=followed.cursor)]
            kept = [event for event in first if event.entry is not None and event.entry <= followed.cursor]
            assert brief(kept + then) == brief(whole)


async def test_following_a_session_whose_turns_run_in_another_process(tmp_path: Path) -> None:
    """Another handle on the same file is what another process has."""
    here, there = SqliteStore(tmp_path / "kept.db"), SqliteStore(tmp_path / "kept.db")
    async with (
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
        Runtime(store=here) as runtime,
        Runtime(store=there) as other,
    ):
        session = ANTHROPIC.agent(provider, runtime=other).session()
        await session.run("Hi")
        followed = await runtime.bus.follow(session.id, "turn.*", after=0)
        first = await collected(followed)
        reading = asyncio.create_task(collected(followed))
        await session.run("Again")
        assert brief(first + await reading) == brief([e async for e in runtime.bus.replay(session.id, "turn.*")])
        followed.close()
    await here.close()
    await there.close()


async def test_a_long_journal_is_followed_from_its_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also over more entries than are read at a time, and kept at hand."""
    monkeypatch.setattr("turnwise.runtime.tape.PAGE", 10)
    monkeypatch.setattr("turnwise.runtime.tape.KEPT", 20)
    store = SqliteStore(tmp_path / "kept.db")
    async with Runtime(store=store) as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        for _ in range(60):
            await session.run("Hi")
        await save_snapshot(session)
        assert await store.snapshot(session.id) is not None
        whole = [event async for event in runtime.bus.replay(session.id, "turn.finished")]
        assert [event.turn for event in whole] == list(range(1, 61))
        for back in (1, 3, 40, 100):
            after = session.told - back
            rest = [event async for event in runtime.bus.replay(session.id, "turn.finished", after=after)]
            assert brief(rest) == [one for one in brief(whole) if one[2] is not None and one[2] > after]
    await store.close()


async def test_what_cannot_be_followed() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        await session.run("Hi")
        with pytest.raises(ConfigError) as raised:
            await runtime.bus.follow(session.id)
        assert raised.value.code == "no_store"
        with pytest.raises(ConfigError) as raised:
            await runtime.bus.follow(session, after=99)
        assert raised.value.code == "invalid_value"
        with pytest.raises(ConfigError) as raised:
            await runtime.bus.follow(session, "a..b")
        assert raised.value.code == "invalid_pattern"
        with pytest.raises(StateError) as unknown:
            await runtime.bus.follow("nobody", store=MemoryStore())
        assert unknown.value.code == "unknown_session"


async def test_closing_the_runtime_ends_who_follows() -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        async with Runtime(store=MemoryStore()) as runtime:
            session = ANTHROPIC.agent(provider, runtime=runtime).session()
            await session.run("Hi")
            followed = await runtime.bus.follow(session)
            reading = asyncio.ensure_future(_all(followed))
            await until(lambda: runtime.status().tasks == 1)
        assert await reading == []


async def _all(followed: Any) -> list[BusEvent]:
    return [event async for event in followed]


# --- nothing is left --------------------------------------------------------------------------------------------------


async def test_a_thousand_turns_leave_nothing() -> None:
    """Proof 3: however turns end, the counts of subscribers, watchers, queues and tasks are what they were."""
    async with Runtime() as runtime, ScriptedProvider([repeat(_five_ways)]) as provider:
        ended: list[str] = []
        runtime.bus.subscribe("turn.finished", lambda event: ended.append(event.data.result.reason))
        agent: Agent[Any] = ANTHROPIC.agent(provider, runtime=runtime)
        await agent.session().run("finish")
        await until(lambda: ended)
        before = _counts(runtime)
        for _ in range(200):
            async with agent.session() as session:
                for way in WAYS:
                    await _one(way, session, runtime)
                assert session.hub is not None and session.hub._mailboxes == []  # pyright: ignore[reportPrivateUsage]
        await until(lambda: _counts(runtime) == before)
        assert {reason: ended.count(reason) for reason in ended} == {
            "completed": 201,
            "interrupted": 400,
            "error": 200,
            "timeout": 200,
        }


WAYS = ("finish", "interrupt", "error", "leave", "timeout")


def _five_ways(request: Any) -> Any:
    said = request.body["messages"][-1]["content"]
    said = said if isinstance(said, str) else said[-1]["text"]
    if said == "finish":
        return reply("Done.")
    return fail(400) if said == "error" else hang()


async def _one(way: str, session: Session[Any], runtime: Runtime) -> None:
    """A turn that ends that way, watched and listened to."""
    async with runtime.bus.subscribe("**", session=session.id) as events, session.stream(way) as turn:
        watcher = turn.watch()
        started = await anext(turn)
        assert started.__struct_config__.tag == "turn.started" and events.waiting
        if way == "interrupt":
            session.interrupt()
        elif way == "timeout":
            session.post(Interrupt("timeout"))
        if way != "leave":
            async for _ in turn:
                pass
    watcher.close()


def _counts(runtime: Runtime) -> tuple[int, ...]:
    status = runtime.status()
    assert status.bus is not None and not status.leases
    there = status.bus.subscribers
    waiting, tasks = sum(one.waiting for one in there), len(asyncio.all_tasks())
    return len(there), waiting, status.tasks, status.turns, status.observers, status.abandoned_bodies, tasks
