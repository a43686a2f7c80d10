"""How the bus hears of turns: as an observer of its runtime, which exists as long as somebody wants to hear of them.

Every event of a session is published under its own name, with the session's id, the turn and the number of its journal entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from ...core.events import Event, StepSnapshot, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted, ToolProgress
from ..observer import EntryObserver

if TYPE_CHECKING:
    from ..actor import Actor
    from ..turn import Turn
    from .bus import Bus

TOPICS: dict[type, str] = {kind: kind.__struct_config__.tag for kind in get_args(Event)}
"""The topic of each event: its name."""
NOT_TOLD = frozenset(
    [TOPICS[kind] for kind in (TextDelta, ThinkingDelta, ToolCallStarted, ToolCallDelta, ToolProgress, StepSnapshot)]
)
"""What only those get who watch the turn."""
TOLD = frozenset(TOPICS.values()) - NOT_TOLD


class Heard(EntryObserver):
    """Publishes what is told of turns, and wakes those who follow the journal of a session that nobody else would wake."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], /) -> None:
        publish, id, number = self._bus.publish, session.id, session.state.turns
        for event in events:
            publish(TOPICS[type(event)], event, session=id, turn=number)

    def told_of(
        self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], counts: Sequence[int], /
    ) -> None:
        publish, id, number = self._bus.publish, session.id, session.state.turns
        entry, at = session.told - len(counts), 0
        for count in counts:
            entry += 1
            for event in events[at : at + count]:
                publish(TOPICS[type(event)], event, session=id, turn=number, entry=entry)
            at += count
        if self._awaited:
            self._wake(id)

    # --- for those who follow a journal -------------------------------------------------------------------------------

    @property
    def is_awaited(self) -> bool:
        return bool(self._awaited)

    async def until_told(self, session: Actor[Any], after: int, timeout_s: float) -> None:
        """Wait until a session that is open here has more than `after` entries; at most so long."""
        if session.told > after:
            return
        waiter: asyncio.Future[None] = self._bus.loop.create_future()
        self._awaited.setdefault(session.id, []).append(waiter)
        self._bus.hear_if_wanted()
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            if (there := self._awaited.get(session.id)) is not None and waiter in there:
                there.remove(waiter)
                if not there:
                    del self._awaited[session.id]
            self._bus.hear_if_wanted()

    def _wake(self, session: str) -> None:
        for waiter in self._awaited.pop(session, ()):
            if not waiter.done():
                waiter.set_result(None)
