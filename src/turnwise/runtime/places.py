"""Places for turns: how many may run at once, and whose turn is next when all places are taken.

Tenants take turns (round robin), and within a tenant who came first is first: one that asks for a thousand turns delays another's only
turn by one place. What is counted are turns, not sessions: an idle or parked one takes no place. Here is no session; who waits is a
turn as an object.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

import msgspec

from ..core.errors import ErrorInfo, error_of
from . import refusals


class _Waiting(msgspec.Struct, eq=False):
    """A turn in the queue. The future comes to true when it has a place, to false when it needs none any more."""

    turn: object
    tenant: str
    told: asyncio.Future[bool]


class Places:
    """`most` turns at once (None: any number). Beyond `most_waiting` (None: any number) no further one may wait."""

    __slots__ = ("_queues", "_taken", "_waiting", "most", "most_waiting", "refusal")

    def __init__(self, most: int | None, most_waiting: int | None = None) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.refusal: ErrorInfo | None = None
        self._taken: set[object] = set()
        self._waiting: dict[object, _Waiting] = {}
        self._queues: OrderedDict[str, deque[_Waiting]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many turns have a place."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many turns wait for one."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the next turn has to wait."""
        return self.most is not None and (len(self._taken) >= self.most or bool(self._queues))

    def waits(self, turn: object) -> bool:
        return turn in self._waiting

    async def take(self, turn: object, tenant: str) -> bool:
        """Wait for a place; false if the turn was called off meanwhile (`call_off`) and has none. Cancelling it leaves the queue.

        Raises `SessionError`: `too_many_waiting`, or what `close` was told.
        """
        if self.refusal is not None:
            raise error_of(self.refusal)
        if not self.is_full:
            self._taken.add(turn)
            return True
        if self.most_waiting is not None and len(self._waiting) >= self.most_waiting:
            raise refusals.too_many_waiting(self.most_waiting)
        waiting = _Waiting(turn, tenant, asyncio.get_running_loop().create_future())
        self._waiting[turn] = waiting
        self._queues.setdefault(tenant, deque()).append(waiting)
        try:
            return await waiting.told
        except BaseException:
            self._leave_queue(turn)
            self.give_back(turn)  # it may have got one in the very moment in which it was cancelled
            raise

    def call_off(self, turn: object) -> None:
        """The turn need not wait any more: it is not going to do anything."""
        waiting = self._leave_queue(turn)
        if waiting is not None and not waiting.told.done():
            waiting.told.set_result(False)

    def give_back(self, turn: object) -> None:
        """The turn is over, or was never begun. Nothing happens if it has no place."""
        if turn in self._taken:
            self._taken.remove(turn)
            self._hand_out()

    def close(self, refusal: ErrorInfo) -> list[object]:
        """Let no further turn begin. Those that wait raise this, and so do those that come. Returns those that waited."""
        self.refusal = refusal
        waiting, self._waiting = self._waiting, {}
        self._queues.clear()
        for one in waiting.values():
            if not one.told.done():
                one.told.set_exception(error_of(refusal))
        return list(waiting)

    def _hand_out(self) -> None:
        while self._queues and (self.most is None or len(self._taken) < self.most):
            tenant, queue = next(iter(self._queues.items()))
            waiting = queue.popleft()
            if queue:
                self._queues.move_to_end(tenant)
            else:
                del self._queues[tenant]
            del self._waiting[waiting.turn]
            if not waiting.told.done():
                self._taken.add(waiting.turn)
                waiting.told.set_result(True)

    def _leave_queue(self, turn: object) -> _Waiting | None:
        waiting = self._waiting.pop(turn, None)
        if waiting is not None:
            queue = self._queues[waiting.tenant]
            queue.remove(waiting)
            if not queue:
                del self._queues[waiting.tenant]
        return waiting
