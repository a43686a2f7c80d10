"""Typed answers over all providers: asked for as each model can, beside tools without looping, corrected within a budget, true in the result."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from tests.providers import PROVIDERS, Provider
from tests.runtime.conftest import assert_ended, goes_on, read_all

from turnwise import Agent, Limits, Model, ModelSettings, OneTool, Output, OutputFormat, Reasoning, Retry, tool
from turnwise.core.messages import UserMessage
from turnwise.core.replay import replay
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import Steered, StepStarted, TextDelta, ToolFinished
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, raw_call, reply, text
from turnwise.wire.serve import Part


@dataclass
class City:
    """A city."""

    name: str
    people: int = 0


@dataclass
class Town:
    name: str


class Range(pydantic.BaseModel):
    low: int
    high: int

    @pydantic.model_validator(mode="after")
    def in_order(self) -> Range:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


LOOKED: list[str] = []


@tool
async def look(what: str) -> str:
    """Look at something."""
    LOOKED.append(what)
    return f"saw {what}"


BY_TOOL = {"vertex", "cohere", "ollama"}
"""Those whose model cannot be held to a schema while it has tools."""
OSLO, VALUE = '{"name": "Oslo", "people": 7}', City("Oslo", 7)
QUICK = Retry(attempts=3, base_delay_s=0.001)


@pytest.fixture(params=PROVIDERS.values(), ids=lambda p: p.name)
def provider(request: pytest.FixtureRequest) -> Provider:
    return request.param


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[False, True], ids=["alone", "tools"])
def tools(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    return (look,) if request.param else ()


def answers_by_tool(provider: Provider, tools: tuple[Any, ...]) -> bool:
    return bool(tools) and provider.name in BY_TOOL


def answer(by_tool: bool, said: str) -> Part:
    return raw_call("final_answer", said, size=7) if by_tool else text(said, size=5)


def body_of(scripted: ScriptedProvider, number: int) -> str:
    return json.dumps(scripted.requests[number].body, ensure_ascii=False)


async def test_an_answer_is_the_value(provider: Provider, streamed: bool, tools: tuple[Any, ...]) -> None:
    """However it is asked for, one request brings it, and the text is what the model gave."""
    by_tool = answers_by_tool(provider, tools)
    async with ScriptedProvider([reply(answer(by_tool, OSLO))]) as scripted:
        result = await provider.agent(scripted, *tools, stream=streamed).run("Where?", output=City)
    assert result.output == VALUE and type(result.output) is City
    assert (result.reason, result.steps, result.calls) == ("completed", 1, 0)
    assert json.loads(result.text) == json.loads(OSLO)
    assert ("final_answer" in body_of(scripted, 0)) == by_tool
    assert "people" in body_of(scripted, 0)


async def test_tools_are_called_before_the_answer_without_looping(provider: Provider, streamed: bool) -> None:
    by_tool = answers_by_tool(provider, (look,))
    script = [reply(call("look", what="the map")), reply(answer(by_tool, OSLO))]
    async with ScriptedProvider(script) as scripted:
        agent = provider.agent(scripted, look, stream=streamed, limits=Limits(calls=1))
        async with agent.session().stream("Where?", output=City) as turn:
            events = await read_all(turn)
    result = assert_ended(events).result
    assert result.output == VALUE
    assert (result.reason, result.steps, result.calls) == ("completed", 2, 1)
    assert turn.result == result
    assert "saw the map" in body_of(scripted, 1)


async def test_an_answer_that_does_not_fit_is_corrected(
    provider: Provider, streamed: bool, tools: tuple[Any, ...]
) -> None:
    by_tool = answers_by_tool(provider, tools)
    script = [reply(answer(by_tool, '{"people": 3}')), reply(answer(by_tool, OSLO))]
    async with ScriptedProvider(script) as scripted:
        agent = provider.agent(scripted, *tools, stream=streamed)
        session = agent.session()
        async with session.stream("Where?", output=City) as turn:
            events = await read_all(turn)
    result = assert_ended(events).result
    assert (result.output, result.reason, result.steps) == (VALUE, "completed", 2)
    assert "missing required field `name`" in body_of(scripted, 1)
    marks = [m.mark for m in session.messages if isinstance(m, UserMessage)]
    assert marks == ([""] if by_tool else ["", "problem"])
    assert [e.mark for e in events if type(e) is Steered] == ([] if by_tool else ["problem"])


async def test_the_budget_of_corrections_ends(provider: Provider, tools: tuple[Any, ...]) -> None:
    """E10: the error has the true account, and the session goes on."""
    by_tool = answers_by_tool(provider, tools)
    wrong = reply(answer(by_tool, '{"name": 1}'))
    async with ScriptedProvider([wrong, wrong, reply("Fine.")]) as scripted:
        session = provider.agent(scripted, *tools).session()
        with pytest.raises(ProviderError) as caught:
            await session.run("Where?", output=Output(City, retries=1))
        assert caught.value.code == "invalid_output"
        assert "Expected `str`, got `int` - at `$.name`" in caught.value.message
        result = caught.value.result
        assert result is not None and result.output is None
        assert (result.reason, result.steps, result.usage.input_tokens is not None) == ("error", 2, True)
        await goes_on(session)


async def test_retries_of_the_agent_hold_unless_the_output_says_otherwise() -> None:
    async with ScriptedProvider([reply("no"), reply("no"), reply(OSLO)]) as scripted:
        agent = PROVIDERS["openai"].agent(scripted, output_retries=0)
        with pytest.raises(ProviderError):
            await agent.run("Where?", output=City)
        assert (await agent.run("Where?", output=Output(City, retries=1))).output == VALUE
    with pytest.raises(ConfigError):
        PROVIDERS["openai"].agent("http://x", output_retries=-1)


async def test_who_answers_in_words_is_told_to_use_the_tool_and_json_in_words_is_taken() -> None:
    cohere = PROVIDERS["cohere"]
    async with ScriptedProvider([reply("It is Oslo."), reply(f"```json\n{OSLO}\n```")]) as scripted:
        result = await cohere.agent(scripted, look).run("Where?", output=City)
    assert (result.output, result.steps) == (VALUE, 2)
    assert "not given in words" in body_of(scripted, 1)


async def test_other_calls_beside_the_answer_are_run() -> None:
    LOOKED.clear()
    parts = call("look", what="a"), raw_call("final_answer", OSLO), raw_call("final_answer", '{"name": "Bergen"}')
    async with (
        ScriptedProvider([reply(*parts)]) as scripted,
        PROVIDERS["cohere"].agent(scripted, look).session().stream("Where?", output=City) as turn,
    ):
        events = await read_all(turn)
    result = assert_ended(events).result
    assert (result.output, result.calls, LOOKED) == (VALUE, 1, ["a"])
    assert [e.name for e in events if type(e) is ToolFinished].count("final_answer") == 2


KINDS: list[tuple[Any, str, Any]] = [
    (int, '{"value": 3}', 3),
    (list[City], '{"value": [{"name": "Oslo"}]}', [City("Oslo")]),
    (City | Town, '{"value": {"kind": "Town", "data": {"name": "Ulm"}}}', Town("Ulm")),
    (Range, '{"low": 1, "high": 2}', Range(low=1, high=2)),
    (Literal["yes", "no"], '{"value": "no"}', "no"),
    ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, '{"n": 1}', {"n": 1}),
    ({"type": "array", "items": {"type": "string"}}, '{"value": ["a"]}', ["a"]),
    (str, "Just words.", "Just words."),
]


@pytest.mark.parametrize(("kind", "said", "value"), KINDS, ids=[str(k[0])[:20] for k in KINDS])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_every_kind_over_every_api(name: str, kind: Any, said: str, value: Any) -> None:
    async with ScriptedProvider([reply(text(said))]) as scripted:
        assert (await PROVIDERS[name].agent(scripted).run("?", output=kind)).output == value


async def test_what_a_model_of_pydantic_refuses_goes_back_in_its_words() -> None:
    script = [reply('{"low": 5, "high": 1}'), reply('{"low": 1, "high": 5}')]
    async with ScriptedProvider(script) as scripted:
        result = await PROVIDERS["anthropic"].agent(scripted).run("?", output=Range)
    assert result.output == Range(low=1, high=5)
    assert "low is above high" in body_of(scripted, 1)


# --- asking --------------------------------------------------------------------------------------------------------------


async def test_a_free_form_goes_by_a_tool_that_the_model_must_call() -> None:
    async with ScriptedProvider([reply(raw_call("final_answer", '{"a": 1}'))]) as scripted:
        result = await PROVIDERS["openai"].agent(scripted).run("?", output=dict[str, int])
    assert result.output == {"a": 1}
    body = scripted.requests[0].body
    assert body["tool_choice"] == {"type": "function", "function": {"name": "final_answer"}}
    assert "response_format" not in body


async def test_with_other_tools_some_tool_must_be_called_and_they_are_sorted() -> None:
    """T7."""

    @tool
    async def zoom() -> str:
        return ""

    async with ScriptedProvider([reply(raw_call("final_answer", '{"a": 1}'))]) as scripted:
        await PROVIDERS["openai"].agent(scripted, zoom, look).run("?", output=dict[str, int])
    body = scripted.requests[0].body
    assert body["tool_choice"] == "required"
    assert [t["function"]["name"] for t in body["tools"]] == ["final_answer", "look", "zoom"]


async def test_a_model_that_thinks_is_not_forced_and_a_choice_of_the_caller_stays() -> None:
    thinking = ModelSettings(reasoning=Reasoning("low"), max_output_tokens=8000)
    chosen = ModelSettings(tool_choice=OneTool("look"))
    said = reply(raw_call("final_answer", OSLO))
    async with ScriptedProvider([said, said]) as scripted:
        for settings in (thinking, chosen):
            model = Model("anthropic:claude-opus-4-1", base_url=scripted.anthropic_url, api_key="k")
            agent = Agent(model, tools=[look], settings=settings)
            assert (await agent.run("?", output=City)).output == VALUE
    assert "tool_choice" not in scripted.requests[0].body
    assert scripted.requests[1].body["tool_choice"] == {"type": "tool", "name": "look"}


async def test_prompted_tools_leave_words_for_the_answer() -> None:
    said = [reply('<tool_call>\n{"name": "look", "arguments": {"what": "it"}}\n</tool_call>'), reply(f"Here: {OSLO}")]
    async with ScriptedProvider(said) as scripted:
        agent = Agent(PROVIDERS["openai"].at(scripted, tools="prompted"), tools=[look], instructions="Be brief.")
        result = await agent.run("?", output=City)
    assert (result.output, result.steps) == (VALUE, 2)
    system = scripted.requests[0].body["messages"][0]["content"]
    assert system.startswith("Be brief.") and '"people"' in system
    assert "tools" not in scripted.requests[0].body


async def test_a_host_that_knows_json_but_no_schemas_gets_the_schema_in_words() -> None:
    async with ScriptedProvider([reply(OSLO)]) as scripted:
        agent = Agent("deepseek:deepseek-chat", base_url=scripted.openai_url, api_key="k")
        assert (await agent.run("?", output=Output(City, strategy="native"))).output == VALUE
    body = scripted.requests[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert '"people"' in body["messages"][0]["content"]


async def test_an_output_takes_the_place_of_a_format_in_the_settings() -> None:
    other = ModelSettings(output=OutputFormat('{"type": "object"}', "other"))
    async with ScriptedProvider([reply(OSLO), reply(raw_call("final_answer", OSLO))]) as scripted:
        agent = PROVIDERS["openai"].agent(scripted, settings=other)
        await agent.run("?", output=City)
        await agent.run("?", output=Output(City, strategy="tool"))
    assert scripted.requests[0].body["response_format"]["json_schema"]["name"] == "City"
    assert "response_format" not in scripted.requests[1].body


async def test_a_tool_of_the_same_name_is_refused_only_where_it_would_be_mistaken() -> None:
    @tool
    async def final_answer(name: str) -> str:
        return name

    async with ScriptedProvider([reply(call("final_answer", name="x")), reply(OSLO)]) as scripted:
        with pytest.raises(ConfigError) as caught:
            await PROVIDERS["cohere"].agent(scripted, final_answer).run("?", output=City)
        assert caught.value.code == "duplicate_tool"
        result = await PROVIDERS["openai"].agent(scripted, final_answer).run("?", output=City)
    assert (result.output, result.calls) == (VALUE, 1)


async def test_a_type_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    agent = PROVIDERS["openai"].agent("http://127.0.0.1:9")
    with pytest.raises(ConfigError) as caught:
        await agent.run("?", output=complex)
    assert caught.value.code == "bad_output"
    with pytest.raises(ConfigError):
        agent.session().stream("?", output=complex)
    with pytest.raises(ConfigError):
        agent.stream_output("?", None)


async def test_each_model_is_asked_in_its_own_way() -> None:
    """A fallback in mid-turn: the first model is held to the schema, the second has a tool for its answer."""
    async with ScriptedProvider([fail(503), reply(raw_call("final_answer", OSLO))]) as scripted:
        models = [PROVIDERS[name].at(scripted) for name in ("anthropic", "cohere")]
        agent = Agent(models=models, tools=[look], retry=Retry(attempts=1))
        result = await agent.run("?", output=City)
    assert (result.output, result.calls) == (VALUE, 0)
    assert "output_config" in scripted.requests[0].body and "final_answer" in body_of(scripted, 1)


async def test_the_plan_of_an_output_is_kept() -> None:
    """Asking again for the same costs no schema, strategy or head."""
    async with ScriptedProvider([reply(OSLO)] * 3) as scripted:
        agent = PROVIDERS["openai"].agent(scripted)
        plans: list[Any] = []
        for _ in range(2):
            async with agent.session().stream("?", output=City) as turn:
                plans.append(turn.plan)
                await read_all(turn)
        async with agent.session().stream("?", output=Output(City, name="x")) as turn:
            plans.append(turn.plan)
            await read_all(turn)
    assert plans[0] is plans[1]
    assert plans[2] is not plans[1]
    assert scripted.requests[0].raw == scripted.requests[1].raw


def test_who_asks_for_no_output_loads_nothing_of_it() -> None:
    script = """
