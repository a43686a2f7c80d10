"""A context with a real `Spawn` behind it, and a way to know that a process is gone, both without polling."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from turnwise.runtime.spawn import ProcessSpawn
from turnwise.tools import ToolContext, ToolHost


class HandClock:
    """Stands still."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 0.0


class WatchedContext(ToolContext[str]):
    """Lets a test wait until something was printed. `told` is the progress that was reported."""

    told: Any = None
    heard: Any = None

    def keep(self, data: bytes) -> None:
        super().keep(data)
        self.heard.set()

    async def until_printed(self, text: str) -> None:
        while text not in self.printed:
            self.heard.clear()
            await self.heard.wait()


@pytest.fixture
def calling() -> Callable[..., contextlib.AbstractAsyncContextManager[WatchedContext]]:
    @contextlib.asynccontextmanager
    async def make(**fields: Any) -> AsyncIterator[WatchedContext]:
        spawn, told = ProcessSpawn(), list[Any]()
        host = ToolHost(HandClock(), spawn, lambda *said: told.append(said))
        try:
            yield WatchedContext("mine", call_id="t1.s1.c0", host=host, told=told, heard=asyncio.Event(), **fields)
        finally:
            await spawn.close()

    return make


@pytest.fixture
def gone() -> Callable[[int], Any]:
    """Waits until a process has ended, be it our child or not."""

    async def wait(pid: int) -> bool:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    return wait
