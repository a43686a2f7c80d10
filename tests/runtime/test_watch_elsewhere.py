"""Watching a session whose turns run in another process: every journalled event once and in order, however often one is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.runtime.conftest import ANTHROPIC, read_all, until
from tests.runtime.stored import SharedStore, opened

from turnwise import Runtime, Session, Sessions, replay, tool
from turnwise.core.entries import Entry, TurnEnded
from turnwise.core.store import Store
from turnwise.errors import ConfigError, SessionClosed, StateError
from turnwise.events import Event, FollowUpAccepted, StepSnapshot, TextDelta, TurnFinished
from turnwise.runtime import tape
from turnwise.runtime.elsewhere import StoredWatcher
from turnwise.testing import ScriptedProvider, call, repeat, reply, text

OK = repeat(reply("Fine."))
WATCHERS = int(os.environ.get("TURNWISE_TEST_WATCHERS", "200"))
FLEETING = frozenset(
    ("StepStarted", "StepSnapshot", "TextDelta", "ThinkingDelta", "ToolCallStarted", "ToolCallDelta", "ToolProgress")
)
"""Events that are no entry's."""


def lasting(events: list[Event]) -> list[Event]:
    """Those that follow from the journal."""
    return [event for event in events if type(event).__name__ not in FLEETING]


async def told_by(store: Store, session_id: str) -> list[Event]:
    """The events of the whole journal."""
    return list(replay(await store.read(session_id)).events)


async def read_turns(watcher: StoredWatcher, turns: int) -> list[Event]:
    events: list[Event] = []
    async for event in watcher:
        events.append(event)
        if isinstance(event, TurnFinished):
            turns -= 1
            if not turns:
                break
    return events


@tool
async def look(what: str) -> str:
    return what


SCRIPT = [
    reply(text("Let me ", "look."), call("look", what="a"), call("look", what="b")),
    reply("Once more.", call("look", what="c")),
    reply("Done."),
]


@contextlib.asynccontextmanager
async def two_runtimes(store: Any, agent: Any, there: Any = None) -> AsyncGenerator[tuple[Sessions, Sessions], None]:
    """The same sessions in two runtimes; in the other one with `there` as agents, if they are not the same."""
    async with (
        Runtime() as one,
        Runtime() as other,
        Sessions(store, agent, runtime=one) as here,
        Sessions(store, agent if there is None else there, runtime=other) as elsewhere,
    ):
        yield here, elsewhere


async def test_a_watcher_elsewhere_is_told_what_the_journal_says() -> None:
    """D6: two runtimes on one store; the text of a step is whole when it is committed."""
    async with ScriptedProvider([*SCRIPT, OK]) as provider:
        store, agent = SharedStore(), ANTHROPIC.agent(provider, look)
        async with two_runtimes(store, agent, ()) as (here, there):
            session = await here.open("a")
            watcher = await there.watch("a", after=0)
            reading = asyncio.create_task(read_turns(watcher, 2))
            await session.run("Hi")
            await session.run("Again")
            events = await reading
            assert lasting(events) == await told_by(store, session.id)
            said = [e.content[0].text for e in events if isinstance(e, StepSnapshot)]  # type: ignore[union-attr]
            assert said == ["Let me look.", "Once more.", "Done.", "Fine."]
            assert watcher.cursor == len(await store.read(session.id))


async def test_a_watcher_of_a_session_here_gets_the_text_of_a_turn_elsewhere() -> None:
    """D6: the session reads on when it is opened again; what the model said there comes as a whole, before its step is finished."""
    async with ScriptedProvider([*SCRIPT, OK]) as provider:
        store, agent = SharedStore(), ANTHROPIC.agent(provider, look)
        async with two_runtimes(store, agent) as (here, there):
            session = await here.open("a")
            await session.write_down()
            reading = asyncio.create_task(read_turns(session.watch(), 1))
            await asyncio.sleep(0)
            await (await there.open("a")).run("Hi")
            assert await here.open("a") is session
            events = await reading
            said = [e.content[0].text for e in events if isinstance(e, StepSnapshot)]  # type: ignore[union-attr]
            assert said == ["Let me look.", "Once more.", "Done."]
            assert lasting(events) == (await told_by(store, session.id))[-len(lasting(events)) :]


