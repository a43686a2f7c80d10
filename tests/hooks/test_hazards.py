"""What goes wrong with hooks: they hang, fail, say no, go away while they run; and what then still holds (H1, H2, H4, C1, C3, P2)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, assert_ended, in_virtual_time, of, read_all, results, until

from turnwise import (
    Agent,
    Allow,
    Ask,
    Compaction,
    Deadlines,
    Deny,
    Drop,
    Limits,
    ProposedCall,
    Runtime,
    Session,
    ToolContext,
    replay,
    tool,
)
from turnwise.core.outcomes import Cancelled, Denied, Failed, Ok, Timeout
from turnwise.errors import HookError
from turnwise.events import ApprovalRequested, Notice, TurnFinished
from turnwise.hooks import POINTS, Cancel, HookContext, HookResult, Modify, Redirect, Replace, Retry, hook
from turnwise.runtime.blocking import ThreadPool
from turnwise.runtime.hooks.breaker import LEAST_CALLS, OPEN_S, Breaker
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, hang, reply


async def give_way(_: str) -> None:
    await asyncio.sleep(0)


@tool(read_only=True)
async def look(at: str = "it") -> str:
    return f"saw {at}"


@tool
async def broken() -> str:
    raise ValueError("it broke")


@tool
async def remember(what: str, context: ToolContext) -> str:
    await context.state.user.set("what", what)
    return "remembered"


@tool
async def write(path: str) -> str:
    return f"wrote {path}"


TOOLS = (look, broken, remember, write)


def asks_to_write(proposed: ProposedCall) -> Allow | Ask:
    return Ask("it writes") if proposed.name == "write" else Allow()


def agent_with(provider: ScriptedProvider, *hooks: object, **options: Any) -> Agent[Any]:
    settings = {"approvals": asks_to_write, "compaction": Compaction(strategies=[Drop()]), **options}
    return ANTHROPIC.agent(provider, *TOOLS, hooks=hooks, **settings)


async def forever(_: HookContext) -> None:
    await asyncio.Event().wait()


async def deaf(_: HookContext) -> None:
    """Does not stop when told to, for a while."""
    for _ in range(50):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            continue


async def let_go(runtime: Runtime) -> None:
    """End what was left behind."""
    await asyncio.sleep(0.1)
    for _ in range(60):
        for task in list(runtime.abandoned_bodies):
            task.cancel()
        await asyncio.sleep(0)


def fails(_: HookContext) -> None:
    raise RuntimeError("it broke")


WAITED_FOR = [p for p in POINTS if p not in ("session.started", "session.ended")]
"""The points that a turn meets."""
STEERING = [p for p in POINTS if len(POINTS[p].honours) > 1]


async def go_through(session: Session[Any]) -> tuple[str, str]:
    """Meet every point; how the turn and the compaction ended."""
    try:
        result = await session.run("Go.")
        if result.pending:
            await session.approve(result.pending[0].call_id)
            result = await session.resume()
        ended = result.reason
    except HookError as error:
        ended = error.code
    report = await session.compact()
    return ended, "" if report.error is None else report.error.code


def script() -> list[Any]:
    return [reply(call("look"), call("broken"), call("remember", what="tea"), call("write", path="a")), reply("Done.")]


# --- halting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "halt", [Cancel("no"), Replace("no"), Redirect("look", {"at": "no"})], ids=lambda h: type(h).__name__
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_halting_ends_the_chain_across_priorities_and_owners(halt: HookResult, asynchronous: bool) -> None:
    """H2: nothing of lower priority is asked any more, whoever registered it; higher ones were, in their order."""
    seen: list[str] = []

    def noting(name: str, priority: int, result: HookResult | None = None) -> Any:
        async def waits(context: HookContext) -> HookResult | None:
            seen.append(name)
            return result

        def at_once(context: HookContext) -> HookResult | None:
            seen.append(name)
            return result

        return hook("tool.before", priority=priority, id=name)(waits if asynchronous else at_once)

    async with (
        ScriptedProvider([reply(call("look")), reply("Done.")]) as provider,
        Runtime(hooks=[noting("low", -5)]) as runtime,
    ):
        agent = agent_with(
            provider, noting("same 1", 10), noting("stops", 10, halt), noting("same 2", 10), runtime=runtime
        )
        session = agent.session()
        session.add_hook(noting("first", 99))
        session.add_hook(noting("last", -99))
        (only,) = results(await session.run("Hi"))
        assert seen == ["first", "same 1", "stops"] and "no" in only.text
        halted = {one.id: one.halted for one in runtime.hooks()}
        assert halted == {"first": 0, "same 1": 0, "stops": 1, "same 2": 0, "low": 0, "last": 0}


# --- hanging -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [forever, deaf], ids=lambda h: h.__name__)
@pytest.mark.parametrize("point", WAITED_FOR)
@in_virtual_time
async def test_a_hung_hook_is_cut_off(point: str, how: Callable[[HookContext], Awaitable[None]]) -> None:
    """H2: whatever the point, and also if it is deaf to cancellation; what it was asked about goes on, and it is told."""
    async with ScriptedProvider(script() if point != "error" else [*script()]) as provider, Runtime() as runtime:
        slow = hook(point, timeout_s=3.0, id="slow")(how)
        session = agent_with(provider, slow, runtime=runtime).session()
        assert await go_through(session) == ("completed", "")
        if point == "error":
            return
        await asyncio.sleep(4)  # nobody waits for what watches outside of a turn
        (one,) = runtime.hooks()
        assert one.timeouts == one.calls > 0 and one.p95_s < 3.1
        assert one.last_error is not None and one.last_error.code == "hook_timeout"
        await let_go(runtime)


@pytest.mark.parametrize("point", STEERING)
@in_virtual_time
async def test_a_hung_hook_that_fails_closed_blocks(point: str) -> None:
    """H2: it never lets through."""
    await blocked_by(point, forever, "hook_timeout")


@pytest.mark.parametrize("point", STEERING)
async def test_a_broken_hook_that_fails_closed_blocks(point: str) -> None:
    """H2: an error is a no, as the point can say it."""
    await blocked_by(point, fails, "hook_failed")


async def blocked_by(point: str, how: Any, code: str) -> None:
    asked = point in ("turn.before", "step.before", "step.after")
    said = {"turn.before": [], "step.before": [], "step.after": [reply("Hello.")]}.get(point, script())
    async with ScriptedProvider(said) as provider, Runtime() as runtime:
        session = agent_with(
            provider, hook(point, timeout_s=1.0, fail="closed", id="guard")(how), runtime=runtime
        ).session()
        ended, compacted = await go_through(session)
        assert ended == (code if asked else "completed")
        assert compacted == (code if point == "compaction.before" else "")
        outcomes = [r.outcome for m in session.history for r in getattr(m, "results", ())]
        texts = [r.text for m in session.history for r in getattr(m, "results", ())]
        if point == "tool.before":
            assert [type(o) for o in outcomes] == [Denied] * 4
        elif point == "tool.after":
            assert [o.error.code for o in outcomes if isinstance(o, Failed)] == [code] * 4 and "saw it" not in str(
                texts
            )
        elif point == "tool.error":
            assert isinstance(outcomes[1], Failed) and outcomes[1].error.code == code
        elif point == "state.before":
            assert isinstance(outcomes[2], Failed) and await session.scopes.user.get("what") is None
        elif point == "approval.requested":
            assert isinstance(outcomes[3], Denied)
        elif point == "turn.before":
            assert not session.told


async def test_a_blocking_hook_runs_in_a_thread_and_is_left_there_if_it_hangs() -> None:
    """H2: the loop goes on meanwhile. In real time: virtual time would not wait for the thread that answers."""
    free, threads = threading.Event(), list[str]()

    @hook("tool.before", blocking=True, timeout_s=2)
    def waits(context: HookContext) -> Cancel | None:
        threads.append(threading.current_thread().name)
        if context.value.arguments.get("at") == "long":
            free.wait(20)
        return Cancel("seen") if context.value.arguments.get("at") == "no" else None

    calls = reply(call("look", at="no"), call("look", at="long"))
    try:
        async with ScriptedProvider([calls, reply("Done.")]) as provider, Runtime() as runtime:
            result = await agent_with(provider, waits, runtime=runtime).run("Hi")
            assert [type(r.outcome) for r in results(result)] == [Denied, Ok]
            assert threading.current_thread().name not in threads and runtime.blocking.abandoned == 1
            free.set()
    finally:
        free.set()


@in_virtual_time
async def test_one_deadline_holds_for_the_whole_chain() -> None:
    """H2: many slow hooks are not slower than one deadline; those that had no time fail by their mode."""
    ran: list[int] = []

    def slow(n: int, **options: Any) -> Any:
        async def waits(context: HookContext) -> None:
            ran.append(n)
            await asyncio.sleep(4)

        return hook("tool.before", timeout_s=5, id=f"slow{n}", **options)(waits)

    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider, Runtime() as runtime:
        began = asyncio.get_running_loop().time()
        agent = agent_with(
            provider, *[slow(n) for n in range(6)], runtime=runtime
        )  # its hooks are listed while it lives
        result = await agent.run("Hi")
        assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=0.5) and ran == [0, 1, 2]
        assert [type(r.outcome) for r in results(result)] == [Ok]
        assert [one.skipped for one in runtime.hooks()] == [0, 0, 0, 1, 1, 1]
    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider:
        result = await agent_with(provider, *[slow(n) for n in range(3)], slow(3, fail="closed")).run("Hi")
        assert [type(r.outcome) for r in results(result)] == [Denied]


# --- interrupts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", ["memory", "suspending"])
@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("how", [forever, deaf], ids=lambda h: h.__name__)
@pytest.mark.parametrize("point", [p for p in STEERING if p != "compaction.before"])
@in_virtual_time
async def test_an_interrupt_cuts_a_hook_off(point: str, how: Any, fail: Any, stores: str) -> None:
    """C1: at every point that a turn waits for, the turn ends at once; what a guard has not seen is not let through."""
    reached = asyncio.Event()

    async def hangs(context: HookContext) -> None:
        reached.set()
        await how(context)

    said = {"turn.before": [], "step.before": [], "step.after": [reply("Secret.")]}.get(point, script()[:1])
    store = SuspendingStore(give_way) if stores == "suspending" else None
    async with ScriptedProvider(said) as provider, Runtime() as runtime:
        guard = hook(point, timeout_s=600, fail=fail, id="guard")(hangs)
        session = agent_with(provider, guard, runtime=runtime, store=store).session()

        async def watched() -> list[Any]:
            async with session.stream("Go.") as turn:
                return await read_all(turn)

        reading = asyncio.ensure_future(watched())
        await reached.wait()
        began = asyncio.get_running_loop().time()
        assert session.interrupt()
        if point == "turn.before" and fail == "closed":
            with pytest.raises(HookError) as cut:
                await reading
            assert cut.value.code == "hook_cut_off" and not session.told
        else:
            events = await reading
            assert assert_ended(events).result.reason == "interrupted"
            assert asyncio.get_running_loop().time() - began < 1
            texts = [r.text for m in session.messages for r in getattr(m, "results", ())]
            if point == "tool.after" and fail == "closed":
                assert "saw it" not in str(texts)
            replay(await session.journal(0))
        assert not session.running
        await let_go(runtime)


async def test_a_blocking_hook_that_waits_for_its_thread_is_taken_back() -> None:
    """H4: the chain is cut in the moment in which the hook was handed over; it would be called when all is over."""
    handed: list[asyncio.Future[Any]] = []

    class Slow(ThreadPool):
        def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
            loop = asyncio.get_running_loop()
            handed.append(loop.create_future())
            loop.call_soon(session.interrupt)
            return handed[-1]

    @hook("turn.before", blocking=True)
    def in_thread(context: HookContext) -> None:
        raise AssertionError("it has no thread")

    async with ScriptedProvider([]) as provider, Runtime(blocking=Slow()) as runtime:
        session = agent_with(provider, in_thread, runtime=runtime).session()
        assert (await session.run("Hi")).reason == "interrupted"
        assert [one.cancelled() for one in handed] == [True]
        await let_go(runtime)


@in_virtual_time
async def test_cancelling_the_caller_cancels_nothing_but_the_chain() -> None:
    """C3: who waits for `turn.before` is cancelled; the hook is cut off, and the session is free."""
    stopped: list[bool] = []

    @hook("turn.before", timeout_s=600)
    async def hangs(context: HookContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        session = agent_with(provider, runtime=runtime).session()
        registered = session.add_hook(hangs)
        caller = asyncio.ensure_future(session.run("Hi"))
        await until(lambda: runtime.hooks() and session.running)
        await asyncio.sleep(0.01)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.sleep(0)
        assert stopped == [True] and not session.running and not session.told
        registered.unregister()
        assert (await session.run("Hi")).text == "Hello."


@in_virtual_time
async def test_a_turn_that_is_left_early_stops_its_hooks() -> None:
    """C2: leaving the stream while a hook of a call hangs."""

    @hook("tool.before", timeout_s=600)
    async def hangs(context: HookContext) -> None:
        await asyncio.Event().wait()

    async with ScriptedProvider([reply(call("look"))]) as provider, Runtime() as runtime:
        session = agent_with(provider, hangs, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            async for event in turn:
                if type(event).__name__ == "StepFinished":
                    break
        assert turn.result.reason == "interrupted" and not session.running


@in_virtual_time
async def test_a_deadline_ends_a_turn_whose_hook_hangs() -> None:
    """C5: the whole turn's deadline counts while hooks run."""
    async with ScriptedProvider([]) as provider:
        hangs = hook("step.before", timeout_s=600)(forever)
        result = await agent_with(provider, hangs, deadlines=Deadlines(turn_s=5)).run("Hi")
    assert result.reason == "timeout"


