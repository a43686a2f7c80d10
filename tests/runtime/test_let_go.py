"""What nobody refers to any more is collected, though somebody was still waiting to watch it (C2)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from turnwise import Agent, Model, Runtime


async def look(events: Any) -> None:
    async for _ in events:
        pass


def test_who_waits_for_a_watcher_or_the_bus_does_not_keep_them_alive() -> None:
    """C2: the loop is gone with tasks that wait in it; session, runtime and tasks refer to each other, and nobody else to them.

    Finalizers are kept by the interpreter, so one that refers to the session or the bus would keep all of it for ever."""
    waiting: list[asyncio.Task[None]] = []

    async def begin() -> list[weakref.ref[Any]]:
        runtime = Runtime()
        session = Agent(Model("openai:gpt-5-mini", api_key="test"), runtime=runtime).session()
        waiting.extend([asyncio.create_task(look(one)) for one in (session.watch(), runtime.bus.subscribe("**"))])
        for _ in range(3):
            await asyncio.sleep(0)
        return [weakref.ref(session), weakref.ref(runtime.bus)]

    loop = asyncio.new_event_loop()
    kept = loop.run_until_complete(begin())
    assert all(one() is not None for one in kept)
    assert all(not task.done() for task in waiting)
    for task in waiting:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del loop, task
    waiting.clear()
    gc.collect()
    gc.collect()
    assert [one() for one in kept] == [None, None]
