"""Event loops in virtual time: one for each simulated process, all driven by one `Time`, in one thread, in an order that a seed decides.

A process is a loop, so dropping a process is dropping its loop: nothing of it runs any more. Time stands still while anything can run and
then jumps to the next timer. Whatever is ready at one moment runs in a seeded order, but for callbacks of one *source* (a future and
those who wait for it, a task, plain callbacks of a loop), which stay first-in first-out, as asyncio promises.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

MOMENT_STEPS = 200_000
"""Callbacks that may run at one moment before it counts as a loop without end."""


class Stuck(Exception):
    """Nothing can happen any more, or everything happens at one moment without end."""


class Hangs(BaseException):
    """A callback does not return."""


class Ready(asyncio.Handle):
    """A callback that can run. `lane` is its source."""

    __slots__ = ("lane",)

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], loop: Any, context: Context | None) -> None:
        self._callback, self._args, self._loop = callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None
        first = args[0] if args else getattr(callback, "__self__", None)
        self.lane: object = first if isinstance(first, asyncio.Future) else loop


class Timer(asyncio.TimerHandle):
    """A callback that can run later."""

    __slots__ = ("lane",)

    def __init__(
        self, when: float, callback: Callable[..., Any], args: tuple[Any, ...], loop: Any, context: Context | None
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.lane: object = self


class Time:
    """The clock that all simulated processes share, and who is next. `steps` counts the callbacks that have run."""

    def __init__(self, draw: Random) -> None:
        self.now = 0.0
        self.steps = 0
        self.ready: list[Ready | Timer] = []
        self._draw = draw.random
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbered = 0
        self.over = False
        self.alarm_at: int | None = None
        """After how many steps `alarm` is called, between two callbacks."""
        self.alarm: Callable[[], None] = _no_alarm

    def at(self, when: float, timer: Timer) -> None:
        if when <= self.now:
            self.ready.append(timer)
            return
        self._numbered += 1
        heappush(self._heap, (when, self._numbered, timer))

    def drop(self, loop: SimulatedLoop) -> None:
        """Nothing of this loop runs any more."""
        self.ready = [one for one in self.ready if one._loop is not loop]

    def timers_of(self, loop: SimulatedLoop) -> list[str]:
        """Whose timers of a loop wait and are not cancelled, in words."""
        waiting = [timer for _, _, timer in self._heap if timer._loop is loop and not timer._cancelled]  # pyright: ignore[reportPrivateUsage]
        return sorted([_owner(timer) for timer in waiting])

    def run(self) -> None:
        """Let things happen until it is `over`. Raises `Stuck`."""
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=_close_generator)
        draw, moment, since = self._draw, self.now, 0
        try:
            while not self.over:
                ready = self.ready
                if not ready:
                    self._jump()
                    continue
                count = len(ready)
                if count == 1:
                    one = ready.pop()
                else:
                    lane, place = ready[int(draw() * count)].lane, 0
                    while ready[place].lane is not lane:
                        place += 1
                    one = ready.pop(place)
                if one._cancelled:
                    continue
                loop: SimulatedLoop = one._loop  # type: ignore[assignment]
                if loop.parked is not None:
                    loop.parked.append(one)
                    continue
                self.steps += 1
                if self.now != moment:
                    moment, since = self.now, self.steps
                elif self.steps - since > MOMENT_STEPS:
                    what = f"{MOMENT_STEPS} callbacks have run at one moment, and there is no end to them"
                    raise Stuck(f"{what}; the next one is of {_owner(one)}")
                if loop.dropped:
                    continue
                events._set_running_loop(loop)
                try:
                    one._context.run(one._callback, *one._args)
                except (SystemExit, KeyboardInterrupt, Hangs, Stuck):
                    raise
                except BaseException as error:
                    loop.call_exception_handler({"message": "a callback raised", "exception": error})
                if self.alarm_at is not None and self.steps >= self.alarm_at:
                    events._set_running_loop(None)
                    self.alarm()
        finally:
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*before)

    def _jump(self) -> None:
        heap = self._heap
        while heap and (heap[0][2]._cancelled or heap[0][2]._loop.dropped):  # type: ignore[attr-defined]
            heappop(heap)
        if not heap:
            raise Stuck("everything waits, and there is no timer that would end it")
        now = self.now = heap[0][0]
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            if not timer._cancelled:
                self.ready.append(timer)


def _owner(handle: Ready | Timer) -> str:
    """Whose callback it is, in words."""
    task = getattr(handle._callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return str(getattr(task.get_coro(), "__qualname__", "a task"))
    return str(getattr(handle._callback, "__qualname__", "something"))


def _no_alarm() -> None:
    """There is none."""


def _close_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """A generator that nobody will read on is closed by its loop, as asyncio does."""
    loop = events._get_running_loop()
    if isinstance(loop, SimulatedLoop) and not loop.dropped:
        loop.call_soon(loop.create_task, generator.aclose())


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process. `complain` is told of what nobody handled."""

    def __init__(self, time: Time, complain: Callable[[str], None]) -> None:
        self._time = time
        self._complain = complain
        self._closed = False
        self.dropped = False
        self.home: Any = None
        """The process that it is the loop of."""
        self.stood_still = False
        """Whether the process was ever stopped."""
        self.parked: list[Ready | Timer] | None = None
        """What would have run since the process was stopped; None while it is not."""

    def stop_still(self) -> None:
        """The process is stopped, as by the system; nothing of it runs until `wake_up`."""
        self.stood_still = True
        if self.parked is None:
            self.parked = []

    def wake_up(self) -> None:
        """It goes on where it was."""
        if self.parked is not None:
            self._time.ready += self.parked
            self.parked = None

    def drop(self) -> None:
        """The process is gone."""
        self.dropped, self.parked = True, None
        self._time.drop(self)

    # --- callbacks ----------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._time.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Ready:
        handle = Ready(callback, args, self, context)
        if not self.dropped:
            self._time.ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Ready:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Timer:
        return self.call_at(self._time.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Timer:
        handle = Timer(when, callback, args, self, context)
        if not self.dropped:
            self._time.at(when, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when it is due."""

    # --- tasks and futures --------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def set_task_factory(self, factory: Any) -> None:
        raise NotImplementedError

    def get_task_factory(self) -> None:
        return None

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended, in no order."""
        return [task for task in asyncio.all_tasks(self) if not task.done()]

    # --- life ---------------------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        return not self._closed and not self.dropped

    def is_closed(self) -> bool:
        return self._closed or self.dropped

    def close(self) -> None:
        self._closed = True

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        raise NotImplementedError

    def get_exception_handler(self) -> None:
        return None

    def set_exception_handler(self, handler: Any) -> None:
        raise NotImplementedError

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.dropped:
            return
        error = context.get("exception")
        said = str(context.get("message", ""))
        self._complain(said if error is None else f"{said}: {type(error).__name__}: {error}")

    async def shutdown_asyncgens(self) -> None:
        """They are closed when they are let go of."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio says so
        """There is none."""
