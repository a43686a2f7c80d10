"""Who keeps a session that is one of many, as the session sees it. `Sessions` is that; a session of its own has nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .actor import Actor
    from .turn import Turn


class Keeper(Protocol):
    """Admits the turns of its sessions and is told when they are over."""

    async def admit(self, session: Actor[Any], turn: Turn) -> None:
        """Wait until the turn may begin. Raises `SessionError` if it may not. Cancelling it gives the wish up."""
        ...

    def call_off(self, turn: Turn) -> None:
        """The turn was interrupted before it was admitted: it need not wait, since it will end as it begins."""
        ...

    def waits(self, turn: Turn) -> bool:
        """Whether the turn waits to be admitted."""
        ...

    def left(self, session: Actor[Any], turn: Turn) -> None:
        """The turn is over or parked, or was never begun; told at least once for each that asked to be admitted."""
        ...

    def closed(self, session: Actor[Any]) -> None:
        """The session was closed by whoever used it."""
        ...
