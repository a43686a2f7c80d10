"""Titles of sessions by a model: after the first turn, once, and never in anybody's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, OPENAI, until
from tests.runtime.stored import SharedStore

from turnwise import Model, Sessions, Titles
from turnwise.events import Notice
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, fail, hang, repeat, reply


def titles(provider: ScriptedProvider, **options: Any) -> Titles:
    return Titles(Model("openai:a-cheap-model", base_url=provider.openai_url, api_key="test"), **options)


async def title_of(store: MemoryStore, session_id: str) -> str:
    info = await store.info(session_id)
    assert info is not None
    return info.title


async def test_a_session_gets_a_title_after_its_first_turn() -> None:
    """By the model that was named, outside the session: neither its journal nor its usage knows of it."""
    async with (
        ScriptedProvider([reply('"Weather in Oslo."\n')]) as namer,
        ScriptedProvider([repeat(reply("Rain."))]) as provider,
    ):
        store = SharedStore()
        async with Sessions(store, ANTHROPIC.agent(provider), titles=titles(namer)) as sessions:
            session = await sessions.open("a")
            await session.run("Weather in Oslo?")
            await until(lambda: sessions.status().titles_usage.output_tokens)
            await session.run("And tomorrow?")
            assert await title_of(store, session.id) == "Weather in Oslo"
            assert len(namer.requests) == 1 and namer.requests[0].body["model"] == "a-cheap-model"
            asked = str(namer.requests[0].body["messages"])
            assert "Weather in Oslo?" in asked and "Rain." in asked
            assert len(session.messages) == 4 and session.status().requests == 2


async def test_no_title_is_made_unless_asked_for_or_where_there_is_one() -> None:
    async with (
        ScriptedProvider([repeat(reply("Rain."))]) as namer,
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
    ):
        store = MemoryStore()
        async with Sessions(store, ANTHROPIC.agent(provider)) as sessions:
            session = await sessions.open("a")
            await session.run("Hi")
            assert await title_of(store, session.id) == ""
        async with Sessions(store, ANTHROPIC.agent(provider), titles=titles(namer)) as sessions:
            mine = await sessions.open("b", title="Mine")
            await mine.run("Hi")
            edited = await sessions.open("c")
            await sessions.edit("c", title="Mine, too")
            await edited.run("Hi")
            assert not namer.requests
            assert (await title_of(store, mine.id), await title_of(store, edited.id)) == ("Mine", "Mine, too")


@pytest.mark.parametrize("answer", [fail(400), reply(" \n ")], ids=["refused", "empty"])
async def test_a_title_that_fails_harms_nothing_and_is_seen(answer: Any) -> None:
    """Watchers and `status` are told; it is tried again after the next turn, and not for ever."""
    async with ScriptedProvider([repeat(answer)]) as namer, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        store = SharedStore()
        async with Sessions(store, ANTHROPIC.agent(provider), titles=titles(namer)) as sessions:
            session = await sessions.open("a")
            watcher = session.watch()
            for turn in range(5):
                assert (await session.run("Hi")).reason == "completed"
                failed = min(turn + 1, 3)
                await until(lambda failed=failed: len(sessions.status().problems) == failed)
            assert len(namer.requests) == 3 and await title_of(store, session.id) == ""
            while not isinstance(event := await anext(watcher), Notice):
                pass
            assert event.code == "not_titled"


async def test_a_title_that_takes_for_ever_keeps_nobody_waiting() -> None:
    async with (
        ScriptedProvider([hang()]) as namer,
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
        Sessions(SharedStore(), ANTHROPIC.agent(provider), titles=titles(namer)) as sessions,
    ):
        session = await sessions.open("a")
        await session.run("Hi")
        await namer.reached("arrived")
        async with asyncio.timeout(5):
            await session.run("Again")
            await sessions.close()


async def test_a_title_is_cut_between_words() -> None:
    said = "Title: The weather in Oslo, tomorrow and on the days after that, and what to wear\nSecond line"
    async with ScriptedProvider([reply(said)]) as namer, ScriptedProvider([reply("Rain.")]) as provider:
        store = MemoryStore()
        async with Sessions(store, OPENAI.agent(provider), titles=titles(namer, max_chars=30)) as sessions:
            session = await sessions.open("a")
            await session.run("Weather?")
            await until(lambda: sessions.status().titles_usage.output_tokens)
            assert await title_of(store, session.id) == "The weather in Oslo, tomorrow…"


async def test_a_title_that_came_meanwhile_is_kept() -> None:
    """Someone names the session while the model thinks about it."""
    async with (
        ScriptedProvider([reply("By the model", stall_before_headers=True)]) as namer,
        ScriptedProvider([reply("Hi.")]) as provider,
    ):
        store = SharedStore()
        async with Sessions(store, ANTHROPIC.agent(provider), titles=titles(namer)) as sessions:
            session = await sessions.open("a")
            await session.run("Hi")
            await namer.reached("stalled")
            await sessions.edit("a", title="By hand")
            namer.release()
            await until(lambda: sessions.status().titles_usage.output_tokens)
            await sessions.close()
            assert await title_of(store, session.id) == "By hand"