@in_virtual_time
async def test_closing_the_runtime_ends_what_waits_for_hooks() -> None:
    async with ScriptedProvider([reply("Hello.")]) as provider:
        runtime = Runtime()
        session = agent_with(provider, hook("turn.after", timeout_s=600)(forever), runtime=runtime).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await until(lambda: session.messages and not session.running and len(session.messages) == 2)
        await runtime.close()
        assert (await running).text == "Hello."


# --- the end of a turn -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_end_of_a_turn_waits_for_its_hooks_and_the_session_does_not() -> None:
    """The turn is over and told before; its reader comes to the end when the hooks have, and the session is free meanwhile."""
    order: list[str] = []
    go = asyncio.Event()

    @hook("turn.after", timeout_s=60)
    async def after(context: HookContext) -> None:
        order.append(f"after {context.value.text}")
        if context.turn == 1:
            await go.wait()
            order.append("through")

    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = agent_with(provider, after).session()

        async def read() -> None:
            async with session.stream("Hi") as turn:
                async for event in turn:
                    if isinstance(event, TurnFinished):
                        order.append("told")
                        assert turn.result.text == "One."
            order.append("left")

        reading = asyncio.ensure_future(read())
        await until(lambda: "told" in order)
        assert (await session.run("And?")).text == "Two."
        order.append("second")
        go.set()
        await reading
    assert sorted(order[:2]) == ["after One.", "told"] and order[2:] == ["after Two.", "second", "through", "left"]


