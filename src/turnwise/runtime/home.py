"""The event loop that a session lives on, and how what is asked of it elsewhere gets there.

A session belongs to the loop that runs its turns. While that loop lives, whatever is asked from another one (or another thread's) is
done there, in a task of its runtime; so the state has one owner without a lock. When it is gone, the next caller's loop takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from . import process

if TYPE_CHECKING:
    from .ground import Ground

T = TypeVar("T")


def home_of(session: Ground[Any]) -> asyncio.AbstractEventLoop | None:
    """The loop that the session lives on; None if that is nowhere by now."""
    if not session.bound or session.forked or session.runtime.closed:
        return None
    loop = session.runtime.loop
    return loop if loop.is_running() else None


async def at_home(session: Ground[Any], make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `make` comes to, on the session's own loop. Cancelling this cancels it there."""
    home = home_of(session)
    if home is None or process.in_loop(home):
        if session.arrival is not None:
            await session.bind()
        return await make()
    runtime, here = session.runtime, asyncio.get_running_loop()
    done: asyncio.Future[T] = here.create_future()

    begun: list[asyncio.Task[T]] = []

    def begin() -> None:
        if not done.cancelled():
            begun.append(runtime.start(make()))
            begun[0].add_done_callback(ended)

    def stop() -> None:
        for task in begun:
            task.cancel()

    def ended(task: asyncio.Task[T]) -> None:
        if not here.is_closed():
            here.call_soon_threadsafe(tell, task)

    def tell(task: asyncio.Task[T]) -> None:
        if done.done():
            return
        if task.cancelled():
            done.cancel()
        elif (error := task.exception()) is not None:
            done.set_exception(error)
        else:
            done.set_result(task.result())

    home.call_soon_threadsafe(begin)
    try:
        return await done
    except asyncio.CancelledError:
        if home.is_running():
            home.call_soon_threadsafe(stop)
        raise