async def test_a_watcher_that_reads_the_journal_is_not_told_again_what_the_session_reads_on() -> None:
    """D6: the journal has a turn of another process when a watcher here reads it, and the session has not read that one yet."""
    async with ScriptedProvider([*SCRIPT, OK]) as provider:
        store, agent = SharedStore(), ANTHROPIC.agent(provider, look)
        async with two_runtimes(store, agent) as (here, there):
            session = await here.open("a")
            await session.run("Hi")
            await (await there.open("a")).run("Again")
            events: list[Event] = []
            reading = asyncio.create_task(read_all(session.watch(after=0), events))
            await until(lambda: any(isinstance(event, TurnFinished) for event in events))
            for _ in range(10):
                await asyncio.sleep(0)  # until it has read all that it can
            assert await here.open("a") is session
            await session.close()
            await reading
            assert lasting(events) == await told_by(store, session.id)


async def test_a_watcher_joins_the_turn_that_runs_here() -> None:
    """In its own process it gets the deltas as well, a snapshot of the step so far first, and nothing twice."""
    async with ScriptedProvider([reply(text("One ", "two ", "three"), stall_after_event=4), OK]) as provider:
        store = SharedStore()
        async with Sessions(store, ANTHROPIC.agent(provider)) as sessions:
            session = await sessions.open("a")
            running = asyncio.create_task(session.run("Hi"))
            await provider.reached("stalled")
            watcher = await sessions.watch("a", after=0)
            reading = asyncio.create_task(read_turns(watcher, 2))
            await until(lambda: session.hub is not None)
            provider.release()
            await running
            await session.run("Again")
            events = await reading
            assert lasting(events) == await told_by(store, session.id)
            spoken = ""
            for event in events:
                if isinstance(event, StepSnapshot):
                    spoken = "".join([block.text for block in event.content])  # type: ignore[union-attr]
                elif isinstance(event, TextDelta):
                    spoken += event.text
                elif isinstance(event, TurnFinished):
                    assert spoken == event.result.text
            assert watcher.cursor == len(await store.read(session.id))


@pytest.mark.parametrize(("kind", "afar"), [("shared", False), ("shared", True), ("sqlite", True)])
async def test_many_watchers_are_cut_at_random_and_miss_nothing(kind: str, afar: bool, tmp_path: Path) -> None:
    """D6, C4: two hundred watchers, each cut off at random and resumed by its cursor, while eight turns run: every journalled event
    once, in order; whoever never reads holds up nobody."""
    chance = random.Random(7)
    script = [reply(text("Let me ", "see"), call("look", what="x")), reply("Done.")] * 8
    async with opened(kind, tmp_path) as store, ScriptedProvider(script) as provider:
        agent = ANTHROPIC.agent(provider, look)
        async with two_runtimes(store, agent) as (here, there):
            session, watching = await here.open("a"), there if afar else here
            lazy = await watching.watch("a", after=0)

            async def watch() -> tuple[list[Event], int]:
                events: list[Event] = []
                cursor, finished, cuts = 0, 0, 0
                while finished < 8:
                    async with await watching.watch("a", after=cursor) as watcher:
                        left = chance.randint(1, 12)
                        confirmed, pending = watcher.cursor, list[Event]()
                        async for event in watcher:
                            if type(event).__name__ in FLEETING:
                                continue
                            pending.append(event)
                            if watcher.cursor != confirmed:  # what came up to here is never told again
                                confirmed = watcher.cursor
                                events += pending
                                finished += sum(isinstance(e, TurnFinished) for e in pending)
                                pending.clear()
                            left -= 1
                            if finished == 8 or left <= 0:
                                break
                        cursor, cuts = confirmed, cuts + 1
                return events, cuts

            watchers = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
            for _ in range(8):
                await session.run("Go")
            expected = await told_by(store, session.id)
            for task in watchers:
                events, cuts = await task
                assert events == expected and cuts > 1
            assert lazy.cursor == 0