import asyncio, sys
from turnwise import Agent
from turnwise.testing import ScriptedProvider, reply
async def main():
    async with ScriptedProvider([reply("hi")]) as scripted:
        await Agent("openai:m", base_url=scripted.openai_url, api_key="k").run("?")
asyncio.run(main())
print([m for m in sys.modules if m.endswith((".runtime.output", "tools.output", "tools.answers", "structured"))])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- ends ----------------------------------------------------------------------------------------------------------------


async def test_a_limit_may_leave_no_answer_and_the_result_says_so() -> None:
    async with ScriptedProvider([reply(call("look", what="it"))]) as scripted:
        agent = PROVIDERS["openai"].agent(scripted, look, limits=Limits(steps=1))
        result = await agent.run("?", output=City)
    assert (result.reason, result.cause, result.output) == ("limit", "steps", None)


@pytest.mark.parametrize(("last", "value"), [(OSLO, VALUE), ("I do not know.", None)])
async def test_the_last_word_before_a_limit_is_taken_if_it_fits(last: str, value: Any) -> None:
    async with ScriptedProvider([reply(call("look", what="it")), reply(last)]) as scripted:
        agent = PROVIDERS["openai"].agent(scripted, look, limits=Limits(steps=1, on_limit="conclude"))
        result = await agent.run("?", output=City)
    assert (result.reason, result.output, result.steps) == ("limit", value, 2)


