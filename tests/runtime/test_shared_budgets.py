"""Budgets that turns share: reserved before the spend, settled after, kept beyond the process (rules H3, E9, E10, P1)."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, in_virtual_time, of, read_all, run_guarded
from tests.runtime.stored import KINDS, SharedStore, opened
from tests.runtime.test_budget import PRICES, LoopClock

from turnwise import Agent, Ask, Budget, Limits, Principal, Runtime, Sessions, ToolContext, Usage, replay, tool
from turnwise.core.budget import Estimate
from turnwise.core.budgets import Left, Used
from turnwise.errors import ConfigError, StateError, TurnwiseError
from turnwise.events import BudgetLow
from turnwise.runtime.budgets.account import Account, Key
from turnwise.runtime.seams import SystemClock
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text

ANN, BOB, EVE = Principal("acme", "ann"), Principal("acme", "bob"), Principal("evil", "eve")


@tool
async def look(what: str) -> str:
    return what


def took(tokens: int, said: str = "Fine.") -> Any:
    return reply(said, usage=Usage(tokens, 0))


def spent(runtime: Runtime) -> list[tuple[str, str, int]]:
    return [(s.name, s.subject, s.spent.tokens) for s in runtime.budgets()]


# --- one process ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "cause"),
    [
        (Budget(per="user", tokens=1000), "budget:user.tokens"),
        (Budget(per="session", tokens=1000, name="mine"), "budget:mine.tokens"),
        (Budget(per="agent", cost=1.0), "budget:agent.cost"),
        (Budget(per="tenant", requests=2), "budget:tenant.requests"),
        (Budget(per="user", turns=2, window_s=86400 * 3650), "budget:user.turns"),
    ],
    ids=lambda b: b if isinstance(b, str) else "",
)
@pytest.mark.parametrize("whose", ["agent", "runtime"])
async def test_a_budget_that_is_spent_ends_the_next_turn_before_anything_is_sent(
    host: Host, budget: Budget, cause: str, whose: str
) -> None:
    """H3: turns of one session share it; the cause names it, the session stays valid, and the journal replays."""
    agents, runtimes = ([budget], []) if whose == "agent" else ([], [budget])
    async with Runtime(budgets=runtimes) as runtime, ScriptedProvider([took(480), took(480)]) as provider:
        agent = host.agent(provider, overrides=PRICES, runtime=runtime, budgets=agents)
        session = agent.session(principal=ANN)
        for _ in range(2):
            assert (await session.run("Hi")).reason == "completed"
        async with session.stream("And " + "more " * 40) as turn:
            result = assert_ended(await read_all(turn)).result
        assert (result.reason, result.cause, result.steps, result.usage.total_tokens) == ("limit", cause, 0, None)
        assert len(provider.requests) == 2
        assert replay(await session.journal(0)).results[-1].cause == cause
        (status,) = await session.budgets()
        assert (status.name, status.spent.tokens, status.spent.requests) == (budget.label, 960, 2)
        assert status.held == Used() and math.isclose(status.spent.cost, 0.96)
        assert len(runtime.budgets()) == (0 if budget.per == "session" else 1)


async def test_a_request_is_held_in_all_budgets_or_in_none() -> None:
    """H3: what one of them refuses is not missing in the others."""
    budgets = [Budget(per="tenant", tokens=10_000), Budget(per="user", tokens=100)]
    async with Runtime() as runtime, ScriptedProvider([took(90)]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime, budgets=budgets).session()
        await session.run("Hi")
        assert (await session.run("More.")).cause == "budget:user.tokens"
        assert [s.held for s in runtime.budgets()] == [Used(), Used()]
        assert [s.left.tokens for s in runtime.budgets()] == [9910, 10]


async def test_who_shares_what() -> None:
    """A user's budget is that user's in all sessions and with all agents of the runtime, but an agent's own counts its own turns only; of
    another tenant the same name is another user."""
    budgets = [Budget(per="user", tokens=10_000), Budget(per="tenant", tokens=10_000)]
    own = [Budget(per="agent", tokens=10_000), Budget(per="user", tokens=10_000, name="own")]
    async with Runtime(budgets=budgets) as runtime, ScriptedProvider([repeat(took(100))]) as provider:
        first = ANTHROPIC.agent(provider, name="first", runtime=runtime, budgets=own)
        second = ANTHROPIC.agent(provider, name="second", runtime=runtime)
        for agent, principal in ((first, ANN), (first, BOB), (second, ANN), (second, EVE), (first, ANN)):
            await agent.session(principal=principal).run("Hi")
        found = {(s.agent, s.name, s.tenant, s.subject): s.spent.tokens for s in runtime.budgets()}
    assert found == {
        ("", "user", "acme", "ann"): 300,
        ("", "tenant", "acme", ""): 400,
        ("first", "agent", "", "first"): 300,
        ("first", "own", "acme", "ann"): 200,
        ("", "user", "acme", "bob"): 100,
        ("first", "own", "acme", "bob"): 100,
        ("", "user", "evil", "eve"): 100,
        ("", "tenant", "evil", ""): 100,
    }


async def test_turns_at_the_same_time_cannot_spend_the_same_twice() -> None:
    """H3: reserved before the spend. Of two requests under way the second is refused while the first might take it all; what the first
    did not take is there again."""
    script = [hang()]
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        agent = ANTHROPIC.agent(provider, runtime=runtime, budgets=[Budget(per="agent", requests=1)])
        running = asyncio.create_task(agent.session().run("Hi"))
        await provider.reached("stalled")
        (status,) = runtime.budgets()
        assert status.held.requests == 1 and status.held.tokens > 0 and status.left == Left(requests=0)
        refused = await agent.session().run("Hi")
        assert (refused.reason, refused.cause) == ("limit", "budget:agent.requests")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0)
        assert runtime.budgets()[0].held == Used()


async def test_sub_agents_spend_from_the_budgets_above_them() -> None:
    """A run that a tool starts spends on behalf of the turn's user, once; its own agent's budget counts it as well; a turn of the user's
    is one turn, however many runs are nested in it."""
    async with Runtime(budgets=[Budget(per="user", tokens=5000, turns=9)]) as runtime:
        script = [reply(call("ask"), usage=Usage(100, 0)), took(100), took(40)]
        async with ScriptedProvider(script) as provider:
            inner = ANTHROPIC.agent(provider, name="inner", budgets=[Budget(per="agent", tokens=999, turns=9)])

            @tool
            async def ask() -> str:
                result = await inner.run("?")
                return f"{result.reason} {result.cause}"

            outer = ANTHROPIC.agent(provider, ask, name="outer", runtime=runtime)
            inner.runtime = runtime
            session = outer.session(principal=ANN)
            result = await session.run("Hi")
            assert result.reason == "completed" and result.usage.total_tokens == 240
            found = {s.name: (s.subject, s.spent.tokens, s.spent.turns, s.spent.requests) for s in runtime.budgets()}
            assert found == {"user": ("ann", 240, 1, 3), "agent": ("inner", 100, 1, 1)}


async def test_a_sub_agent_is_refused_by_the_budget_of_its_caller(host: Host) -> None:
    script = [reply(call("ask"), usage=Usage(990, 0))]
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        inner = host.agent(provider, runtime=runtime)
        told: list[str] = []

        @tool
        async def ask(ctx: ToolContext) -> str:
            assert (ctx.remaining().tokens, ctx.remaining().steps) == (10, 8)
            told.append((await inner.run("Hi " + "there " * 40)).cause)
            return "asked"

        limits, budgets = Limits(steps=50), [Budget(per="session", tokens=1000, requests=9)]
        outer = host.agent(provider, ask, runtime=runtime, limits=limits, budgets=budgets)
        result = await outer.run("Hi")
    assert told == ["budget:session.tokens"] and (result.reason, result.cause) == ("limit", "budget:session.tokens")


async def test_a_turn_that_may_conclude_does_not_when_the_money_is_gone() -> None:
    """The step to conclude with would cost as well: the turn ends, it does not hang."""
    script = [reply(text("On."), call("look", what="x"), usage=Usage(1000, 0))]
    limits = Limits(on_limit="conclude")
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        agent = ANTHROPIC.agent(
            provider, look, runtime=runtime, limits=limits, budgets=[Budget(per="user", tokens=1000)]
        )
        session = agent.session()
        result = await session.run("Hi")
        assert (result.reason, result.cause, result.steps, result.text) == ("limit", "budget:user.tokens", 1, "On.")
        assert replay(await session.journal(0)).state.transcript == list(session.messages)


async def test_a_nested_turn_that_may_conclude_does_not_beyond_the_limits_above() -> None:
    """The same for the limits of the turns above, which a concluding step is not beyond."""
    script = [reply(call("ask"), usage=Usage(10, 0)), reply(call("look", what="x"), usage=Usage(990, 0))]
    async with Runtime() as runtime, ScriptedProvider(script) as provider:
        inner = ANTHROPIC.agent(provider, look, runtime=runtime, limits=Limits(on_limit="conclude"))
        told: list[Any] = []

        @tool
        async def ask() -> str:
            told.append(await inner.run("Hi"))
            return "asked"

        outer = ANTHROPIC.agent(provider, ask, runtime=runtime, limits=Limits(tokens=1000))
        assert (await outer.run("Hi")).cause == "tokens"
    assert (told[0].reason, told[0].cause, told[0].steps) == ("limit", "tokens", 1)


async def test_failed_attempts_are_counted() -> None:
    """E10: a request that was sent is one, whatever came of it."""
    async with Runtime() as runtime, ScriptedProvider([fail(500), took(10)]) as provider:
        from turnwise import Retry

        budgets = [Budget(per="agent", requests=9)]
        agent = ANTHROPIC.agent(provider, runtime=runtime, budgets=budgets, retry=Retry(base_delay_s=0))
        await agent.run("Hi")
        assert runtime.budgets()[0].spent == Used(0.0, 10, 2, 1)


async def test_little_is_left_of_a_budget_is_told_once() -> None:
    budgets = [Budget(per="user", tokens=1000, name="daily")]
    async with Runtime() as runtime, ScriptedProvider([took(850)]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime, budgets=budgets).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert of(BudgetLow, events) == [BudgetLow(1, "budget:daily.tokens", 850, 1000)]


async def test_a_turn_that_is_resumed_is_not_counted_again() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply(call("look", what="x")), reply("Done.")]) as provider:
        budgets = [Budget(per="user", turns=1), Budget(per="session", turns=1, name="here")]
        agent = ANTHROPIC.agent(provider, look, runtime=runtime, budgets=budgets, approvals=lambda _: Ask())
        session = agent.session()
        assert (await session.run("Hi")).reason == "parked"
        await session.approve("t1.s1.c0")
        assert (await session.resume()).reason == "completed"
        assert {s.spent.turns for s in await session.budgets()} == {1}
        assert (await session.run("Again")).cause == "budget:user.turns"
        assert {s.spent.turns for s in runtime.budgets()} == {1}, "a turn that was refused is none"


# --- prices -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["agent", "runtime"])
async def test_an_unpriced_model_under_a_budget_of_money_is_refused(whose: str) -> None:
    """H3: before anything is journalled or sent."""
    budgets = [Budget(per="user", cost=1.0)]
    agents, runtimes = (budgets, []) if whose == "agent" else ([], budgets)
    async with Runtime(budgets=runtimes) as runtime, ScriptedProvider([]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime, budgets=agents).session()
        with pytest.raises(ConfigError) as raised:
            await session.run("Hi")
        assert raised.value.code == "unpriced_model" and not session.messages and not provider.requests


async def test_an_unpriced_sub_agent_under_a_budget_of_money_is_refused() -> None:
    """H3: the budget is that of the turn above."""
    codes: list[str] = []

    @tool
    async def ask() -> str:
        with pytest.raises(ConfigError) as raised:
            await unpriced.run("?")
        codes.append(raised.value.code)
        return "asked"

    budgets = [Budget(per="user", cost=1.0)]
    async with Runtime() as runtime, ScriptedProvider([reply(call("ask")), reply("Done.")]) as provider:
        unpriced = ANTHROPIC.agent(provider, runtime=runtime)
        await ANTHROPIC.agent(provider, ask, runtime=runtime, overrides=PRICES, budgets=budgets).run("Hi")
    assert codes == ["unpriced_model"]


async def test_a_session_that_goes_over_to_an_unpriced_model_is_stopped() -> None:
    """The settings may change in the middle of a turn."""
    async with Runtime() as runtime, ScriptedProvider([reply(call("switch"))]) as provider:

        @tool
        async def switch() -> str:
            await session.set(model="anthropic:b-model")
            return "done"

        budgets = [Budget(per="user", cost=1.0)]
        session = ANTHROPIC.agent(provider, switch, runtime=runtime, overrides=PRICES, budgets=budgets).session()
        with pytest.raises(TurnwiseError) as raised:
            await session.run("Hi")
        assert raised.value.code == "unpriced_model" and len(provider.requests) == 1


# --- terms ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"per": "user"},
        {"per": "planet", "cost": 1.0},
        {"per": "user", "cost": -1.0},
        {"per": "user", "tokens": float("nan")},
        {"per": "user", "tokens": 1, "window_s": 0},
        {"per": "user", "tokens": 1, "window_s": float("inf")},
    ],
    ids=str,
)
def test_a_budget_that_means_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        Budget(**given)
    assert raised.value.code == "invalid_value"


@in_virtual_time
async def test_a_window_ends() -> None:
    """What was spent in one window is not of the next; that of a session, too, whose entries say when."""
    budgets = [
        Budget(per="user", tokens=1000, window_s=3600),
        Budget(per="session", turns=1, window_s=3600, name="here"),
    ]
    async with Runtime(clock=LoopClock()) as runtime, ScriptedProvider([took(100), took(100)]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime, budgets=budgets).session()
        await session.run("Hi")
        assert (await session.run("Again")).cause == "budget:here.turns"
        user, here = await session.budgets()
        now = runtime.clock.wall()
        assert user.resets_at == here.resets_at and now < (user.resets_at or 0) <= now + 3600
        await asyncio.sleep((user.resets_at or 0) - now + 1)
        assert [s.spent.tokens for s in await session.budgets()] == [0, 0]
        assert (await session.run("Again")).reason == "completed"
        assert [s.spent.tokens for s in await session.budgets()] == [100, 100]
        await session.close()


# --- beyond the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", *KINDS])
async def test_what_was_spent_lasts_beyond_the_process(kind: str, tmp_path: Path) -> None:
    """Of agents, users and tenants in the store's records; of a session in its journal. A new runtime goes on from there."""
    budgets = [Budget(per=per, tokens=1000) for per in ("session", "agent", "user", "tenant")]
    async with opened(kind, tmp_path) as store, ScriptedProvider([took(300), took(300)]) as provider:
        for number in (1, 2):
            async with Runtime() as runtime:
                agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
                async with agent.session("a", resume=True, principal=ANN) as session:
                    assert (await session.run("Hi")).reason == "completed"
                    assert {s.spent.tokens for s in await session.budgets()} == {300 * number}
        async with Runtime() as runtime:
            agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=[Budget(per="user", tokens=600)])
            result = await agent.session(principal=ANN).run("Hi")
            assert (result.reason, result.cause) == ("limit", "budget:user.tokens")
            assert len(provider.requests) == 2


