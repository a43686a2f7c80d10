"""A history made with one provider is taken up by any other, whatever is in it (rule T8), ids never collide (T4), and foreign
reasoning stays at home (T5).

Every request on the way is held against the official SDK's own types and the semantic validator of its API.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.providers import PROVIDERS, Provider
from tests.wire.official import official_problems

from turnwise import Audio, Document, Image, ModelSettings, Reasoning, Runtime, Session, ToolError, tool
from turnwise.core.content import Inline, Text, ToolCall, Url
from turnwise.core.errors import ConfigError
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.repair import repair
from turnwise.events import TextDelta, ToolStarted
from turnwise.store.memory import MemoryBlobs
from turnwise.testing import RecordedRequest, ScriptedProvider, call, check, raw, redacted, repeat, reply, text, think
from turnwise.testing.script import ScriptItem

FIXTURES = Path(__file__).parent / "fixtures"
CHAT_WITH_REASONING = Provider("litellm", "openai.chat", "claude")
"""One of the hosts of Chat Completions that get their own reasoning back; OpenAI does not."""
PLACES = {**PROVIDERS, CHAT_WITH_REASONING.name: CHAT_WITH_REASONING}
HOSTS = tuple(PLACES)
PAIRS = [*itertools.permutations(HOSTS, 2)]
TOUR = (
    *("anthropic", "openai", "openai-responses", "gemini", "cohere", "bedrock", "ollama"),
    *("vertex", "litellm", "anthropic"),
)
LOW = ModelSettings(reasoning=Reasoning(effort="low"), max_output_tokens=8000)


def thought_of(host: str) -> str:
    return f"This is how {host} thinks, step by step"


def seal_of(host: str, what: str = "signed") -> str:
    return b64encode(f"{what} by {host}!!".encode()).decode()


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
Script = Callable[[str], list[ScriptItem]]


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


def thought(host: str) -> Any:
    return think(thought_of(host), signature=seal_of(host))


def endless() -> Any:
    """Long enough for `stall_after_event=40` to be in its middle, however many events an API has for the rest."""
    return text("one " + "more " * 60)


GOOGLES = ("executableCode", "codeExecutionResult", "c2lnbmF0dXJl")
NATIVE: dict[str, tuple[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic", ("srvtoolu_1", "web_search_result", "c2VjcmV0")),
    "openai-responses": ("openai_responses", ("ws_1", "rs_1", "gAAAAA")),
    "gemini": ("gemini", (*GOOGLES, "GOOGLE_SEARCH_WEB")),
    "vertex": ("gemini", GOOGLES),
}
"""Recordings of answers with a provider's own tools, and the marks of what it alone may get back."""


def recorded(host: str) -> list[ScriptItem]:
    body = (FIXTURES / NATIVE[host][0] / "server_tools.sse").read_bytes()
    if host == "vertex":  # searches by way of calls are AI Studio's alone
        body = b"".join([line for line in body.splitlines(keepends=True) if b"toolCall" not in line])
    pauses = [reply("Go on.")] if b"pause_turn" in body else []
    return [raw(body, content_type="text/event-stream"), *pauses]


LEGS: dict[str, tuple[Script, Drive]] = {
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
            reply(redacted(seal_of(host, "sealed")), text("Look."), call("weather", city="Oslo")),
            reply("Sun."),
        ],
        ask,
    ),
    "native items": (lambda host: recorded(host) if host in NATIVE else [reply("None.")], ask),
    "cut off": (lambda _: [reply("And then", stop="length")], ask),
    "interrupted in text": (lambda _: [reply(endless(), stall_after_event=40)], stop_in_text),
    "interrupted in a tool": (
        lambda host: [reply(thought(host), call("wait"), call("weather", city="Rome"))],
        stop_in_tool,
    ),
    "interrupted in reasoning and text": (
        lambda host: [reply(thought(host), endless(), stall_after_event=40)],
        stop_in_text,
    ),
}