async def test_who_reads_a_turn_that_was_interrupted_while_its_answer_came_is_told_of_its_end() -> None:
    """C1, C4: the hook of a response is still asked when the turn is over; the turn's reader waits for it, and no longer."""
    go = asyncio.Event()
    asked: list[str] = []

    @hook("step.after", priority=10)
    def stops(_: HookContext) -> None:
        session.interrupt()

    @hook("step.after", timeout_s=60)
    async def slow(_: HookContext) -> None:
        asked.append("slow")
        await go.wait()

    async with ScriptedProvider([reply("One.")]) as provider:
        session = agent_with(provider, stops, slow).session()
        turn = session.stream("Hi")

        async def read() -> None:
            async with turn:
                await read_all(turn)

        reading = asyncio.create_task(read())
        await until(lambda: session.state.turns == 1 and not session.running)
        go.set()
        done, _ = await asyncio.wait({reading}, timeout=5)
        turn.end()  # else a reader who waits for ever could not even be cancelled
        await reading
        assert done and turn.result.reason == "interrupted"
        assert asked == ["slow"]


async def test_a_call_that_may_run_when_the_turn_is_being_stopped_never_begins() -> None:
    """C1, D1: its hooks let it through while the interrupt is on its way into the journal: its beginning comes to nothing, and so does the call."""
    begun: list[str] = []
    asked, go, written = asyncio.Event(), asyncio.Event(), asyncio.Event()
    written.set()

    async def pause(_: str) -> None:
        await written.wait()

    @tool
    async def work() -> str:
        begun.append("work")
        return "done"

    @hook("tool.before")
    async def slow(_: HookContext) -> None:
        asked.set()
        await go.wait()

    async with ScriptedProvider([reply(call("work"))]) as provider:
        session = ANTHROPIC.agent(provider, work, hooks=[slow], store=SuspendingStore(pause)).session()
        running = asyncio.create_task(session.run("Hi"))
        await asked.wait()
        await until(lambda: session.settled)
        written.clear()
        session.interrupt()
        go.set()
        for _ in range(10):
            await asyncio.sleep(0)
        written.set()
        result = await running
    (only,) = results(result)
    assert result.reason == "interrupted" and isinstance(only.outcome, Cancelled) and begun == []


