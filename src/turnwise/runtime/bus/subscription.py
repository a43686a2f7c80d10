"""What a subscriber holds: the events one by one, how its queue stands, and the way out."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Self

from .. import refusals
from .handling import Handled
from .inlet import Inlet
from .values import BusEvent, SubscriberStatus

if TYPE_CHECKING:
    from .bus import Bus


class Subscription:
    """Made by `bus.subscribe`. Without a handler it is iterated: `async for event in subscription: …`, by one task at a time on the
    runtime's loop; it ends when it is closed or the runtime is. One that is not referred to any more is closed by itself; a handler's is not.

    Closing it stops delivery at once, also of what waits, also from inside the handler; what a handler is doing with an event it has
    already, it does to the end. `close` may be called from any thread. A subscriber with policy "disconnect" that was cut off
    reads what still waits, and then gets `SessionError` (`subscription_cut_off`).
    """

    __slots__ = ("__weakref__", "_bus", "_cursor", "_finalizer", "_inlet")

    def __init__(self, bus: Bus, inlet: Inlet) -> None:
        self._bus = bus
        self._inlet = inlet
        self._cursor = 0
        self._finalizer = None
        if not isinstance(inlet, Handled):
            self._finalizer = weakref.finalize(self, _left, weakref.ref(bus), weakref.ref(inlet))
            self._finalizer.atexit = False

    @property
    def patterns(self) -> tuple[str, ...]:
        return self._inlet.patterns

    @property
    def cursor(self) -> int:
        """That of the last event that was read from here."""
        return self._cursor

    @property
    def waiting(self) -> int:
        """How many events wait to be read."""
        return self._inlet.waiting

    @property
    def dropped(self) -> int:
        """How many were never delivered, because the queue was full."""
        return self._inlet.dropped

    @property
    def coalesced(self) -> int:
        """How many were replaced by a newer one of their key while they waited."""
        return self._inlet.coalesced

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more, but for what waits."""
        return self._inlet.closed or self._inlet.ended or self._inlet.gone

    @property
    def status(self) -> SubscriberStatus:
        return self._inlet.status()

    def close(self) -> None:
        """Unsubscribe. Idempotent."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._bus.remove(self._inlet)

    async def drain(self) -> None:
        """Get nothing more, wait until a handler has dealt with what waits, and close. Cancelling it stops the waiting alone."""
        self._bus.end(self._inlet)
        if isinstance(self._inlet, Handled) and (task := self._inlet.finish()) is not None:
            await asyncio.wait((task,))
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        if isinstance(self._inlet, Handled):
            raise refusals.misuse(
                "handler_subscribed", "The events of this subscription go to its handler.", "Subscribe without one."
            )
        return self

    async def __anext__(self) -> BusEvent:
        inlet = self._inlet
        while True:
            event = inlet.pop()
            if event is not None:
                self._cursor = event.cursor
                return event
            if inlet.closed or inlet.ended:
                break
            await inlet.wait()
        if inlet.cut_off and not inlet.closed:
            inlet.closed = True
            raise refusals.misuse(
                "subscription_cut_off",
                f"The subscription to {', '.join(inlet.patterns)} was cut off: {inlet.size} events were waiting, and one more came.",
                "Subscribe again, with more room or another policy; what sessions told is in their journals: bus.follow(…, after=…).",
            )
        raise StopAsyncIteration


def _left(bus: weakref.ref[Bus], inlet: weakref.ref[Inlet]) -> None:
    """A subscription was collected. Finalizers are kept by the interpreter: one that held the bus would keep the subscription, too."""
    left, own = bus(), inlet()
    if left is not None and own is not None:
        left.forget(own)
