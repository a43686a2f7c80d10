"""Typed answers as they grow, over all providers: every partial value is a beginning of the next, and the turn is true to the end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from tests.providers import PROVIDERS, Provider
from tests.runtime.conftest import goes_on
from tests.runtime.test_output import OSLO, QUICK, VALUE, City, answer, answers_by_tool, look

from turnwise import Output
from turnwise.errors import ProviderError, SessionError
from turnwise.testing import ScriptedProvider, call, error_event, reply, text


@pytest.mark.parametrize("tools", [(), (look,)], ids=["alone", "tools"])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
async def test_a_growing_answer(provider: Provider, streamed: bool, tools: tuple[Any, ...]) -> None:
    """Whatever was shown is a beginning of the next; the last is the whole; then the typed value."""
    by_tool = answers_by_tool(provider, tools)
    script = [reply("Let me {see}.", call("look", what="it"))] if tools else []
    async with ScriptedProvider([*script, reply(answer(by_tool, OSLO))]) as scripted:
        agent = provider.agent(scripted, *tools, stream=streamed)
        async with agent.stream_output("?", City) as partials:
            seen = [partial async for partial in partials]
    assert seen[-1] == {"name": "Oslo", "people": 7}
    assert partials.output == VALUE == partials.result.output
    for earlier, later in pairwise(seen):
        assert later.get("name", "").startswith(earlier.get("name", ""))
        assert len(earlier) <= len(later) and earlier != later


async def test_growth_is_shown_while_the_model_still_speaks() -> None:
    async with (
        ScriptedProvider([reply(text('{"name": "Os', 'lo", "people": 7}'), stall_after_event=2)]) as scripted,
        PROVIDERS["openai"].agent(scripted).session().stream_output("?", City) as partials,
    ):
        first = await anext(partials)
        assert first == {"name": "Os"}
        with pytest.raises(SessionError, match="still running"):
            _ = partials.output
        scripted.release()
        rest = [p async for p in partials]
    assert rest == [{"name": "Oslo", "people": 7}] and partials.output == VALUE


async def test_growth_begins_anew_after_a_correction_and_after_a_failed_attempt() -> None:
    script = [
        reply(text('{"people": 1}', size=4)),
        reply(text('{"name": "B', size=4), error_event()),
        reply(text('{"name": "Oslo"}', size=20)),
    ]
    async with ScriptedProvider(script) as scripted:
        agent = PROVIDERS["anthropic"].agent(scripted, restart="before_commit", retry=QUICK)
        async with agent.stream_output("?", City) as partials:
            seen = [partial async for partial in partials]
    assert {"people": 1} in seen and seen[-1] == {"name": "Oslo"}
    assert all(set(p) <= {"name"} or p == {"people": 1} for p in seen)
    assert partials.output == City("Oslo")


async def test_a_growing_answer_that_fails_raises_as_run_does() -> None:
    async with (
        ScriptedProvider([reply('{"people": 1}')]) as scripted,
        PROVIDERS["openai"].agent(scripted).stream_output("?", Output(City, retries=0)) as partials,
    ):
        with pytest.raises(ProviderError) as caught:
            async for _ in partials:
                pass
    assert caught.value.code == "invalid_output"
    assert partials.result.reason == "error" and partials.output is None


async def test_leaving_a_growing_answer_stops_the_turn() -> None:
    """C2."""
    async with ScriptedProvider([reply(text(OSLO, size=3), stall_after_event=5), reply("Fine.")]) as scripted:
        session = PROVIDERS["openai"].agent(scripted).session()
        async with session.stream_output("?", City) as partials:
            await anext(partials)
        assert (partials.result.reason, partials.result.cause) == ("interrupted", "left")
        await goes_on(session)


async def test_a_cancelled_wait_loses_nothing() -> None:
    async with (
        ScriptedProvider([reply(text('{"name": "Os', 'lo"}'), stall_after_event=2)]) as scripted,
        PROVIDERS["openai"].agent(scripted).session().stream_output("?", City) as partials,
    ):
        seen = [await anext(partials)]
        assert seen == [{"name": "Os"}]
        waiting = asyncio.ensure_future(anext(partials))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        scripted.release()
        seen += [p async for p in partials]
    assert seen[-1] == {"name": "Oslo"} and partials.output == City("Oslo")


async def test_it_has_to_be_opened_and_is_read_once() -> None:
    async with ScriptedProvider([reply(OSLO)]) as scripted:
        partials = PROVIDERS["openai"].agent(scripted).stream_output("?", City)
        with pytest.raises(SessionError, match="not open"):
            await anext(partials)
        async with partials:
            assert [p async for p in partials][-1] == {"name": "Oslo", "people": 7}
            assert [p async for p in partials] == []


async def test_text_grows_as_text() -> None:
    async with (
        ScriptedProvider([reply(text("Just", " words", "."))]) as scripted,
        PROVIDERS["openai"].agent(scripted).stream_output("?", str) as partials,
    ):
        seen = [p async for p in partials]
    assert seen[-1] == "Just words." == partials.output
    assert all("Just words.".startswith(p) for p in seen)
