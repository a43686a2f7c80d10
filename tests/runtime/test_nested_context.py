"""The caller's own object reaches tools, and the runs that tools start, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from turnwise import Agent, ToolContext, tool
from turnwise.testing import ScriptedProvider, call, reply, text


class Tenant:
    """Not a value that could be journalled."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize("nested", ["async", "thread"])
async def test_a_nested_run_inherits_the_callers_object(nested: str) -> None:
    """The inner agent's tool sees the object that the outer run was given, unless the inner run is given another one."""
    seen: list[Any] = []

    @tool
    async def who(ctx: ToolContext[Tenant]) -> str:
        seen.append(ctx.context)
        return ctx.context.name

    script = [reply(call("ask")), reply(call("who")), reply(text("inner")), reply(text("outer"))]
    async with ScriptedProvider(script) as provider:
        inner = Agent[Tenant]("anthropic:x", base_url=provider.anthropic_url, api_key="test", tools=[who])

        @tool(name="ask")
        async def ask_async() -> str:
            return (await inner.run("Who?")).text

        @tool(name="ask")
        def ask_thread() -> str:
            return inner.run_sync("Who?").text

        asking = {"async": ask_async, "thread": ask_thread}[nested]
        outer = Agent[Tenant]("anthropic:x", base_url=provider.anthropic_url, api_key="test", tools=[asking])
        tenant = Tenant("acme")
        result = await outer.run("Go", context=tenant)
    assert result.text == "outer" and seen == [tenant]
    assert b"acme" not in msgspec.json.encode(outer.session(context=tenant).messages)


async def test_the_object_does_not_leak_into_later_runs() -> None:
    seen: list[Any] = []

    @tool
    async def who(ctx: ToolContext[Any]) -> str:
        seen.append(ctx.context)
        return ""

    async with ScriptedProvider([reply(call("who")), reply("a"), reply(call("who")), reply("b")]) as provider:
        agent: Agent[Any] = Agent("openai:x", base_url=provider.openai_url, api_key="test", tools=[who])
        await agent.run("Go", context="mine")
        await agent.run("Go")
    assert seen == ["mine", None]