async def test_errors_are_seen_by_hooks() -> None:
    """`error`: a model call that is tried again, and the end of a turn by an error."""
    seen: list[tuple[str, int]] = []

    @hook("error")
    async def notes(context: HookContext) -> None:
        seen.append((context.value.code, context.turn))

    from turnwise import Retry as Policy
    from turnwise.errors import ProviderError
    from turnwise.testing import fail

    async with ScriptedProvider([fail(529), reply("Hello."), fail(401)]) as provider:
        session = agent_with(provider, notes, retry=Policy(base_delay_s=0)).session()
        assert (await session.run("Hi")).text == "Hello."
        with pytest.raises(ProviderError):
            await session.run("Hi")
    assert seen == [("overloaded", 1), ("auth", 2)]


@pytest.mark.parametrize("policy", ["block", "coalesce", "drop_to_cursor"])
async def test_what_a_hook_says_of_the_end_comes_before_it(policy: Any) -> None:
    """D6, H4: a hook that fails while the end is about to be told; who watches gets each event once, and nothing behind the last word."""
    from turnwise.errors import ProviderError
    from turnwise.testing import fail

    @hook("error")
    def broken(context: HookContext) -> None:
        raise ValueError("it is broken")

    async with Runtime() as runtime, ScriptedProvider([reply("Hello."), fail(401), reply("Again.")]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[broken], runtime=runtime).session()
        watcher = session.watch(policy, buffer=1 if policy != "block" else 64)
        await session.run("Hi")
        with pytest.raises(ProviderError):
            await session.run("Hi")
        async with session.stream("Hi") as turn:
            told = await read_all(turn)
        await session.close()
        seen = [event async for event in watcher]
        entries = await session.store.read(session.id)
    assert type(told[-1]) is TurnFinished
    fleeting = {"TextDelta", "StepStarted", "StepSnapshot", "Notice"}
    assert [e for e in seen if type(e).__name__ not in fleeting] == [
        e for e in replay(entries).events if type(e).__name__ not in fleeting
    ]


# --- breakers ----------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_two_slow_calls_in_ten_thousand_do_not_open_a_breaker() -> None:
    """H2: what counts is the share of failures among the last calls."""
    numbers: list[int] = []

    @hook("tests/often", timeout_s=1)
    async def sometimes(context: HookContext) -> None:
        numbers.append(context.value)
        if context.value in (9, 9_000):
            await asyncio.sleep(5)

    from turnwise.hooks import declare_point

    declare_point("tests/often")
    async with Runtime(hooks=[sometimes]) as runtime:
        for number in range(10_000):
            await runtime.fire("tests/often", number)
        (one,) = runtime.hooks()
        assert (one.calls, one.timeouts, one.skipped, one.breaker) == (10_000, 2, 0, "closed")
        assert len(numbers) == 10_000


@pytest.mark.parametrize("fail", ["open", "closed"])
@in_virtual_time
async def test_a_breaker_opens_and_one_trial_closes_it(fail: Any) -> None:
    """H2: open, a hook that fails open is skipped, and one that fails closed blocks: it never lets through. One call is its trial."""
    state = {"broken": True}
    calls: list[str] = []

    @hook("tests/breaks", fail=fail, id="breaks")
    async def breaks(context: HookContext) -> None:
        calls.append(context.value)
        await asyncio.sleep(0.001)
        if state["broken"]:
            raise RuntimeError("down")

    from turnwise.hooks import declare_point

    declare_point("tests/breaks")

    async def fire(value: str) -> str:
        outcome = await runtime.fire("tests/breaks", value)
        return "" if outcome.error is None else outcome.error.code

    blocked = {"open": "", "closed": "hook_failed"}[fail]
    skipped = {"open": "", "closed": "hook_open"}[fail]
    async with Runtime(hooks=[breaks]) as runtime:
        assert [await fire("x") for _ in range(LEAST_CALLS)] == [blocked] * LEAST_CALLS
        assert runtime.hooks()[0].breaker == "open"
        assert await fire("y") == skipped and "y" not in calls and runtime.hooks()[0].skipped == 1
        await asyncio.sleep(OPEN_S + 1)
        first, second = await asyncio.gather(fire("trial"), fire("beside"))
        assert (first, second) == (blocked, skipped) and calls[-1] == "trial"
        await asyncio.sleep(OPEN_S + 1)  # twice as long after a trial that failed
        assert await fire("z") == skipped and calls[-1] == "trial"
        await asyncio.sleep(OPEN_S)
        state["broken"] = False
        assert await fire("again") == "" and runtime.hooks()[0].breaker == "closed"
        assert await fire("and again") == "" and calls[-1] == "and again"
        state["broken"] = True
        assert await fire("w") == blocked and runtime.hooks()[0].breaker == "closed"  # its past is forgotten


