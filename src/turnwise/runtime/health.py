"""What of a runtime works and what does not: parts that are degraded say so here, once, and say when they are well again.

A part is degraded when its absence costs something but not the turn: telemetry that cannot be sent, a catalogue of prices that cannot be
read, an optional plugin that did not start. What a turn depends on ends the turn instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from ..core.protocols import Clock
from ..models.secrets import mask
from . import log

PartState = Literal["ok", "degraded", "failed"]


class PartStatus(msgspec.Struct, frozen=True):
    """How a part of a runtime stands: by name (`prices`, `telemetry`, `plugin.weather` …), since when (Unix seconds), and why, with a code
    of docs/errors.md."""

    part: str
    state: PartState
    since: float
    code: str = ""
    message: str = ""


class Health:
    """The parts that have said how they stand; `degraded` are those that do not work as they should. `changed` is called with each change,
    on the thread that says it; it must not raise. All methods may be called from any thread."""

    __slots__ = ("_clock", "_parts", "changed", "degraded")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[str, PartStatus] = {}
        self.degraded: tuple[PartStatus, ...] = ()
        self.changed: list[Callable[[PartStatus], None]] = []

    def degrade(self, part: str, code: str, message: str, *, state: PartState = "degraded") -> None:
        """A part does not work as it should. Saying the same again changes nothing."""
        self._note(part, state, code, message)

    def restore(self, part: str) -> None:
        """It works (again). Of a part that never said otherwise this notes nothing."""
        if part in self._parts:
            self._note(part, "ok", "", "")

    def of(self, part: str) -> PartStatus | None:
        """How a part stands; None if it never said."""
        return self._parts.get(part)

    @property
    def parts(self) -> tuple[PartStatus, ...]:
        """All that have said how they stand, by name."""
        return tuple([self._parts[name] for name in sorted(self._parts)])

    def _note(self, part: str, state: PartState, code: str, message: str) -> None:
        before = self._parts.get(part)
        if before is not None and (before.state, before.code, before.message) == (state, code, mask(message)):
            return
        status = self._parts[part] = PartStatus(part, state, self._clock.wall(), code, mask(message))
        self.degraded = tuple([one for one in self.parts if one.state != "ok"])
        log.part_changed(status)
        for told in tuple(self.changed):
            told(status)