class Seen(msgspec.Struct):
    """A request on the way: whom it was sent to, and whether a stream was asked for."""

    host: str
    request: RecordedRequest
    streamed: bool

    @property
    def said(self) -> str:
        return self.request.raw.decode()

    @property
    def last_message(self) -> str:
        """From the last role on: to the end of the last message."""
        return self.said[self.said.rindex('"role"') :]


def assert_accepted(seen: Seen) -> None:
    """The request fits the SDK's types, extra keys refused, and the rules of the API's documents."""
    request = seen.request
    assert request.problems == ()
    assert check(request.api, request.body, path=request.path) == []
    assert official_problems(request.api, typed_body(seen), request.path, seen.streamed) == []


def typed_body(seen: Seen) -> dict[str, Any]:
    """The body without what LiteLLM adds to OpenAI's API: https://docs.litellm.ai/docs/reasoning_content."""
    if seen.host != CHAT_WITH_REASONING.name:
        return seen.request.body
    messages = [{k: v for k, v in m.items() if k != "reasoning_content"} for m in seen.request.body["messages"]]
    return {**seen.request.body, "messages": messages}


def foreign_to(host: str) -> list[str]:
    """What the others' models think and seal, as it would stand in a request."""
    others = [h for h in HOSTS if h != host]
    return [s for h in others for s in (thought_of(h), seal_of(h), seal_of(h, "sealed"))]


async def travel(
    itinerary: Sequence[tuple[str, str]],
    *,
    streamed: bool = True,
    settings: ModelSettings | None = None,
    history: Sequence[Message] = (),
    blobs: MemoryBlobs | None = None,
) -> tuple[Sequence[Message], list[Seen]]:
    """One conversation over several providers: each leg is a new session that is handed the history so far."""
    requests: list[Seen] = []
    async with Runtime(blobs=MemoryBlobs() if blobs is None else blobs) as runtime:
        for host, leg in itinerary:
            script, drive = LEGS[leg]
            stream = streamed or leg.startswith("interrupted")
            async with ScriptedProvider(script(host)) as provider:
                agent = PLACES[host].agent(
                    provider,
                    *(weather, draw, wait),
                    instructions="Be brief.",
                    runtime=runtime,
                    stream=stream,
                    settings=settings or ModelSettings(),
                )
                async with agent.session(history=history) as session:
                    assert repair(history) is history
                    await drive(session)
                    history = session.messages
            requests += [Seen(host, request, stream) for request in provider.requests]
    for seen in requests:
        assert_accepted(seen)
        assert [s for s in foreign_to(seen.host) if s in seen.said] == [], "foreign reasoning was sent"
    return history, requests


OUTWARD = (
    *("image", "parallel tools with an error", "tool that returns an image", "reasoning in a tool loop"),
    *("redacted reasoning", "interrupted in reasoning and text", "cut off"),
)


_LEFT: dict[str, tuple[Sequence[Message], MemoryBlobs]] = {}


async def left_by(host: str) -> tuple[Sequence[Message], MemoryBlobs]:
    """What the turns with a provider left, with the blobs that it speaks of; made once for all whom it is handed to."""
    if host not in _LEFT:
        blobs = MemoryBlobs()
        history, requests = await travel([(host, leg) for leg in OUTWARD], blobs=blobs)
        assert {s.host for s in requests} == {host}
        _LEFT[host] = history, blobs
    return _LEFT[host]


@pytest.mark.parametrize(("first", "there"), PAIRS, ids=lambda h: h)
async def test_there_and_back(first: str, there: str) -> None:
    """T8, T4, T5: what one provider's turns left is accepted by each other one, and by the first again."""
    history, blobs = await left_by(first)
    back = [(there, "parallel tools with an error"), (first, "text")]
    _, requests = await travel(back, history=history, blobs=blobs)
    assert {s.host for s in requests} == {first, there}
    arrived = next(s for s in requests if s.host == there)
    for said in ("What is this?", "A cat.", "Let me look.", "Sun in Oslo", "no such city", "nonsense", "one more"):
        assert said in arrived.said, said
    for image in (b"\x89PNG a cat", b"\x89PNG a drawing"):
        assert b64encode(image).decode() in arrived.said


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("leg", LEGS)
async def test_the_grand_tour(leg: str, streamed: bool) -> None:
    """T8, T4, T5: every leg over every provider and home again, streamed and not."""
    history, requests = await travel([*[(host, leg) for host in TOUR], ("anthropic", "text")], streamed=streamed)
    assert {s.host for s in requests} == set(HOSTS)
    calls = [c.id for m in history if isinstance(m, AssistantMessage) for c in m.tool_calls]
    assert len(calls) == len(set(calls))


