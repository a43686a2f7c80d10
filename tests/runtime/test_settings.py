"""Settings of a session: checked first, journalled, in force at the next step, and received by the provider."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, goes_on, read_all, said

from turnwise import Agent, Model, ModelSettings, Reasoning, Runtime, Session, replay, tool
from turnwise.core.changes import SettingsChanged
from turnwise.errors import ConfigError
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import RecordedRequest, ScriptedProvider, call, fail, repeat, reply


@tool
async def look(what: str) -> str:
    return what


@tool
async def touch(what: str) -> str:
    return what


def instructions_of(request: RecordedRequest) -> str:
    body = request.body
    if "system" in body:
        return body["system"] if isinstance(body["system"], str) else body["system"][0]["text"]
    first = body["messages"][0]
    return first["content"] if first["role"] in ("system", "developer") else ""


def tools_of(request: RecordedRequest) -> list[str]:
    return [t.get("name") or t["function"]["name"] for t in request.body.get("tools", [])]


def most(request: RecordedRequest) -> int | None:
    body = request.body
    return body.get("max_tokens") or body.get("max_completion_tokens")


# --- reaching the provider ---------------------------------------------------------------------------------------------


async def test_each_setting_reaches_the_provider(host: Host, store: SuspendingStore | None) -> None:
    """And None takes it away again."""
    async with ScriptedProvider([repeat(reply("Fine."))]) as provider:
        agent = host.agent(provider, look, touch, instructions="Agent's.", store=store)
        session = agent.session()
        await session.run("1")
        await session.set(
            instructions="Session's.", tools=["look"], max_output_tokens=77, temperature=0.5, stream=False
        )
        await session.run("2")
        await session.set(top_p=0.9, temperature=None)
        await session.run("3")
        await session.set(instructions=None, tools=None, max_output_tokens=None, stream=None, top_p=None)
        await session.run("4")
        first, second, third, fourth = provider.requests
        assert instructions_of(first) == "Agent's." and tools_of(first) == ["look", "touch"] and first.body["stream"]
        assert instructions_of(second) == "Session's." and tools_of(second) == ["look"] and most(second) == 77
        assert second.body["temperature"] == 0.5 and not second.body.get("stream")
        assert third.body["top_p"] == 0.9 and "temperature" not in third.body and most(third) == 77
        without = [{k: v for k, v in r.body.items() if k != "messages"} for r in (first, fourth)]
        assert without[0] == without[1]
        assert await agent.session().run("5") and instructions_of(provider.requests[-1]) == "Agent's."


async def test_in_a_running_turn_at_the_next_step(any_host: Host, store: SuspendingStore | None) -> None:
    """The step that is under way is not touched; the one after has model, tools and instructions as they are now."""
    entered, go = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        entered.set()
        await go.wait()
        return "waited"

    script = [reply(call("wait")), reply(call("wait"), call("touch", what="x")), reply("Fine.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, wait, look, store=store).session()
        running = asyncio.create_task(session.run("Hi"))
        await entered.wait()
        other = f"{any_host.name}:another-model"
        await session.set(model=other, tools=[look, touch], instructions="Now.")
        assert session.settings.model == other and session.status().model == other
        go.set()
        result = await running
        first, second, third = provider.requests
        assert first.body["model"] == "a-model" and tools_of(first) == ["look", "wait"]
        for request in (second, third):
            assert request.body["model"] == "another-model" and tools_of(request) == ["look", "touch"]
            assert instructions_of(request) == "Now."
        outcomes = [type(r.outcome).__name__ for m in result.messages if hasattr(m, "results") for r in m.results]
        assert outcomes == ["Ok", "UnknownTool", "Ok"]


async def test_a_model_is_reached_as_the_agents_are() -> None:
    """A name of the same provider takes the agent's address and key; a Model has its own; the turn says who answered."""
    async with ScriptedProvider([repeat(reply("Fine."))]) as provider, Runtime(environ={}) as runtime:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        await session.run("1")
        await session.set(model="anthropic:b-model")
        await session.run("2")
        await session.set(model=Model("openai:c-model", base_url=provider.openai_url, api_key="test"))
        await session.run("3")
        await session.set(model=None)
        await session.run("4")
        assert [(r.api, r.body["model"]) for r in provider.requests] == [
            ("anthropic.messages", "a-model"),
            ("anthropic.messages", "b-model"),
            ("openai.chat", "c-model"),
            ("anthropic.messages", "a-model"),
        ]
        assert [m.model for m in session.messages if hasattr(m, "model")] == [
            "a-model",
            "b-model",
            "c-model",
            "a-model",
        ]


