"""Sessions that are opened from their journal: what they are then, and how a turn goes on whose process is gone (rules D2, C6)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import Host, assert_valid, in_virtual_time, names, of, read_all, said, until
from tests.runtime.leased import Leased, stored
from tests.runtime.test_store import found, look

from turnwise import Agent, Runtime, tool
from turnwise.core.changes import Recovered
from turnwise.core.entries import (
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    SessionCreated,
    StepCommitted,
    TurnEnded,
)
from turnwise.core.evolve import fold
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo, UserMessage
from turnwise.core.principal import LOCAL
from turnwise.core.store import Snapshot
from turnwise.errors import ConfigError, SessionBusy, StateError
from turnwise.events import ToolFinished, ToolStarted, TurnFinished, TurnRecovered
from turnwise.runtime.history_ops import Move
from turnwise.runtime.opening import open_stored, recover, save_snapshot
from turnwise.store.projection import PART, decode_state, encode_state
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, repeat, reply, text
from turnwise.tools.approval import Ask


async def journal_of(
    host: Host, provider: ScriptedProvider, *tools: Any, prompt: str = "Hi", **options: Any
) -> list[Entry]:
    """The journal of one whole turn."""
    store = Leased()
    async with Runtime() as runtime:
        session = host.agent(provider, *tools, store=store, runtime=runtime, **options).session(id="s")
        await session.run(prompt)
    return store.journal()


async def opened(store: Leased, agent: Agent[Any], runtime: Runtime) -> Any:
    return await open_stored(agent, "s", store=store, runtime=runtime)


async def test_an_opened_session_is_what_it_was(any_host: Host) -> None:
    """With a snapshot or without: the same messages, usage and settings; and the next turn goes on from it."""
    store = Leased()
    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        agent = any_host.agent(provider, look)
        agent.store, agent.runtime = store, one
        session = agent.session(id="s")
        await session.set(temperature=0.5)
        for _ in range(3):
            await session.run("Hi")
        for _ in range(2):
            again = await opened(store, any_host.agent(provider, look), two)
            assert (again.messages, again.usage, again.settings) == (session.messages, session.usage, session.settings)
            assert again.history == session.history and not again.state.running
            assert await save_snapshot(again)
        assert (
            msgspec.json.encode(await again.run("More")) and again.messages[: len(session.messages)] == session.messages
        )
        assert fold(store.journal()) == again.state
        body = provider.requests[-1].body
        assert body["temperature"] == 0.5


async def test_what_is_not_there_cannot_be_opened() -> None:
    async with Runtime() as runtime:
        with pytest.raises(StateError) as raised:
            await opened(Leased(), Agent("openai:m"), runtime)
    assert raised.value.code == "unknown_session"


class Counted:
    """Side effects, by the call that had them."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def tools(self) -> list[Any]:
        @tool(idempotent=True)
        async def safe(n: int) -> str:
            self.ran.append(f"safe {n}")
            return "safe"

        @tool
        async def once(n: int) -> str:
            self.ran.append(f"once {n}")
            return "once"

        return [safe, once]


def steps(request: RecordedRequest) -> Reply:
    """Two steps of two calls each, then the answer; by what the request has in it, so that it may be asked again."""
    done = str(request.body["messages"]).count("tool_result") + str(request.body["messages"]).count("'role': 'tool'")
    if done >= 4:
        return reply("Done.")
    return reply(text("Working."), call("safe", n=done), call("once", n=done))


async def test_a_turn_goes_on_wherever_its_process_ended(any_host: Host) -> None:
    """D2, at every position of the journal: what was finished is not done again, what is unknown is said to be, and one end."""
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(any_host, provider, *Counted().tools())
        assert names(journal).count("CallOutcome") == 4
        for at in range(2, len(journal)):
            await goes_on_from(any_host, provider, journal[:at])


