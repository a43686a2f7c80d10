"""A failed call is tried again only if its tool is declared safe to repeat, within a budget, and still ends once (rule E6)."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from tests.runtime.conftest import Host, assert_ended, in_virtual_time, of, read_all, read_until, results

from turnwise import Runtime, ToolError, tool
from turnwise.core.outcomes import Failed, Ok, Timeout
from turnwise.errors import ConfigError
from turnwise.events import ToolFinished, ToolStarted
from turnwise.testing import ScriptedProvider, call, reply


class Fixed:
    """Chance without chance."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Flaky(Exception):
    """Passes."""


@in_virtual_time
async def test_a_declared_tool_is_tried_again(any_host: Host) -> None:
    tries = 0

    @tool(idempotent=True, retries=2, retry_on=(Flaky,))
    async def flaky() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Flaky
        return "at last"

    async with ScriptedProvider([reply(call("flaky")), reply("Good.")]) as provider:
        async with any_host.agent(provider, flaky).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert tries == 3
        assert [e.result.outcome for e in of(ToolFinished, events)] == [Ok()]
        assert len(of(ToolStarted, events)) == 1
        assert_ended(events)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, Flaky()),
        ({"idempotent": True}, Flaky()),
        ({"idempotent": True, "retries": 3, "retry_on": (Flaky,)}, ValueError("other")),
        ({"idempotent": True, "retries": 3}, ToolError("final")),
    ],
    ids=["not declared", "no retries", "another error", "not retryable"],
)
async def test_anything_else_runs_once(host: Host, options: Any, error: Exception) -> None:
    tries = 0

    @tool(**options)
    async def flaky() -> str:
        nonlocal tries
        tries += 1
        raise error

    async with ScriptedProvider([reply(call("flaky")), reply("Good.")]) as provider:
        result = await host.agent(provider, flaky).run("Hi")
        assert tries == 1 and [type(r.outcome) for r in results(result)] == [Failed]


def test_retries_need_a_declaration() -> None:
    """A tool that may have had its effect cannot be declared to be repeated."""
    with pytest.raises(ConfigError, match="not declared safe to repeat"):

        @tool(retries=2)
        async def pay() -> str:
            return ""


@in_virtual_time
async def test_a_tool_may_ask_for_it_itself(host: Host) -> None:
    tries = 0

    @tool(read_only=True, retries=5)
    async def busy() -> str:
        nonlocal tries
        tries += 1
        raise ToolError("try again", retryable=True)

    async with ScriptedProvider([reply(call("busy")), reply("Good.")]) as provider:
        result = await host.agent(provider, busy, runtime=None).run("Hi")
        assert tries == 6 and [type(r.outcome) for r in results(result)] == [Failed]


@in_virtual_time
async def test_waits_grow_and_are_capped(host: Host) -> None:
    """Full jitter under a cap: with the largest draw the waits double and stop growing."""
    at: list[float] = []
    loop = asyncio.get_running_loop()

    @tool(read_only=True, retries=8, retry_on=(Flaky,), timeout_s=None)
    async def flaky() -> str:
        at.append(loop.time())
        raise Flaky

    async with Runtime(random=Fixed(1.0)) as runtime, ScriptedProvider([reply(call("flaky")), reply("So.")]) as p:
        await host.agent(p, flaky, runtime=runtime).run("Hi")
    waits = [round(b - a, 1) for a, b in itertools.pairwise(at)]
    assert len(waits) == 8 and waits == sorted(waits)
    assert waits[0] < 1 and abs(waits[1] - 2 * waits[0]) < 0.11 and waits[-1] == waits[-2] <= 10.1


@in_virtual_time
async def test_a_turn_has_a_budget_of_retries(host: Host) -> None:
    """Many failing calls together do not multiply the work without bound."""
    tries = 0

    @tool(read_only=True, retries=10, retry_on=(Flaky,), timeout_s=None)
    async def flaky() -> str:
        nonlocal tries
        tries += 1
        raise Flaky

    async with ScriptedProvider([reply(*[call("flaky")] * 10), reply("So.")]) as provider:
        await host.agent(provider, flaky).run("Hi")
    assert 10 < tries <= 10 + 20


@in_virtual_time
async def test_the_calls_time_includes_its_retries(host: Host) -> None:
    """E3: a call that keeps being tried again still ends in time."""

    @tool(read_only=True, retries=50, retry_on=(Flaky,), timeout_s=3)
    async def flaky() -> str:
        raise Flaky

    loop = asyncio.get_running_loop()
    async with (
        Runtime(random=Fixed(1.0)) as runtime,
        ScriptedProvider([reply(call("flaky")), reply("So.")]) as p,
        host.agent(p, flaky, runtime=runtime).session().stream("Hi") as turn,
    ):
        await read_until(turn, ToolStarted)
        began = loop.time()
        events = await read_until(turn, ToolFinished)
        assert 3 <= loop.time() - began < 3.5
        assert [type(e.result.outcome) for e in of(ToolFinished, events)] == [Timeout]
        await read_all(turn)


@in_virtual_time
async def test_a_body_that_was_stopped_is_not_tried_again(any_host: Host) -> None:
    """E1, C1: a body that makes another error of being stopped, in time or after its call was given up, has failed for the last time."""
    tries = 0

    @tool(idempotent=True, retries=3, retry_on=(Flaky,), timeout_s=1)
    async def stubborn(for_s: float) -> str:
        nonlocal tries
        tries += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(for_s)
            raise Flaky from None
        return "never"

    for for_s in (0.0, 10.0):
        tries = 0
        async with (
            Runtime() as runtime,
            ScriptedProvider([reply(call("stubborn", for_s=for_s)), reply("So.")]) as provider,
        ):
            await any_host.agent(provider, stubborn, runtime=runtime).run("Hi")
            await asyncio.sleep(100)
        assert tries == 1
