"""Calls that wait for somebody are given up in time, also while their turn is parked and nobody looks. One timer per session, if any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..core.inputs_rare import Expire
from ..core.result import Pending
from .timers import Timer, Timers

if TYPE_CHECKING:
    from .actor import Actor

LEAST_S = 0.01
"""Deadlines are kept in wall time and timers run on the loop's: where the two differ, it is looked again after so long at least."""


class Expiry:
    """The next time at which a session has to look. Deadlines are in Unix seconds."""

    __slots__ = ("_due", "_session", "_timer", "_timers")

    def __init__(self, session: Actor[Any]) -> None:
        self._session = session
        self._due = 0.0
        self._timer: Timer | None = None
        self._timers: Timers | None = None

    def watch(self, pending: Iterable[Pending]) -> None:
        """Look when the first of these is due, if that is earlier than what is watched by now."""
        due = min([p.expires_at for p in pending if p.expires_at is not None], default=None)
        if due is None:
            return
        runtime = self._session.runtime
        if self._timer is not None and self._timers is runtime.timers:
            if self._due <= due:
                return
            runtime.timers.cancel(self._timer)
        self._due, self._timers = due, runtime.timers
        left_s = max(LEAST_S, due - runtime.clock.wall())
        self._timer = runtime.timers.at(runtime.loop.time() + left_s, self._look)

    def close(self) -> None:
        """Look no more, until told again what to watch."""
        if self._timer is not None and self._timers is not None:
            self._timers.cancel(self._timer)
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._session.post(Expire())
        turn = self._session.state.turn
        if turn is not None and self._session.state.running:
            self.watch(turn.pending)