async def goes_on_from(host: Host, provider: ScriptedProvider, before: list[Entry]) -> None:
    store, counted = await stored(before), Counted()
    async with Runtime() as runtime:
        session = await opened(store, host.agent(provider, *counted.tools()), runtime)
        assert session.state.running
        with pytest.raises(SessionBusy) as refused:
            await session.run("Something else")
        assert refused.value.code == "turn_left" and store.journal() == before
        result = await recover(session)
        assert result is not None and result.reason == "completed" and result.text == "Done."
        assert await recover(session) is None
        assert_valid(session.messages)
    journal = store.journal()
    assert journal[: len(before)] == before and names(journal).count("TurnEnded") == 1
    assert fold(journal).transcript == session.state.transcript
    had = {e.result.call_id for e in of(CallOutcome, before)}
    started = {e.call_id: e for e in of(CallStarted, before)}
    for entry in of(CallOutcome, journal):
        lost = entry.result.call_id in started and entry.result.call_id not in had
        unknown = lost and not started[entry.result.call_id].idempotent
        assert (type(entry.result.outcome).__name__ == "Unknown") is unknown, entry
    expected = sum(1 for e in of(CallOutcome, journal) if e.result.call_id not in had) - sum(
        1 for c, e in started.items() if c not in had and not e.idempotent
    )
    assert len(counted.ran) == expected, "a call that had its outcome was run again, or one that was due was not"
    assert store.held == {}


async def test_a_recovered_turn_is_watched_like_any_other(host: Host) -> None:
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(host, provider, *Counted().tools())
        started = [i for i, e in enumerate(journal) if type(e) is CallStarted][1]
        async with Runtime() as runtime:
            session = await opened(
                await stored(journal[: started + 1]), host.agent(provider, *Counted().tools()), runtime
            )
            watcher = session.watch(after=0)
            async with session.stream(Move.RESUME) as turn:
                events = await read_all(turn)
            assert events[0] == TurnRecovered(1, 1, 1, ("t1.s1.c0",)) and type(events[-1]) is TurnFinished
            watched: list[Any] = []
            async for event in watcher:
                watched.append(event)
                if type(event) is TurnFinished:
                    break
            ids = [e.call_id for e in of(ToolStarted, watched)]
            assert sorted(ids) == sorted(e.call_id for e in of(ToolFinished, watched)) and len(set(ids)) == 4


async def test_steers_and_follow_ups_survive(host: Host) -> None:
    """What was accepted takes effect after all: the steer before the next model call, the follow-up after the turn."""
    store, go, inside = Leased(), asyncio.Event(), asyncio.Event()

    @tool(name="look")
    async def slow(what: str) -> str:
        inside.set()
        await go.wait()
        return what

    async with ScriptedProvider([repeat(found)]) as provider:
        async with Runtime() as one:
            session = host.agent(provider, slow, store=store, runtime=one).session(id="s")
            running = asyncio.create_task(session.run("Hi"))
            await inside.wait()
            assert await session.steer("and this")
            await session.follow_up("then that")
            left = await stored(store.journal())
            go.set()
            await running
            await until(lambda: not session.running)
        async with Runtime() as two:
            again = await opened(left, host.agent(provider, look), two)
            assert again.follow_ups == ("then that",)
            result = await recover(again)
            assert result is not None and result.turn == 1
            await until(lambda: not again.running and not again.follow_ups)
            assert [t for t in said(again) if t in ("Hi", "and this", "then that")] == ["Hi", "and this", "then that"]


async def test_a_follow_up_begins_that_was_about_to(host: Host) -> None:
    """The process ended between the end of a turn and the beginning of what was said ahead."""
    async with ScriptedProvider([repeat(found)]) as provider:
        store = Leased()
        async with Runtime() as one:
            session = host.agent(provider, look, store=store, runtime=one).session(id="s")
            await session.run("Hi")
        from turnwise.core.changes import FollowUpQueued
        from turnwise.core.messages import UserMessage

        store = await stored([*store.journal(), FollowUpQueued(UserMessage("then that"), 0.0, None, 1)])
        async with Runtime() as two:
            again = await opened(store, host.agent(provider, look), two)
            result = await recover(again)
            assert result is not None and result.turn == 2 and again.follow_ups == ()


