"""A turn read through a bounded channel, and the handle that gives its true account whatever becomes of the reader.

For consumers that are another task than the one that wants the result. The channel is a "block" watcher (`watch`) of a turn that
has no other consumer: while `buffer` events wait unread, the socket is not read. The events of the read that filled it come on top,
and those of tools, which do not wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..core.entries import InterruptCause
from ..core.errors import config_error
from ..core.inputs import Interrupt
from ..core.result import TurnResult
from .mailbox import Mailbox
from .turn import OnLeave, Turn
from .watch import Hub, Watcher, hub_of

if TYPE_CHECKING:
    from .mailbox import WatchPolicy
    from .session import Session


class Channel(Watcher):
    """The reader's end: `async for event in channel: …`; its last event is that of a stream. It may be handed to another task.

    Closing it before the end, or letting go of it, is dropping it: then the turn stops (reason `interrupted`, cause
    `consumer_dropped`), or goes on without a reader if it was opened with `on_drop="detach"`. Leaving the `async for` alone drops
    nothing: the turn waits for the next read until its deadline.
    """

    __slots__ = ()


class TurnHandle:
    """A turn, for whoever wants its account. It keeps nothing alive but the account."""

    __slots__ = ("_hub", "_turn")

    def __init__(self, hub: Hub, turn: Turn) -> None:
        self._hub = hub
        self._turn = turn

    async def result(self) -> TurnResult:
        """The true account of the turn, when it is over, however it ended: an error is in it and is not raised. Cancelling this
        does not stop the turn. It does not read the channel: a turn whose channel is full and not read ends at its deadline."""
        return await self._turn.wait()

    @property
    def over(self) -> bool:
        """Whether the turn has ended."""
        return self._turn.over

    def interrupt(self) -> None:
        """End the turn, if it runs; returns at once."""
        _stop(self._hub, self._turn, "user")

    def watch(self, policy: WatchPolicy = "coalesce", *, buffer: int = 256, after: int | None = None) -> Watcher:
        """One more watcher of the turn; see `Session.watch`."""
        return self._turn.watch(policy, buffer=buffer, after=after)


class Opening:
    """What `session.channel` gives: await it once, or enter it. Leaving the context drops the channel and, if that stops the turn,
    waits until it is over, at most `Deadlines.grace_s`. Opening raises what `Session.stream` raises."""

    __slots__ = ("_buffer", "_channel", "_on_drop", "_session", "_turn")

    def __init__(self, session: Session[Any], turn: Turn, buffer: int, on_drop: OnLeave) -> None:
        if buffer < 1:
            raise config_error(
                "invalid_value", f"channel(buffer={buffer}) leaves no room for an event.", "Use 1 or more; 32 is usual."
            )
        self._session = session
        self._turn = turn
        self._buffer = buffer
        self._on_drop: OnLeave = on_drop
        self._channel: Channel | None = None

    def __await__(self) -> Generator[Any, Any, tuple[Channel, TurnHandle]]:
        return self._open().__await__()

    async def _open(self) -> tuple[Channel, TurnHandle]:
        session, turn = self._session, self._turn
        hub = hub_of(session)
        mailbox = turn.mailbox = Mailbox("block", self._buffer, session.told)
        turn.pumped = True
        await turn.__aenter__()
        drop = partial(_dropped, ref(turn), self._on_drop)
        return Channel(hub, mailbox, drop), TurnHandle(hub, turn)

    async def __aenter__(self) -> tuple[Channel, TurnHandle]:
        channel, handle = await self._open()
        self._channel = channel
        return channel, handle

    async def __aexit__(self, *_: object) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        channel.close()
        if self._on_drop == "stop" and not self._turn.over:
            await self._turn.close("consumer_dropped")


def _dropped(turn: ref[Turn], on_drop: OnLeave, hub: Hub, mailbox: Mailbox) -> None:
    """The reader is gone. Collecting it may happen at any moment and in any thread, so nothing is folded here."""
    hub.leave(mailbox)
    if on_drop == "stop" and (running := turn()) is not None:
        _stop(hub, running, "consumer_dropped")


def _stop(hub: Hub, turn: Turn, cause: InterruptCause) -> None:
    def stop() -> None:
        if not turn.over:
            hub.session.post(Interrupt(cause))

    if not turn.over:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the turn with it
            hub.session.runtime.loop.call_soon_threadsafe(stop)