async def test_a_refusal_is_no_answer_and_is_not_argued_with() -> None:
    async with ScriptedProvider([reply("I cannot help with that.", stop="refusal")]) as scripted:
        result = await PROVIDERS["anthropic"].agent(scripted).run("?", output=str)
    assert (result.reason, result.cause, result.output) == ("completed", "refusal", None)


async def test_an_answer_that_was_cut_off_is_asked_for_again() -> None:
    async with ScriptedProvider([reply('{"name": "Os', stop="max_tokens"), reply(OSLO)]) as scripted:
        result = await PROVIDERS["anthropic"].agent(scripted).run("?", output=City)
    assert (result.output, result.steps) == (VALUE, 2)


async def test_an_interrupt_leaves_no_output() -> None:
    async with ScriptedProvider([reply(text(OSLO, size=3), stall_after_event=6)]) as scripted:
        session = PROVIDERS["openai"].agent(scripted).session()
        async with session.stream("?", output=City) as turn:
            async for event in turn:
                if type(event) is TextDelta:
                    session.interrupt()
    assert (turn.result.reason, turn.result.output) == ("interrupted", None)


async def test_a_steer_after_the_answer_leads_to_another() -> None:
    """T3."""
    async with ScriptedProvider([reply(OSLO), reply('{"name": "Bergen"}')]) as scripted:
        session = PROVIDERS["openai"].agent(scripted).session()
        async with session.stream("?", output=City) as turn:
            async for event in turn:
                if type(event) is StepStarted and event.step == 1:
                    await session.steer("Another one.")
    assert (turn.result.output, turn.result.steps) == (City("Bergen"), 2)