async def test_a_parked_turn_goes_on_in_another_process(host: Host) -> None:
    """C6: asked by one process, answered and resumed in another; also by way of a snapshot."""
    store = Leased()
    async with ScriptedProvider([repeat(found)]) as provider:
        async with Runtime() as one:
            session = host.agent(provider, look, store=store, runtime=one, approvals=lambda _: Ask()).session(id="s")
            parked = await session.run("Hi")
            assert await save_snapshot(session)
        async with Runtime() as two:
            again = await opened(store, host.agent(provider, look, approvals=lambda _: Ask()), two)
            assert again.pending == parked.pending and len(parked.pending) == 2
            assert await recover(again) is None
            with pytest.raises(SessionBusy) as refused:
                await again.run("Something else")
            assert refused.value.code == "turn_parked"
            one_call, other = [p.call_id for p in again.pending]
            assert await again.approve(one_call) and await again.deny(other, "no")
        async with Runtime() as three:
            third = await opened(store, host.agent(provider, look, approvals=lambda _: Ask()), three)
            done = await third.resume()
            assert done.reason == "completed" and third.pending == ()
            assert [type(e.result.outcome).__name__ for e in of(CallOutcome, store.journal())] == ["Denied", "Ok"]


def test_what_waits_expires_in_another_process() -> None:
    """P4, C6: the time is in the journal, and runs on while nobody looks."""
    from tests.runtime.conftest import ANTHROPIC

    @in_virtual_time
    async def run() -> None:
        store = Leased()
        async with ScriptedProvider([repeat(found)]) as provider:

            def ask(_: Any) -> Ask:
                return Ask(expires_in_s=0.05)

            async with Runtime() as one:
                session = ANTHROPIC.agent(provider, look, store=store, runtime=one, approvals=ask).session(id="s")
                await session.run("Hi")
                await session.close()
            assert fold(store.journal()).turn.pending  # type: ignore[union-attr]
            async with Runtime() as two:
                again = await opened(store, ANTHROPIC.agent(provider, look, approvals=ask), two)
                await until(lambda: not again.pending)
                assert (await again.resume()).reason == "completed"
            outcomes = of(CallOutcome, store.journal())
            assert [type(e.result.outcome).__name__ for e in outcomes] == ["Denied", "Denied"]

    run()


async def test_a_turn_that_was_left_can_be_ended_instead(host: Host) -> None:
    """What had started is unknown, not cancelled; what was said stays."""
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(host, provider, *Counted().tools())
        started = [i for i, e in enumerate(journal) if type(e) is CallStarted][1]
        store = await stored(journal[: started + 1])
        async with Runtime() as runtime:
            session = await opened(store, host.agent(provider, *Counted().tools()), runtime)
            assert session.interrupt()
            await until(lambda: isinstance(store.journal()[-1], TurnEnded))
            assert {type(e.result.outcome).__name__ for e in of(CallOutcome, store.journal())} == {"Unknown"}
            assert (await session.run("Go on")).reason == "completed"


async def test_a_crash_loop_ends(host: Host) -> None:
    """The budget is the agent's; the reason is in the journal, and the session can be used."""
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(host, provider, *Counted().tools())
        begun = names(journal).index("InputAccepted") + 1
        crashes = [Recovered(1, 0.0, n + 1) for n in range(2)]
        store = await stored([*journal[:begun], *crashes])
        async with Runtime() as runtime:
            session = await opened(store, host.agent(provider, *Counted().tools(), max_recoveries=2), runtime)
            result = await recover(session)
            assert result is not None and result.reason == "error" and result.cause == "crash_loop"
            assert (await session.run("Go on")).reason == "completed"
    with pytest.raises(ConfigError):
        Agent("openai:m", max_recoveries=-1)


async def test_inputs_to_a_turn_that_was_left(host: Host) -> None:
    """They are kept for when it goes on, and do not set it going."""
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(host, provider, *Counted().tools())
        begun = names(journal).index("InputAccepted") + 1
        store = await stored(journal[:begun])
        async with Runtime() as runtime:
            session = await opened(store, host.agent(provider, *Counted().tools()), runtime)
            before = len(provider.requests)
            assert await session.steer("and this")
            await session.set(temperature=0.5)
            assert len(provider.requests) == before and store.held == {}
            result = await recover(session)
            assert result is not None and result.reason == "completed"
            assert "and this" in said(session)


async def test_recovery_of_what_another_process_drives(host: Host) -> None:
    """D3: nothing to do, and nothing written."""
    async with ScriptedProvider([repeat(steps)]) as provider:
        journal = await journal_of(host, provider, *Counted().tools())
        store = await stored(journal[:3])
        await store.take_for("another")
        async with Runtime() as runtime:
            session = await opened(store, host.agent(provider, *Counted().tools()), runtime)
            assert await recover(session) is None and store.journal() == journal[:3]
            store.now += 31.0
            result = await recover(session)
            assert result is not None and result.reason == "completed"


