"""What waits for one watcher of a turn: a bounded queue of events, and what happens when it is full.

Here is only the queue. Who fills it, and how a watcher finds its way back after a drop, is in `watch`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from ..core.events import Event, TextDelta, ThinkingDelta, ToolCallDelta, ToolProgress, TurnFinished, TurnParked
from . import process, refusals

if TYPE_CHECKING:
    from .watched import WatchedStream

WatchPolicy = Literal["block", "coalesce", "drop_to_cursor"]
"""When a watcher's queue is full: the turn's socket waits; deltas of one block are joined; or the queue is emptied and the watcher
goes on from the journal."""

TERMINAL = (TurnFinished, TurnParked)
"""The events that end the stream of a turn."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Between two events of a queue: here ends entry number `seq` of the journal."""

    seq: int


class Joined(msgspec.Struct):
    """Deltas of one block that were joined. Their texts are put together when they are taken, so that joining costs the same
    however long the text is by then."""

    first: TextDelta | ThinkingDelta | ToolCallDelta
    parts: list[str]

    def event(self) -> Event:
        first, text = self.first, "".join(self.parts)
        if type(first) is ToolCallDelta:
            return ToolCallDelta(text, first.block, first.attempt)
        return type(first)(text, first.block, first.attempt)


class Mailbox:
    """`size` events may wait. With "block" the events of the read that filled it come on top, and those that need no read; with
    the others never more than `size` wait. `cursor` is the last entry of the journal all of whose events were taken. Only while it is
    `live` it is offered events; else its watcher reads the journal from `cursor` on. It is `complete` when nothing will
    follow. `turn` is the one that it belongs to, if it belongs to one; `skip` the number of events, of those that are offered next,
    that its snapshot has in it already; `last_word` an end that is not in the journal; `dropped` how many events it has let go
    that were not counted yet."""

    __slots__ = (
        "__weakref__",
        "_items",
        "_midway",
        "_packed",
        "_waiter",
        "complete",
        "cursor",
        "dropped",
        "last_word",
        "live",
        "policy",
        "size",
        "skip",
        "turn",
        "waiting",
    )

    def __init__(self, policy: WatchPolicy, size: int, cursor: int = 0, turn: WatchedStream | None = None) -> None:
        self.policy: WatchPolicy = policy
        self.size = size
        self.cursor = cursor
        self.turn = turn
        self.live = True
        self.complete = False
        self.skip = 0
        self.waiting = 0
        self.dropped = 0
        self.last_word: Event | None = None
        self._items: deque[Event | Mark | Joined] = deque()
        self._packed = 0
        self._midway = False
        self._waiter: asyncio.Future[None] | None = None

    # --- in -----------------------------------------------------------------------------------------------------------

    def offer(self, events: Sequence[Event], marks: Sequence[tuple[int, int]]) -> None:
        """Events that were just told. `marks` are pairs: how many of them come before, and the number of the entry that ends there."""
        at = self.skip
        self.skip = 0
        for position, seq in marks:
            if position > at:
                self._put(events[at:position])
                at = position
            self.mark(seq)
        if at < len(events):
            self._put(events[at:] if at else events)
        self.wake()

    def _put(self, events: Sequence[Event]) -> None:
        if not self.live:
            return
        if self.policy == "block" or self.waiting + len(events) <= self.size:
            self._items.extend(events)
            self.waiting += len(events)
            return
        for at, event in enumerate(events):
            if self.waiting < self.size:
                self._items.append(event)
                self.waiting += 1
            elif self.policy == "drop_to_cursor" or not self._squeeze_in(event):
                self._drop(len(events) - at)
                return

    def slip_in(self, event: Event) -> None:
        """Take in an event that comes between what is offered."""
        self._put((event,))
        self.wake()

    def put_all(self, events: Sequence[Event]) -> None:
        """Take in events, however many: those that the watcher itself has read from the journal."""
        self._items.extend(events)
        self.waiting += len(events)

    def mark(self, seq: int) -> None:
        """Entry number `seq` ends here, for a watcher that is told so."""
        if self.live:
            self.mark_read(seq)

    def mark_read(self, seq: int) -> None:
        """Entry number `seq` ends here."""
        if seq <= self.cursor:
            return
        items = self._items
        if not items:
            self.cursor = seq
        elif type(items[-1]) is Mark:
            items[-1] = Mark(seq)
        else:
            items.append(Mark(seq))

    def _squeeze_in(self, event: Event) -> bool:
        """Join an event to the last one that waits; or, if it cannot be, join those that wait. False if that makes no room."""
        items = self._items
        if (joined := _join(items[-1], event)) is not None:
            items[-1] = joined
            return True
        if self.waiting - self._packed < max(1, self.size // 2):  # joining again would cost more than it gains
            return False
        packed: deque[Event | Mark | Joined] = deque()
        for item in items:
            if packed and (joined := _join(packed[-1], item)) is not None:
                packed[-1] = joined
                self.waiting -= 1
            else:
                packed.append(item)
        self._items = packed
        self._packed = self.waiting
        if self.waiting >= self.size:
            return False
        packed.append(event)
        self.waiting += 1
        return True

    def _drop(self, coming: int) -> None:
        """Throw away what waits; but of an entry that was taken in part the rest stays, for it will not be told again."""
        rest: list[Event | Mark | Joined] = []
        if self._midway:
            items = list(self._items)
            end = next((at for at, item in enumerate(items) if type(item) is Mark), -1)
            rest = items[: end + 1]
        before, self._items = self.waiting, deque(rest)
        self.waiting = self._packed = max(0, len(rest) - 1)
        self.dropped += before - self.waiting + coming
        self.live = False

    def end(self, last_word: Event | None = None) -> None:
        """Nothing will follow what waits, but this."""
        if last_word is not None:
            self.put_all((last_word,))
        self.complete = True
        self.wake()

    def throw_away(self) -> None:
        """Nobody will read this."""
        self._items.clear()
        self.waiting = 0
        self.end()

    # --- out ----------------------------------------------------------------------------------------------------------

    def pop(self) -> Event | None:
        """The next event; None if none waits. Marks behind it are passed."""
        items = self._items
        found: Event | None = None
        passed = False
        while items:
            item = items[0]
            if type(item) is Mark:
                self.cursor = item.seq
                passed = found is not None
            elif found is not None:
                break
            else:
                found = item.event() if type(item) is Joined else item  # type: ignore[assignment]
            items.popleft()
        if found is not None:
            self.waiting -= 1
            if self._packed:
                self._packed -= 1
        self._midway = bool(items) and found is not None and not passed
        return found

    def pop_all(self) -> list[Event]:
        """Everything that waits."""
        out: list[Event] = []
        while (event := self.pop()) is not None:
            out.append(event)
        return out

    async def wait(self) -> None:
        """Until something is put in, or it is woken. One task at a time. Cancelling this loses nothing."""
        if self._waiter is not None:
            raise refusals.two_readers()
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Let the watcher look again. A watcher that waits on another loop than this one is woken there."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        loop = waiter.get_loop()
        if loop.is_closed():
            self._waiter = None
        elif process.in_loop(loop):
            waiter.set_result(None)
        else:
            loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _join(last: Event | Mark | Joined, event: Event | Mark | Joined) -> Event | Joined | None:
    """The two in one, if nothing is lost by it: deltas of one block. Of reports of one tool the later one counts."""
    if type(event) is ToolProgress:
        return event if type(last) is ToolProgress and last.call_id == event.call_id else None
    first, more = _delta(last), _delta(event)
    if first is None or more is None or type(first) is not type(more):
        return None
    if first.block != more.block or first.attempt != more.attempt:
        return None
    parts = last.parts if type(last) is Joined else [_text(first)]
    parts += event.parts if type(event) is Joined else [_text(more)]
    return last if type(last) is Joined else Joined(first, parts)


def _delta(item: Event | Mark | Joined) -> TextDelta | ThinkingDelta | ToolCallDelta | None:
    """The delta that an item is, or begins with."""
    if type(item) is Joined:
        return item.first
    if type(item) is TextDelta or type(item) is ThinkingDelta or type(item) is ToolCallDelta:
        return item
    return None


def _text(delta: TextDelta | ThinkingDelta | ToolCallDelta) -> str:
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text
