"""Several watchers of one turn: late joining, cursors, full queues, slow and dead ones (C4, D6)."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import (
    ANTHROPIC,
    OPENAI,
    Host,
    assert_ended,
    give_way,
    goes_on,
    names,
    of,
    read_all,
    read_until,
    run_guarded,
    until,
)

from turnwise import Runtime, Session, Tool, Turn, tool
from turnwise.core.content import Text
from turnwise.core.entries import Entry
from turnwise.core.evolve import evolve
from turnwise.core.messages import AssistantMessage
from turnwise.core.narrate import narrate
from turnwise.core.outcomes import ToolResult
from turnwise.core.reducer import Reducer
from turnwise.core.replay import replay
from turnwise.core.state import SessionState
from turnwise.errors import ConfigError, SessionError, StateError
from turnwise.events import (
    Event,
    StepFinished,
    StepSnapshot,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    TurnFinished,
    TurnParked,
)
from turnwise.runtime.mailbox import Mailbox, WatchPolicy
from turnwise.runtime.watch import Watcher
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, hang, repeat, repeated, reply, text

POLICIES: list[WatchPolicy] = ["block", "coalesce", "drop_to_cursor"]
EPHEMERAL = ("StepStarted", "TextDelta", "ThinkingDelta", "ToolCallStarted", "ToolCallDelta", "ToolProgress", "StepSnapshot", "Notice")  # fmt: skip


@tool
async def look(what: str) -> str:
    for _ in range(3):
        await asyncio.sleep(0)
    return what


def two_steps() -> list[Any]:
    return [
        reply(text("Let ", "me ", "look."), call("look", what="x"), call("look", what="y")),
        reply(text("Here ", "it ", "is.")),
    ]


def journalled(events: Iterable[Event]) -> list[Event]:
    """Those that come from entries."""
    return [e for e in events if type(e).__name__ not in EPHEMERAL]


def shown(events: Sequence[Event]) -> list[str]:
    """The text of each step as a screen would show it: deltas add up, a snapshot replaces."""
    steps: list[str] = [""]
    for event in events:
        if type(event) is StepStarted and steps[-1]:
            steps.append("")
        elif type(event) is TextDelta:
            steps[-1] += event.text
        elif type(event) is StepSnapshot:
            steps[-1] = "".join(b.text for b in event.content if type(b) is Text)
        elif type(event) is StepFinished and event.calls:
            steps.append("")
    return steps


async def drain(watcher: Watcher) -> list[Event]:
    return [event async for event in watcher]


def told_by(journal: Sequence[Entry], cursor: int) -> int:
    """How many events the first so many entries told."""
    state, count = SessionState(), 0
    for entry in journal[:cursor]:
        evolve(state, entry)
        count += len(narrate(entry, state))
    return count


async def replayed(store: MemoryStore | SuspendingStore, session: Session[Any]) -> list[Event]:
    return replay(await store.read(session.id)).events


# --- joining -----------------------------------------------------------------------------------------------------------


async def join_at(host: Host, at: int, policy: WatchPolicy, suspending: bool) -> None:
    """A watcher joins behind event number `at` of the consumer; both see the rest whole, and the consumer notices nothing."""
    store = SuspendingStore(give_way) if suspending else MemoryStore()
    async with Runtime() as runtime, ScriptedProvider([*two_steps(), *two_steps(), repeat(reply("On."))]) as provider:
        agent = host.agent(provider, look, runtime=runtime, store=store)
        async with agent.session().stream("Hi") as turn:
            alone = await read_all(turn)
        session = agent.session()
        events: list[Event] = []
        watching: list[asyncio.Task[list[Event]]] = []
        async with session.stream("Hi") as turn:
            if at == 0:
                watching.append(asyncio.create_task(drain(turn.watch(policy, buffer=1000))))
            async for event in turn:
                events.append(event)
                if len(events) == at:
                    watching.append(asyncio.create_task(drain(turn.watch(policy, buffer=1000))))
                    watching.append(asyncio.create_task(drain(session.watch(policy, buffer=1000, after=0))))
        assert names(events) == names(alone)
        if not watching:
            return
        seen = await watching[0]
        told = journalled(events)
        assert journalled(seen) == told[len(told) - len(journalled(seen)) :] and type(seen[-1]) is TurnFinished
        assert len(of(StepSnapshot, seen)) <= 1
        assert_whole(seen, turn)
        await goes_on(session)
        await session.close()
        if len(watching) > 1:
            everything = await watching[1]
            assert journalled(everything) == await replayed(store, session)


def assert_whole(seen: Sequence[Event], turn: Turn) -> None:
    """The texts that a late watcher saw are the last ones of the turn, none cut and none doubled."""
    said = [m.text for m in turn.result.messages if isinstance(m, AssistantMessage)]
    got = [t for t in shown(seen) if t]
    assert got == said[len(said) - len(got) :], (got, said)


@examples(50)
@given(
    host=st.sampled_from([ANTHROPIC, OPENAI, Host("anthropic", False)]),
    at=st.integers(0, 25),
    policy=st.sampled_from(POLICIES),
    suspending=st.booleans(),
)
def test_joining_at_any_event(host: Host, at: int, policy: WatchPolicy, suspending: bool) -> None:
    """D6: whenever a watcher joins, its text is whole and never doubled; from the beginning it gets every journalled event once."""
    run_guarded(join_at(host, at, policy, suspending))


async def test_joining_in_mid_step_brings_a_snapshot(host: Host) -> None:
    """D6: what was said so far comes first, then deltas; the numbers of blocks go on."""
    async with ScriptedProvider([reply(text("one ", "two ", "three"), stall_after_event=4)]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, TextDelta)
            watcher = turn.watch()
            first = await anext(watcher)
            assert type(first) is StepSnapshot and (first.turn, first.step, first.attempt) == (1, 1, 1)
            so_far = first.content[0]
            assert type(so_far) is Text and so_far.text.startswith("one ")
            provider.release()
            watching = asyncio.create_task(drain(watcher))
            events = await read_all(turn)
            seen = await watching
        rest = "".join(e.text for e in of(TextDelta, seen))
        assert so_far.text + rest == "one two three" == turn.result.text
        assert events[-1] == seen[-1]


async def test_joining_while_a_step_is_being_written(host: Host) -> None:
    """D6: the model has spoken and the journal does not have it yet: the text still comes whole."""
    writing, go_on = asyncio.Event(), asyncio.Event()
    appends: list[str] = []

    async def pause(when: str) -> None:
        appends.append(when)
        if appends.count("before") == 2:  # the first one was the input
            writing.set()
            await go_on.wait()

    async with ScriptedProvider([reply(text("one ", "two"))]) as provider:
        session = host.agent(provider, store=SuspendingStore(pause)).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await writing.wait()
            watching = asyncio.create_task(drain(turn.watch()))
            for _ in range(5):
                await asyncio.sleep(0)
            go_on.set()
            await reading
        assert shown(await watching) == ["one two"]


async def test_a_consumer_in_mid_wait_hands_over(host: Host) -> None:
    """The consumer waits on the socket when a watcher joins, and is then cancelled: the pump takes over, and both get all."""
    async with ScriptedProvider([reply(text("one ", "two ", "three"), stall_after_event=4)]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, TextDelta)
            await provider.reached("stalled")
            waiting = asyncio.create_task(read_all(turn, events))
            await until(lambda: turn.reading)
            watcher = turn.watch()
            for _ in range(3):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            provider.release()
            watching = asyncio.create_task(drain(watcher))
            await read_all(turn, events)
            seen = await watching
        assert shown(seen) == ["one two three"]
        assert "".join(e.text for e in of(TextDelta, events)) == "one two three"
        assert_ended(events)


async def test_joining_a_turn_that_is_over(host: Host) -> None:
    """C4: the end is never lost, however late one comes."""
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            first = await read_all(turn)
        await session.run("And?")
        assert await drain(turn.watch()) == [TurnFinished(turn.result)]
        assert journalled(await drain(turn.watch(after=0))) == journalled(first)


async def test_a_watcher_of_a_session_sees_all_its_turns(host: Host, store: SuspendingStore | None) -> None:
    async with ScriptedProvider([*two_steps(), reply("Again.")]) as provider:
        session = host.agent(provider, look, store=store).session()
        watching = asyncio.create_task(drain(session.watch()))
        await asyncio.sleep(0)
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        async with session.stream("Hi") as turn:
            await read_all(turn, events)
        await session.close()
        seen = await watching
        assert names(seen) == names(events) and journalled(seen) == journalled(events)


async def test_watching_a_run(host: Host) -> None:
    """`run` reads for itself; a watcher sees its events as they come."""
    async with ScriptedProvider(two_steps()) as provider:
        session = host.agent(provider, look).session()
        watcher = session.watch("block", buffer=1)
        running = asyncio.create_task(session.run("Hi"))
        seen: list[Event] = []
        async for event in watcher:
            seen.append(event)
            if type(event) is TurnFinished:
                break
        assert assert_ended(seen).result == await running


# --- cursors -----------------------------------------------------------------------------------------------------------


async def reconnect(host: Host, at: int, suspending: bool, policy: WatchPolicy) -> None:
    """A watcher is closed behind its event number `at` and comes back with its cursor, while the turn goes on."""
    store = SuspendingStore(give_way) if suspending else MemoryStore()
    async with Runtime() as runtime, ScriptedProvider([*two_steps(), repeat(reply("Again."))]) as provider:
        session = host.agent(provider, look, runtime=runtime, store=store).session()
        first = session.watch(policy, buffer=1000)
        running = asyncio.create_task(session.run("Hi"))
        seen: list[Event] = []
        async for event in first:
            seen.append(event)
            if len(seen) > at or type(event) is TurnFinished:
                break
        cursor = first.cursor
        first.close()
        assert await drain(first) == []
        if at % 2:
            await running
        again = session.watch(policy, buffer=1000, after=cursor)
        await running
        if at % 3 == 0:
            await session.run("And?")
        watching = asyncio.create_task(drain(again))
        await session.close()
        rest = await watching
        everything = await replayed(store, session)
        behind = journalled(rest)
        assert behind == everything[len(everything) - len(behind) :]
        # What the entry at the cursor told was seen whole; of the next one at most the first events were.
        before = journalled(seen)
        overlap = len(before) + len(behind) - len(everything)
        assert 0 <= overlap < 4 and before == everything[: len(before)]
        assert behind == everything[told_by(await store.read(session.id), cursor) :]


@examples(50)
@given(
    host=st.sampled_from([ANTHROPIC, OPENAI, Host("openai", False)]),
    at=st.integers(0, 22),
    suspending=st.booleans(),
    policy=st.sampled_from(POLICIES),
)
def test_reconnecting_with_a_cursor(host: Host, at: int, suspending: bool, policy: WatchPolicy) -> None:
    """D6: every journalled event behind the cursor comes once and in order, then live ones without gap or duplicate."""
    run_guarded(reconnect(host, at, suspending, policy))


async def test_a_step_that_was_missed_is_shown_whole(host: Host) -> None:
    """D6: who comes back after a step was committed gets its text, which the journal has, as a snapshot."""
    async with ScriptedProvider(two_steps()) as provider:
        session = host.agent(provider, look).session()
        async with session.stream("Hi") as turn:
            await read_all(turn)
        seen = await drain(turn.watch(after=0))
        assert shown(seen) == ["Let me look.", "Here it is."]
        assert not of(TextDelta, seen) and len(of(StepSnapshot, seen)) == 2


@pytest.mark.parametrize("after", [-1, 1000])
async def test_a_cursor_that_the_journal_does_not_have_is_refused(after: int) -> None:
    session = ANTHROPIC.agent("http://127.0.0.1:9").session()
    with pytest.raises(ConfigError) as caught:
        session.watch(after=after)
    assert caught.value.code == "invalid_value" and str(after) in caught.value.message


# --- full queues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["coalesce", "drop_to_cursor"])
@pytest.mark.parametrize("buffer", [1, 3, 16])
async def test_a_dead_watcher_stalls_nobody(host: Host, policy: WatchPolicy, buffer: int) -> None:
    """C4: a watcher that never reads costs others nothing; when it wakes up it gets the whole text and the end."""
    script = [
        reply(repeated("word ", 2000), call("look", what="x")),
        reply(repeated("more ", 2000)),
    ]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, look).session()
        async with session.stream("Hi") as turn:
            watcher = turn.watch(policy, buffer=buffer)
            first = await anext(watcher)
            events = await read_all(turn)
        assert watcher.waiting <= buffer
        seen = [first, *await drain(watcher)]
        assert turn.result.reason == "completed" and seen[-1] == events[-1]
        assert journalled(seen) == journalled(events)[1:], "all but the beginning, which came before it joined"
        assert shown(seen)[-1] == "more " * 2000


@pytest.mark.parametrize(("policy", "per_delta"), [("coalesce", 49 + 12 + 16), ("drop_to_cursor", 0)])
def test_a_dead_watcher_needs_no_memory(policy: WatchPolicy, per_delta: int) -> None:
    """C4: of 20,000 deltas and 2,000 steps that nobody reads, what is held is the text of one message at most."""
    mailbox = Mailbox(policy, 64)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(2_000):
            deltas: list[Event] = [TextDelta("a few words " + "." * (n % 2)) for _ in range(10)]
            mailbox.offer(deltas, [])
        held = tracemalloc.get_traced_memory()[0] - before
        assert held < 20_000 * per_delta + (64 << 10)
        for n in range(2_000):
            mailbox.offer(
                [TextDelta("x" * 1000), ToolFinished(f"c{n}", "look", ToolResult(f"c{n}", "done"))], [(2, n + 1)]
            )
        assert not mailbox.live and mailbox.waiting == 0
        assert tracemalloc.get_traced_memory()[0] - before < 64 << 10
    finally:
        tracemalloc.stop()


async def test_a_block_watcher_stalls_its_own_turn_only(host: Host) -> None:
    """C4: while one of its watchers blocks, a turn is not read; other sessions of the runtime go on, and so do other watchers
    of the turn when it goes on."""
    async with Runtime() as runtime, ScriptedProvider([reply(repeated("x" * 1000)), reply("Quick.")]) as provider:
        agent = host.agent(provider, runtime=runtime)
        session = agent.session()
        async with session.stream("Hi") as turn:
            await read_until(turn, TextDelta)
            blocking, other = turn.watch("block", buffer=4), turn.watch()
            reading = asyncio.create_task(read_all(turn))
            await provider.reached("blocked")
            assert (await agent.session().run("Hi")).text == "Quick."
            for _ in range(200):
                await asyncio.sleep(0)
            assert blocking.waiting >= 4 and not reading.done()
            session.interrupt()
            await reading
        for watcher in (blocking, other):
            assert (await drain(watcher))[-1] == TurnFinished(turn.result)


@pytest.mark.parametrize("how", ["close", "collected", "left"])
async def test_a_block_watcher_that_goes_lets_the_turn_go_on(host: Host, how: str) -> None:
    async with ScriptedProvider([reply(repeated("word ", 3000))]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            watcher = turn.watch("block", buffer=1)
            reading = asyncio.create_task(read_all(turn))
            if how == "left":
                async with watcher:
                    await anext(watcher)
            elif how == "close":
                await anext(watcher)
                watcher.close()
            del watcher
            gc.collect()
            assert_ended(await reading)


async def test_the_consumer_still_stops_the_provider(host: Host) -> None:
    """Backpressure holds with watchers, too: a consumer that stops reading stops the socket."""
    async with ScriptedProvider([reply(repeated("x" * 1000))]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            watcher = turn.watch()
            await read_until(turn, TextDelta)
            await provider.reached("blocked")
            written, same = 0, 0
            while same < 500:
                await asyncio.sleep(0)
                same = same + 1 if written == provider.bytes_written else 0
                written = provider.bytes_written
                assert written < 8 << 20
        assert (await drain(watcher))[-1] == TurnFinished(turn.result)
        assert turn.result.cause == "left"


async def test_slow_watchers_of_all_policies_together(host: Host) -> None:
    script = [
        reply(repeated("word ", 200), call("look", what="x")),
        reply(repeated("more ", 200)),
    ]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, look).session()

        async def slowly(watcher: Watcher, passes: int) -> list[Event]:
            seen: list[Event] = []
            async for event in watcher:
                seen.append(event)
                for _ in range(passes):
                    await asyncio.sleep(0)
            return seen

        async with session.stream("Hi") as turn:
            slow = [
                asyncio.create_task(slowly(turn.watch(policy, buffer=buffer), passes))
                for policy in POLICIES
                for buffer, passes in ((1, 1), (2, 7), (64, 3))
            ]
            events = await read_all(turn)
            for task in slow:
                seen = await task
                assert journalled(seen) == journalled(events)[1:]
                assert shown(seen)[-1] == "more " * 200


async def test_progress_is_joined_for_a_coalescing_watcher(host: Host) -> None:
    """Of reports that nobody read the latest counts; the tool's end is there."""

    @tool
    async def chatty(ctx: Any) -> str:
        return "never"

    del chatty
    mailbox = Mailbox("coalesce", 4)
    mailbox.offer([ToolProgress("a", str(n)) for n in range(100)], [])
    assert [e.message for e in mailbox.pop_all() if type(e) is ToolProgress][-1] == "99"
    assert mailbox.live


