"""How a runtime stands, in one value: for health checks, and for people who want to know what it is busy with."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from .bus.values import BusStatus
from .health import PartStatus

if TYPE_CHECKING:
    from .bus.bus import Bus
    from .plugins.running import PluginStatus
    from .runtime import Runtime


class LeaseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A lease of the runtime in a store: under which `owner` it claims sessions, how many it holds, and whether it is `sure` to hold."""

    owner: str
    store: str
    sessions: int
    sure: bool


class RuntimeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a runtime stands right now.

    `parts` are those that have ever said that they do not work as they should, and how they stand by now; `turns` run, single requests
    included; `plugins` are all that it was given, in the order of their start; `tasks` are all that the runtime owns; `abandoned_bodies` are coroutines of tools that did not stop when they were told to;
    `observers` are told of all turns; `bus` is None if nobody has asked for it; `encoded_bytes` is what encoded histories of idle sessions take.
    """

    closed: bool
    parts: tuple[PartStatus, ...]
    plugins: tuple[PluginStatus, ...]
    turns: int
    tasks: int
    abandoned_bodies: int
    observers: int
    leases: tuple[LeaseStatus, ...]
    encoded_bytes: int
    bus: BusStatus | None

    @property
    def healthy(self) -> bool:
        """Whether every part works as it should."""
        return all(part.state == "ok" for part in self.parts)


def status_of(runtime: Runtime, bus: Bus | None, turns: Collection[Any], tasks: Collection[Any]) -> RuntimeStatus:
    """See `Runtime.status`."""
    leases = [
        LeaseStatus(owner=one.owner.id, store=type(one.store).__name__, sessions=one.held, sure=one.sure)
        for one in runtime.leases
    ]
    return RuntimeStatus(
        closed=runtime.closed,
        parts=runtime.health.parts,
        plugins=() if runtime.plugins is None else runtime.plugins.status(),
        turns=len(turns),
        tasks=len(tasks),
        abandoned_bodies=len(runtime.abandoned_bodies),
        observers=len(runtime.observers),
        leases=tuple(leases),
        encoded_bytes=runtime.encoded_bytes,
        bus=None if bus is None else bus.status(),
    )
