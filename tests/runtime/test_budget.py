"""Limits of tokens, cost, time and single tools, through a tree of runs: checked before the spend, and told (rules E9, H3)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.providers import PROVIDERS
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    in_virtual_time,
    names,
    of,
    read_all,
    results,
)

from turnwise import Agent, Allow, Ask, Limits, Move, Runtime, ToolContext, Usage, tool
from turnwise.core.budget import Remaining
from turnwise.core.outcomes import Denied, Failed, Ok
from turnwise.core.result import TurnResult
from turnwise.events import BudgetLow, Notice, UsageUpdated
from turnwise.models import Overrides
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, hang, repeat, reply, text

PRICES: Overrides = {"a-model": {"prices": {"input_mtok": "1000", "output_mtok": "1000"}}}
"""A tenth of a cent a token."""


@tool
async def look(what: str) -> str:
    return what


class LoopClock:
    """Wall time that runs with the loop's, which jumps."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_750_000_000 + asyncio.get_running_loop().time()


def used(tokens: int) -> Usage:
    return Usage(tokens, 0)


def asks(tokens: int, name: str = "look", said: str = "On.") -> Any:
    return reply(text(said), call(name, **({"what": "x"} if name == "look" else {})), usage=used(tokens))


# --- tokens and cost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [Limits(tokens=0), Limits(cost=0.0), Limits(tokens=1), Limits(wall_time_s=0)], ids=str
)
async def test_nothing_is_sent_that_there_is_nothing_left_for(host: Host, limits: Limits) -> None:
    """0, and less than the smallest request takes: no request is made, and the turn says why; the session goes on."""
    async with ScriptedProvider([reply("Here we are.")]) as provider:
        session = host.agent(provider, overrides=PRICES).session()
        async with session.stream("Hi", limits=limits) as turn:
            result = assert_ended(await read_all(turn)).result
        assert result.reason == "limit" and result.cause in ("tokens", "cost", "wall_time")
        assert (result.steps, result.text, result.usage.total_tokens) == (0, "", None) and not provider.requests
        await goes_on(session)


@pytest.mark.parametrize("limits", [Limits(tokens=1000), Limits(cost=1.0)], ids=["tokens", "cost"])
async def test_a_request_that_would_pass_a_limit_is_not_sent(any_host: Host, limits: Limits) -> None:
    """What was reported is counted, what the next request takes is estimated from its bytes, and the account is true (E10)."""
    async with ScriptedProvider([asks(450), asks(500, said="Still on.")]) as provider:
        session = any_host.agent(provider, look, overrides=PRICES, limits=limits).session()
        result = await session.run("Hi " * 100)
        assert (result.reason, result.cause) == ("limit", "tokens" if limits.tokens else "cost")
        assert (result.steps, result.text, result.usage.input_tokens) == (2, "Still on.", 950)
        assert result.usage.cost_usd == pytest.approx(0.95)
        assert_valid(session.messages)


async def test_what_is_just_enough_is_enough(host: Host) -> None:
    async with ScriptedProvider([asks(450), reply("Done.", usage=used(500))]) as provider:
        result = await host.agent(provider, look, limits=Limits(tokens=1400)).run("Hi")
        assert (result.reason, result.text, result.usage.input_tokens) == ("completed", "Done.", 950)


async def test_each_turn_begins_anew(host: Host) -> None:
    async with ScriptedProvider([asks(999), reply("Done.", usage=used(10))]) as provider:
        session = host.agent(provider, look, limits=Limits(tokens=1000)).session()
        assert (await session.run("Hi")).cause == "tokens"
        assert (await session.run("Go on")).reason == "completed"


