"""Who is told of all turns of a runtime as they happen: the event bus, telemetry, metrics. One seam for all of them.

An observer is told synchronously, on the session's loop, after the events are durable; it must return at once and must not raise. With
none there is nothing to pay but a look at an empty tuple.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..core.events import Event

if TYPE_CHECKING:
    from .actor import Actor
    from .turn import Turn


class Observer(Protocol):
    """`turn` is None for what happens outside of a turn, to one that is parked, say. Deltas are not told: they are for watchers of one
    turn. `StepStarted` is told when a model call begins, which is no entry of the journal; all other events are journalled."""

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], /) -> None: ...