class Slow(SharedStore):
    """A store whose records take their time, so that others come between a reading and a writing."""

    async def get_record(self, *given: Any) -> Any:
        found = await super().get_record(*given)
        for _ in range(20):
            await asyncio.sleep(0)
        return found


@pytest.mark.parametrize("kind", ["slow", "sqlite"])
async def test_processes_add_up(kind: str, tmp_path: Path) -> None:
    """Several runtimes over one store, at the same time: compare-and-set loses nothing of what any of them spent."""
    budgets = [Budget(per="tenant", tokens=10**9), Budget(per="user", requests=10**9)]
    made = nullcontext(Slow()) if kind == "slow" else opened(kind, tmp_path)
    async with made as store, ScriptedProvider([repeat(took(7))]) as provider:

        async def process(principal: Principal) -> None:
            async with Runtime() as runtime:
                agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
                await asyncio.gather(*[agent.session(principal=principal).run("Hi") for _ in range(5)])

        await asyncio.gather(process(ANN), process(ANN), process(BOB))
        async with Runtime() as runtime:
            agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
            tenant, user = await agent.session(principal=ANN).budgets()
        assert tenant.spent == Used(0.0, 15 * 7, 15, 15) and user.spent == Used(0.0, 10 * 7, 10, 10)


class Moody(MemoryStore):
    """A store whose records fail as they are told to."""

    reads_fail = writes_fail = False
    writes_arrive = True
    writes = 0

    async def get_record(self, *given: Any) -> Any:
        if self.reads_fail:
            raise OSError("the disk is gone")
        return await super().get_record(*given)

    async def put_record(self, *given: Any, **more: Any) -> Any:
        self.writes += 1
        if not self.writes_fail or self.writes_arrive:
            made = await super().put_record(*given, **more)
        if self.writes_fail:
            raise OSError("the disk is full")
        return made


