"""What plugins offer reaches the agents that take it, on the runtime that the plugins run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.plugins.conftest import WEATHER, Diary, fail

from turnwise import Agent, MemoryStore, Runtime, Sessions, Tool, tool
from turnwise.errors import ConfigError
from turnwise.plugins import Added, PluginContext, Plugins, Use
from turnwise.testing import ScriptedProvider, call, repeat, reply


def offers(*names: str, **options: Any) -> Callable[[PluginContext[Any]], Any]:
    """A start that adds tools of these names."""

    async def start(context: PluginContext[Any]) -> None:
        for name in names:
            context.add_tool(named(name, context.name))

    return start


def named(name: str, answer: str) -> Tool[..., Any]:
    def look() -> str:
        "Look."
        return f"{name} of {answer}"

    return tool(name=name)(look)


def agent(provider: ScriptedProvider, runtime: Runtime | None, **options: Any) -> Agent[Any]:
    return Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", runtime=runtime, **options)


def sent(provider: ScriptedProvider, number: int = -1) -> list[str]:
    """The tools that a request offered."""
    return [one["name"] for one in provider.requests[number].body.get("tools", [])]


async def test_a_plugins_tool_is_called_like_one_of_the_agents(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a", start=offers("look"))])
    async with (
        ScriptedProvider([reply(call("look")), reply("Seen.")]) as provider,
        Runtime(plugins=plugins) as runtime,
    ):
        session = agent(provider, runtime, plugins=True).session()
        result = await session.run("Look.")
        assert result.text == "Seen."
        assert session.messages[2].results[0].body == "look of a"  # type: ignore[union-attr]
        assert sent(provider) == ["look"]


async def test_an_agent_takes_none_all_or_those_that_it_names(diary: Diary) -> None:
    """An agent's tools are in its own words: nothing is given to one that does not ask."""
    plugins = Plugins([diary.plugin("a", start=offers("one", "two")), diary.plugin("b", start=offers("three"))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        for wants, tools in ((False, ["own"]), (True, ["one", "own", "three", "two"]), (["b"], ["own", "three"])):
            await agent(provider, runtime, tools=[named("own", "x")], plugins=wants).run("Hi")
            assert sent(provider) == tools


async def test_a_name_that_the_agent_has_itself_is_an_error(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a", start=offers("look")), diary.plugin("b", start=offers("see"))])
    async with ScriptedProvider([reply("ok")]) as provider, Runtime(plugins=plugins) as runtime:
        with pytest.raises(ConfigError) as raised:
            await agent(provider, runtime, tools=[named("look", "x")], plugins=True).run("Hi")
        assert raised.value.code == "duplicate_tool"
        assert "plugin a" in raised.value.message
        await agent(provider, runtime, tools=[named("look", "x")], plugins=["b"]).run("Hi")
        assert sent(provider) == ["look", "see"]


async def test_two_plugins_with_one_tool_name_do_not_both_start(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a", start=offers("look")), diary.plugin("b", start=offers("look"))])
    with pytest.raises(Exception, match="The plugins a and b both have a tool named 'look'"):
        async with Runtime(plugins=plugins):
            pytest.fail("it must not open")


async def test_a_plugin_that_the_runtime_does_not_have_is_an_error_and_one_that_did_not_start_is_not(
    diary: Diary,
) -> None:
    plugins = Plugins([Use(diary.plugin("weather", start=fail), required=False)])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        await agent(provider, runtime, plugins=["weather"]).run("Hi")
        for wrong in (runtime, None):
            with pytest.raises(ConfigError) as raised:
                await agent(provider, wrong, plugins=["wether"]).run("Hi")
            assert raised.value.code == "unknown_plugin"
    with pytest.raises(ConfigError):
        Agent("anthropic:m", plugins="weather")


async def test_one_agent_on_two_runtimes_has_the_tools_of_each(diary: Diary) -> None:
    async with (
        ScriptedProvider([repeat(reply("ok"))]) as provider,
        Runtime(plugins=Plugins([diary.plugin("a", start=offers("one"))])) as first,
        Runtime(plugins=Plugins([diary.plugin("b", start=offers("two"))])) as second,
        Runtime() as third,
    ):
        made = agent(provider, None, plugins=True)
        for runtime, tools in ((first, ["one"]), (second, ["two"]), (third, []), (first, ["one"])):
            made.runtime = runtime
            await made.run("Hi")
            assert sent(provider) == tools
        assert made.tools == {}, "the agent itself is as it was"


async def test_tools_that_come_and_go_while_a_plugin_runs_are_there_from_the_next_turn_on(diary: Diary) -> None:
    contexts: list[PluginContext[Any]] = []

    async def start(context: PluginContext[Any]) -> None:
        contexts.append(context)

    async with (
        ScriptedProvider([repeat(reply("ok"))]) as provider,
        Runtime(plugins=Plugins([diary.plugin("a", start=start)])) as runtime,
    ):
        session = agent(provider, runtime, plugins=True).session()
        await session.run("1")
        added = contexts[0].add_tool(named("look", "a"))
        await session.run("2")
        assert added.active
        added.unregister()
        added.unregister()
        await session.run("3")
        assert [sent(provider, number) for number in range(3)] == [[], ["look"], []]
        assert not added.active
        assert isinstance(added, Added)


async def test_the_requests_of_two_turns_are_the_same_bytes_but_for_what_was_said(diary: Diary) -> None:
    """T7: an agent that is equipped anew for each turn would break the prefix, or cost its plan each time."""
    plugins = Plugins([diary.plugin("a", start=offers("b", "a"))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        session = agent(provider, runtime, plugins=True).session()
        await session.run("1")
        equipped = session.agent
        await session.run("2")
        assert session.agent is equipped
        assert provider.requests[0].body["tools"] == provider.requests[1].body["tools"]
        assert sent(provider) == ["a", "b"]


async def test_a_session_chooses_among_a_plugins_tools_by_name(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a", start=offers("one", "two"))])
    async with ScriptedProvider([repeat(reply("ok"))]) as provider, Runtime(plugins=plugins) as runtime:
        session = agent(provider, runtime, plugins=True).session()
        await session.set(tools=["two"])
        await session.run("Hi")
        assert sent(provider) == ["two"]


async def test_a_tool_that_is_answered_from_outside_may_be_a_plugins(diary: Diary) -> None:
    async def start(context: PluginContext[Any]) -> None:
        context.add_tool(Tool.external("sign", description="Have it signed.", parameters={"type": "object"}))

    async with (
        ScriptedProvider([reply(call("sign")), reply("Signed.")]) as provider,
        Runtime(plugins=Plugins([diary.plugin("a", start=start)])) as runtime,
    ):
        session = agent(provider, runtime, plugins=True).session()
        result = await session.run("Sign it.")
        assert result.reason == "parked"
        await session.submit(result.pending[0].call_id, "by Ann")
        assert (await session.resume()).text == "Signed."


async def test_a_file_cannot_have_a_tool_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It could not be imported there. Said when it is added, not when it is called."""
    file = tmp_path / "weather.py"
    code = dedent(WEATHER).replace("context.add_tool(weather)", "context.add_tool(tide)")
    file.write_text(
        f"{code}\n\nfrom turnwise import tool\n\n@tool(isolation='process')\ndef tide() -> str:\n    return 'high'\n"
    )
    (tmp_path / "plugins.toml").write_text("[plugins.weather]\n")
    with pytest.raises(Exception, match="in a process of its own"):
        async with Runtime(plugins=Plugins.load(tmp_path / "plugins.toml", paths=[file])):
            pytest.fail("it must not open")


async def test_a_stored_session_that_named_a_plugins_tool_is_opened_again(diary: Diary) -> None:
    """D2: the journal has the tool's name; the plugin has the tool."""
    store = MemoryStore()
    async with ScriptedProvider([repeat(reply("ok"))]) as provider:
        for _ in range(2):
            async with Runtime(plugins=Plugins([diary.plugin("a", start=offers("one", "two"))])) as runtime:
                made = agent(provider, runtime, plugins=True, store=store)
                async with made.session("s", resume=True) as session:
                    await session.set(tools=["two"])
                    await session.run("Hi")
        async with Runtime(plugins=Plugins([diary.plugin("a", start=offers("one", "two"))])) as runtime:
            async with Sessions(store, [agent(provider, None, plugins=True)], runtime=runtime) as sessions:
                await (await sessions.open("s")).run("Hi")
            assert [sent(provider, number) for number in range(3)] == [["two"]] * 3
