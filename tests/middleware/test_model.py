"""Middleware around model calls, through every way a response is read: H1, H3, S4, S5, C1, C2, C5, T2, T4, T7."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import Host, assert_ended, of, read_all

from turnwise import tool
from turnwise.core.usage import Usage
from turnwise.events import TextDelta
from turnwise.middleware import (
    DecoderEvent,
    ModelRequest,
    ModelResponse,
    middleware,
)
from turnwise.testing import ScriptedProvider, call, reply, text


@middleware("model")
async def plain(request: ModelRequest, next: Any) -> ModelResponse:
    return await next(request)


async def same(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield event


@middleware("model")
async def through(request: ModelRequest, next: Any) -> ModelResponse:
    return (await next(request)).through(same)


@middleware("model")
async def whole(request: ModelRequest, next: Any) -> ModelResponse:
    response = await next(request)
    return ModelResponse.of([event async for event in response.events()])


async def louder(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield msgspec.structs.replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event


@middleware("model")
async def shouting(request: ModelRequest, next: Any) -> ModelResponse:
    return (await next(request)).through(louder)


@tool
async def weather(city: str) -> str:
    """Forecast."""
    return f"{city}: 12 degrees"


SCRIPT = [
    reply(
        text("Let me look.", size=2), call("weather", city="Oslo"), call("weather", city="Bergen"), usage=Usage(70, 20)
    ),
    reply(text("Mild in both.", size=3), usage=Usage(90, 5)),
]


@pytest.mark.parametrize("wrapping", [(), (plain,), (through,), (whole,), (through, plain, through)])
async def test_a_turn_is_the_same_with_and_without(any_host: Host, wrapping: tuple[Any, ...]) -> None:
    """S5: streamed, unstreamed and through stages: one reducer, the same messages, usage and events of the journal."""
    async with ScriptedProvider(SCRIPT) as provider:
        agent = any_host.agent(provider, weather, middleware=wrapping)
        async with agent.session().stream("Weather?") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert result.text == "Mild in both." and result.reason == "completed"
        assert (result.usage.input_tokens, result.usage.output_tokens) == (160, 25)
        shown = "".join([e.text for e in of(TextDelta, events)])
        assert shown == "Let me look.Mild in both."
        assert [c.id for m in result.messages for c in getattr(m, "tool_calls", ())] == ["t1.s1.c0", "t1.s1.c1"]
        assert [r.text for m in result.messages for r in getattr(m, "results", ())] == [
            "Oslo: 12 degrees",
            "Bergen: 12 degrees",
        ]
        assert [r.body for r in provider.requests][1] == provider.requests[1].body


async def test_a_stage_changes_what_everybody_sees(any_host: Host) -> None:
    async with ScriptedProvider([reply("Hello there."), reply("Bye.")]) as provider:
        session = any_host.agent(provider, middleware=[shouting]).session()
        result = await session.run("Hi")
        assert result.text == "HELLO THERE."
        assert result.usage.output_tokens
        await session.run("And now?")
        assert "HELLO THERE." in str(provider.requests[1].body["messages"])