async def test_a_budget_that_cannot_be_read_allows_nothing() -> None:
    """P1: the turn ends with an error before anything is sent; it works again when the store does."""
    store = Moody()
    async with Runtime() as runtime, ScriptedProvider([took(10)]) as provider:
        agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=[Budget(per="user", tokens=1000)])
        session = agent.session()
        store.reads_fail = True
        with pytest.raises(StateError) as raised:
            await session.run("Hi")
        assert raised.value.code == "budget_unreadable" and "the disk is gone" in raised.value.message
        assert not provider.requests
        store.reads_fail = False
        assert (await session.run("Hi")).reason == "completed"


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_write_that_fails_is_made_up_for(arrives: bool) -> None:
    """Whether it arrived or not: nothing is lost, and nothing is counted twice. Meanwhile the part is degraded."""
    store = Moody()
    budgets = [Budget(per="user", tokens=1000)]
    async with ScriptedProvider([took(10), took(10)]) as provider:
        async with Runtime() as runtime:
            agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
            store.writes_fail, store.writes_arrive = True, arrives
            async with agent.session() as session:
                await session.run("Hi")
            status = runtime.health.of("budgets")
            assert status is not None
            assert (status.state, status.code) == ("degraded", "budget_unwritten") or (arrives and status.state == "ok")
            assert spent(runtime) == [("user", "local", 10)]
            store.writes_fail = False
            async with agent.session() as session:
                await session.run("Hi")
            assert runtime.health.of("budgets").state == "ok"  # type: ignore[union-attr]
            assert spent(runtime) == [("user", "local", 20)]
        async with Runtime() as runtime:
            agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
            await agent.session().budgets()
            assert spent(runtime) == [("user", "local", 20)]