# --- snapshots --------------------------------------------------------------------------------------------------------


async def test_snapshots_are_saved_beside_what_goes_on(host: Host) -> None:
    """After so many entries, when a turn has ended; a store that hangs over it, or fails, holds nobody up and hurts nobody."""
    store, go = await stored(plain_journal(58)), asyncio.Event()
    saves: list[int] = []
    save = store.save_snapshot

    async def saving(session: str, snapshot: Snapshot) -> None:
        saves.append(snapshot.seq)
        await go.wait()
        if len(saves) == 1:
            raise OSError("the disk is full")
        await save(session, snapshot)

    store.save_snapshot = saving
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        session = await opened(store, host.agent(provider, look), runtime)
        await session.run("one")
        assert saves == []
        for _ in range(5):
            assert (await session.run("Hi")).reason == "completed"
        await until(lambda: saves)
        assert len(saves) == 1 and saves[0] == 64, "one at a time, when it is due"
        go.set()
        await until(lambda: not session.claims.saved.saving)
        assert (await session.run("Hi")).reason == "completed"
        await until(lambda: session.claims.saved.seq)
        kept = await store.snapshot("s")
        assert kept is not None and decode_state(kept) == fold(store.journal()[: kept.seq])


def plain_journal(count: int) -> list[Entry]:
    """Turns of one step, and the first entry."""
    entries: list[Entry] = [SessionCreated("s", LOCAL, 1.0)]
    for turn in range(1, count // 3 + 1):
        answer = AssistantMessage(f"answer {turn}", turn, 1, 1.0, False, ResponseInfo("p", "m"))
        entries.append(InputAccepted(UserMessage(f"question {turn}", turn), Limits()))
        entries += [StepCommitted(answer, 1), TurnEnded(turn, "completed", 1.0)]
    return entries


async def test_what_was_encoded_is_not_encoded_again(host: Host) -> None:
    """Unless it was taken back; and what is saved is right in any case."""
    store = await stored(plain_journal(600))
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:

        async def goes_on(session: Any) -> list[Any]:
            await session.run("Hi")
            assert await save_snapshot(session)
            kept = await store.snapshot("s")
            assert kept is not None and decode_state(kept) == session.state
            return list(session.claims.saved.parts)

        session = await opened(store, host.agent(provider, look), runtime)
        first = await goes_on(session)
        assert len(first) == 3
        again = await goes_on(session)
        assert [one is other for one, other in zip(first, again, strict=True)] == [True] * 3
        session = await opened(store, host.agent(provider, look), runtime)
        third = await goes_on(session)
        assert [bytes(part.raw) for part in third] == [part.raw for part in first], "encoded anew though it was at hand"
        assert all(type(part.raw) is memoryview for part in third)
        await session.rewind(191)
        await session.run("Hi")
        fourth = await goes_on(session)
        assert len(session.history) > 3 * PART
        assert [part is other for part, other in zip(fourth, third, strict=True)] == [True, True, False]


async def test_a_damaged_snapshot_is_noticed_before_a_turn(host: Host) -> None:
    """D5: the session is read from its journal then, and goes on."""
    store = await stored(plain_journal(30))
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        good = encode_state(fold(store.journal()))
        data = bytearray(good.data)
        data[-3] ^= 1
        await store.save_snapshot("s", Snapshot(good.seq, good.version, bytes(data)))
        again = await opened(store, host.agent(provider, look), runtime)
        with pytest.raises(StateError) as raised:
            _ = again.messages
        assert raised.value.code == "damaged_snapshot"
        assert (await again.run("Again")).reason == "completed"
        assert again.state == fold(store.journal())


async def test_a_snapshot_is_never_ahead_of_the_journal() -> None:
    """D1: while an append is on its way, what it brings is not saved."""
    go = asyncio.Event()

    async def pause(when: str, number: int) -> None:
        if when == "before" and number == 1:
            await go.wait()

    store = Leased(pause)
    async with Runtime() as runtime:
        session = Agent("openai:m", api_key="k", store=store, runtime=runtime).session(id="s")
        await session.set(temperature=0.5)
        changing = asyncio.create_task(session.set(temperature=0.7))
        await until(lambda: store.begun == 2)
        assert not await save_snapshot(session) and await store.snapshot("s") is None
        go.set()
        await changing
        assert await save_snapshot(session)
