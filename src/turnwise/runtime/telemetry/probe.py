"""What telemetry is told beside events: seams that cost one look at None without it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from ...core.entries import Entry

if TYPE_CHECKING:
    from ..actor import Actor
    from ..turn import Turn


class Probe(Protocol):
    """Told on the session's loop. It must return at once and must not raise. What it makes of a turn is kept with the turn (`Turn.probed`)."""

    def turn_begins(self, context: Context, /) -> Any:
        """A turn is about to begin whose tasks run in copies of this context. What is returned is kept with it."""
        ...

    def appended(self, session: Actor[Any], turn: Turn | None, entries: Sequence[Entry], /) -> None:
        """These entries are durable, and are about to be told and acted on."""
        ...

    def call_begins(self, probed: Any, call_id: str, context: Context, /) -> None:
        """The body of a call is about to be started in this context."""
        ...

    def stored(self, session: Actor[Any], entries: int, began: float, error: Exception | None, /) -> None:
        """An append to a store that takes its time has ended; it began at that loop time."""
        ...

    def dropped(self, queue: str, events: int, /) -> None:
        """Events were not kept for somebody who is too slow."""
        ...