@pytest.mark.parametrize("name", ["openai", "cohere"])
async def test_a_journal_with_typed_answers_replays(name: str) -> None:
    """The value is no part of the journal; the text that it was read from is in the result, live and replayed."""
    by_tool = name == "cohere"
    script = [
        reply(answer(by_tool, "{}")),
        reply(call("look", what="it")),
        reply(answer(by_tool, OSLO)),
        reply(answer(by_tool, "{}")),
    ]
    store = MemoryStore()
    async with ScriptedProvider(script) as scripted:
        session = PROVIDERS[name].agent(scripted, look, store=store).session()
        result = await session.run("?", output=City)
        with pytest.raises(ProviderError):
            await session.run("?", output=Output(City, retries=0))
    played = replay(await store.read(session.id))
    assert result.output == VALUE
    assert played.results[0] == msgspec.structs.replace(result, output=None)
    assert played.results[0].text == OSLO
    assert played.results[1].error is not None and played.results[1].error.code == "invalid_output"
    assert played.state.transcript == list(session.messages)


async def test_a_store_that_takes_its_time_changes_nothing() -> None:
    async def give_way(_: str) -> None:
        await asyncio.sleep(0)

    async with ScriptedProvider([reply(answer(True, "{}")), reply(answer(True, OSLO))]) as scripted:
        agent = PROVIDERS["cohere"].agent(scripted, look, store=SuspendingStore(give_way))
        async with agent.session().stream("?", output=City) as turn:
            events = await read_all(turn)
    assert assert_ended(events).result.output == VALUE == turn.result.output


