"""Plugins on the bus: what they hear before they stop, and what is heard of them (H4, H5)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.plugins.conftest import Diary, fail

from turnwise import Runtime
from turnwise.bus import BusEvent
from turnwise.plugins import PluginContext, Plugins, Use


async def test_a_handler_deals_with_what_was_published_before_the_stop(diary: Diary) -> None:
    """What happened in the last turn before the runtime is closed is not lost."""
    seen: list[int] = []

    async def handle(event: BusEvent) -> None:
        await asyncio.sleep(0)
        seen.append(event.data)

    async def start(context: PluginContext[Any]) -> None:
        context.subscribe("mine", handle)

    async def stop(_: PluginContext[Any]) -> None:
        seen.append(-1)

    async with Runtime(plugins=Plugins([diary.plugin("a", start=start, stop=stop)])) as runtime:
        for number in range(5):
            runtime.bus.publish("mine", number)
    assert seen == [0, 1, 2, 3, 4, -1]


async def test_a_handler_that_hangs_does_not_take_the_time_of_the_rest(diary: Diary) -> None:
    """H5"""
    cut = asyncio.Event()

    async def handle(_: BusEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    async def start(context: PluginContext[Any]) -> None:
        context.subscribe("mine", handle)

    async def stop(_: PluginContext[Any]) -> None:
        await asyncio.sleep(0.02)

    async with Runtime(plugins=Plugins([Use(diary.plugin("a", start=start, stop=stop), stop_s=0.3)])) as runtime:
        runtime.bus.publish("mine")
    assert diary.lines == ["+a", "-a"]
    assert not runtime.health.of("plugin.a")
    assert cut.is_set()


async def test_what_becomes_of_plugins_is_published_and_in_the_status(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str]] = []

    async def start(context: PluginContext[Any]) -> None:
        context.subscribe("plugin.*", lambda event: seen.append((event.topic, event.data["state"])))

    plugins = Plugins(
        [Use(diary.plugin("watch", start=start), priority=1), Use(diary.plugin("bad", start=fail), required=False)]
    )
    with caplog.at_level(logging.ERROR):
        async with Runtime(plugins=plugins) as runtime:
            parts = {part.part: part.state for part in runtime.status().parts}
            assert parts["plugin.bad"] == "degraded"
    assert ("plugin.bad", "failed") in seen
    assert ("plugin.watch", "running") in seen
