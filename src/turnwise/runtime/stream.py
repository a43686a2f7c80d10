"""A stream of events that its consumer pulls: iteration one by one or in batches, and one reader at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from ..core.events import Event
from . import refusals
from .attempt import Attempt


class EventStream:
    """What a turn and a single request share. `_out` are the events at hand; `pull` waits for more."""

    __slots__ = ("_attempt", "_out", "_read", "_ready", "_waiter")

    def __init__(self) -> None:
        self._out: list[Event] = []
        self._ready: Iterator[Event] = iter(())
        self._waiter: asyncio.Future[None] | None = None
        self._attempt: Attempt | None = None
        self._read: Attempt | None = None

    async def __anext__(self) -> Event:
        for event in self._ready:
            return event
        batch = await self.pull()
        if batch is None:
            raise StopAsyncIteration
        ready = self._ready = iter(batch)
        return next(ready)

    async def batches(self) -> AsyncGenerator[list[Event]]:
        """The same events in the lists in which they come: what one read brought, at once. Cheaper per event."""
        if left := list(self._ready):
            yield left
        while (batch := await self.pull()) is not None:
            yield batch

    async def pull(self) -> list[Event] | None:
        """The next events, from whatever the stream waits for; None at the end. One reader at a time."""
        raise NotImplementedError

    @property
    def attempt(self) -> Attempt | None:
        """The model call that is under way."""
        return self._attempt

    @property
    def reading(self) -> bool:
        """Whether someone is in the midst of `pull`."""
        read = self._read  # it may be stopped by now, and whoever reads it not know yet
        return self._waiter is not None or (read is not None and read.being_read)

    def take(self) -> list[Event]:
        """The events at hand, for whoever passes them on."""
        batch, self._out = self._out, []
        return batch

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until something is told or opened. Cancelling this cancels nothing else."""
        if self._waiter is not None:
            raise refusals.two_readers()
        waiter = self._waiter = loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