async def test_waiting_watchers_ask_the_store_once() -> None:
    """However many watch a session, one wait is under way; none is left when nobody watches."""

    class Waited(SharedStore):
        waiting = most = 0

        async def wait(self, session: str, after: int, timeout_s: float) -> int:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            try:
                return await super().wait(session, after, timeout_s)
            finally:
                self.waiting -= 1

    async with ScriptedProvider([OK]) as provider:
        store, agent = Waited(), ANTHROPIC.agent(provider)
        async with two_runtimes(store, agent) as (here, there):
            session = await here.open("a")
            watchers = [await there.watch("a", after=0) for _ in range(20)]
            tasks = [asyncio.create_task(read_turns(watcher, 1)) for watcher in watchers]
            await until(lambda: store.waiting)
            await session.run("Hi")
            for task in tasks:
                assert isinstance((await task)[-1], TurnFinished)
            assert store.most == 1
            pending = asyncio.create_task(anext(watchers[0]))
            await until(lambda: store.waiting == 1)
            pending.cancel()
            await until(lambda: store.waiting == 0)
            assert pending.cancelled() or (await asyncio.wait((pending,)))


async def test_watching_ends_when_it_is_closed_or_the_session_is_gone() -> None:
    async with ScriptedProvider([OK]) as provider:
        store, agent = SharedStore(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            await sessions.open("a")
            closed, left = await sessions.watch("a"), await sessions.watch("a")
            tasks = [asyncio.create_task(anext(watcher, None)) for watcher in (closed, left)]
            await asyncio.sleep(0)
            closed.close()
            assert await tasks[0] is None
        assert await tasks[1] is None and left.closed


class Slow(SharedStore):
    """Gives no snapshot before it is let go on."""

    held: asyncio.Event | None = None

    async def snapshot(self, session: str) -> Any:
        if self.held is not None:
            await self.held.wait()
        return await super().snapshot(session)


async def test_watchers_are_ended_in_the_order_in_which_they_came() -> None:
    """Issue 7, proof 3: what happens depends on no address in memory."""
    async with ScriptedProvider([OK]) as provider:
        ended: list[int] = []

        async def reads(number: int, watcher: StoredWatcher) -> None:
            _ = [event async for event in watcher]
            ended.append(number)

        async with Sessions(SharedStore(), ANTHROPIC.agent(provider)) as sessions:
            await (await sessions.open("a")).run("Hi")
            watchers = [await sessions.watch("a") for _ in range(30)]
            reading = [asyncio.ensure_future(reads(n, watcher)) for n, watcher in enumerate(watchers)]
            await asyncio.sleep(0)
        await asyncio.gather(*reading)
        assert ended == sorted(ended)


async def test_a_session_that_is_opened_while_all_is_closed_is_refused() -> None:
    """C2: nobody would close it, and a turn that was left would be gone on with in it."""
    async with ScriptedProvider([OK]) as provider, Runtime() as runtime:
        store, agent = Slow(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent, runtime=runtime) as sessions:
            await (await sessions.open("a")).run("Hi")
        store.held = asyncio.Event()
        async with Sessions(store, agent, runtime=runtime) as sessions:

            async def come() -> Session:
                return await sessions.open("a")

            coming = asyncio.create_task(come())
            for _ in range(10):
                await asyncio.sleep(0)
        store.held.set()
        with pytest.raises(SessionClosed):
            await coming


async def test_a_watcher_that_comes_while_all_is_closed_is_refused() -> None:
    """C4: nobody would end it."""

    async with ScriptedProvider([OK]) as provider:
        store = Slow()
        sessions = Sessions(store, ANTHROPIC.agent(provider))
        async with sessions:
            await sessions.open("a")
            store.held = asyncio.Event()
            coming = asyncio.create_task(sessions.watch("a"))
            for _ in range(10):
                await asyncio.sleep(0)
        store.held.set()
        with pytest.raises(SessionClosed):
            await coming


async def test_a_cursor_that_the_journal_does_not_have_is_refused() -> None:
    async with ScriptedProvider([OK]) as provider, Sessions(SharedStore(), ANTHROPIC.agent(provider)) as sessions:
        await (await sessions.open("a")).run("Hi")
        for after in (-1, 5):
            with pytest.raises(ConfigError):
                await sessions.watch("a", after=after)
        with pytest.raises(StateError):
            await sessions.watch("b")
        watcher = await sessions.watch("a")
        assert watcher.cursor == 4


async def test_what_the_store_raises_ends_the_watching_and_nothing_else() -> None:
    """C4: the watcher is told; a new one goes on from its cursor."""

    class Shaky(SharedStore):
        down = False

        async def wait(self, session: str, after: int, timeout_s: float) -> int:
            if self.down:
                raise OSError("connection lost")
            return await super().wait(session, after, timeout_s)

    async with ScriptedProvider([OK]) as provider:
        store, agent = Shaky(), ANTHROPIC.agent(provider)
        async with two_runtimes(store, agent) as (here, there):
            session = await here.open("a")
            watcher = await there.watch("a", after=0)
            store.down = True
            with pytest.raises(OSError, match="connection lost"):
                await read_turns(watcher, 1)
            store.down = False
            assert (await session.run("Hi")).reason == "completed"
            again = await there.watch("a", after=watcher.cursor)
            assert lasting(await read_turns(again, 1)) == await told_by(store, session.id)


async def test_whoever_comes_from_far_back_reads_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """D6: the tape keeps the last entries only, and is read in small pages; a watcher from any cursor is told all behind it."""
    monkeypatch.setattr(tape, "KEPT", 3)
    monkeypatch.setattr(tape, "PAGE", 4)
    async with ScriptedProvider([OK]) as provider:
        store, agent = SharedStore(), ANTHROPIC.agent(provider)
        async with Runtime() as other, Sessions(store, agent) as here, Sessions(store, (), runtime=other) as there:
            session = await here.open("a")
            for _ in range(6):
                await session.run("Hi")
            first = await there.watch("a", after=0)
            assert lasting(await read_turns(first, 6)) == await told_by(store, session.id)
            ends = [n for n, entry in enumerate(await store.read(session.id), 1) if isinstance(entry, TurnEnded)]
            for turn, after in enumerate(ends[:-1], 1):
                watcher = await there.watch("a", after=after)
                assert lasting(await read_turns(watcher, 6 - turn)) == (await told_by(store, session.id))[4 * turn :]


async def test_watching_begins_with_the_snapshot_that_there_is() -> None:
    """A watcher of what comes next need not have the whole journal read."""

    class Reading(SharedStore):
        from_: ClassVar[list[int]] = []

        async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
            self.from_.append(after)
            return await super().read(session, after, limit)

    async with ScriptedProvider([OK]) as provider:
        store, agent = Reading(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            session = await sessions.open("a")
            await session.run("Hi")
        async with Runtime() as other, Sessions(store, agent) as here, Sessions(store, (), runtime=other) as there:
            session = await here.open("a")
            store.from_.clear()
            watcher = await there.watch("a")
            reading = asyncio.create_task(read_turns(watcher, 1))
            await session.run("Again")
            assert lasting(await reading) == (await told_by(store, session.id))[4:]
            assert 0 not in store.from_[:-1]


async def test_what_comes_before_the_first_turn_is_told() -> None:
    """D6: to those who read the journal as to those who were there."""
    async with ScriptedProvider([OK]) as provider, Sessions(SharedStore(), ANTHROPIC.agent(provider)) as sessions:
        session = await sessions.open("a")
        await (await session.follow_up("Hi")).result()
        for watcher in (session.watch(after=0), await sessions.watch("a", after=0)):
            assert type(await anext(watcher)) is FollowUpAccepted
