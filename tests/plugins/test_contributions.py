"""Whatever a plugin may add works from the real path, on all sessions that it is meant for, and is gone when the plugin has stopped (H1, H5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.plugins.conftest import Diary, fail, hang

from turnwise import Agent, Runtime, tool
from turnwise.capabilities import Capability
from turnwise.errors import HookError
from turnwise.hooks import Cancel, HookContext, Modify, hook
from turnwise.middleware import middleware
from turnwise.plugins import PluginContext, Plugins, Use
from turnwise.testing import ScriptedProvider, call, repeat, reply

Start = Callable[[PluginContext[Any]], Awaitable[None]]


@tool
def look() -> str:
    "Look."
    return "seen"


def agent(provider: ScriptedProvider, runtime: Runtime, **options: Any) -> Agent[Any]:
    return Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", runtime=runtime, **options)


def left(runtime: Runtime) -> dict[str, int]:
    """All that plugins can leave behind."""
    plugins = runtime.plugins
    assert plugins is not None
    return {
        "tasks": len(runtime._tasks),
        "hooks": len(runtime.extensions.hooks),
        "middleware": len(runtime.extensions.middleware),
        "subscribers": len(runtime.bus.status().subscribers) if runtime._bus is not None else 0,
        "observers": len(runtime.observers),
        "tools": len(plugins.offered.tools),
        "capabilities": len(plugins.offered.capabilities),
    }


def everything(seen: list[str]) -> Start:
    """A start that adds one of each."""

    @hook("tool.before")
    def before(context: HookContext) -> None:
        seen.append(f"hook {context.value.name}")

    @middleware("turn")
    async def around(request: Any, next: Any) -> Any:
        seen.append("turn begins")
        return await next(request)

    async def start(context: PluginContext[Any]) -> None:
        context.add_tool(look)
        context.add_hook(before)
        context.add_middleware(around)
        context.add_capability(Capability("manners", instructions="Be polite."))
        context.subscribe("turn.finished", lambda event: seen.append(f"{event.topic} {event.turn}"))
        context.start(asyncio.Event().wait())

    return start


async def test_each_works_and_all_are_gone_afterwards(diary: Diary) -> None:
    """H1, H5"""
    seen: list[str] = []
    plugins = Plugins([diary.plugin("a", start=everything(seen))])
    async with ScriptedProvider([reply(call("look")), reply("Seen.")]) as provider:
        async with Runtime(plugins=plugins) as runtime:
            assert runtime.plugins is not None
            assert dict(runtime.plugins.status()[0].adds) == dict.fromkeys(
                ("tool", "hook", "middleware", "capability", "subscription"), 1
            )
            await agent(provider, runtime, plugins=True, instructions="Look.").run("Look.")
        assert provider.requests[0].body["system"][0]["text"] == "Look.\n\nBe polite."
    assert seen == ["turn begins", "hook look", "turn.finished 1"]
    assert set(left(runtime).values()) == {0}


@pytest.mark.parametrize("how", [fail, hang])
async def test_a_start_that_fails_takes_back_what_it_had_added(how: Start, diary: Diary) -> None:
    """H5: also what others had added before it, in a runtime that does not open."""

    async def start(context: PluginContext[Any]) -> None:
        await everything([])(context)
        await how(context)

    async def others(context: PluginContext[Any]) -> None:
        context.subscribe("**", lambda event: None)
        context.add_hook(hook("turn.after")(lambda context: None))

    well = diary.plugin("well", start=others)
    async with Runtime(
        plugins=Plugins([Use(diary.plugin("bad", start=start), required=False, start_s=0.05)])
    ) as runtime:
        assert set(left(runtime).values()) == {0}
    runtime = Runtime(plugins=Plugins([well, Use(diary.plugin("bad", start=start), start_s=0.05)]))
    with pytest.raises(HookError):
        async with runtime:
            pytest.fail("it must not open")
    assert set(left(runtime).values()) == {0}


async def test_hooks_and_middleware_are_on_all_sessions_tools_and_capabilities_for_those_who_ask(diary: Diary) -> None:
    seen: list[str] = []
    plugins = Plugins([diary.plugin("a", start=everything(seen))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        await agent(provider, runtime, instructions="Look.").run("Hi")
        assert provider.requests[0].body.get("tools") is None
        assert "polite" not in str(provider.requests[0].body["system"])
        assert seen[0] == "turn begins"


async def test_an_agent_made_of_one_that_has_run_takes_them_as_well(diary: Diary) -> None:
    """What an agent is equipped with is its own for nobody: neither for one that is made of it, nor for one made of a session's."""
    plugins = Plugins([diary.plugin("a", start=everything([]))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        first = agent(provider, runtime, plugins=True, instructions="Look.")
        session = first.session()
        await session.run("Hi")
        for made in (first, session.agent):
            await made.with_(Capability("more", instructions="Be brief.")).run("Hi")
            body = provider.requests[-1].body
            assert [one["name"] for one in body["tools"]] == ["look"]
            assert sorted(body["system"][0]["text"].split("\n\n")) == ["Be brief.", "Be polite.", "Look."]


async def test_hooks_that_are_added_to_an_agent_are_on_its_sessions_with_a_plugins_capability(diary: Diary) -> None:
    """H1"""
    seen: list[str] = []
    plugins = Plugins([diary.plugin("a", start=everything([]))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        made = agent(provider, runtime, plugins=True, instructions="Look.")
        session = made.session()
        await session.run("1")
        added = made.add_hook(hook("turn.after")(lambda context: seen.append("after")))
        await session.run("2")
        added.unregister()
        await session.run("3")
    assert seen == ["after"]


async def test_a_capability_that_a_session_adds_leaves_it_the_plugins_tools(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a", start=everything([]))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        session = agent(provider, runtime, plugins=True).session()
        await session.run("Hi")
        await session.add(Capability("more", instructions="Be brief."))
        await session.run("Hi")
        assert [one["name"] for one in provider.requests[-1].body["tools"]] == ["look"]
        assert provider.requests[-1].body["system"][0]["text"].endswith("Be brief.")


async def test_a_hook_of_a_plugin_steers(diary: Diary) -> None:
    @hook("tool.before", fail="closed")
    def refuse(context: HookContext) -> Cancel:
        return Cancel("not today")

    async def start(context: PluginContext[Any]) -> None:
        context.add_hook(refuse)

    plugins = Plugins([diary.plugin("a", start=start)])
    async with (
        ScriptedProvider([reply(call("look")), reply("Then not.")]) as provider,
        Runtime(plugins=plugins) as runtime,
    ):
        session = agent(provider, runtime, tools=[look]).session()
        await session.run("Look.")
        assert "not today" in str(session.messages[2])


async def test_the_priority_of_plugins_is_the_order_of_their_hooks(diary: Diary) -> None:
    seen: list[str] = []

    def noting(name: str) -> Start:
        async def start(context: PluginContext[Any]) -> None:
            context.add_hook(hook("turn.after", id=name)(lambda context: seen.append(name)))

        return start

    plugins = Plugins(
        [diary.plugin("low", start=noting("low")), Use(diary.plugin("high", start=noting("high")), priority=1)]
    )
    async with ScriptedProvider([reply("ok")]) as provider, Runtime(plugins=plugins) as runtime:
        await agent(provider, runtime).run("Hi")
    assert seen == ["high", "low"]


async def test_a_point_of_its_own(diary: Diary) -> None:
    """H1: under its own name, with hooks of others, honoured."""
    contexts: list[PluginContext[Any]] = []

    async def start(context: PluginContext[Any]) -> None:
        contexts.append(context)
        context.declare_point("fetched", honours=[Modify], carries=str)

    async with Runtime(plugins=Plugins([diary.plugin("weather", start=start)])) as runtime:
        runtime.add_hook(hook("weather/fetched")(lambda context: Modify(context.value.upper())))
        outcome = await contexts[0].fire("fetched", "rain")
        assert outcome.value == "RAIN"
