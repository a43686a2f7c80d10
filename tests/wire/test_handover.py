"""A history made with one provider is taken up by the other, whatever is in it (rule T8), and foreign reasoning stays at home (T5).

Every request on the way is held against the official SDK's own types and the semantic validator of its API.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import anthropic.types.message_create_params as anthropic_params
import openai.types.chat.completion_create_params as openai_params
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise import Agent, Image, ModelSettings, Reasoning, Runtime, Session, ToolError, tool
from turnwise.core.messages import Message
from turnwise.core.repair import repair
from turnwise.events import TextDelta, ToolStarted
from turnwise.store.memory import MemoryBlobs
from turnwise.testing import RecordedRequest, ScriptedProvider, call, check, redacted, reply, text, think
from turnwise.testing.script import ScriptItem

TYPES = {
    ("anthropic.messages", True): anthropic_params.MessageCreateParamsStreaming,
    ("anthropic.messages", False): anthropic_params.MessageCreateParamsNonStreaming,
    ("openai.chat", True): openai_params.CompletionCreateParamsStreaming,
    ("openai.chat", False): openai_params.CompletionCreateParamsNonStreaming,
}
THOUGHT = {"anthropic": "I think in Anthropic's way", "openai": "I reason as chat models do"}
SIGNED = "c2lnbmVkLWJ5LWFudGhyb3BpYw=="


@cache
def checker() -> Any:
    spec = importlib.util.spec_from_file_location("sdk_types", Path(__file__).with_name("sdk_types.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check_against


def assert_accepted(request: RecordedRequest) -> None:
    """The request fits the SDK's types, extra keys refused, and the rules of the API's documents."""
    assert request.problems == ()
    assert check(request.api, request.body) == []
    type_ = TYPES[request.api, request.body.get("stream") is True]
    assert checker()(type_, request.body) == []


def last_of(request: RecordedRequest) -> bytes:
    """The last message of a request."""
    return request.raw[request.raw.rindex(b'"role"') :]


# --- the tools of all legs -----------------------------------------------------------------------------------------------


@tool
async def weather(city: str) -> str:
    """Forecast for a city."""
    if city == "Atlantis":
        raise ToolError("there is no such city")
    return f"Sun in {city}"


@tool
async def draw(what: str) -> Any:
    """A picture of something."""
    return [f"Here is {what}:", Image.of(b"\x89PNG a drawing")]


@tool
async def wait() -> str:
    """Never comes back by itself."""
    await asyncio.Event().wait()
    return ""


# --- legs: one turn each, with what it leaves in the history -------------------------------------------------------------

Drive = Callable[[Session[Any]], Awaitable[None]]


async def ask(session: Session[Any]) -> None:
    assert (await session.run("And now?")).reason == "completed"


async def ask_with_image(session: Session[Any]) -> None:
    assert (await session.run(["What is this?", Image.of(b"\x89PNG a cat")])).reason == "completed"


async def stop_in_text(session: Session[Any]) -> None:
    async with session.stream("Tell me everything.") as turn:
        async for event in turn:
            if type(event) is TextDelta:
                break
    assert turn.result.reason == "interrupted"


async def stop_in_tool(session: Session[Any]) -> None:
    async with session.stream("Wait for it.") as turn:
        async for event in turn:
            if type(event) is ToolStarted and event.name == "wait":
                break
    assert turn.result.reason == "interrupted"


async def stop_before_anything(session: Session[Any]) -> None:
    async with session.stream("Hello?"):
        pass


def thought(host: str) -> Any:
    return think(THOUGHT[host], signature=SIGNED) if host == "anthropic" else think(THOUGHT[host])


LEGS: dict[str, tuple[Callable[[str], list[ScriptItem]], Drive]] = {
    "text": (lambda _: [reply("Certainly.")], ask),
    "image": (lambda _: [reply("A cat.")], ask_with_image),
    "parallel tools with an error": (
        lambda _: [
            reply(
                text("Let me look."),
                call("weather", city="Oslo"),
                call("weather", city="Atlantis"),
                call("nonsense", x=1),
                call("weather", town="Bergen"),
            ),
            reply("Sun."),
        ],
        ask,
    ),
    "tool that returns an image": (lambda _: [reply(call("draw", what="a dog")), reply("There it is.")], ask),
    "reasoning": (lambda host: [reply(thought(host), text("So it is."))], ask),
    "reasoning in a tool loop": (
        lambda host: [
            reply(thought(host), call("weather", city="Oslo")),
            reply(thought(host), call("weather", city="Bergen")),
            reply("Sun."),
        ],
        ask,
    ),
    "redacted reasoning": (
        lambda host: [
            reply(
                *([redacted("c2VhbGVk")] if host == "anthropic" else []), text("Look."), call("weather", city="Oslo")
            ),
            reply("Sun."),
        ],
        ask,
    ),
    "cut off": (lambda host: [reply("And then", stop="max_tokens" if host == "anthropic" else "length")], ask),
    "interrupted in text": (lambda _: [reply(text("one two three four"), stall_after_event=5)], stop_in_text),
    "interrupted in a tool": (
        lambda host: [reply(thought(host), call("wait"), call("weather", city="Rome"))],
        stop_in_tool,
    ),
    "interrupted in reasoning and text": (
        lambda host: [reply(thought(host), text("one two three four"), stall_after_event=12)],
        stop_in_text,
    ),
}


async def travel(
    itinerary: Sequence[tuple[str, str]], *, streamed: bool = True, thinking: ModelSettings | None = None
) -> tuple[Sequence[Message], list[RecordedRequest]]:
    """One conversation over several providers: each leg is a new session that is handed the history so far."""
    history: Sequence[Message] = ()
    requests: list[RecordedRequest] = []
    async with Runtime(blobs=MemoryBlobs()) as runtime:
        for host, leg in itinerary:
            script, drive = LEGS[leg]
            async with ScriptedProvider(script(host)) as provider:
                url = provider.anthropic_url if host == "anthropic" else provider.openai_url
                agent: Agent[Any] = Agent(
                    f"{host}:{'claude-sonnet-4-5' if host == 'anthropic' else 'gpt-4o'}",
                    instructions="Be brief.",
                    tools=[weather, draw, wait],
                    base_url=url,
                    api_key="test",
                    runtime=runtime,
                    stream=streamed or "interrupted" in leg,
                    settings=thinking if thinking and host == "anthropic" else ModelSettings(),
                )
                async with agent.session(history=history) as session:
                    assert repair(history) is history
                    await drive(session)
                    history = session.messages
                requests += provider.requests
    for request in requests:
        assert_accepted(request)
    return history, requests


OTHER = {"anthropic": "openai", "openai": "anthropic"}


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("first", OTHER)
async def test_there_and_back(first: str, leg: str) -> None:
    """T8: what one provider's turn left is accepted by the other, and by the first again after the other's."""
    there = OTHER[first]
    _, requests = await travel([(first, leg), (there, leg), (first, leg), (there, "text")])
    assert len({r.api for r in requests}) == 2


async def test_whole_history_arrives() -> None:
    """T8: nothing but foreign reasoning is lost on the way: text, images, calls and outcomes are all there."""
    legs = ["image", "parallel tools with an error", "tool that returns an image", "interrupted in text"]
    for first, there in OTHER.items():
        _, requests = await travel([*[(first, leg) for leg in legs], (there, "text")])
        last = requests[-1].raw.decode()
        for said in (
            "What is this?",
            "A cat.",
            "Let me look.",
            "Sun in Oslo",
            "there is no such city",
            "nonsense",
            "one",
        ):
            assert said in last, said
        assert last.count("iVBOR") + last.count("\\u0089PNG") + last.count("base64") >= 2


@pytest.mark.parametrize("first", OTHER)
async def test_foreign_reasoning_is_not_sent(first: str) -> None:
    """T5: reasoning of one origin never reaches the other: neither its text nor its signature."""
    there = OTHER[first]
    _, requests = await travel([(first, "reasoning"), (first, "reasoning in a tool loop"), (there, "text")])
    last = requests[-1].raw.decode()
    assert THOUGHT[first] not in last and SIGNED not in last
    assert "So it is." in last


async def test_own_reasoning_stays_in_a_tool_loop() -> None:
    """T5: within a tool loop Anthropic gets its thinking back unmodified, signature included, before the call."""
    _, requests = await travel([("anthropic", "reasoning in a tool loop")])
    for request in requests[1:]:
        said = [b for m in request.body["messages"] if m["role"] == "assistant" for b in m["content"]]
        assert {"type": "thinking", "thinking": THOUGHT["anthropic"], "signature": SIGNED} in said
        assert [b["type"] for b in said[:2]] == ["thinking", "tool_use"]


async def test_with_reasoning_asked_for() -> None:
    """T5, T8: with thinking on, foreign turns in the history do not break Anthropic's rules on the order of thinking."""
    wanted = ModelSettings(reasoning=Reasoning(effort="low"), max_output_tokens=8000)
    for leg in ("reasoning in a tool loop", "parallel tools with an error", "interrupted in a tool"):
        journey = [("anthropic", leg), ("openai", leg), ("anthropic", leg), ("anthropic", "text")]
        _, requests = await travel(journey, thinking=wanted)
        fresh = [r for r in requests if r.api == "anthropic.messages" and b"tool_result" not in last_of(r)]
        assert len(fresh) == 3 and all(r.body["thinking"]["type"] != "disabled" for r in fresh)


@settings(max_examples=25, deadline=None)
@given(
    itinerary=st.lists(
        st.tuples(st.sampled_from(sorted(OTHER)), st.sampled_from(sorted(LEGS))), min_size=2, max_size=6
    ),
    streamed=st.booleans(),
)
def test_any_journey(itinerary: list[tuple[str, str]], streamed: bool) -> None:
    """T8, T1: any legs in any order over any providers."""

    async def go() -> None:
        async with asyncio.timeout(30):
            await travel(itinerary, streamed=streamed)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(go())


def test_the_checks_can_fail() -> None:
    """The yardstick is one: a request with a field too many, or a result that nobody asked for, is refused."""
    body: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    good = RecordedRequest(1, "anthropic.messages", "POST", "/v1/messages", {}, body, b"")
    assert_accepted(good)
    orphan = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}
    for broken in ({**body, "nonsense": 1}, {**body, "messages": [orphan]}, {**body, "max_tokens": "9"}):
        with pytest.raises(AssertionError):
            assert_accepted(RecordedRequest(1, "anthropic.messages", "POST", "/v1/messages", {}, broken, b""))