def test_a_trial_that_is_cut_off_is_followed_by_another() -> None:
    breaker = Breaker()
    for n in range(1, LEAST_CALLS + 1):
        breaker.went_wrong(0.0, n)
    assert not breaker.lets(1.0) and breaker.lets(OPEN_S) and not breaker.lets(OPEN_S)
    assert breaker.state == "half_open"
    breaker.was_cut_off()
    assert breaker.lets(OPEN_S)


# --- coming and going ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_hook_may_unregister_itself_and_others(asynchronous: bool) -> None:
    """H4: what is unregistered is not called any more, not even in the chain that is under way; the others all are."""
    seen: list[str] = []
    registrations: dict[str, Any] = {}

    def noting(name: str, *leaves: str) -> Any:
        def at_once(context: HookContext) -> None:
            seen.append(name)
            for other in leaves:
                registrations[other].unregister()

        async def waits(context: HookContext) -> None:
            at_once(context)

        return hook("tool.before", id=name)(waits if asynchronous else at_once)

    async with ScriptedProvider([reply(call("look"), call("look")), reply("Done.")]) as provider:
        agent = agent_with(provider)
        for name, leaves in (("a", "ac"), ("b", ""), ("c", ""), ("d", "")):
            registrations[name] = agent.add_hook(noting(name, *leaves))
        await agent.run("Hi")
        assert seen[:2] in (["a", "b"], ["a", "a"]) and [seen.count(name) for name in "bcd"] == [2, 0, 2]
        assert seen.count("a") <= (2 if asynchronous else 1)  # both calls may be under way at once
        registrations["a"].unregister()  # again: nothing
        assert [one.id for one in agent.extensions.hooks] == ["b", "d"]


async def test_what_is_registered_in_mid_turn_holds_from_the_next_step() -> None:
    seen: list[int] = []

    @hook("tool.before")
    def notes(context: HookContext) -> None:
        seen.append(context.step)

    async with ScriptedProvider([reply(call("look")), reply(call("look")), reply("Done.")]) as provider:
        session = agent_with(provider).session()

        @hook("step.after")
        def adds(context: HookContext) -> None:
            if context.step == 1:
                session.add_hook(notes)

        session.add_hook(adds)
        await session.run("Hi")
        assert seen == [2]
        assert session.extension is not None and len(session.extension.hooks) == 2


async def test_hooks_of_one_session_are_not_those_of_another() -> None:
    seen: list[str] = []

    @hook("turn.before")
    def notes(context: HookContext) -> None:
        seen.append(context.session)

    async with ScriptedProvider([reply("Hello."), reply("Hello.")]) as provider, Runtime() as runtime:
        agent = agent_with(provider, runtime=runtime)
        one, other = agent.session(), agent.session()
        one.add_hook(notes)
        await one.run("Hi")
        await other.run("Hi")
        assert seen == [one.id] and [h.owner for h in runtime.hooks()] == [f"session:{one.id}"]
        del one
        import gc

        gc.collect()
        assert runtime.hooks() == []


# --- what hooks see --------------------------------------------------------------------------------------------------------------

WHO = contextvars.ContextVar("who", default="nobody")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_context_has_what_is_known_and_what_hooks_share(asynchronous: bool) -> None:
    seen: list[Any] = []

    def first(context: HookContext) -> Modify:
        context.shared["n"] = 1
        context.value = "nonsense"  # changes nothing: that is what Modify is for
        WHO.set("the hook")
        return Modify({"at": "there"})

    def second(context: HookContext) -> None:
        seen.append(
            (context.shared, context.value.arguments, context.old.arguments, context.context, context.principal.user)
        )

    async def later(context: HookContext) -> None:
        await asyncio.sleep(0)
        second(context)

    hooks = [hook("tool.before", priority=1)(first), hook("tool.before")(later if asynchronous else second)]
    WHO.set("the caller")
    caller: list[str] = []

    @tool
    async def who(at: str = "") -> str:
        caller.append(WHO.get())
        return "me"

    async with ScriptedProvider([reply(call("who", at="here")), reply("Done.")]) as provider:
        agent = ANTHROPIC.agent(provider, who, hooks=hooks)
        await agent.run("Hi", context="mine")
    assert seen == [({"n": 1}, {"at": "there"}, {"at": "here"}, "mine", "user")] or seen[0][:4] == (
        {"n": 1},
        {"at": "there"},
        {"at": "here"},
        "mine",
    )
    assert caller == ["the caller"]  # every hook and tool runs in a copy of the caller's context variables


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"at": 3}, "not valid"),
        ("text", "where a ToolRequest belongs"),
        ({"other": "x"}, "not valid"),
        ({"at": object()}, "JSON"),
    ],
    ids=str,
)
@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_what_a_modify_brings_is_checked_again(value: Any, why: str, fail: Any) -> None:
    """H1, E2: arguments that do not fit are an error of the hook; they never run."""
    ran: list[str] = []

    @tool
    async def strict(at: str) -> str:
        ran.append(at)
        return at

    changes = hook("tool.before", fail=fail, id="changes")(lambda context: Modify(value))
    async with ScriptedProvider([reply(call("strict", at="here")), reply("Done.")]) as provider, Runtime() as runtime:
        session = ANTHROPIC.agent(provider, strict, hooks=[changes], runtime=runtime).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        (one,) = runtime.hooks()
        assert one.errors == 1 and one.last_error is not None and one.last_error.code == "unfit_value"
        assert why in one.last_error.message or value == {"other": "x"}
        assert ran == (["here"] if fail == "open" else [])
        assert [n.code for n in of(Notice, events)] == ["hook_failed"]