# --- the queue by itself -----------------------------------------------------------------------------------------------


@examples(200)
@given(
    size=st.integers(1, 8),
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 1), st.booleans()), max_size=6), max_size=12
    ),
    reads=st.lists(st.integers(0, 4), max_size=12),
)
def test_coalescing_keeps_every_character(
    size: int, batches: list[list[tuple[str, int, bool]]], reads: list[int]
) -> None:
    """Whatever is read when: until a queue is dropped, its text per block is what was offered, and it never holds more than its size."""
    mailbox, seq = Mailbox("coalesce", size), 0
    offered: list[Event] = []
    got: list[Event] = []
    for index, batch in enumerate(batches):
        events: list[Event] = []
        marks: list[tuple[int, int]] = []
        for word, block, ends in batch:
            events.append(TextDelta(word, block))
            if ends:
                seq += 1
                events.append(ToolProgress(str(seq), "x"))
                marks.append((len(events), seq))
        mailbox.offer(events, marks)
        offered += events
        if not mailbox.live:
            assert mailbox.waiting <= size
            if rest := mailbox.pop_all():  # of an entry that was taken in part
                seen = flat([*got, *rest])
                assert seen == flat(offered)[: len(seen)]
            return
        assert mailbox.waiting <= size
        for _ in range(reads[index] if index < len(reads) else 0):
            event = mailbox.pop()
            got += [] if event is None else [event]
    got += mailbox.pop_all()
    assert flat(got) == flat(offered)
    assert mailbox.cursor == seq and mailbox.waiting == 0