@pytest.mark.parametrize("driver", ["channel", "dropped", "steps", "watched"])
@pytest.mark.parametrize("name", ["openai", "cohere"])
async def test_every_driver_brings_the_value(name: str, driver: str) -> None:
    """The same value and account, with a correction on the way, whoever drives the turn and whoever watches."""
    by_tool = name == "cohere"
    async with ScriptedProvider([reply(answer(by_tool, "{}")), reply(answer(by_tool, OSLO))]) as scripted:
        session = PROVIDERS[name].agent(scripted, look).session()
        if driver == "channel":
            channel, handle = await session.channel("?", buffer=1, output=City)
            events = [event async for event in channel]
            result = await handle.result()
        elif driver == "dropped":
            async with session.channel("?", on_drop="detach", output=City) as (_, handle):
                pass
            result, events = await handle.result(), []
        elif driver == "steps":
            async with session.steps("?", output=City) as steps:
                taken = [step async for step in steps]
            result, events = steps.result, []
            assert len(taken) == 2
        else:
            async with session.stream("?", output=City) as turn:
                watcher = turn.watch("block")
                watching = asyncio.ensure_future(seen_by(watcher))
                await read_all(turn)
            result, events = turn.result, await watching
    assert (result.output, result.reason, result.steps) == (VALUE, "completed", 2)
    assert not events or events[-1].result == result


async def seen_by(watcher: Any) -> list[Any]:
    return [event async for event in watcher]


def test_from_synchronous_code() -> None:
    with ScriptedProvider([reply(OSLO), reply(OSLO)]) as scripted:
        agent = PROVIDERS["openai"].agent(scripted)
        assert agent.run_sync("?", output=City).output == VALUE
        assert agent.session().run_sync("?", output=City).output == VALUE