async def test_tools_cannot_reach_what_bounds_them() -> None:
    """No scope of `State` has the records in it."""
    store = MemoryStore()
    seen: list[Any] = []

    @tool
    async def snoop(ctx: ToolContext) -> str:
        for scope in (ctx.state.global_, ctx.state.user, ctx.state.agent, ctx.state.session):
            seen.extend(await scope.list())
        return "nothing"

    async with ScriptedProvider([took(5), reply(call("snoop")), reply("Done.")]) as provider, Runtime() as runtime:
        budgets = [Budget(per=per, tokens=1000) for per in ("agent", "user", "tenant")]
        agent = ANTHROPIC.agent(provider, snoop, runtime=runtime, store=store, budgets=budgets)
        async with agent.session() as session:
            await session.run("Hi")
        assert (await store.stats())["sessions"] == 1
        await agent.run("Snoop.")
    assert seen == []


async def test_a_closing_runtime_writes_what_it_spent() -> None:
    """Without a word from anybody: the turn is over, and the runtime closed at once."""
    store, budgets = Slow(), [Budget(per="user", tokens=1000)]
    async with ScriptedProvider([took(10)]) as provider:
        async with Runtime() as runtime:
            await ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets).run("Hi")
        async with Runtime() as runtime:
            (status,) = (
                await ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets).session().budgets()
            )
    assert status.spent == Used(0.0, 10, 1, 1)