def flat(events: Sequence[Event]) -> list[tuple[str, object]]:
    """Events with adjacent deltas of one block joined."""
    out: list[tuple[str, object]] = []
    for event in events:
        key = f"text {event.block}" if type(event) is TextDelta else "progress"
        value = event.text if type(event) is TextDelta else event
        if out and out[-1][0] == key and type(event) is TextDelta:
            out[-1] = (key, str(out[-1][1]) + str(value))
        else:
            out.append((key, value))
    return out


# --- ends --------------------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_store_that_fails_still_ends_every_watcher(host: Host, policy: WatchPolicy) -> None:
    """C4: the terminal event comes also where the journal has none, to watchers that are behind as to others."""
    broken = False

    async def pause(when: str) -> None:
        await asyncio.sleep(0)
        if broken and when == "before":
            raise Broken("no disk")

    async with ScriptedProvider([reply(repeated("word ", 50), stall_after_event=20), reply("On.")]) as provider:
        session = host.agent(provider, store=SuspendingStore(pause)).session()
        async with session.stream("Hi") as turn:
            ahead, behind = turn.watch(), turn.watch(policy, buffer=1)
            reading = asyncio.create_task(read_all(turn))
            watching = [asyncio.create_task(drain(ahead))] + (
                [] if policy != "block" else [asyncio.create_task(drain(behind))]
            )
            await provider.reached("stalled")
            broken = True
            provider.release()
            await reading
            assert turn.result.reason == "error"
            seen = [await task for task in watching] + ([await drain(behind)] if policy != "block" else [])
        assert all(events[-1] == TurnFinished(turn.result) for events in seen)
        broken = False
        await goes_on(session)