# --- wall time ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_wall_time(host: Host) -> None:
    """A turn that is at it for too long ends as a limit says, not as a timeout, in the middle of a step as well."""
    async with ScriptedProvider([asks(10), hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider, look, limits=Limits(wall_time_s=30)).session()
        began = asyncio.get_running_loop().time()
        async with session.stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert 30 <= asyncio.get_running_loop().time() - began < 31
        assert (result.reason, result.cause, result.error, result.text) == ("limit", "wall_time", None, "On.")
        await provider.reached("left", 2)
        await goes_on(session)


@in_virtual_time
async def test_wall_time_of_an_outer_turn_ends_what_is_nested_in_it(host: Host) -> None:
    inner_result: list[TurnResult] = []
    async with ScriptedProvider([asks(10, "ask"), hang()]) as provider:
        inner = host.agent(provider)

        @tool
        async def ask() -> str:
            session = inner.session()
            async with session.stream("Go") as turn:
                try:
                    await read_all(turn)
                finally:
                    await turn.close()
                    inner_result.append(turn.result)
            return ""

        result = await host.agent(provider, ask, limits=Limits(wall_time_s=5)).run("Hi")
        assert (result.reason, result.cause) == ("limit", "wall_time")
        assert inner_result[0].reason == "interrupted"
        await provider.reached("left", 2)


@in_virtual_time
async def test_wall_time_stands_still_while_a_turn_is_parked(host: Host) -> None:
    """What had gone by before counts on: a turn that waited for an hour has the rest of its time, and no more."""

    @tool
    async def work(seconds: int) -> str:
        await asyncio.sleep(seconds)
        return "Done."

    script = [
        reply(call("work", seconds=20)),
        reply(call("look", what="x")),
        reply(text("On."), call("work", seconds=20)),
    ]
    async with Runtime(clock=LoopClock()) as runtime, ScriptedProvider(script) as provider:
        agent = host.agent(
            provider,
            work,
            look,
            approvals=lambda call: Ask() if call.tool.name == "look" else Allow(),
            limits=Limits(wall_time_s=30),
            runtime=runtime,
        )
        session = agent.session()
        assert (await session.run("Hi")).reason == "parked"
        await asyncio.sleep(3600)
        await session.approve("t1.s2.c0")
        began = asyncio.get_running_loop().time()
        result = await session.resume()
        assert 9 <= asyncio.get_running_loop().time() - began < 11
        assert (result.reason, result.cause, result.text) == ("limit", "wall_time", "On.")


async def test_what_was_used_before_a_turn_was_parked_counts_when_it_goes_on(host: Host) -> None:
    """Steps, tokens and calls of single tools."""
    seen: list[Remaining] = []

    @tool
    async def see(ctx: ToolContext[Any]) -> str:
        seen.append(ctx.remaining())
        return ""

    script = [asks(300, "see"), asks(300), asks(300, "see"), reply("Done.", usage=used(1))]
    async with ScriptedProvider(script) as provider:
        limits = Limits(steps=9, tokens=2000, per_tool={"see": 2})
        agent = host.agent(
            provider, see, look, approvals=lambda call: Ask() if call.tool.name == "look" else Allow(), limits=limits
        )
        session = agent.session()
        async with session.stream("Hi") as turn:
            parked = await read_all(turn)
        await session.approve("t1.s2.c0")
        async with session.stream(Move.RESUME) as turn:
            events = await read_all(turn)
        assert assert_ended(events).result.usage.input_tokens == 901
        assert [(r.steps, r.tokens, r.per_tool) for r in seen] == [(8, 1700, {"see": 1}), (6, 1100, {"see": 0})]
        assert [e.limit for e in of(BudgetLow, [*parked, *events])] == ["calls:see"]


# --- single tools -------------------------------------------------------------------------------------------------------


async def test_calls_of_one_tool(any_host: Host) -> None:
    """As many as allowed run, over all steps; the model reads why the others do not, and may do something else."""
    ran: list[str] = []

    @tool
    async def search(what: str) -> str:
        ran.append(what)
        return what

    script = [
        reply(call("search", what="a"), call("search", what="b"), call("look", what="x")),
        reply(call("search", what="c"), call("look", what="y")),
        reply("Done."),
    ]
    async with ScriptedProvider(script) as provider:
        result = await any_host.agent(provider, search, look, limits=Limits(per_tool={"search": 1})).run("Hi")
        assert (result.reason, result.text, ran) == ("completed", "Done.", ["a"])
        assert [type(r.outcome) for r in results(result)] == [Ok, Denied, Ok, Denied, Ok]
        assert "limit of 1 calls of search" in results(result)[1].text


# --- concluding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_limit_may_let_the_model_conclude(name: str) -> None:
    """One more step: its tools are still there, for what is cached, but none may be called; the model is told why, at the end, and
    no later request repeats it. Accepted by every API."""
    script = [reply(text("Let me look."), call("look", what="x")), reply("This is what I have."), reply("Sure.")]
    async with ScriptedProvider(script) as provider:
        limits = Limits(steps=1, on_limit="conclude")
        session = PROVIDERS[name].agent(provider, look, limits=limits).session()
        result = await session.run("Hi")
        assert (result.reason, result.cause, result.text) == ("limit", "steps", "This is what I have.")
        assert result.steps == 2 and not [r.problems for r in provider.requests if r.problems]
        first, last = provider.requests
        assert b"no more tools can be called" in last.raw and b"no more tools" not in first.raw
        assert b'"look"' in last.raw
        if name not in ("ollama", "bedrock"):  # which have no such choice
            choice = {k: v for k, v in last.body.items() if "hoice" in k or k == "toolConfig"}
            assert "none" in msgspec.json.encode(choice).decode().lower(), choice
        assert (await session.run("Thanks", limits=Limits())).text == "Sure."
        assert b"no more tools" not in provider.requests[-1].raw


async def test_calls_that_are_made_when_concluding_are_denied(any_host: Host) -> None:
    async with ScriptedProvider([repeat(asks(10))]) as provider:
        session = any_host.agent(provider, look, limits=Limits(steps=2, on_limit="conclude")).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert (result.reason, result.cause, result.steps, len(provider.requests)) == ("limit", "steps", 3, 3)
        assert [type(r.outcome) for r in results(result)] == [Ok, Ok, Denied]
        assert [n.code for n in of(Notice, events)] == ["concluding"]


@pytest.mark.parametrize("limits", [Limits(steps=0, on_limit="conclude"), Limits(tokens=0, on_limit="conclude")])
async def test_where_nothing_is_allowed_there_is_nothing_to_conclude(host: Host, limits: Limits) -> None:
    async with ScriptedProvider([]) as provider:
        assert (await host.agent(provider, limits=limits).run("Hi")).reason == "limit"


async def test_tokens_that_are_used_up_may_be_concluded(host: Host) -> None:
    """The last step is beyond the limit, by one answer."""
    async with ScriptedProvider([asks(1000), reply("So far.", usage=used(50))]) as provider:
        result = await host.agent(provider, look, limits=Limits(tokens=500, on_limit="conclude")).run("Hi")
        assert (result.reason, result.cause, result.text, result.steps) == ("limit", "tokens", "So far.", 2)


# --- nested runs --------------------------------------------------------------------------------------------------------


def nested(inner: Agent[Any], came: list[TurnResult], how: str = "async") -> Any:
    """A tool that runs another agent."""
    if how == "thread":

        @tool(name="ask")
        def ask_thread() -> str:
            came.append(inner.run_sync("Go"))
            return came[-1].text

        return ask_thread

    @tool(name="ask")
    async def ask() -> str:
        came.append(await inner.run("Go"))
        return came[-1].text

    return ask


@pytest.mark.parametrize("how", ["async", "thread"])
async def test_what_a_nested_run_uses_is_in_the_account_of_the_outer_one(host: Host, how: str) -> None:
    """Usage and cost in result and events, and in the journal: a run that is read from it tells the same."""
    script = [asks(10, "ask"), asks(100), reply("inner", usage=used(200)), reply("outer", usage=used(20))]
    store, came = MemoryStore(), list[TurnResult]()
    async with ScriptedProvider(script) as provider:
        inner = host.agent(provider, look, overrides=PRICES)
        session = host.agent(provider, nested(inner, came, how), overrides=PRICES, store=store).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert (result.text, result.steps, result.calls) == ("outer", 2, 1)
        assert came[0].usage.input_tokens == 300 and result.usage.input_tokens == 330
        assert result.usage.cost_usd == pytest.approx(0.33)
        assert [u.step_usage.input_tokens for u in of(UsageUpdated, events)] == [10, 300, 20]
        spent = [e for e in await store.read(session.id) if type(e).__name__ == "NestedSpent"]
        assert [(e.steps, e.calls, e.usage.input_tokens) for e in spent] == [(2, 1, 300)]


@pytest.mark.parametrize("how", ["async", "thread"])
@pytest.mark.parametrize(
    ("limits", "cause"), [(Limits(steps=2), "steps"), (Limits(tokens=300), "tokens"), (Limits(cost=0.3), "cost")]
)
async def test_a_nested_run_stops_at_the_limits_of_the_outer_one(
    host: Host, how: str, limits: Limits, cause: str
) -> None:
    """Before the spend: of the inner run's requests only those are sent that there is room for, and then none of the outer one."""
    came: list[TurnResult] = []
    async with ScriptedProvider([asks(10, "ask"), asks(250)]) as provider:
        inner = host.agent(provider, look, overrides=PRICES)
        result = await host.agent(provider, nested(inner, came, how), overrides=PRICES, limits=limits).run("Hi")
        assert (came[0].reason, came[0].cause, came[0].steps) == ("limit", cause, 1)
        assert (result.reason, result.cause, result.steps) == ("limit", cause, 1)
        assert len(provider.requests) == 2


async def test_runs_at_the_same_time_share_one_limit(host: Host) -> None:
    """Four that are started together cannot spend the same three steps."""
    came: list[TurnResult] = []
    outer_asks = reply(*[call("ask") for _ in range(4)], usage=used(1))
    async with ScriptedProvider([outer_asks, repeat(reply("inner", usage=used(1)))]) as provider:
        tools = nested(host.agent(provider), came)
        result = await host.agent(provider, tools, limits=Limits(steps=4)).run("Hi")
        assert sorted(r.reason for r in came) == ["completed"] * 3 + ["limit"]
        assert (result.reason, result.cause) == ("limit", "steps") and len(provider.requests) == 4


async def test_calls_of_nested_runs_count(host: Host) -> None:
    came: list[TurnResult] = []
    both = reply(call("look", what="a"), call("look", what="b"))
    async with ScriptedProvider([asks(1, "ask"), both, reply("inner"), reply("outer")]) as provider:
        result = await host.agent(provider, nested(host.agent(provider, look), came), limits=Limits(calls=2)).run("Hi")
        assert [type(r.outcome) for r in results(came[0])] == [Ok, Denied]
        assert "limit of 2 tool calls" in results(came[0])[1].text
        assert result.text == "outer"


@pytest.mark.parametrize("depth", [0, 1])
async def test_depth(host: Host, depth: int) -> None:
    """A run that would be nested too deep is refused before anything of it is journalled or sent; the model is told."""
    came: list[TurnResult] = []
    script = [asks(1, "ask") for _ in range(depth + 1)] + [reply("done") for _ in range(depth + 1)]
    async with ScriptedProvider(script) as provider:
        deep = host.agent(provider)
        for _ in range(depth + 1):
            deep = host.agent(provider, nested(deep, came), limits=Limits(depth=depth))
        result = await deep.run("Hi")
        refused = results(came[0] if depth else result)[0].outcome
        assert isinstance(refused, Failed) and refused.error.code == "depth_limit"
        assert result.text == "done" and len(provider.requests) == 2 * depth + 2


# --- seeing what is left ------------------------------------------------------------------------------------------------


async def test_tools_see_what_is_left(host: Host) -> None:
    seen: list[Remaining] = []

    @tool
    async def see(ctx: ToolContext[Any]) -> str:
        seen.append(ctx.remaining())
        return ""

    limits = Limits(steps=5, calls=3, tokens=1000, cost=1.0, per_tool={"see": 2})
    async with ScriptedProvider([asks(100, "see"), reply("Done.", usage=used(1))]) as provider:
        await host.agent(provider, see, limits=limits, overrides=PRICES).run("Hi")
    assert seen == [Remaining(4, 2, 900, pytest.approx(0.9), None, {"see": 1})]
    assert ToolContext(None).remaining() == Remaining()


async def test_a_limit_that_is_nearly_used_up_is_told_once(any_host: Host) -> None:
    """From a fifth left on, for each limit; not again in the same turn, and again in the next one."""
    script = [
        asks(2000),
        asks(1000),
        asks(2000),
        asks(3000),
        reply("Done.", usage=used(10)),
        asks(8200),
        reply("Done."),
    ]
    async with ScriptedProvider(script) as provider:
        limits = Limits(steps=5, calls=None, tokens=10000)
        session = any_host.agent(provider, look, limits=limits).session()
        for expected in ([("tokens", 8000, 10000), ("steps", 4, 5)], [("tokens", 8200, 10000)]):
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            assert sorted([(e.limit, e.used, e.bound) for e in of(BudgetLow, events)]) == sorted(expected)
            assert names(events)[-1] == "TurnFinished"


async def test_it_is_told_of_what_nested_runs_use(host: Host) -> None:
    came: list[TurnResult] = []
    async with ScriptedProvider([asks(10, "ask"), reply("inner", usage=used(900)), reply("outer")]) as provider:
        agent = host.agent(provider, nested(host.agent(provider), came), limits=Limits(tokens=1100))
        async with agent.session().stream("Hi") as turn:
            events = await read_all(turn)
        assert [(e.limit, e.used) for e in of(BudgetLow, events)] == [("tokens", 910)]
        at = names(events).index("BudgetLow")
        assert "ToolFinished" in names(events)[at:], "it is told when the inner run ends, not later"


async def test_an_unlimited_turn_is_never_low() -> None:
    limits = Limits(steps=None, calls=None)
    async with ScriptedProvider([asks(10**6), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, look, limits=limits).session()
        async with session.stream("Hi") as turn:
            assert not of(BudgetLow, await read_all(turn))
