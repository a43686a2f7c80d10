"""Calls that need leave: asked by id, answered in any order, late, or never; nothing waits for a person inside (C6, E1, E4, P1)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    in_virtual_time,
    of,
    read_all,
    read_until,
    results,
    told,
)

from turnwise import Allow, Ask, Deny, Move, Output, ProposedCall, Runtime, Session, ToolContext, tool
from turnwise.core.errors import ConfigError, SessionBusy, SessionError
from turnwise.core.outcomes import Cancelled, Denied, Ok
from turnwise.core.result import Pending
from turnwise.events import (
    ApprovalGiven,
    ApprovalRequested,
    Notice,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnParked,
)
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, reply


class LoopClock:
    """Wall time that runs with the loop's, which jumps. `late_s`: how much it lags behind."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.late_s = late_s

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_750_000_000 + asyncio.get_running_loop().time() * (1 - self.late_s)


class Tools:
    """Two tools that say when they ran, one of which is asked about."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool
        async def write(path: str) -> str:
            self.ran.append(f"write {path}")
            return f"wrote {path}"

        @tool
        async def read(path: str) -> str:
            self.ran.append(f"read {path}")
            return f"read {path}"

        self.all = (write, read)


def asks_to_write(proposed: ProposedCall) -> Allow | Ask | Deny:
    return Ask("it writes") if proposed.name == "write" else Allow()


async def test_a_call_waits_and_the_turn_goes_on_when_it_is_allowed(
    any_host: Host, store: SuspendingStore | None
) -> None:
    """C6: parked, no task left; approved; resumed; the events and the result tell all of it."""
    tools = Tools()
    script = [reply(call("write", path="a"), call("read", path="b")), reply("Done.")]
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        agent = any_host.agent(provider, *tools.all, approvals=asks_to_write, runtime=runtime, store=store)
        session = agent.session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        parked = events[-1]
        assert isinstance(parked, TurnParked) and turn.result.reason == "parked"
        waits = Pending("t1.s1.c0", "write", '{"path":"a"}', "approval", "it writes")
        assert parked.pending == turn.result.pending == session.pending == (waits,)
        assert tools.ran == ["read b"], "what needs no leave does not wait for it"
        assert of(ApprovalRequested, events) == [ApprovalRequested("t1.s1.c0", "write", '{"path":"a"}', "it writes")]
        assert [e.name for e in of(ToolStarted, events)] == ["read"]
        with pytest.raises(SessionBusy):
            await session.run("And?")

        assert await session.approve("t1.s1.c0")
        assert session.pending == () and tools.ran == ["read b"], "it runs when the turn is resumed"
        async with session.stream(Move.RESUME) as turn:
            events = await read_all(turn)
        result = turn.result
        assert isinstance(events[-1], TurnFinished) and result.text == "Done." and result.steps == 2
        assert tools.ran == ["read b", "write a"]
        assert [r.text for r in results(result)] == ["wrote a", "read b"] == told(provider.requests[1])
        assert_valid(session.messages)


async def test_several_are_answered_in_any_order(host: Host, store: SuspendingStore | None) -> None:
    """C6: partly, out of order, over several parkings; results stay in call order (E4)."""
    for order in itertools.permutations(range(3)):
        tools = Tools()
        script = [reply(*[call("write", path=str(n)) for n in range(3)]), reply("Done.")]
        async with ScriptedProvider(script) as provider:
            session = host.agent(provider, *tools.all, approvals=lambda _: Ask(), store=store).session()
            assert (await session.run("Hi")).reason == "parked"
            for n in order[:-1]:
                assert await session.approve(f"t1.s1.c{n}")
                result = await session.resume()
                assert result.reason == "parked" and len(result.pending) == 2 - order.index(n)
            assert await session.deny(f"t1.s1.c{order[-1]}", "not that one")
            result = await session.resume()
        assert result.reason == "completed"
        assert tools.ran == [f"write {n}" for n in order[:-1]]
        for n, got in enumerate(results(result)):
            assert got.outcome == (Ok() if n != order[-1] else Denied("not that one"))


async def test_an_answer_while_the_turn_runs_needs_no_resume(host: Host) -> None:
    """C6: another call runs meanwhile, so nothing parks."""
    go = asyncio.Event()
    ran: list[str] = []

    @tool
    async def long() -> str:
        await go.wait()
        return ""

    @tool
    async def write(path: str) -> str:
        ran.append(path)
        go.set()
        return ""

    async with ScriptedProvider([reply(call("write", path="a"), call("long")), reply("Done.")]) as provider:
        session = host.agent(provider, long, write, approvals=asks_to_write).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, ApprovalRequested)
            assert await session.approve("t1.s1.c0", reason="fine")
            assert not await session.approve("t1.s1.c0"), "answered already"
            assert not await session.deny("t1.s1.c0")
            events += await read_all(turn)
        assert_ended(events)
        assert of(ApprovalGiven, events) == [ApprovalGiven("t1.s1.c0", "write", True, "fine")]
        assert ran == ["a"] and not of(TurnParked, events)


async def test_edited_arguments_are_what_runs_and_what_is_shown(any_host: Host) -> None:
    """The transcript and the provider see the call as it really ran."""
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = any_host.agent(provider, *tools.all, approvals=asks_to_write).session()
        await session.run("Hi")
        bad: list[Any] = [{"path": 3}, {}, {"path": "b", "more": 1}, "{", '{"path": ', [1], {"path": object()}]
        for edited in bad:
            with pytest.raises(SessionError) as raised:
                await session.approve("t1.s1.c0", edited_arguments=edited)
            assert raised.value.code == "invalid_answer"
        assert len(session.pending) == 1, "nothing of that was journalled"
        assert await session.approve("t1.s1.c0", edited_arguments={"path": "b"})
        result = await session.resume()
        assert tools.ran == ["write b"] and [r.text for r in results(result)] == ["wrote b"]
        assert [c.arguments for m in result.messages for c in getattr(m, "tool_calls", ())] == ['{"path":"b"}']
        raw = provider.requests[1].raw.decode()
        assert "wrote b" in raw and not any(f"path{q}:{q}a" in raw for q in ('"', '\\"'))


@pytest.mark.parametrize("verdict", [Deny("not on a Sunday"), Deny()])
async def test_what_the_policy_denies_is_told_to_the_model(any_host: Host, verdict: Deny) -> None:
    """E1, E4: a beginning and an end, and the turn goes on."""
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("I see.")]) as provider:
        async with any_host.agent(provider, *tools.all, approvals=lambda _: verdict).session().stream("Hi") as turn:
            events = await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert got.outcome == Denied(verdict.reason) and not tools.ran
        assert (verdict.reason or "not allowed") in told(provider.requests[1])[0]


# --- fail closed -------------------------------------------------------------------------------------------------------


def raises(_: ProposedCall) -> Allow:
    raise RuntimeError("the rules are gone")


async def raises_later(_: ProposedCall) -> Allow:
    await asyncio.sleep(0)
    raise RuntimeError("the rules are gone")


async def takes_for_ever(_: ProposedCall) -> Allow:
    await asyncio.Event().wait()
    return Allow()


async def is_deaf(_: ProposedCall) -> Allow:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return Allow()
    return Allow()


async def cancels_itself(_: ProposedCall) -> Allow:
    raise asyncio.CancelledError


WRONG: list[tuple[Callable[[ProposedCall], Any], str]] = [
    (raises, "the rules are gone"),
    (raises_later, "the rules are gone"),
    (takes_for_ever, "within 30 s"),
    (is_deaf, "within 30 s"),
    (cancels_itself, "cancelled"),
    (lambda _: True, "bool"),
    (lambda _: None, "NoneType"),
]


@in_virtual_time
@pytest.mark.parametrize("way", WRONG, ids=lambda w: w[1])
async def test_whatever_goes_wrong_means_no(way: tuple[Callable[[ProposedCall], Any], str]) -> None:
    """P1: the call does not run; the model is told that it is not allowed, whoever watches is told why."""
    policy, why = way
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("I see.")]) as provider:
        async with ANTHROPIC.agent(provider, *tools.all, approvals=policy).session().stream("Hi") as turn:
            events = await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert type(got.outcome) is Denied and not tools.ran
        assert "could not be checked" in got.text and why not in got.text
        (notice,) = of(Notice, events)
        assert notice.code == "approval_failed" and why in notice.message


@in_virtual_time
@pytest.mark.parametrize("late_s", [0.0, 0.005])
async def test_nobody_answers_in_time(late_s: float) -> None:
    """C6: an expiry is a denial, also while the turn is parked and nobody looks; what is late is too late. The wall clock may go
    slower than the timers."""
    tools = Tools()
    script = [reply(call("write", path="a"), call("write", path="b")), reply("I see.")]
    async with Runtime(clock=LoopClock(late_s)) as runtime, ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(
            provider,
            *tools.all,
            runtime=runtime,
            approvals=lambda p: Ask("", 60.0 if p.arguments.path == "a" else None),
        ).session()
        parked = await session.run("Hi")
        first, second = parked.pending
        assert first.expires_at is not None and second.expires_at is None
        await asyncio.sleep(59)
        assert len(session.pending) == 2
        await asyncio.sleep(2)
        assert session.pending == (second,)
        assert not await session.approve("t1.s1.c0"), "too late"
        assert await session.approve("t1.s1.c1")
        result = await session.resume()
    assert [type(r.outcome) for r in results(result)] == [Denied, Ok] and tools.ran == ["write b"]


@in_virtual_time
async def test_an_expiry_comes_also_while_another_call_runs() -> None:
    """C6: the turn does not park, and the call that waits is given up all the same."""
    tools = Tools()

    @tool(timeout_s=None)
    async def long() -> str:
        await asyncio.sleep(100)
        return ""

    script = [reply(call("write", path="a"), call("long")), reply("I see.")]
    async with Runtime(clock=LoopClock()) as runtime, ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(
            provider,
            *tools.all,
            long,
            runtime=runtime,
            approvals=lambda p: Ask("", 10) if p.name == "write" else Allow(),
        ).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, ToolFinished)
            (ended,) = of(ToolFinished, events)
            assert ended.name == "write" and type(ended.result.outcome) is Denied
            assert_ended(events + await read_all(turn))


@pytest.mark.parametrize("expires_in_s", [0, -1.0, float("nan")])
def test_an_expiry_lies_in_the_future(expires_in_s: float) -> None:
    with pytest.raises(ConfigError):
        Ask(expires_in_s=expires_in_s)


# --- what a policy is given ---------------------------------------------------------------------------------------------


async def test_the_policy_sees_the_call_and_whose_it_is() -> None:
    seen: list[ProposedCall] = []

    def look(proposed: ProposedCall) -> Allow:
        seen.append(proposed)
        return Allow()

    tools = Tools()
    script = [reply(call("write", path="a"), call("nothing"), call("write", path=3)), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, *tools.all, approvals=look).session(context={"user": "ada"})
        await session.run("Hi")
    (one,) = seen
    assert (one.call_id, one.name, one.raw_arguments, one.arguments.path) == ("t1.s1.c0", "write", '{"path":"a"}', "a")
    assert isinstance(one.context, ToolContext) and one.context.context == {"user": "ada"}
    assert (one.context.session, one.context.turn) == (session.id, 1)


async def test_a_slow_policy_keeps_the_order_of_writers(host: Host) -> None:
    """E5: however long the policy takes for which call."""
    log: list[int] = []
    doors = {n: asyncio.Event() for n in range(4)}
    doors[3].set()

    @tool(resource="file")
    async def write(number: int) -> str:
        log.append(number)
        return ""

    async def backwards(proposed: ProposedCall) -> Allow | Deny:
        number = proposed.arguments.number
        await doors[number].wait()
        if number:
            doors[number - 1].set()
        return Deny() if number == 2 else Allow()

    async with ScriptedProvider([reply(*[call("write", number=n) for n in range(4)]), reply("Done.")]) as provider:
        result = await host.agent(provider, write, approvals=backwards).run("Hi")
    assert log == [0, 1, 3] and [type(r.outcome) for r in results(result)] == [Ok, Ok, Denied, Ok]


async def test_a_waiting_writer_does_not_hold_up_the_others(host: Host) -> None:
    """C6, E5: who waits for a person has lost its turn; else the turn could never park."""

    @tool(resource="file")
    async def write(path: str) -> str:
        return path

    script = [reply(call("write", path="a"), call("write", path="b")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(
            provider, write, approvals=lambda p: Ask() if p.arguments.path == "a" else Allow(), parallel_calls=1
        ).session()
        assert (await session.run("Hi")).reason == "parked"
        await session.approve("t1.s1.c0")
        assert [r.text for r in results(await session.resume())] == ["a", "b"]


async def test_the_parked_turn_of_a_closed_session_stays_parked(host: Host) -> None:
    """H4, C6: closing refuses all further input, an interrupt too: nothing is told or journalled any more, and whoever opens it next goes on."""

    @tool
    async def write(path: str) -> str:
        return path

    async with ScriptedProvider([reply(call("write", path="a"))]) as provider:
        session = host.agent(provider, write, approvals=lambda _: Ask()).session()
        assert (await session.run("Hi")).reason == "parked"
        await session.close()
        before = session.state.seq
        assert session.interrupt() is False
        assert session.state.seq == before and session.pending


@pytest.mark.parametrize("running", [True, False], ids=["running", "parked"])
async def test_approved_calls_run_once_within_their_bounds(host: Host, running: bool) -> None:
    """E1, E5: several are allowed while there is a place for one only."""
    tools, go = Tools(), asyncio.Event()

    @tool
    async def long() -> str:
        await go.wait()
        return ""

    writes = [call("write", path=str(n)) for n in range(4)]
    async with ScriptedProvider([reply(*writes, *([call("long")] if running else [])), reply("Done.")]) as provider:
        session = host.agent(provider, *tools.all, long, approvals=asks_to_write, parallel_calls=1).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, ApprovalRequested, lambda e: e.call_id == "t1.s1.c3")
            if not running:
                events += await read_all(turn)
            for n in (2, 0, 3, 1):
                assert await session.approve(f"t1.s1.c{n}")
            go.set()
            if running:
                events += await read_all(turn)
        if not running:
            assert (await session.resume()).reason == "completed"
    assert tools.ran == [f"write {n}" for n in ((2, 0, 3, 1) if running else range(4))]


# --- interrupts and steering -------------------------------------------------------------------------------------------


async def test_an_interrupt_closes_what_waits(host: Host, store: SuspendingStore | None) -> None:
    """C1: a parked turn ends; the history stays valid and the session goes on."""
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("Hello again.")]) as provider:
        session = host.agent(provider, *tools.all, approvals=asks_to_write, store=store).session()
        await session.run("Hi")
        assert session.interrupt()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not session.pending and not await session.approve("t1.s1.c0")
        with pytest.raises(SessionError, match="parked"):
            await session.resume()
        (got,) = [r for m in session.messages for r in getattr(m, "results", ())]
        assert type(got.outcome) is Cancelled and not tools.ran
        await goes_on(session)


async def test_an_interrupt_ends_a_check(host: Host) -> None:
    """C1: the policy is thinking; no task is left."""
    began = asyncio.Event()

    async def thinks(_: ProposedCall) -> Allow:
        began.set()
        return await takes_for_ever(_)

    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("Hello again.")]) as provider:
        session = host.agent(provider, *tools.all, approvals=thinks).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await began.wait()
            session.interrupt()
            (got,) = results(assert_ended(await reading).result)
        assert type(got.outcome) is Cancelled and not tools.ran
        await goes_on(session)


async def test_answers_to_nothing_are_false(host: Host) -> None:
    """C6: late and wrong ids change nothing."""
    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = host.agent(provider).session()
        for _ in range(2):
            assert not await session.approve("t1.s1.c0") and not await session.deny("nonsense")
            assert not await session.submit("t1.s1.c0", "x") and not await session.answer("t1.s1.c0", "x")
            if not session.messages:
                await session.run("Hi")
        with pytest.raises(SessionError, match="parked"):
            await session.resume()
        await session.close()
        with pytest.raises(SessionError, match="closed"):
            await session.approve("t1.s1.c0")


async def test_other_threads_and_loops_may_answer() -> None:
    """C6: a web handler with a loop of its own, say."""
    go = asyncio.Event()

    @tool
    async def long() -> str:
        await go.wait()
        return ""

    tools = Tools()
    script = [reply(call("write", path="a"), call("long")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session: Session[Any] = ANTHROPIC.agent(provider, *tools.all, long, approvals=asks_to_write).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, ApprovalRequested)
            assert await asyncio.to_thread(lambda: asyncio.run(session.approve("t1.s1.c0")))
            go.set()
            events = await read_all(turn)
        assert tools.ran == ["write a"] and isinstance(events[-1], TurnFinished)


@dataclass
class Count:
    count: int


async def test_a_typed_answer_comes_after_a_parking(host: Host) -> None:
    """What was asked for still holds when the turn goes on."""
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply('{"count": 3}')]) as provider:
        session = host.agent(provider, *tools.all, approvals=asks_to_write).session()
        assert (await session.run("Hi", output=Output(Count, strategy="prompted"))).reason == "parked"
        await session.approve("t1.s1.c0")
        result = await session.resume()
    assert result.output == Count(3) and tools.ran == ["write a"]