SENT_BACK = {
    "anthropic": ("thought", "signed"),
    "openai": (),  # Chat Completions has no place for reasoning
    "openai-responses": ("thought", "signed"),
    "gemini": ("thought", "signed"),
    "vertex": ("thought", "signed"),
    "cohere": ("thought",),
    "bedrock": ("thought", "signed"),
    "ollama": ("thought",),
    "litellm": ("thought",),
}
"""What of its own reasoning a provider gets back within a tool loop."""


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("host", HOSTS)
async def test_own_reasoning_stays_in_a_tool_loop(host: str, streamed: bool) -> None:
    """T5: within a tool loop a model gets its thinking back unmodified, once for each time, before its call."""
    _, requests = await travel([(host, "reasoning in a tool loop")], streamed=streamed)
    for number, seen in enumerate(requests):
        back = SENT_BACK[host]
        assert seen.said.count(thought_of(host)) == (number if "thought" in back else 0)
        assert seen.said.count(seal_of(host)) == (number if "signed" in back else 0)
        if number and back:
            first = thought_of(host) if "thought" in back else seal_of(host)
            assert seen.said.index(first) < seen.said.index("Oslo")


@pytest.mark.parametrize("host", NATIVE)
async def test_native_items_go_to_nobody_else(host: str) -> None:
    """T5: items of a provider's own tools, and the seals on them, go back to it and to no other."""
    journey = [(host, "native items"), *[(h, "text") for h in HOSTS if h != host], (host, "text")]
    _, requests = await travel(journey)
    for seen in requests:
        if seen.host != host:
            assert [mark for mark in NATIVE[host][1] if mark in seen.said] == [], seen.host
    assert [mark for mark in NATIVE[host][1] if mark not in requests[-1].said] == []


@pytest.mark.parametrize("host", HOSTS)
async def test_with_reasoning_asked_for(host: str) -> None:
    """T5, T8: with thinking on, foreign turns in the history break no rule on the order of thinking."""
    there = TOUR[TOUR.index(host) + 1]
    for leg in ("reasoning in a tool loop", "parallel tools with an error", "interrupted in a tool"):
        _, requests = await travel([(host, leg), (there, leg), (host, leg), (host, "text")], settings=LOW)
        fresh = [s for s in requests if s.host == host and not RESULT.search(s.last_message)]
        assert len(fresh) == 3 and all(THINKS[host].search(s.said) for s in fresh)


RESULT = re.compile("tool_result|toolResult|functionResponse|function_call_output|tool_call_id")
"""What the last message of a request within a tool loop holds, in some API's words."""
CLAUDES = re.compile('"thinking":{"type":"(enabled|adaptive)"')
THINKS = {
    "anthropic": CLAUDES,
    "openai": re.compile('"reasoning_effort":"low"'),
    "openai-responses": re.compile('"reasoning":{"effort":"low"'),
    "gemini": re.compile('"thinkingConfig":{"thinkingLevel":"LOW"', re.IGNORECASE),
    "vertex": re.compile('"thinkingConfig":{"thinkingBudget":[1-9]'),
    "cohere": re.compile('"thinking":{"type":"enabled"'),
    "bedrock": CLAUDES,
    "ollama": re.compile('"think":"low"'),
    "litellm": re.compile('"reasoning_effort":"low"'),
}
"""How a request asks for reasoning with low effort."""


