"""The stages of one response at work: in a task of the runtime, but only as fast as the consumer asks.

The consumer's `__anext__` asks (`read`), the pump then reads the socket once and runs what came through the stages; what they give is handed
over before the socket is read again. So nothing is read ahead, and a consumer that stops reading stops the socket. Stages never run in the
consumer's task: cancelling a pending `__anext__` would end them. The task, and with it every stage, is closed when the response has
ended or is given up.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.content import ToolCall
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed, ResponseStarted
from ...core.events import Event, Notice, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ...core.ids import step_id
from ..said import Ended as Came
from . import refusals
from .response import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .model import WrappedAttempt

_DELTAS = frozenset((TextDelta, ThinkingDelta, ToolCallStarted, ToolCallDelta))
_EVENTS = _DELTAS | {ResponseStarted, BlockSealed, BlockAdded, ResponseEnded, ResponseFailed}


def staged(source: AsyncIterator[DecoderEvent], stages: Sequence[Stage]) -> list[AsyncIterator[DecoderEvent]]:
    """The stream as it is after each stage; the last one is what comes of it. Raises `HookError` for what is no stage."""
    streams = [source]
    for stage in stages:
        made: Any = stage(streams[-1])
        if not hasattr(made, "__anext__"):
            if hasattr(made, "close"):
                made.close()  # a coroutine: an async def without a yield
            raise refusals.bad_stage(made)
        streams.append(made)
    return streams


class Pump:
    """Stands in for the response while it is read through stages (see `core.protocols.Response`)."""

    __slots__ = (
        "_attempt",
        "_context",
        "_done",
        "_error",
        "_events",
        "_ids",
        "_source",
        "_stages",
        "_task",
        "_waiter",
        "_wanted",
        "ended",
        "headers",
        "status",
    )

    def __init__(self, attempt: WrappedAttempt, source: AsyncIterator[DecoderEvent], stages: Sequence[Stage]) -> None:
        self._attempt = attempt
        self._source = source
        self._stages = stages
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._events: list[DecoderEvent] = []
        self._ids: set[str] = set()
        self._done = False
        self._error: Exception | None = None
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.ended = False

    # --- the consumer's side ------------------------------------------------------------------------------------------

    @property
    def waited_for(self) -> bool:
        """Whether a consumer waits for more."""
        return self._waiter is not None

    async def take(self) -> tuple[list[Event], Came | None]:
        """The next events; at the end, in a turn of its own, what came of the attempt. Cancelling this loses nothing."""
        if not self._events and not self._done:
            runtime = self._attempt.runtime
            waiter = self._waiter = runtime.loop.create_future()
            if self._task is None:
                self._task = runtime.start(self._run(), self._context)
            elif self._wanted is not None and not self._wanted.done():
                self._wanted.set_result(None)
            try:
                if not waiter.done():
                    await waiter
            finally:
                self._waiter = None
        if self._events:
            events, self._events = self._events, []
            # Reduced now and not before: what is told so far is what was taken (rule D6).
            return self._attempt.reducer.feed(events), None
        if not self._done or self._attempt.stopped:
            return [], None
        return [], self._attempt.conclude(self._error)

    async def head(self) -> None:
        """Nobody waits for headers here."""

    async def read(self) -> bytes:
        """It is read by `take`."""
        return b""

    def abort(self, reason: str) -> None:
        """Give up: the stages are closed, a pending `take` wakes."""
        self._done = True
        if self._task is not None and not self._task.done() and self._task is not _current():
            self._task.cancel()
        self._wake()

    def close(self) -> None:
        self.abort("closed")

    # --- the pump's side ----------------------------------------------------------------------------------------------

    async def asked(self) -> None:
        """Hand over what there is, and wait until a consumer has taken it and waits for more."""
        while self._events or self._waiter is None or self._waiter.done():
            self._wake()
            wanted = self._wanted = self._attempt.runtime.loop.create_future()
            try:
                await wanted
            finally:
                self._wanted = None

    async def _run(self) -> None:
        streams: list[Any] = [self._source]
        try:
            streams = staged(self._source, self._stages)
            async for event in streams[-1]:
                if self._put(event):
                    break
            else:
                raise refusals.end_swallowed()
        except Exception as error:
            self._error = error
        finally:
            self._done = True
            self._wake()
            for stream in reversed(streams):
                if hasattr(stream, "aclose"):
                    await self._close(stream)

    async def _close(self, stream: Any) -> None:
        try:
            await stream.aclose()
        except Exception as error:
            self._attempt.tell(
                Notice("middleware_failed", f"A stage failed as it was closed: {type(error).__name__}: {error}")
            )

    def _put(self, event: DecoderEvent) -> bool:
        """Take an event from the last stage; True if it is the end."""
        kind = type(event)
        if kind not in _EVENTS:
            raise refusals.bad_stage(event)
        attempt, asked = self._attempt, self._attempt.asked
        if kind in _DELTAS:
            if event.attempt != asked.attempt:  # type: ignore[union-attr]
                event = msgspec.structs.replace(event, attempt=asked.attempt)  # type: ignore[type-var]
            if type(event) is ToolCallStarted:
                event = self._numbered(event)
        elif kind is BlockAdded and type(event.content) is ToolCall:  # type: ignore[union-attr]
            raise refusals.bad_stage(event.content)  # type: ignore[union-attr]
        ends = kind is ResponseEnded or kind is ResponseFailed
        if ends:
            event = msgspec.structs.replace(event, usage=attempt.true_usage())  # type: ignore[type-var]
        self._events.append(event)
        self._wake()  # it comes when this task waits, and gets all that there is by then
        return ends

    def _numbered(self, event: ToolCallStarted) -> ToolCallStarted:
        """Ids are the engine's (rule T4): one of another step, or one that was there already, is replaced by the next that is free."""
        asked = self._attempt.asked
        step = step_id(asked.turn, asked.step)
        id, number = event.id, 0
        while id in self._ids or not id.startswith(f"{step}.c"):
            id, number = f"{step}.c{number}", number + 1
        self._ids.add(id)
        return event if id == event.id else msgspec.structs.replace(event, id=id)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _current() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