async def test_a_list_of_hooks_says_how_they_are_doing() -> None:
    @hook("tool.before", priority=4, id="mine")
    async def slow(context: HookContext) -> None:
        await asyncio.sleep(0.01)

    async with (
        ScriptedProvider([reply(*[call("look", at=str(n)) for n in range(5)]), reply("Done.")]) as provider,
        Runtime() as runtime,
    ):
        await agent_with(provider, slow, runtime=runtime).run("Hi")
        (one,) = runtime.hooks()
        assert (one.id, one.point, one.owner, one.priority, one.fail) == (
            "mine",
            "tool.before",
            "agent:agent",
            4,
            "open",
        )
        assert (one.calls, one.errors, one.breaker) == (5, 0, "closed") and 0.005 < one.p50_s <= one.p95_s < 2


async def test_a_failure_is_an_event_on_the_bus() -> None:
    """H2: an error in a hook is an event."""
    from turnwise.hooks import HookFailure

    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider, Runtime() as runtime:
        heard = runtime.bus.subscribe("hook.error")
        session = agent_with(provider, hook("tool.before", id="mine")(fails), runtime=runtime).session()
        await session.run("Hi")
        event = await anext(heard)
        assert isinstance(event.data, HookFailure)
        assert (event.data.hook, event.data.point, event.data.call_id) == ("mine", "tool.before", "t1.s1.c0")
        assert event.data.error.code == "hook_failed" and event.data.error.detail == "RuntimeError"
        heard.close()


# --- permissions ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", ["memory", "suspending"])
async def test_a_call_that_a_hook_changed_is_asked_for_as_it_will_run(stores: str) -> None:
    """P2: the permission is that of the exact call; people are shown the final arguments, and what they allow is what runs."""
    asked: list[str] = []
    ran: list[str] = []

    @tool
    async def save(path: str) -> str:
        ran.append(path)
        return "saved"

    def policy(proposed: ProposedCall) -> Allow | Ask | Deny:
        asked.append(proposed.arguments.path)
        return Allow() if proposed.arguments.path == "a" else Ask("elsewhere")

    def moves(context: HookContext) -> Modify:
        return Modify(context.value.with_arguments(path=context.value.arguments["path"] + "!"))

    store = SuspendingStore(give_way) if stores == "suspending" else None
    async with ScriptedProvider([reply(call("save", path="a")), reply("Done.")]) as provider:
        agent = ANTHROPIC.agent(provider, save, hooks=[hook("tool.before")(moves)], approvals=policy, store=store)
        session = agent.session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        (waits,) = of(ApprovalRequested, events)
        assert asked == ["a", "a!"] and waits.arguments == '{"path":"a!"}' == session.pending[0].arguments
        assert await session.approve(waits.call_id)
        result = await session.resume()
        assert ran == ["a!"] and result.reason == "completed" and asked == ["a", "a!"]
        assert result.messages[1].tool_calls[0].arguments == '{"path":"a!"}'  # pyright: ignore
        replay(await session.journal(0))


