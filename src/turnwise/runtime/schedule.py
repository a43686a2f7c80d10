"""Which of a turn's calls may run now: within the bounds, and in call order where they touch the same resource (rule E5).

Nothing is started here. A call that changes a resource has it to itself; calls that only read it share it. Who came first goes
first: a reader waits for every writer before it, a writer for everyone before it, also for those that wait themselves, so
that neither can be kept waiting by later ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from ..tools import Tool


class Entrant(Protocol):
    """What is scheduled: a call of `tool` that touches `resources`, and changes them unless the tool is read-only."""

    @property
    def id(self) -> str: ...
    @property
    def tool(self) -> Tool[..., object]: ...
    @property
    def resources(self) -> Sequence[str]: ...


E = TypeVar("E", bound=Entrant)


class Schedule(Generic[E]):
    """The calls that run, by id, and those that wait, in call order."""

    __slots__ = ("_waiting", "running")

    def __init__(self) -> None:
        self.running: dict[str, E] = {}
        self._waiting: list[E] = []

    def __contains__(self, call_id: str) -> bool:
        return call_id in self.running or (bool(self._waiting) and any(one.id == call_id for one in self._waiting))

    def enter(self, one: E, bound: int) -> bool:
        """True if the call begins now, else it waits. `bound` is how many calls may run at once."""
        begins = self._has_place(one, bound) and (
            not one.resources or self._touched((*self.running.values(), *self._waiting)).lets(one)
        )
        if begins:
            self.running[one.id] = one
        else:
            self._waiting.append(one)
        return begins

    def leave(self, call_id: str, bound: int) -> list[E]:
        """A call has ended: those that begin now, in call order."""
        del self.running[call_id]
        return self._refill(bound) if self._waiting else []

    def forget(self, call_ids: Collection[str], bound: int) -> list[E]:
        """These calls will not begin, if they wait: those that begin now in their stead."""
        self._waiting = [one for one in self._waiting if one.id not in call_ids]
        return self._refill(bound)

    def clear(self) -> None:
        """Nothing that waits will begin."""
        self._waiting.clear()

    def _refill(self, bound: int) -> list[E]:
        if not self._waiting or len(self.running) >= bound:
            return []
        begun: list[E] = []
        left: list[E] = []
        touched = self._touched(self.running.values())
        for one in self._waiting:
            if self._has_place(one, bound) and touched.lets(one):
                self.running[one.id] = one
                begun.append(one)
            else:
                left.append(one)
            touched.add(one)
        self._waiting = left
        return begun

    def _has_place(self, one: E, bound: int) -> bool:
        running, of_tool = self.running, one.tool.concurrency
        if len(running) >= bound:
            return False
        return of_tool is None or sum(1 for other in running.values() if other.tool is one.tool) < of_tool

    def _touched(self, earlier: Iterable[E]) -> _Touched:
        touched = _Touched()
        for one in earlier:
            touched.add(one)
        return touched


class _Touched:
    """What earlier calls read and write."""

    __slots__ = ("_read", "_written")

    def __init__(self) -> None:
        self._read: set[str] = set()
        self._written: set[str] = set()

    def add(self, one: Entrant) -> None:
        (self._read if one.tool.read_only else self._written).update(one.resources)

    def lets(self, one: Entrant) -> bool:
        if not one.resources:
            return True
        return self._written.isdisjoint(one.resources) and (one.tool.read_only or self._read.isdisjoint(one.resources))
