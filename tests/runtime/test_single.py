"""A model without an agent: one request, the same codecs, retries, events and errors as a session's."""

from __future__ import annotations

import asyncio

import pytest
from tests.runtime.conftest import Host, in_virtual_time, names, of

from turnwise import Deadlines, Image, Model, ModelSettings, Retry, UserMessage, models
from turnwise.core.messages import AssistantMessage, ToolMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.request import Request, RequestHead, ToolSpec
from turnwise.errors import ConfigError, ProviderError, SessionError
from turnwise.events import AttemptRestarted, TextDelta
from turnwise.testing import ScriptedProvider, call, error_event, fail, hang, reply, text, think

SOON = Retry(attempts=3, base_delay_s=0)
WEATHER = ToolSpec("weather", "Forecast.", '{"type":"object","properties":{"city":{"type":"string"}}}')


def model(host: Host, provider: ScriptedProvider) -> Model:
    return Model(f"{host.name}:a-model", base_url=host.url(provider), api_key="test")


def request(host: Host, *messages: UserMessage | AssistantMessage | ToolMessage) -> Request:
    head = RequestHead("", "Be brief.", (WEATHER,), ModelSettings(temperature=0.5), host.streamed)
    return Request(head, messages or (UserMessage("Hi"),))


async def test_complete(any_host: Host) -> None:
    """Calls are answered with, not run; their ids collide with none of the history (T4)."""
    script = [reply(think("Hm."), text("Let me look."), call("weather", city="Oslo")), reply("Sun.")]
    async with ScriptedProvider(script) as provider:
        first = await models.complete(request(any_host), model=model(any_host, provider))
        assert first.text == "Let me look." and first.stop_reason == "tool_calls"
        (asked,) = first.tool_calls
        assert (asked.name, first.attempts) == ("weather", 1) and first.usage.total_tokens
        results = ToolMessage((ToolResult(asked.id, "Sunny"),))
        second = await models.complete(
            request(any_host, UserMessage("Hi"), first.message, results), model=model(any_host, provider)
        )
        assert second.text == "Sun."
        assert b"Sunny" in provider.requests[1].raw and b"Be brief." in provider.requests[1].raw
        assert provider.requests[1].body["temperature"] == 0.5


async def test_a_prompt_alone(any_host: Host) -> None:
    async with ScriptedProvider([reply("A cat.")]) as provider:
        prompt = ["What is this?", Image.of(b"\x89PNG a cat")]
        done = await models.complete(prompt, model=model(any_host, provider))
        assert done.text == "A cat." and b"iVBOR" in provider.requests[0].raw


async def test_stream(any_host: Host) -> None:
    async with ScriptedProvider([reply(text("one two three"))]) as provider:
        async with models.stream(request(any_host), model=model(any_host, provider)) as stream:
            events = [event async for event in stream]
        assert "".join([e.text for e in of(TextDelta, events)]) == stream.completion.text == "one two three"
        assert names(events)[0] == "StepStarted" and names(events)[-2:] == ["UsageUpdated", "StepFinished"]


async def test_failures_are_tried_again_and_raised(any_host: Host) -> None:
    """H3: one rule of retries; the last error is raised, typed."""
    async with ScriptedProvider([fail(500), fail(529), reply("Whole."), fail(500), fail(500), fail(500)]) as provider:
        done = await models.complete(request(any_host), model=model(any_host, provider), retry=SOON)
        assert (done.text, done.attempts) == ("Whole.", 3)
        with pytest.raises(ProviderError) as caught:
            await models.complete(request(any_host), model=model(any_host, provider), retry=SOON)
        assert caught.value.status == 500 and len(provider.requests) == 6
    async with ScriptedProvider([fail(401)]) as provider:
        with pytest.raises(ProviderError) as caught:
            async with models.stream(request(any_host), model=model(any_host, provider)) as stream:
                async for _ in stream:
                    pass
        assert caught.value.code == "auth"


async def test_fallback() -> None:
    async with ScriptedProvider([fail(529), reply("Second.")]) as provider:
        first = Model("anthropic:first", base_url=provider.anthropic_url, api_key="test")
        second = Model("openai:second", base_url=provider.openai_url, api_key="test")
        done = await models.complete("Hi", models=[first, second])
        assert (done.text, done.message.provider) == ("Second.", "openai")


async def test_a_broken_stream(host: Host) -> None:
    """S3: what was shown is not taken back, unless the watcher said that it can; the broken attempt's usage counts."""
    broken = reply(text("one two three"), error_event("overloaded", type="overloaded_error"))
    async with ScriptedProvider([broken, broken, reply("Whole.")]) as provider:
        with pytest.raises(ProviderError) as caught:
            async with models.stream("Hi", model=model(host, provider), retry=SOON) as stream:
                async for _ in stream:
                    pass
        assert caught.value.info.commit_phase == "before_commit"
        with pytest.raises(SessionError, match="not there yet"):
            stream.completion  # noqa: B018
        again = models.stream("Hi", model=model(host, provider), retry=SOON, restart="before_commit")
        async with again as stream:
            events = [event async for event in stream]
        assert len(of(AttemptRestarted, events)) == 1 and stream.completion.text == "Whole."


@pytest.mark.parametrize("how", ["leave", "cancel"])
async def test_leaving_drops_the_connection(host: Host, how: str) -> None:
    """C2, C3: no task and no socket is left; a cancellation is passed on."""
    async with ScriptedProvider([reply(text("one two three four"), stall_after_event=5)]) as provider:
        if how == "leave":
            async with models.stream("Hi", model=model(host, provider)) as stream:
                async for event in stream:
                    if type(event) is TextDelta:
                        break
        else:
            asking = asyncio.ensure_future(models.complete("Hi", model=model(host, provider)))
            await provider.reached("stalled")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await provider.reached("left")


@in_virtual_time
async def test_deadlines(host: Host) -> None:
    """C5: the first byte, the silence in mid-stream, the whole."""
    for deadlines, code, after in (
        (Deadlines(first_byte_s=7), "first_byte_timeout", 7),
        (Deadlines(turn_s=9), "provider_timeout", 9),
    ):
        async with ScriptedProvider([hang()]) as provider:
            began = asyncio.get_running_loop().time()
            with pytest.raises(ProviderError) as caught:
                await models.complete("Hi", model=model(host, provider), deadlines=deadlines, retry=Retry(attempts=1))
            assert caught.value.code == code
            assert after <= asyncio.get_running_loop().time() - began < after + 2
    async with ScriptedProvider([reply(text("one two"), stall_after_event=2)]) as provider:
        with pytest.raises(ProviderError) as caught:
            await models.complete(
                "Hi", model=model(host, provider), deadlines=Deadlines(idle_s=5), retry=Retry(attempts=1)
            )
        assert caught.value.code == "idle_timeout"


async def test_misuse_is_told(host: Host) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        await models.complete("Hi")
    with pytest.raises(ConfigError, match="empty"):
        await models.complete(" ", model="openai:m@http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="no messages"):
        await models.complete(Request(RequestHead("openai:m@http://127.0.0.1:9"), ()))
    with pytest.raises(SessionError, match="not open"):
        async for _ in models.stream("Hi", model=f"{host.name}:m"):
            pass
