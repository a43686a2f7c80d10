"""One writer per session (rule D3): claims are taken and given back with a turn's appends, asked about when the lease may have run out,
and what comes of losing one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, in_virtual_time, names, read_all, until
from tests.runtime.leased import AtOnce, Leased
from tests.runtime.test_store import found, look

from turnwise import Deadlines, Runtime, tool
from turnwise.core.entries import CallOutcome, InputAccepted, SessionCreated, TurnEnded
from turnwise.core.evolve import fold
from turnwise.core.messages import UserMessage
from turnwise.errors import SessionBusy, SessionError, StateError
from turnwise.middleware import middleware
from turnwise.runtime.lease import lease_of
from turnwise.runtime.opening import open_stored, recover
from turnwise.testing import ScriptedProvider, call, repeat, reply

both = pytest.mark.parametrize("kind", [Leased, AtOnce])
"""Stores whose appends are waited for, and may be done before they return."""


@both
async def test_a_turn_takes_the_claim_and_gives_it_back(any_host: Host, kind: type[Leased]) -> None:
    """D3: the first append takes it, the ones between show its fence, the last gives it back; then nothing beats."""
    store = kind()
    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        session = any_host.agent(provider, look, store=store, runtime=runtime).session()
        await session.run("Hi")
        claims = [claim for _, _, claim in store.appends]
        assert [c.fence for c in claims] == [0, *[1] * (len(claims) - 1)]
        assert [c.hold for c in claims] == [*[True] * (len(claims) - 1), False]
        assert store.held == {} and store.beats == 1
        await session.run("Again")
        assert store.appends[len(claims)][2].fence == 0 and store.beats == 1
        await session.set(temperature=0.5)
        assert not store.appends[-1][2].hold and store.held == {}


async def test_a_parked_turn_is_nobodys(host: Host) -> None:
    """C6: whoever comes next may go on with it."""
    from turnwise.tools.approval import Ask

    store = Leased()
    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        agent = host.agent(provider, look, store=store, runtime=runtime, approvals=lambda _: Ask())
        session = agent.session()
        parked = await session.run("Hi")
        assert parked.reason == "parked" and store.held == {}


async def test_a_follow_up_that_another_process_has_dealt_with_is_not_waited_for(host: Host) -> None:
    """E1, C4: who waits for its account learns that it is not to be had here as soon as the session has read its journal again."""
    from turnwise.tools.approval import Ask

    store = Leased()
    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        agent = host.agent(provider, look, store=store, runtime=one, approvals=lambda _: Ask())
        session = agent.session()
        assert (await session.run("Hi")).reason == "parked"
        handles = [await session.follow_up("And this."), await session.follow_up("And that.")]
        waiting = [asyncio.create_task(handle.result()) for handle in handles]
        other = await run_beside(host, provider, store, two, session.id)
        assert await other.drop_follow_ups() == 2
        await session.set(temperature=0.5)
        for waits in waiting:
            with pytest.raises(StateError) as raised:
                await waits
            assert raised.value.code == "follow_up_elsewhere"
        assert all(handle.over for handle in handles)


async def test_a_follow_up_that_comes_behind_one_of_another_process_waits_its_turn(host: Host) -> None:
    """D3, E1: it gets its number once more when the journal was read again, and is known by that alone."""
    from turnwise.tools.approval import Allow, Ask

    store, asks = Leased(), [True]
    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        agent = host.agent(
            provider, look, store=store, runtime=one, approvals=lambda _: Ask() if asks.pop() else Allow()
        )
        session = agent.session()
        parked = await session.run("Hi")
        other = await run_beside(host, provider, store, two, session.id)
        await other.follow_up("First.")
        second = await session.follow_up("Second.")
        assert second.number == 2
        asks += [False] * 5
        await session.approve(parked.pending[0].call_id)
        assert (await session.resume()).reason == "completed"
        assert (await asyncio.wait_for(second.result(), 10)).reason == "completed"
        said = [m.text for m in session.messages if isinstance(m, UserMessage)]
        assert said == ["Hi", "First.", "Second."]


async def test_a_follow_up_of_a_session_that_is_lost_is_not_waited_for(host: Host) -> None:
    """E1: its caller is told what the turn before it is told; it stays in the queue, for whoever goes on."""
    store, begun = Leased(), asyncio.Event()

    @tool(name="look")
    async def slow(what: str) -> str:
        await begun.wait()
        store.now += 100.0
        await store.take_for("another", session.id)
        return what

    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        session = host.agent(provider, slow, store=store, runtime=runtime).session()
        running = asyncio.create_task(session.run("Hi"))
        follow_up = await session.follow_up("And this.")
        begun.set()
        with pytest.raises(StateError) as raised:
            await follow_up.result()
        assert raised.value.code == "lease_lost"
        with pytest.raises(StateError):
            await running
        store.now += 100.0
        await session.set(temperature=0.5)
        assert session.follow_ups == ("And this.",)


async def run_beside(host: Host, provider: ScriptedProvider, store: Leased, runtime: Runtime, id: str) -> Any:
    return await open_stored(host.agent(provider, look), id, store=store, runtime=runtime)


@both
async def test_one_of_two_proceeds(host: Host, kind: type[Leased]) -> None:
    """D3: the other is told at once, with nothing journalled; when the first is done it reads what was said, and goes on."""
    store, release, inside = kind(), asyncio.Event(), asyncio.Event()

    @tool(name="look")
    async def slow(what: str) -> str:
        inside.set()
        await release.wait()
        return what

    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        first = host.agent(provider, look, store=store, runtime=one).session()
        await first.run("Hi")
        second = await run_beside(host, provider, store, two, first.id)
        slowly = await open_stored(host.agent(provider, slow), first.id, store=store, runtime=one)
        running = asyncio.create_task(slowly.run("Slowly"))
        await inside.wait()
        before = len(store.journal(first.id))
        requests = len(provider.requests)
        for _ in range(2):
            with pytest.raises(SessionBusy) as refused:
                await second.run("Me, too")
            assert refused.value.code == "session_busy" and refused.value.hint
            with pytest.raises(SessionBusy):
                async with second.stream("Me, too"):
                    raise AssertionError("it has begun")
            assert not second.running
        assert await recover(second) is None
        assert len(store.journal(first.id)) == before and len(provider.requests) == requests
        release.set()
        assert (await running).reason == "completed"
        done = await second.run("Now")
        assert done.reason == "completed" and done.turn == 3
        said = [e.message.text for e in store.journal(first.id) if isinstance(e, InputAccepted)]
        assert said == ["Hi", "Slowly", "Now"]


@both
async def test_who_is_behind_reads_on(host: Host, kind: type[Leased]) -> None:
    """Two processes that take turns: what the other has appended meanwhile is read before the input is folded."""
    store = kind()
    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        first = host.agent(provider, look, store=store, runtime=one).session()
        await first.run("one")
        second = await run_beside(host, provider, store, two, first.id)
        for number in range(2, 6):
            result = await (second if number % 2 else first).run(str(number))
            assert result.turn == number
        await first.set(temperature=0.5)  # behind as well: read on, and said again
        assert names(store.journal(first.id)).count("TurnEnded") == 5
        assert fold(store.journal(first.id)).settings.temperature == 0.5
        three = [second.set(top_p=0.5), second.follow_up("six"), second.set(temperature=0.7)]
        _, waiting, _ = await asyncio.gather(*three)
        assert (await waiting.result()).turn == 6
        assert (second.settings.temperature, second.settings.top_p) == (0.7, 0.5)
        assert tuple(fold(store.journal(first.id)).transcript) == second.messages


async def test_a_late_append_is_refused(host: Host) -> None:
    """D3: the owner was silent past its lease, another has taken over; its append is refused and its turn ends with that error."""
    store, go, inside = Leased(), asyncio.Event(), asyncio.Event()

    @tool(name="look")
    async def slow(what: str) -> str:
        inside.set()
        await go.wait()
        return "late"

    async with Runtime() as one, Runtime() as two, ScriptedProvider([repeat(found)]) as provider:
        first = host.agent(provider, slow, store=store, runtime=one).session()
        async with first.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await inside.wait()
            store.now += 31.0
            second = await run_beside(host, provider, store, two, first.id)
            assert second.state.running
            result = await recover(second)
            assert result is not None and result.reason == "completed" and result.text == "Found."
            journal = list(store.journal(first.id))
            go.set()
            events = await reading
            assert names(events).count("TurnFinished") == 1 and "ToolFinished" not in names(events)
            ended = turn.result
            assert ended.error is not None and ended.error.code == "lease_lost"
            assert store.journal(first.id) == journal, "something was appended by who had lost its claim"
        outcomes = [e.result.outcome for e in journal if isinstance(e, CallOutcome)]
        assert [type(o).__name__ for o in outcomes] == ["Unknown", "Unknown"]
        assert names(journal).count("TurnEnded") == 1
        assert (await first.run("Again")).turn == 2


@pytest.mark.parametrize("taken_over", [True, False])
def test_the_claim_is_asked_about_before_an_effect(taken_over: bool) -> None:
    """D3: when the lease may have run out the store is asked before the model is."""

    @in_virtual_time
    async def run() -> None:
        store = Leased()
        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            agent = ANTHROPIC.agent(provider, look, store=store, runtime=runtime)
            session = agent.session()
            lease = lease_of(runtime, store)

            async def stopped(when: str, number: int) -> None:
                if when == "written" and number == 1:  # between an append that took effect and what follows from it
                    await silence(lease)
                    if taken_over:
                        store.now += 31.0
                        await store.take_for("another", session.id)

            store.pause = stopped
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            assert store.asked
            if taken_over:
                assert turn.result.error is not None and turn.result.error.code == "lease_lost"
                assert "ToolStarted" not in names(events) and len(store.appends) == 2
            else:
                assert turn.result.reason == "completed"

    run()


def test_a_body_that_middleware_held_back_looks_at_the_lease_once_more() -> None:
    """D2, D3: the session was taken over meanwhile; the other process has said of the call that nobody knows about it."""
    begun: list[str] = []

    @tool(name="look", timeout_s=None)
    async def looks(what: str) -> str:
        begun.append(what)
        return what

    @in_virtual_time
    async def run() -> None:
        store = Leased()

        @middleware("tool")
        async def slow(request: Any, next: Any) -> Any:
            await silence(lease)
            store.now += 31.0
            await store.take_for("another", session.id)
            return await next(request)

        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            session = ANTHROPIC.agent(provider, looks, store=store, runtime=runtime, middleware=[slow]).session()
            lease = lease_of(runtime, store)
            async with session.stream("Hi") as turn:
                await read_all(turn)
            assert turn.result.error is not None and turn.result.error.code == "lease_lost"

    run()
    assert begun == []


async def silence(lease: Any) -> None:
    """As if the process had been stopped for longer than its lease."""
    lease._until = lease._until_wall = 0.0


async def test_a_cancelled_beginning_leaves_nothing_running(host: Host) -> None:
    """C3: whoever gives up while the claim is being taken interrupts the turn, or never had one."""
    hanging, go = asyncio.Event(), asyncio.Event()

    async def pause(when: str, number: int) -> None:
        if number == 0 and when == "before":
            hanging.set()
            await go.wait()

    store = Leased(pause)
    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        session = host.agent(provider, look, store=store, runtime=runtime).session()
        beginning = asyncio.create_task(session.run("Hi"))
        await hanging.wait()
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        go.set()
        await until(lambda: not session.running)
        assert isinstance(store.journal(session.id)[-1], TurnEnded) and store.held == {}
        assert (await session.run("Again")).reason == "completed"


async def test_a_store_that_fails_lets_go(host: Host) -> None:
    """A turn whose append failed is left in its journal for whoever comes first: here, for the session itself."""
    failing = [True]

    async def pause(when: str, number: int) -> None:
        if number == 2 and when == "before" and failing[0]:
            raise OSError("the disk is full")

    store = Leased(pause)
    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        session = host.agent(provider, look, store=store, runtime=runtime).session()
        with pytest.raises(StateError):
            await session.run("Hi")
        await until(lambda: store.held == {})
        failing[0] = False
        assert (await session.run("Again")).reason == "completed"
        journal = store.journal(session.id)
        assert names(journal).count("TurnEnded") == 2 and "Interrupted" in names(journal)
        outcomes = [type(e.result.outcome).__name__ for e in journal if isinstance(e, CallOutcome)]
        assert outcomes[:2] == ["Unknown", "Unknown"], "what was lost from sight is not said to be cancelled"


def test_a_lease_is_renewed_while_a_turn_runs() -> None:
    """And not while nothing runs: an idle process writes nothing."""

    @in_virtual_time
    async def run() -> None:
        store = Leased()

        @tool(name="look", timeout_s=None)
        async def slow(what: str) -> str:
            await asyncio.sleep(100)
            return what

        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            agent = ANTHROPIC.agent(provider, slow, store=store, runtime=runtime, deadlines=Deadlines(turn_s=1000))
            session = agent.session()
            await session.run("Hi")
            assert 10 <= store.beats <= 12
            await asyncio.sleep(1000)
            assert store.beats <= 13

    run()


def test_a_lease_that_cannot_be_renewed() -> None:
    """While the store does not answer nothing new is done; when it answers again in time the turn goes on."""

    @in_virtual_time
    async def run() -> None:
        store = Leased()

        @tool(name="look")
        async def slow(what: str) -> str:
            store.down = what == "b"
            await asyncio.sleep(25)
            store.down = False
            await asyncio.sleep(10)
            return what

        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            session = ANTHROPIC.agent(provider, slow, store=store, runtime=runtime).session()
            assert (await session.run("Hi")).reason == "completed"

    run()


async def test_a_session_that_was_never_written_begins_with_its_creation(host: Host) -> None:
    store = Leased()
    async with Runtime() as runtime, ScriptedProvider([repeat(reply(call("look", what="a")))]) as provider:
        session = host.agent(provider, store=store, runtime=runtime).session()
        await store.take_for("another", session.id)
        with pytest.raises(SessionBusy):
            await session.run("Hi")
        assert store.journal(session.id) == []
        store.now += 31.0
        async with session.stream("Hi") as turn:
            await turn.close("left")
        assert type(store.journal(session.id)[0]) is SessionCreated


@pytest.mark.parametrize("ended_by", ["interrupt", "deadline"])
def test_a_store_that_never_answers_the_first_append(ended_by: str) -> None:
    """C1, C5: whoever waits for the claim waits no longer than the turn may last."""

    @in_virtual_time
    async def run() -> None:
        hanging, go = asyncio.Event(), asyncio.Event()

        async def pause(when: str, number: int) -> None:
            if number == 0 and when == "before":
                hanging.set()
                await go.wait()

        store = Leased(pause)
        async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
            deadlines = Deadlines(turn_s=30, grace_s=4)
            session = ANTHROPIC.agent(provider, look, store=store, runtime=runtime, deadlines=deadlines).session()
            loop = asyncio.get_running_loop()
            began = loop.time()
            running = asyncio.create_task(session.run("Hi"))
            await hanging.wait()
            if ended_by == "interrupt":
                session.interrupt()
            with pytest.raises(SessionError) as raised:
                await running
            assert raised.value.code == "stuck"
            assert loop.time() - began < (36 if ended_by == "deadline" else 6)
            go.set()
            await until(lambda: store.held == {})
            assert (await session.run("Again")).reason == "completed"

    run()


async def test_closing_tells_watchers_what_was_on_its_way(host: Host) -> None:
    """C4, D6: a parked turn was interrupted, and the session is closed while that is appended: who watches is told of it."""
    from turnwise.tools.approval import Ask

    reached, gate = asyncio.Event(), asyncio.Event()
    gate.set()

    async def pause(when: str, _: int) -> None:
        if when == "written" and not gate.is_set():
            reached.set()
            await gate.wait()

    async with Runtime() as runtime, ScriptedProvider([repeat(found)]) as provider:
        agent = host.agent(provider, look, store=Leased(pause), runtime=runtime, approvals=lambda _: Ask())
        session = agent.session()
        await session.run("Hi")
        watching = asyncio.create_task(read_all(session.watch()))
        gate.clear()
        session.interrupt()
        await reached.wait()
        closing = asyncio.create_task(session.close())
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        await closing
        assert names(await watching)[-1:] == ["TurnFinished"]