MEDIA: dict[str, tuple[Any, tuple[str, ...]]] = {
    "audio": (Audio(Inline(b"RIFF", "audio/wav")), ("anthropic", "openai-responses", "cohere", "ollama")),
    "PDF": (Document(Inline(b"%PDF-1.7", "application/pdf"), "a.pdf"), ("cohere", "ollama")),
    "text file": (Document(Inline(b"notes", "text/markdown"), "notes.md"), ()),
    "image by URL": (Image(Url("https://example.com/a.png")), ("bedrock", "ollama")),
}
"""What a user shows to a model, and the providers that have no place for it (docs/providers.md)."""


@pytest.mark.parametrize("there", HOSTS)
@pytest.mark.parametrize("medium", MEDIA)
async def test_media_arrive_or_are_refused_by_name(medium: str, there: str) -> None:
    """T8: what a provider cannot take is refused before it is sent, not left out; the conversation goes on elsewhere."""
    shown, refusing = MEDIA[medium]
    history: Sequence[Message] = (UserMessage((Text("Look at this."), shown)), AssistantMessage("I see."))
    async with Runtime(blobs=MemoryBlobs()) as runtime, ScriptedProvider([repeat(reply("Still there."))]) as provider:
        asked = PLACES[there].agent(provider, stream=False, runtime=runtime).session(history=history)
        if there in refusing:
            with pytest.raises(ConfigError) as refused:
                await asked.run("And now?")
            assert refused.value.code == "unsupported_feature" and provider.requests == []
        else:
            assert (await asked.run("And now?")).text == "Still there."
            assert_accepted(Seen(there, provider.requests[0], False))
        elsewhere = PLACES["gemini"].agent(provider, stream=False, runtime=runtime).session(history=asked.messages)
        assert (await elsewhere.run("Is it?")).text == "Still there."
        assert_accepted(Seen("gemini", provider.requests[-1], False))


@examples(60)
@given(
    itinerary=st.lists(
        st.tuples(st.sampled_from(sorted(HOSTS)), st.sampled_from(sorted(LEGS))), min_size=2, max_size=6
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


def first_dict(value: Any) -> dict[str, Any]:
    """The innermost object at the end of a list of messages: what a part of one is."""
    last = value[-1]
    inner = [v for v in last.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    return first_dict(inner[0]) if inner else last


@pytest.mark.parametrize("host", HOSTS)
async def test_a_call_that_came_without_a_name_does_not_spoil_the_conversation(host: str) -> None:
    """T8: it was answered as an unknown tool, and no API takes a call that has no name."""
    made = (ToolCall("t1.s1.c0", "", '{"a": 1}'), ToolCall("t1.s1.c1", "look", "{}"))
    history: list[Message] = [
        UserMessage("Hi"),
        AssistantMessage(made, 1, 1),
        ToolMessage(tuple([ToolResult(call.id, "There is no such tool.") for call in made])),
        AssistantMessage("So be it.", 1, 2),
    ]
    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        session = PLACES[host].agent(provider, runtime=runtime).session(history=history)
        assert (await session.run("Again")).text == "Hello."
        (request,) = provider.requests
    assert request.problems == ()
    assert check(request.api, request.body, path=request.path) == []


@pytest.mark.parametrize("host", HOSTS)
async def test_the_checks_can_fail(host: str) -> None:
    """The yardstick is one: a field too many, however deep, a wrong type, and a stream that was not asked for are seen."""
    _, requests = await travel([(host, "image"), (host, "parallel tools with an error"), (host, "text")])
    request = requests[-1].request
    key = next(k for k in ("messages", "contents", "input") if k in request.body)

    def refused(body: dict[str, Any], streamed: bool = True) -> bool:
        return official_problems(request.api, body, request.path, streamed) != []

    assert not refused(request.body)
    assert refused(request.body, streamed=False)
    assert refused({**request.body, "nonsense": 1}) and refused({**request.body, key: {}})
    for at in range(1, len(request.body[key]) + 1):
        for change in ({"nonsense": 1}, {"role": 1}, {"text": []}, {"content": 1}):
            deep = copy.deepcopy(request.body)
            first_dict(deep[key][:at]).update(change)
            assert refused(deep), (at, change)
