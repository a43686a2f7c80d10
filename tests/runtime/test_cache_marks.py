"""Prompt caching: what is marked, what never is, and that marks change nothing else (F-M4, T7)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host

from turnwise import Image, ModelSettings, Runtime, tool
from turnwise.testing import RecordedRequest, ScriptedProvider, call, check, fail, reply, text, think
from turnwise.wire.extras import AnthropicExtra

LONG = "You are a careful assistant. " * 100


@tool
async def look(what: str) -> Any:
    return [f"saw {what}", Image.of(b"\x89PNG")]


def marks(value: Any, at: str = "") -> dict[str, Any]:
    """Every cache mark in a request, by the place of its block."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        if "cache_control" in value:
            found[at] = value["cache_control"]
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {}
    for name, inner in items:
        found |= marks(inner, f"{at}.{name}")
    return found


def unmarked(value: Any) -> Any:
    """The same without marks; text in a block of its own is text."""
    if isinstance(value, list):
        return [unmarked(v) for v in value]
    if not isinstance(value, dict):
        return value
    made = {k: unmarked(v) for k, v in value.items() if k != "cache_control"}
    match made:
        case {"content": [{"type": "text", "text": str(alone), **rest}]} if not rest:
            made["content"] = alone
        case _:
            pass
    return made


def messages_of(request: RecordedRequest) -> list[Any]:
    return [unmarked(m) for m in request.body["messages"]]


SCRIPT = [
    reply(think("Hm."), text("Let me look."), call("look", what="a"), call("look", what="b")),
    reply(call("look", what="c")),
    reply("Found."),
    fail(529),
    reply("More."),
    reply("And more."),
]


async def test_what_is_marked() -> None:
    """Tools, instructions, the last message and the one that ended the request before: four at most, and the provider accepts them."""
    async with ScriptedProvider(SCRIPT) as provider:
        session = ANTHROPIC.agent(provider, look, instructions=LONG).session()
        for prompt in ("Hi", "Go on", ["And", Image.of(b"\x89PNG")]):
            await session.run(prompt)
        requests = provider.requests
    assert len(requests) == 6
    for request in requests:
        assert check(request.api, request.body) == []
        last = len(request.body["messages"]) - 1
        found = marks(request.body)
        assert len(found) <= 4
        assert ".tools.0" in found and ".system.0" in found
        assert any(at.startswith(f".messages.{last}.") for at in found)
    for earlier, later in itertools.pairwise(requests):
        before = messages_of(earlier)
        assert messages_of(later)[: len(before)] == before, "T7: marks aside, the prefix never changes"
        ended = len(before) - 1
        assert any(at.startswith(f".messages.{ended}.") for at in marks(later.body)), "what was cached is found again"


async def test_a_retried_request_is_the_same() -> None:
    async with ScriptedProvider([fail(529), reply("Hi.")]) as provider:
        await ANTHROPIC.agent(provider, instructions=LONG).run("Hi")
        assert provider.requests[0].raw == provider.requests[1].raw


@pytest.mark.parametrize("large", [False, True])
async def test_large_bodies_are_marked_in_place(large: bool) -> None:
    """A body that is sent in parts is the same body."""
    prompt = "word " * (20_000 if large else 1_000)
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = ANTHROPIC.agent(provider, instructions="Be brief.").session()
        await session.run(prompt)
        await session.run("And now?")
        first, second = (r.body["messages"] for r in provider.requests)
        mark = {"type": "ephemeral"}
        assert first == [{"role": "user", "content": [{"type": "text", "text": prompt, "cache_control": mark}]}]
        assert second[0] == first[0] and second[1] == {"role": "assistant", "content": "One."}
        assert second[2]["content"] == [{"type": "text", "text": "And now?", "cache_control": mark}]


async def test_how_long_and_whether() -> None:
    """The time to live is the caller's; `off` marks nothing; other APIs are asked nothing."""
    async with ScriptedProvider([reply("A."), reply("B."), reply("C.")]) as provider:
        ttl = ModelSettings(extra=AnthropicExtra(cache_ttl="1h"))
        await ANTHROPIC.agent(provider, look, instructions=LONG, settings=ttl).run("Hi")
        await ANTHROPIC.agent(provider, look, instructions=LONG, settings=ModelSettings(cache="off")).run("Hi")
        await Host("openai").agent(provider, look, instructions=LONG).run("Hi")
        long, off, other = (marks(r.body) for r in provider.requests)
        assert len(long) == 3 and all(mark == {"type": "ephemeral", "ttl": "1h"} for mark in long.values())
        assert off == {} and other == {}


async def test_short_requests_bear_no_marks_on_messages() -> None:
    """No provider caches fewer than 1,024 tokens."""
    async with ScriptedProvider([reply("Hi.")]) as provider:
        await ANTHROPIC.agent(provider).run("Hi")
        assert marks(json.loads(provider.requests[0].raw)) == {}


async def test_marks_survive_dropped_connections() -> None:
    """A request given up in mid-body may still hold the buffer: the next one is whole all the same."""
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider, Runtime() as runtime:
        session = ANTHROPIC.agent(provider, instructions=LONG, runtime=runtime).session()
        await session.run("word " * 20_000)
        held = memoryview(session.prefix._segments)  # pyright: ignore[reportPrivateUsage]
        await session.run("And now?")
        held.release()
        assert [m["role"] for m in provider.requests[1].body["messages"]] == ["user", "assistant", "user"]