async def test_a_fallback_gives_way_to_the_model_that_is_set() -> None:
    """T4, H3: a turn that had fallen back goes on with the model that is set, not with a number beyond the list."""
    async with ScriptedProvider([fail(529), reply(call("look", what="x")), reply("Fine.")]) as provider:
        models = [Model(f"anthropic:{n}", base_url=provider.anthropic_url, api_key="test") for n in ("a", "b")]
        session = Agent(models=models, tools=[]).session()

        @tool(name="look")
        async def change(what: str) -> str:
            await session.set(model="anthropic:c")
            return what

        await session.set(tools=[change])
        assert (await session.run("Hi")).text == "Fine."
        assert [r.body["model"] for r in provider.requests] == ["a", "b", "c"]


# --- checked first -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"model": "nobody:x"}, "unknown_provider"),
        ({"model": "anthropic"}, "missing_model"),
        ({"model": "openai:x"}, "missing_key"),
        ({"model": 3}, "invalid_value"),
        ({"tools": ["look", "nothing"]}, "unknown_tool"),
        ({"tools": [look, "look"]}, "duplicate_tool"),
        ({"tools": "look"}, "invalid_value"),
        ({"instructions": 3}, "invalid_value"),
        ({"max_output_tokens": 0}, "invalid_value"),
        ({"max_output_tokens": True}, "invalid_value"),
        ({"temperature": -0.1}, "invalid_value"),
        ({"temperature": float("nan")}, "invalid_value"),
        ({"temperature": 1.5}, "invalid_setting"),
        ({"top_p": 1.1}, "invalid_value"),
        ({"stream": 1}, "invalid_value"),
        ({"context_limit": 0}, "invalid_value"),
        ({"context_limit": 1.5}, "invalid_value"),
        ({"compaction": 0.8}, "invalid_value"),
    ],
)
async def test_what_cannot_hold_is_refused(given: dict[str, Any], code: str) -> None:
    """Before anything is journalled, and nothing of it is in force; the same call's other settings neither."""
    async with ScriptedProvider([reply("One."), reply("Fine.")]) as provider, Runtime(environ={}) as runtime:
        store = MemoryStore()
        session = ANTHROPIC.agent(provider, look, store=store, runtime=runtime).session()
        await session.run("Hi")
        before, settings = await store.read(session.id), session.settings
        with pytest.raises(ConfigError) as raised:
            await session.set(**{"instructions": "New.", **given})
        assert raised.value.code == code and raised.value.message
        assert await store.read(session.id) == before and session.settings == settings
        await goes_on(session)
        assert instructions_of(provider.requests[-1]) == ""


async def test_changes_add_up(host: Host) -> None:
    """Also when they come at once: none of them undoes another."""
    async with ScriptedProvider([]) as provider:
        session = host.agent(provider, look, store=SuspendingStore(give)).session()
        await asyncio.gather(
            session.set(temperature=0.5),
            session.set(top_p=0.9),
            session.set(instructions="All."),
            session.set(tools=[]),
        )
        now = session.settings
        assert (now.temperature, now.top_p, now.instructions, now.tools) == (0.5, 0.9, "All.", ())


async def give(_: str) -> None:
    await asyncio.sleep(0)


async def test_settings_are_entries() -> None:
    """A replayed journal knows them, and a session that lost its last append is as its journal says."""
    lose = False

    async def pause(when: str) -> None:
        if lose and when == "before":
            raise OSError("disk full")

    async with ScriptedProvider([repeat(reply("Fine."))]) as provider:
        store = SuspendingStore(pause)
        session = ANTHROPIC.agent(provider, look, store=store).session()
        await session.set(temperature=0.5, tools=["look"])
        lose = True
        with pytest.raises(Exception, match="disk full"):
            await session.set(temperature=0.7, tools=[])
        lose = False
        await session.run("Hi")
        assert provider.requests[-1].body["temperature"] == 0.5 and tools_of(provider.requests[-1]) == ["look"]
        assert session.settings.temperature == 0.5
        journal = await store.read(session.id)
        assert replay(journal).state.settings == session.state.settings
        assert len([e for e in journal if type(e) is SettingsChanged]) == 1