async def test_arguments_that_a_person_edited_go_through_the_hooks_again() -> None:
    """P2: they are new; and what hooks make of them is asked for once more."""
    ran: list[str] = []

    @tool
    async def save(path: str) -> str:
        ran.append(path)
        return "saved"

    def tidy(context: HookContext) -> Modify | None:
        path = context.value.arguments["path"]
        return Modify({"path": path.strip()}) if path != path.strip() else None

    agent_options: dict[str, Any] = {"approvals": lambda _: Ask(), "hooks": [hook("tool.before")(tidy)]}
    async with ScriptedProvider([reply(call("save", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, save, **agent_options).session()
        parked = await session.run("Hi")
        assert await session.approve(parked.pending[0].call_id, edited_arguments={"path": " b "})
        parked = await session.resume()
        assert parked.reason == "parked" and parked.pending[0].arguments == '{"path":"b"}' and not ran
        assert await session.approve(parked.pending[0].call_id)
        assert (await session.resume()).reason == "completed" and ran == ["b"]
        replay(await session.journal(0))


async def test_redirecting_does_not_pass_the_limit_of_the_other_tool() -> None:
    """E9: `per_tool` counts what really runs."""
    instead = hook("tool.before")(lambda c: Redirect("look", {"at": "x"}) if c.value.name == "write" else None)
    calls = [call("write", path=str(n)) for n in range(3)]
    async with ScriptedProvider([reply(*calls), reply("Done.")]) as provider:
        agent = agent_with(provider, instead, approvals=None, limits=Limits(per_tool={"look": 2}))
        result = await agent.run("Hi")
    assert [type(r.outcome) for r in results(result)] == [Ok, Ok, Denied]


@in_virtual_time
async def test_slow_hooks_keep_the_order_of_writers() -> None:
    """E5: calls enter in their order, however long a hook takes."""
    order: list[str] = []

    @tool(resource=lambda args: args.path)
    async def put(path: str, n: int) -> str:
        order.append(f"{path}{n}")
        return ""

    @hook("tool.before", timeout_s=60)
    async def slow(context: HookContext) -> None:
        await asyncio.sleep(5 - context.value.arguments["n"])

    calls = [call("put", path="a", n=n) for n in range(4)]
    async with ScriptedProvider([reply(*calls), reply("Done.")]) as provider:
        began = asyncio.get_running_loop().time()
        await ANTHROPIC.agent(provider, put, hooks=[slow]).run("Hi")
        assert order == ["a0", "a1", "a2", "a3"] and asyncio.get_running_loop().time() - began < 6


# --- results ------------------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_call_that_runs_out_of_time_is_told_to_hooks() -> None:
    tries: list[int] = []

    @tool(timeout_s=2, read_only=True)
    async def slow() -> str:
        tries.append(1)
        if len(tries) < 2:
            await asyncio.sleep(10)
        return "at last"

    again = hook("tool.error")(lambda context: Retry(0.0))
    async with ScriptedProvider([reply(call("slow")), reply("Done.")]) as provider:
        (only,) = results(await ANTHROPIC.agent(provider, slow, hooks=[again]).run("Hi"))
    assert only.text == "at last" and type(only.outcome) is Ok and len(tries) == 2
    tries.clear()
    async with ScriptedProvider([reply(call("slow")), reply("Done.")]) as provider:
        instead = hook("tool.error")(lambda context: Replace(type(context.value.outcome).__name__))
        (only,) = results(await ANTHROPIC.agent(provider, slow, hooks=[instead]).run("Hi"))
    assert only.text == "Timeout" == Timeout.__name__


async def deaf_for(seconds: float) -> None:
    """Does not listen to anybody."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    while (left := until_s - loop.time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)


@in_virtual_time
async def test_a_call_that_was_given_up_is_not_told_to_hooks_and_not_run_again() -> None:
    """E1, E3: what a deaf body comes to when its call has ended long ago is nobody's business."""
    begun: list[int] = []
    heard: list[str] = []

    @tool(timeout_s=1, read_only=True)
    async def deaf() -> str:
        begun.append(1)
        await deaf_for(5)
        return "too late"

    @hook("tool.after")
    def again(context: HookContext) -> Retry:
        heard.append(type(context.value.outcome).__name__)
        return Retry()

    async with Runtime() as runtime, ScriptedProvider([reply(call("deaf")), reply("Done.")]) as provider:
        (only,) = results(await ANTHROPIC.agent(provider, deaf, hooks=[again], runtime=runtime).run("Hi"))
        await asyncio.sleep(30)
        assert not runtime.abandoned_bodies
    assert isinstance(only.outcome, Timeout) and only.outcome.still_running
    assert begun == [1] and heard == []


@in_virtual_time
@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_a_call_that_an_interrupt_stopped_in_time_is_not_told_to_hooks(fail: Any) -> None:
    """C1: nothing of an interrupted turn begins any more, not even since a hook asks for it; what a hook has not seen is not shown."""
    begun: list[int] = []

    @tool(read_only=True)
    async def nearly_deaf() -> str:
        begun.append(1)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "a secret"

    again = hook("tool.after", fail=fail)(lambda context: Retry())
    async with Runtime() as runtime, ScriptedProvider([reply(call("nearly_deaf"))]) as provider:
        session = ANTHROPIC.agent(provider, nearly_deaf, hooks=[again], runtime=runtime).session()
        running = asyncio.create_task(session.run("Hi"))
        await until(lambda: bool(begun))
        session.interrupt()
        result = await running
        await asyncio.sleep(30)
    (only,) = results(result)
    assert begun == [1]
    assert ("secret" in only.text) is (fail == "open")


@in_virtual_time
async def test_the_time_of_a_tool_is_not_that_of_its_hooks() -> None:
    @tool(timeout_s=1)
    async def quick() -> str:
        return "quick"

    @hook("tool.after", timeout_s=60)
    async def slow(context: HookContext) -> Modify:
        await asyncio.sleep(8)
        return Modify("seen")

    async with ScriptedProvider([reply(call("quick")), reply("Done.")]) as provider:
        (only,) = results(await ANTHROPIC.agent(provider, quick, hooks=[slow]).run("Hi"))
    assert only.text == "seen" and type(only.outcome) is Ok


async def test_a_guard_of_results_sees_all_of_them_or_they_are_not_shown() -> None:
    """H2: what a stopped tool had printed is not shown past a hook that fails closed; a long result is guarded before it is kept."""
    import sys

    reached = asyncio.Event()

    @tool
    async def prints(context: ToolContext) -> str:
        context.keep(b"secret")
        reached.set()
        await asyncio.Event().wait()
        return ""

    @tool
    async def long() -> str:
        return "secret " * 20_000

    redact = hook("tool.after", fail="closed")(lambda c: Modify(c.value.text.replace("secret", "***")))
    async with ScriptedProvider([reply(call("long")), reply(call("prints"))]) as provider:
        session = ANTHROPIC.agent(provider, prints, long, hooks=[redact]).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await reached.wait()
        session.interrupt()
        first, second = results(await running)
        assert first.artifact is not None and b"secret" not in await session.artifact(first.artifact)
        assert isinstance(second.outcome, Cancelled) and "secret" not in second.text
    assert sys.version_info


# --- nothing is left behind --------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_counts_return_to_where_they_were_after_many_turns() -> None:
    """Turns that end by finish, interrupt, error, early leave and timeout, with hooks at every point: 1,000 of them."""
    from turnwise.errors import ProviderError
    from turnwise.testing import fail, repeat

    def answer(request: Any) -> Any:
        last = str(request.body["messages"][-1])
        return fail(400) if "error" in last else hang() if "hang" in last else reply("Hello.")

    def hooks() -> list[Any]:
        async def waits(context: HookContext) -> None:
            await asyncio.sleep(0)

        return [hook(point, id=f"{point} {n}")(f) for point in POINTS for n, f in enumerate((waits, lambda c: None))]

    (extra, *_) = hooks()
    async with ScriptedProvider([repeat(answer)]) as provider, Runtime(hooks=hooks()) as runtime:
        patient = agent_with(provider, runtime=runtime)
        impatient = agent_with(provider, runtime=runtime, deadlines=Deadlines(turn_s=1))

        async def turn(how: str) -> None:
            async with (impatient if how == "timeout" else patient).session() as session:
                own = session.add_hook(extra)
                if how == "error":
                    with pytest.raises(ProviderError):
                        await session.run("error")
                elif how == "timeout":
                    assert (await session.run("hang")).reason == "timeout"
                elif how == "finish":
                    assert (await session.run("Hi")).reason == "completed"
                elif how == "leave":
                    async with session.stream("hang") as left:
                        async for _ in left:
                            break
                else:
                    running = asyncio.ensure_future(session.run("hang"))
                    await until(lambda: session.state.running)
                    await asyncio.sleep(0.01)
                    session.interrupt()
                    assert (await running).reason == "interrupted"
                own.unregister()

        async def settled() -> None:
            for _ in range(20):
                await asyncio.sleep(0.01)

        def counts() -> tuple[int, ...]:
            import gc

            gc.collect()
            return (
                len(runtime.hooks()),
                len(runtime.observers),
                len(runtime._tasks),  # pyright: ignore[reportPrivateUsage]
                len(runtime.abandoned_bodies),
                len(runtime._turns),  # pyright: ignore[reportPrivateUsage]
            )

        await turn("finish")
        await settled()
        before = counts()
        for _ in range(200):
            for how in ("finish", "interrupt", "error", "leave", "timeout"):
                await turn(how)
        await settled()
        assert counts() == before
        assert all(one.errors == one.timeouts == 0 for one in runtime.hooks())


def test_nothing_is_loaded_before_a_hook_is_registered() -> None:
    """I1: neither `import turnwise` nor an agent loads the room."""
    import subprocess
    import sys

    code = (
        "import sys, turnwise\n"
        "turnwise.Agent('anthropic:x'); turnwise.Runtime()\n"
        "assert not [m for m in sys.modules if m.startswith('turnwise.runtime.hooks') or m == 'turnwise.hooks']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def stubborn(_: HookContext) -> None:
    """Goes on for a while when it is told to stop."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(3)


@pytest.mark.parametrize("how", [forever, stubborn], ids=lambda h: h.__name__)
async def test_a_deaf_hook_or_a_hung_one_does_not_hold_up_a_call(how: Any) -> None:
    """H2: in real time."""
    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider, Runtime() as runtime:
        slow = hook("tool.before", timeout_s=0.05)(how)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(20):
            result = await agent_with(provider, slow, runtime=runtime).run("Hi")
        assert [type(r.outcome) for r in results(result)] == [Ok]
        assert asyncio.get_running_loop().time() - began < 2.5
        await let_go(runtime)


@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_an_interrupt_does_not_wait_for_a_turn_to_begin(fail: Any) -> None:
    """C1: the hook of `turn.before` is cut off when the session is interrupted."""
    reached = asyncio.Event()

    @hook("turn.before", timeout_s=600, fail=fail)
    async def hangs(context: HookContext) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with ScriptedProvider([]) as provider, Runtime() as runtime:
        session = agent_with(provider, hangs, runtime=runtime).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await reached.wait()
        assert session.interrupt()
        async with asyncio.timeout(5):
            if fail == "open":
                assert (await running).reason == "interrupted"
            else:
                with pytest.raises(HookError):
                    await running


def test_after_a_crash_a_call_runs_as_the_journal_has_it() -> None:
    """D2: what a hook made of a call is in its beginning; recovered, it is run again as that, and its hooks are not asked once more."""
    from turnwise.core.content import ToolCall
    from turnwise.core.entries import SessionCreated
    from turnwise.core.evolve import fold
    from turnwise.core.inputs import CallBegins, ModelReplied, RunTool, UserInput
    from turnwise.core.inputs_rare import Recover
    from turnwise.core.messages import AssistantMessage
    from turnwise.core.principal import LOCAL
    from turnwise.core.turn import Machine, Policy

    machine = Machine(fold([SessionCreated("s", LOCAL, 0.0)]), Policy())
    machine.feed(UserInput("Hi", Limits()), 1.0)
    asked = ToolCall("t1.s1.c0", "write", '{"path":"a"}')
    machine.feed(ModelReplied(AssistantMessage((asked,), 1, 1)), 2.0)
    machine.feed(CallBegins(asked.id, "0" * 64, True, False, "look", '{"at":"b"}'), 3.0)
    recovered = Machine(machine.state, Policy(), resting=True)
    (again,) = [e for e in recovered.feed(Recover(3), 4.0).effects if isinstance(e, RunTool)]
    assert (again.call.name, again.call.arguments) == ("look", '{"at":"b"}')
    assert again.allowed and again.hooked
