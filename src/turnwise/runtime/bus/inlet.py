"""One subscriber's queue: bounded, filled by `publish` and emptied by whoever reads. What a full one does is its policy.

Everything here happens on the loop of the runtime, and nothing waits. How a queue is read is in `subscription` and `handling`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from ...core.errors import ErrorInfo
from .. import refusals
from .values import BusEvent, BusPolicy, SubscriberStatus

if TYPE_CHECKING:
    from .bus import Bus

Key = Callable[[BusEvent], Hashable]
ROOMLESS = -1


class Inlet:
    """`room` is up to how many events `publish` may append by itself; with none it calls `put`. `idle`: who reads waits to be woken. Once
    `closed` nothing is delivered any more, once `ended` nothing but what waits already. `gone`: nobody can read it any more."""

    __slots__ = (
        "__weakref__",
        "_bus",
        "_by_key",
        "_kept",
        "_key",
        "_waiter",
        "behind",
        "closed",
        "coalesced",
        "cut_off",
        "dropped",
        "ended",
        "errors",
        "gone",
        "idle",
        "items",
        "last_error",
        "name",
        "patterns",
        "policy",
        "room",
        "session",
        "size",
    )

    def __init__(
        self,
        bus: Bus,
        name: str,
        patterns: tuple[str, ...],
        policy: BusPolicy,
        size: int,
        key: Key | None,
        session: str | None,
    ) -> None:
        self._bus = bus
        self.name = name
        self.patterns = patterns
        self.policy: BusPolicy = policy
        self.size = size
        self.session = session
        self.room = ROOMLESS if policy == "coalesce" or session is not None else size
        self.items: deque[BusEvent] = deque()
        self._kept: OrderedDict[Hashable, BusEvent] = OrderedDict()
        self._key = key
        self._by_key = policy == "coalesce"
        self._waiter: asyncio.Future[None] | None = None
        self.idle = False
        self.closed = self.ended = self.gone = self.cut_off = self.behind = False
        self.dropped = self.coalesced = self.errors = 0
        self.last_error: ErrorInfo | None = None

    # --- in -----------------------------------------------------------------------------------------------------------

    def put(self, event: BusEvent) -> None:
        """Take in an event for which `publish` has found no room by itself."""
        if self.closed or self.ended or (self.session is not None and event.session != self.session):
            return
        items = self.items
        if self._by_key:
            self._put_by_key(event)
        elif len(items) < self.size:
            items.append(event)
        else:
            self.dropped += 1
            self._bus.runtime.count_dropped("bus")
            if not self.behind:
                self._fall_behind()
            if self.policy == "drop_oldest":
                items.popleft()
                items.append(event)
            elif self.policy == "disconnect":
                self._bus.cut_off(self, event)
        if self.idle:
            self.wake()

    def _put_by_key(self, event: BusEvent) -> None:
        """Of each key the newest waits, at its own place in the order."""
        kept, key = self._kept, event.topic if self._key is None else self._key_of(event, self._key)
        if key in kept:
            self.coalesced += 1
            kept.move_to_end(key)
        elif len(kept) >= self.size:
            self.dropped += 1
            self._bus.runtime.count_dropped("bus")
            if not self.behind:
                self._fall_behind()
            kept.popitem(last=False)
        kept[key] = event

    def _key_of(self, event: BusEvent, key: Key) -> Hashable:
        try:
            found = key(event)
            hash(found)
        except Exception as error:
            self._bus.failed(self, event, error)
            return event.topic
        return found

    def _fall_behind(self) -> None:
        self.behind = True
        self._bus.looks_at_queues()

    # --- out ----------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self.items) + len(self._kept)

    def pop(self) -> BusEvent | None:
        """The next event; None if none waits, or none is to be delivered."""
        if self.closed:
            return None
        if self.items:
            event = self.items.popleft()
        elif self._kept:
            event = self._kept.popitem(last=False)[1]
        else:
            return None
        if self.behind and not self.waiting:
            self.behind = False
            self._bus.looks_at_queues()
        return event

    def throw_away(self) -> None:
        """Nothing of what waits will be read."""
        self.items.clear()
        self._kept.clear()

    async def wait(self) -> None:
        """Until there is something to read, or nothing more will come. One task at a time. Cancelling this loses nothing."""
        if self._waiter is not None:
            raise refusals.misuse(
                "two_readers", "Another task reads this subscription already.", "Make a subscription for each."
            )
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        self.idle = True
        try:
            await waiter
        finally:
            self._waiter, self.idle = None, False

    def wake(self) -> None:
        """Let who reads look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self.idle = False
            waiter.set_result(None)

    def status(self) -> SubscriberStatus:
        return SubscriberStatus(
            name=self.name,
            patterns=self.patterns,
            policy=self.policy,
            size=self.size,
            waiting=self.waiting,
            dropped=self.dropped,
            coalesced=self.coalesced,
            errors=self.errors,
            behind=self.behind,
            last_error=self.last_error,
        )