async def test_a_pump_that_breaks_ends_the_turn(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in reading is an error of the turn for all who watch it, never a silence; the session goes on."""

    def broken(*_: object) -> list[Event]:
        raise ZeroDivisionError("a defect")

    async with ScriptedProvider([reply("Hello."), reply("On.")]) as provider:
        session = host.agent(provider).session()
        channel, handle = await session.channel("Hi")
        watcher = handle.watch()
        with monkeypatch.context() as patch:
            patch.setattr(Reducer, "feed", broken)
            result = await handle.result()
        assert result.error is not None and result.error.code == "pump_failed" and "a defect" in result.error.message
        assert [event async for event in channel][-1] == TurnFinished(result) == (await drain(watcher))[-1]
        await goes_on(session)


async def test_a_journal_that_lost_entries_is_said(host: Host) -> None:
    """D5: a store that does not have what it acknowledged is not waited for."""

    class Forgetful(MemoryStore):
        async def read(self, session: str, after: int = 0) -> Sequence[Entry]:
            return ()

    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = host.agent(provider, store=Forgetful()).session()
        await session.run("Hi")
        with pytest.raises(StateError) as caught:
            await drain(session.watch(after=0))
        assert caught.value.code == "journal_shorter"


async def test_closing_the_session_ends_its_watchers(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider).session()
        watching = [asyncio.create_task(drain(session.watch(policy))) for policy in POLICIES]
        async with session.stream("Hi") as turn:
            await provider.reached("stalled")
            await session.close()
            events = await read_all(turn)
        for task in watching:
            assert (await task)[-1] == events[-1]
        assert await drain(session.watch()) == []


async def test_two_readers_of_one_watcher_are_refused(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            watcher = turn.watch()
            await provider.reached("stalled")
            first = asyncio.create_task(drain(watcher))
            await until(lambda: not watcher.waiting)
            with pytest.raises(SessionError):
                await anext(watcher)
        await first


async def test_tools_go_on_for_watchers_while_one_blocks(host: Host) -> None:
    """Only reads of the socket wait: what tools do is told to all at once."""
    async with ScriptedProvider([reply(call("look", what="x")), reply("Well.")]) as provider:
        session = host.agent(provider, look).session()
        async with session.stream("Hi", on_leave="detach") as turn:
            blocking = turn.watch("block", buffer=1)
            other = turn.watch()
        seen: list[Event] = []
        reading = asyncio.create_task(blocking.__anext__())
        await reading
        async for event in blocking:
            if type(event) is StepFinished:
                break
        async for event in other:
            seen.append(event)
            if type(event) is ToolFinished:
                break
        await provider.reached("answered", 2)
        blocking.close()
        assert (await turn.wait()).text == "Well."


async def test_watchers_leave_nothing_behind(host: Host) -> None:
    """A session that was watched once is pulled by its consumer again in its next turn."""
    async with ScriptedProvider([repeat(reply("Hello."))]) as provider:
        session = host.agent(provider).session()
        watcher = session.watch()
        await session.run("Hi")
        watcher.close()
        async with session.stream("Hi") as turn:
            await read_all(turn)
            assert turn.hub is None


def test_a_session_taken_over_by_another_loop(host: Host) -> None:
    """A watcher left behind on a loop that is gone holds nobody up."""
    kept: list[Any] = []

    async def first(provider: ScriptedProvider) -> None:
        session = host.agent(provider).session()
        watcher = session.watch()
        reading = asyncio.create_task(drain(watcher))
        await session.run("Hi")
        reading.cancel()
        kept.extend((session, watcher))

    async def second() -> None:
        assert (await kept[0].run("Hi")).reason == "completed"

    with ScriptedProvider([repeat(reply("Hello."))]) as provider:
        asyncio.run(first(provider))
        asyncio.run(second())


# --- parked ------------------------------------------------------------------------------------------------------------

BADGE = Tool.external("badge", "Ask the front desk for a badge.", {"type": "object", "properties": {}})


async def test_parking_ends_what_is_of_the_turn(any_host: Host, store: SuspendingStore | None) -> None:
    """A channel, its handle and watchers of the turn end with `TurnParked`; a watcher of the session goes on with the resumed turn."""
    async with ScriptedProvider([reply(call("badge")), reply("Come in.")]) as provider:
        session = any_host.agent(provider, BADGE, store=store).session()
        following = asyncio.create_task(drain(session.watch()))
        channel, handle = await session.channel("Let me in.", buffer=2)
        beside = [asyncio.create_task(drain(handle.watch(policy))) for policy in POLICIES]
        events = [event async for event in channel]
        parked = events[-1]
        assert type(parked) is TurnParked and (await handle.result()).reason == "parked"
        assert [(await task)[-1] for task in beside] == [parked] * 3
        cursor = channel.cursor
        assert cursor == session.state.seq
        assert await session.submit(parked.pending[0].call_id, "number 7")
        result = await session.resume()
        assert result.reason == "completed" and result.text == "Come in."
        late = asyncio.create_task(drain(session.watch(after=cursor)))
        await asyncio.sleep(0)
        await session.close()
        seen = await following
        assert journalled(seen)[-1] == TurnFinished(result) and names(seen).count("TurnParked") == 1
        everything = journalled(seen)
        assert journalled(await late) == everything[everything.index(parked) + 1 :]


async def test_parking_ends_steps(any_host: Host) -> None:
    """The step that waits is given with its calls and without results; then the iteration ends, as the turn rests."""
    async with ScriptedProvider([reply(call("badge"))]) as provider:
        session = any_host.agent(provider, BADGE).session()
        async with session.steps("Let me in.") as steps:
            got = [step async for step in steps]
        assert steps.result.reason == "parked" and steps.result.pending[0].name == "badge"
        assert [(step.number, len(step.calls), step.results) for step in got] == [(1, 1, ())]
