"""What a turn is to those who do not read it themselves: its account, watchers beside the consumer, and what the pump asks of it.

The reading itself is in `turn`; who pumps and who watches, in `watch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.events import Event, StepSnapshot
from ..core.inputs import CallModel
from ..core.result import TurnResult
from . import refusals
from .stream import EventStream

if TYPE_CHECKING:
    from .actor import Actor
    from .mailbox import Mailbox, WatchPolicy
    from .watch import Hub, Watcher


class WatchedStream(EventStream):
    """The base of `Turn`. `hub` is set once others watch as well, or nobody reads: then a pump of the hub pulls, and `mailbox` is what
    waits for the consumer, if there is one. `pumped`: the turn has no consumer that pulls. `opened`: the session has taken the turn on and tells it what happens. `hold`, if set, may keep a model call back.
    `closing`: the turn is over, and its reader comes to the end when hooks have seen that."""

    __slots__ = (
        "__weakref__",
        "_ended",
        "_result",
        "_session",
        "closing",
        "hold",
        "hub",
        "mailbox",
        "opened",
        "pumped",
    )

    def __init__(self, session: Actor[Any]) -> None:
        super().__init__()
        self._session = session
        self._result: TurnResult | None = None
        self._ended: asyncio.Future[None] | None = None
        self.hub: Hub | None = None
        self.mailbox: Mailbox | None = None
        self.pumped = False
        self.opened = self.closing = False
        self.hold: Callable[[CallModel], bool] | None = None

    @property
    def result(self) -> TurnResult:
        """The account of the turn. Raises `SessionError` (`turn_running`) while it runs."""
        if self._result is None:
            raise refusals.misuse("turn_running", "The turn is still running.", "Read its events to the end first.")
        return self._result

    @property
    def over(self) -> bool:
        """Whether the turn has ended, or is parked."""
        return self._result is not None

    @property
    def number(self) -> int:
        """Its number in the session."""
        return self._session.state.turns if self._result is None else self._result.turn

    async def wait(self) -> TurnResult:
        """The account of the turn, when it is over; it does not read. Cancelling this stops the waiting only."""
        if self._result is None or self.closing:
            await asyncio.wait((self.ended(),))
        return self.result

    def end(self) -> None:
        """Nothing more comes of the turn: whoever waits for its end is told."""
        self.closing = False
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        self.wake()

    def ended(self) -> asyncio.Future[None]:
        """Done when the turn is over; for `asyncio.wait`."""
        ended = self._ended = self._ended or self._session.runtime.loop.create_future()
        return ended

    def watch(self, policy: WatchPolicy = "coalesce", *, buffer: int = 256, after: int | None = None) -> Watcher:
        """One more watcher of this turn, beside its consumer, with a queue of its own; see `Session.watch`."""
        from .watch import hub_of

        return hub_of(self._session).watch(policy, buffer, after, self)

    async def pull(self, may_read: Callable[[], bool] | None = None) -> list[Event] | None:
        """The next events; None at the end. The pump says by `may_read` whether the socket may be read now."""
        raise NotImplementedError

    @property
    def unread(self) -> int:
        """How many events wait to be pulled."""
        return len(self._out)

    def snapshot(self) -> StepSnapshot | None:
        """What the model has said so far, if it is speaking."""
        attempt = self._attempt
        if attempt is None:
            return None
        asked = attempt.asked
        return StepSnapshot(asked.turn, asked.step, asked.attempt, attempt.reducer.so_far())
