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
    turn. `StepStarted` is told when a model call begins, which is no entry of the journal; all other events are journalled, but for the end of a
    turn whose journal cannot be written."""

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], /) -> None: ...


class EntryObserver:
    """The base of an observer that wants to know which journal entry an event is of: it is told so by `told_of`. By `told` it learns what is of
    none, which is more than others are told: `BudgetLow`, `CacheBroken` and the driver's notices, too."""

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], /) -> None:
        raise NotImplementedError

    def told_of(
        self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], counts: Sequence[int], /
    ) -> None:
        """`counts` says how many of the events each entry has; the last of these entries is number `session.told`."""
        raise NotImplementedError


def tell_observers(session: Actor[Any], turn: Turn | None, events: Sequence[Event], counts: Sequence[int]) -> None:
    """The events of entries that are durable now; without `counts`, of none."""
    for observer in session.runtime.observers:
        if counts and isinstance(observer, EntryObserver):
            observer.told_of(session, turn, events, counts)
        else:
            observer.told(session, turn, events)


def tell_beside(session: Actor[Any], turn: Turn, events: Sequence[Event]) -> None:
    """Events that are of no entry."""
    for observer in session.runtime.observers:
        if isinstance(observer, EntryObserver):
            observer.told(session, turn, events)