# --- what is in force --------------------------------------------------------------------------------------------------


async def test_settings_can_be_read(host: Host) -> None:
    """The session's own, else the agent's, else what follows from the model."""
    agent = Agent(
        "anthropic:claude-sonnet-4-5",
        instructions="Brief.",
        tools=[look, touch],
        settings=ModelSettings(temperature=0.3),
    )
    session = agent.session()
    now = session.settings
    assert (now.model, now.instructions, now.tools) == ("anthropic:claude-sonnet-4-5", "Brief.", ("look", "touch"))
    assert (now.temperature, now.top_p, now.stream) == (0.3, None, True)
    assert (now.max_output_tokens, now.context_limit) == (64_000, 200_000)
    async with Runtime(environ={"ANTHROPIC_API_KEY": "test"}) as runtime:
        agent = Agent("anthropic:claude-sonnet-4-5", runtime=runtime)
        session = agent.session()
        assert (await session.set(context_limit=1000, max_output_tokens=10)).context_limit == 1000
        assert session.settings.max_output_tokens == 10
        assert (await session.set(context_limit=None)).context_limit == 200_000
    assert Agent("anthropic:who-knows").session().settings.max_output_tokens == 4096
    assert Agent("openai:who-knows").session().settings.max_output_tokens is None


@pytest.mark.parametrize(
    ("model", "settings", "stream", "asked"),
    [
        ("claude-sonnet-4-5", ModelSettings(), True, 64_000),
        ("claude-sonnet-4-5", ModelSettings(), False, 21_333),
        ("claude-sonnet-4-5", ModelSettings(max_output_tokens=9), True, 9),
        ("claude-sonnet-4-5", ModelSettings(reasoning=Reasoning(budget_tokens=30_000)), True, 64_000),
        ("claude-sonnet-4-5", ModelSettings(reasoning=Reasoning(budget_tokens=30_000)), False, 34_096),
        ("claude-opus-4-1", ModelSettings(reasoning=Reasoning(effort="max")), True, 32_000),
        ("claude-unknown-9", ModelSettings(), True, 4096),
        ("a-model", ModelSettings(), True, 4096),
        ("a-model", ModelSettings(reasoning=Reasoning(budget_tokens=2000)), True, 6096),
    ],
)
async def test_the_bound_of_the_output(model: str, settings: ModelSettings, stream: bool, asked: int) -> None:
    """Where an API demands one: as much as the model can say, or 4096; thinking counts as output and fits into it."""
    async with ScriptedProvider([reply("Fine.")]) as provider:
        agent = Agent(
            f"anthropic:{model}", base_url=provider.anthropic_url, api_key="test", settings=settings, stream=stream
        )
        await agent.run("Hi")
        (request,) = provider.requests
        assert request.body["max_tokens"] == asked
        if (thinking := request.body.get("thinking")) is not None:
            assert thinking["budget_tokens"] < asked


async def test_other_apis_are_not_told() -> None:
    """Their own default is as much as the model can say, and what is asked for counts against rate limits."""
    async with ScriptedProvider([reply("Fine.")]) as provider:
        await Agent("openai:gpt-5", base_url=provider.openai_url, api_key="test").run("Hi")
        assert most(provider.requests[0]) is None


async def test_a_turn_may_stream_otherwise(host: Host) -> None:
    """What a turn asks for comes before what the session says."""
    async with ScriptedProvider([repeat(reply("Fine."))]) as provider:
        session: Session[Any] = host.agent(provider).session()
        await session.set(stream=False)
        await session.run("1")
        async with session.stream("2", stream=True) as turn:
            await read_all(turn)
        assert [bool(r.body.get("stream")) for r in provider.requests] == [False, True]
        assert said(session) == ["1", "Fine.", "2", "Fine."]
