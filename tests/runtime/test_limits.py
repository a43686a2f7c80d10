"""Limits are checked before the spend, 0 and 1 behave, and the account is true however a turn ends (rules E9, E10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import Host, assert_ended, assert_valid, goes_on, of, read_all, read_until, results, until

from turnwise import Limits, Retry, Usage, tool
from turnwise.core.outcomes import Denied, Ok
from turnwise.errors import ProviderError
from turnwise.events import AttemptRestarted, TextDelta, UsageUpdated
from turnwise.testing import ScriptedProvider, call, error_event, fail, hang, repeat, reply, text

ONCE = Retry(attempts=1)


def used(input_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens, output_tokens)


@tool
async def look(what: str) -> str:
    return what


@pytest.mark.parametrize("bound", [0, 1, 3])
async def test_steps(any_host: Host, bound: int) -> None:
    """E9: exactly so many model calls are made; the last text and the reason are in the result; the session goes on."""
    endless = reply(text("On and on."), call("look", what="x"))
    async with ScriptedProvider([repeat(endless)]) as provider:
        session = any_host.agent(provider, look, limits=Limits(steps=bound)).session()
        async with session.stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert (result.reason, result.cause, result.error) == ("limit", "steps", None)
        assert result.steps == len(provider.requests) == bound
        assert result.text == ("On and on." if bound else "")
        assert_valid(session.messages)
        again = await session.run("More", limits=Limits(steps=1))
        assert again.steps == 1 and len(provider.requests) == bound + 1


@pytest.mark.parametrize("bound", [0, 1, 3])
async def test_calls(any_host: Host, bound: int) -> None:
    """E9: exactly so many tools run; the others of the same step are denied, and the model would read why."""
    ran: list[str] = []

    @tool
    async def count(what: str) -> str:
        ran.append(what)
        return what

    endless = reply(text("On."), call("count", what="a"), call("count", what="b"))
    async with ScriptedProvider([repeat(endless)]) as provider:
        session = any_host.agent(provider, count, limits=Limits(calls=bound)).session()
        result = await session.run("Hi")
        assert (result.reason, result.cause) == ("limit", "calls") and result.text == "On."
        assert len(ran) == bound
        outcomes = [type(r.outcome) for r in results(result)]
        assert outcomes.count(Ok) == bound and set(outcomes[bound:]) == {Denied}
        assert f"limit of {bound} tool calls" in results(result)[-1].text
        assert_valid(session.messages)


async def test_a_limit_that_is_just_enough_is_no_limit(any_host: Host) -> None:
    async with ScriptedProvider([reply(call("look", what="x")), reply("Done.")]) as provider:
        result = await any_host.agent(provider, look, limits=Limits(steps=2, calls=1)).run("Hi")
        assert (result.reason, result.text, result.steps, result.calls) == ("completed", "Done.", 2, 1)


async def test_limits_of_one_turn(any_host: Host) -> None:
    """What a turn is given replaces the agent's own, for that turn."""
    script = [reply(call("look", what="x")), reply(call("look", what="x")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, limits=Limits(steps=1)).session()
        assert (await session.run("Hi")).reason == "limit"
        assert (await session.run("Hi", limits=Limits(steps=None))).reason == "completed"


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Limits\(steps=-1\)"):
        Limits(steps=-1)


# --- the account -------------------------------------------------------------------------------------------------------


async def test_usage_adds_up(any_host: Host) -> None:
    """E10, S4: all steps of the turn, and all turns of the session."""
    script = [
        reply(text("A"), call("look", what="x"), usage=used(10, 1)),
        reply("B", usage=used(20, 2)),
        reply("C", usage=used(40, 4)),
    ]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        first = assert_ended(events).result
        assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.provenance) == (30, 3, "reported")
        told = of(UsageUpdated, events)
        assert [u.step_usage.input_tokens for u in told] == [10, 20]
        assert [u.session_usage.input_tokens for u in told] == [10, 30]
        second = await session.run("Hi")
        assert (second.usage.input_tokens, second.usage.output_tokens) == (40, 4)
        assert (session.usage.input_tokens, session.usage.output_tokens) == (70, 7)


async def test_the_account_after_an_error(any_host: Host) -> None:
    """E10: what was done before the error is all there, and raised with it."""
    script = [reply(text("A"), call("look", what="x"), usage=used(10, 1)), fail(400, "no good")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look).session()
        with pytest.raises(ProviderError) as raised:
            await session.run("Hi")
        result = raised.value.result
        assert result is not None and result.reason == "error" and result.error == raised.value.info
        assert (result.steps, result.calls, result.text) == (1, 1, "A")
        assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 1)
        assert [type(m).__name__ for m in result.messages] == ["UserMessage", "AssistantMessage", "ToolMessage"]
        assert_valid(session.messages)


async def test_the_account_after_a_limit(any_host: Host) -> None:
    script = [reply(text("A"), call("look", what="x"), usage=used(10, 1))]
    async with ScriptedProvider(script) as provider:
        result = await any_host.agent(provider, look, limits=Limits(steps=1)).run("Hi")
        assert (result.usage.input_tokens, result.steps, result.calls) == (10, 1, 1)


async def test_the_account_after_an_interrupt_in_a_tool(any_host: Host) -> None:
    started = asyncio.Event()

    @tool
    async def wait() -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    script = [reply(text("A"), call("wait"), usage=used(10, 1)), reply("Here we are.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, wait).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await started.wait()
            session.interrupt()
            result = assert_ended(await reading).result
        assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 1)
        assert (result.steps, result.calls, result.text) == (1, 1, "A")
        await goes_on(session)


async def test_the_account_after_an_interrupt_in_a_stream(host: Host) -> None:
    """E10, S4: what a response that was cut off cost is never silently zero, and is marked as not final."""
    script = [
        reply(text("A"), call("look", what="x"), usage=used(10, 1)),
        reply(text("one two three four five"), stall_after_event=5, usage=used(999, 99)),
        reply("Here we are."),
    ]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, look).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, TextDelta, lambda e: "one" in e.text)
            session.interrupt()
            result = assert_ended(await read_all(turn, events)).result
        usage = result.usage
        assert usage.input_tokens is not None and usage.input_tokens > 10
        assert usage.output_tokens is not None and usage.output_tokens >= 1
        assert usage.provenance in ("partial", "estimated")
        assert session.usage == usage
        await goes_on(session)


async def test_failed_attempts_count(host: Host) -> None:
    """E10: tokens of an attempt that broke off are paid for, so they are counted."""
    broken = reply(text("one two"), error_event("overloaded", status=529), usage=used(100, 10))
    script = [broken, reply("Whole.", usage=used(100, 5))]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, restart="before_commit", retry=Retry(base_delay_s=0)).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert len(of(AttemptRestarted, events)) == 1 and result.text == "Whole."
        told = of(UsageUpdated, events)
        if host.name == "anthropic":  # which says at once what the input costs
            assert [u.step_usage.provenance for u in told] == ["partial", "reported"]
            assert result.usage.input_tokens == 200
        else:  # chat says it at the end, which never came
            assert (result.usage.input_tokens or 0) >= 100


async def test_a_provider_that_reports_nothing(any_host: Host) -> None:
    """S4: no usage is None, not zero."""
    async with ScriptedProvider([reply("A", usage=None)]) as provider:
        result = await any_host.agent(provider).run("Hi")
        assert result.usage.input_tokens != 0 and result.usage.output_tokens != 0


async def test_hang_then_interrupt_costs_nothing_known(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session: Any = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            await provider.reached("stalled")
            session.interrupt()
            await until(lambda: not session.running)
            assert turn.result.usage.input_tokens is None
