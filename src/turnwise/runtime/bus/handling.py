"""Subscribers that are called: each event in its turn, in a task of the runtime that lives as long as events wait.

What a handler raises is told as `bus.error` and stops nothing. A handler that is referred to weakly ends its subscription by going away.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .inlet import Inlet
from .values import BusEvent

if TYPE_CHECKING:
    from .bus import Bus

Handler = Callable[[BusEvent], Any]
"""Called with each event, on the runtime's loop; what it returns is awaited if it can be."""
AT_ONCE = 50
"""Events that are handled before others get their turn on the loop, though the handler never waits."""


class Handled(Inlet):
    """The queue of a handler. It is `idle` while no task empties it."""

    __slots__ = ("_context", "_handler", "task")

    def __init__(self, bus: Bus, *rest: Any) -> None:
        super().__init__(bus, *rest)
        self._context = contextvars.copy_context()
        self._handler: Callable[[], Handler | None] = _nobody
        self.task: asyncio.Task[None] | None = None
        self.idle = True

    def call(self, handler: Handler, *, weak: bool) -> None:
        """Have this called with each event."""
        if not weak:
            self._handler = lambda: handler
            return

        def died(_: object) -> None:
            """Perhaps in another thread, or in the midst of anything."""
            self._bus.forget(self)

        if inspect.ismethod(handler):
            self._handler = weakref.WeakMethod(handler, died)
        else:
            self._handler = weakref.ref(handler, died)

    def wake(self) -> None:
        """Never calls the handler: it is called when the loop comes round."""
        self.idle = False
        self._bus.loop.call_soon(self._start)

    def _start(self) -> None:
        if self.task is not None and not self.task.done():
            return
        if self.closed or not self.waiting:
            self.idle = True
            return
        self.task = self._bus.runtime.start(self._empty(), self._context.copy())

    def finish(self) -> asyncio.Task[None] | None:
        """What empties the queue, if anything waits in it or is being handled."""
        self.idle = False
        self._start()
        return None if self.task is None or self.task.done() else self.task

    async def _empty(self) -> None:
        try:
            handled = 0
            while (event := self.pop()) is not None:
                if not await self._handle(event):
                    break
                handled += 1
                if handled % AT_ONCE == 0:
                    await self._bus.runtime.sleep(0)
        finally:
            self.idle = True

    async def _handle(self, event: BusEvent) -> bool:
        """False if there is no handler any more."""
        handler = self._handler()
        if handler is None:
            return False
        try:
            said = handler(event)
            if inspect.isawaitable(said):
                await said
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._bus.failed(self, event, error)
        except Exception as error:
            self._bus.failed(self, event, error)
        return True


def _nobody() -> None:
    return None