def test_a_loop_that_ends_writes_what_was_spent() -> None:
    """`asyncio.run` cancels all tasks before the default runtime is closed."""
    store, budgets = MemoryStore(), [Budget(per="user", tokens=1000)]

    async def run() -> None:
        async with ScriptedProvider([took(10)]) as provider:
            await ANTHROPIC.agent(provider, store=store, budgets=budgets).run("Hi")

    async def look_at_it() -> Any:
        return await Agent("anthropic:x", api_key="x", store=store, budgets=budgets).session().budgets()

    asyncio.run(run())
    (status,) = asyncio.run(look_at_it())
    assert status.spent.tokens == 10


async def test_accounts_that_the_store_has_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with many users does not grow by each of them, and forgets none."""
    monkeypatch.setattr("turnwise.runtime.budgets.ledger.KEPT", 3)
    store, budgets = MemoryStore(), [Budget(per="user", tokens=1000)]
    async with Runtime() as runtime, ScriptedProvider([repeat(took(10))]) as provider:
        agent = ANTHROPIC.agent(provider, runtime=runtime, store=store, budgets=budgets)
        for number in range(10):
            async with agent.session(principal=Principal("acme", f"user {number}")) as session:
                await session.run("Hi")
        assert len(runtime.budgets()) == 3
        (first,) = await agent.session(principal=Principal("acme", "user 0")).budgets()
        assert first.spent.tokens == 10


async def test_sessions_of_a_house_share_them(tmp_path: Path) -> None:
    async with (
        opened("sqlite", tmp_path) as store,
        Runtime() as runtime,
        ScriptedProvider([repeat(took(100))]) as provider,
    ):
        agent = ANTHROPIC.agent(provider, budgets=[Budget(per="user", tokens=1000)])
        async with Sessions(store, [agent], runtime=runtime) as sessions:
            for name in ("a", "b"):
                session = await sessions.open(name, principal=ANN)
                await session.run("Hi")
            assert spent(runtime) == [("user", "ann", 200)]


# --- nothing is paid ----------------------------------------------------------------------------------------------------------


async def test_without_a_budget_nothing_is_there() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            await read_all(turn)
        assert runtime.ledger is None and turn.spending.budget.purse is None and not turn.spending.budget.weighs
        assert runtime.budgets() == () and await session.budgets() == ()


# --- laws -----------------------------------------------------------------------------------------------------------------------


class Fixed:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


KEY = Key("", "user", "acme", "ann", "user", None)


@given(
    bound=st.integers(0, 100),
    steps=st.lists(
        st.tuples(st.sampled_from(["hold", "settle", "fail", "other", "write"]), st.integers(0, 3), st.integers(1, 30)),
        max_size=40,
    ),
)
@examples(400)
def test_what_is_held_and_spent_never_passes_a_bound(bound: int, steps: list[tuple[str, int, int]]) -> None:
    """H3: whoever holds, settles, fails and writes in whatever order, with requests that take what was estimated: the bound holds, what fits
    is never refused, and what was settled is what was reported."""
    account = Account(KEY, Fixed())
    budgets = (Budget(per="user", tokens=bound),)
    held: dict[int, int] = {}
    reported = kept = 0
    for what, who, tokens in steps:
        if what == "hold" and who not in held:
            fits = reported + sum(held.values()) + tokens <= bound
            cause = account.hold(budgets, Estimate(tokens), Used(0.0, tokens, 1))
            assert (cause == "") is fits and cause in ("", "budget:user.tokens")
            if fits:
                held[who] = tokens
        elif what == "settle" and who in held:
            amount = held.pop(who)
            account.settle(Used(0.0, amount, 1), Used(0.0, amount, 1))
            reported += amount
        elif what == "fail" and who in held:
            account.settle(Used(0.0, held.pop(who), 1), Used())
        elif what == "write":
            window, amount = account.unsaved()
            kept += amount.tokens
            account.saved(window, amount, Used(0.0, kept, 0, 0))
        assert account.spent.tokens == reported
        assert account.committed.tokens == reported + sum(held.values()) <= bound


@given(
    plan=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=8),
    bound=st.integers(100, 1500),
)
@examples(60)
def test_settled_is_what_was_reported(plan: list[tuple[int, int]], bound: int) -> None:
    """E10, H3, over whole turns: of several users at once the accounts say what results say; what a budget is passed by is what the last answer
    took, and a spent one sends nothing."""

    async def run() -> None:
        users = [Principal("acme", f"u{n}") for n in range(3)]
        answers = iter([tokens for _, tokens in plan])
        budgets = [Budget(per="user", tokens=bound), Budget(per="tenant", requests=10**6)]
        async with Runtime() as runtime, ScriptedProvider([repeat(lambda _: took(next(answers)))]) as provider:
            agent = ANTHROPIC.agent(provider, runtime=runtime, budgets=budgets)
            sessions = [agent.session(principal=user) for user in users]
            reported = dict.fromkeys([user.user for user in users], 0)
            for who, _ in plan:
                before = len(provider.requests)
                result = await sessions[who].run("Hi")
                reported[users[who].user] += result.usage.total_tokens or 0
                if result.reason == "limit":
                    assert result.cause == "budget:user.tokens" and len(provider.requests) == before
                    assert reported[users[who].user] + 1 <= bound + 400
            found = {s.subject: s.spent for s in runtime.budgets()}
            assert {u: t for u, t in reported.items() if t} == {u: s.tokens for u, s in found.items() if u and s.tokens}
            assert found[""].requests == len(provider.requests)
            assert found[""].tokens == sum(reported.values())
            for session in sessions:
                await session.close()

    run_guarded(run())


def test_threads_do_not_lose_count() -> None:
    account, budgets = Account(KEY, SystemClock()), (Budget(per="user", tokens=10**9),)

    def work() -> None:
        for _ in range(500):
            assert account.hold(budgets, Estimate(3), Used(0.0, 3, 1)) == ""
            account.settle(Used(0.0, 3, 1), Used(0.0, 2, 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.committed == Used(0.0, 4 * 500 * 2, 4 * 500, 0)


def test_a_window_that_is_over_is_not_written_into_the_next() -> None:
    clock = Fixed(10.0)
    account = Account(Key("", "user", "acme", "ann", "user", 100.0), clock)
    account.settle(Used(), Used(0.0, 5, 1))
    window, amount = account.unsaved()
    clock.now = 110.0
    account.settle(Used(), Used(0.0, 7, 1))
    account.saved(window, amount, Used(0.0, 5, 1))
    assert account.spent == Used(0.0, 7, 1) and account.unsaved() == (1, Used(0.0, 7, 1))
    clock.now = 50.0
    assert account.spent.tokens == 7, "a clock that is set back opens no window again"
