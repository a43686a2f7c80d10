"""The lease by which a process says that it is alive, one for each runtime and store (rule D3).

It is renewed while any session is claimed under it, and not otherwise: an idle process writes nothing. What is known here of how long it
holds is never more than the store knows: it counts from before the store was asked. When that time is over (the process was stopped,
the store did not answer), nobody can tell from here whether a claim still holds; `Claims` then asks before anything is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from typing import TYPE_CHECKING, Protocol

from ..core.store import Claim, Owner, Store
from .degraded import store_fails, store_works
from .parts import append_at_once_of
from .timers import Timer

if TYPE_CHECKING:
    from .runtime import Runtime

TTL_S = 30.0
"""How long a process may be silent before its sessions can be taken over."""
BEATS = 3
"""How often a lease is renewed before it would run out."""
RETIRE_S = 2.0
"""How long a closing runtime waits for its store to end the lease."""


class Holder(Protocol):
    """Who holds a claim under the lease."""

    async def look(self) -> None:
        """The lease may have run out: see whether the claim still holds."""
        ...


class Lease:
    """`owner` is the name under which this runtime claims sessions of `store`; `append_at_once` the store's way to append without being
    waited for, if it has one. `lapses` counts how often it was renewed when it may have run out: a claim that was not asked for since may be
    another's, however long the lease holds now."""

    __slots__ = (
        "_holders",
        "_renewing",
        "_runtime",
        "_timer",
        "_until",
        "_until_wall",
        "append_at_once",
        "lapses",
        "owner",
        "store",
        "ttl_s",
    )

    def __init__(self, runtime: Runtime, store: Store, ttl_s: float = TTL_S) -> None:
        self._runtime = runtime
        self.store = store
        self.append_at_once = append_at_once_of(store)
        self.ttl_s = ttl_s
        self.owner = Owner(runtime.ids.session_id(), platform.node(), os.getpid())
        self._holders: dict[Holder, None] = {}
        self.lapses = 0
        self._until = self._until_wall = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._timer: Timer | None = None

    @property
    def sure(self) -> bool:
        """Whether the lease holds for certain. Both clocks are asked: one stands still while the machine sleeps, the other may be set."""
        clock = self._runtime.clock
        return clock.monotonic() < self._until and clock.wall() < self._until_wall

    @property
    def held(self) -> int:
        """How many sessions are claimed under it."""
        return len(self._holders)

    def claim(self, fence: int = 0, hold: bool = True) -> Claim:
        """For an append; see `Claim`."""
        return Claim(self.owner.id, fence, hold)

    async def ensure(self) -> None:
        """Renew the lease if it may have run out. Raises what the store raises. Cancelling this stops the waiting only."""
        if self.sure:
            return
        if self._renewing is None:
            self._renewing = self._runtime.start(self._renew())
        renewing = self._renewing
        await asyncio.wait((renewing,))
        renewing.result()

    def hold(self, holder: Holder) -> None:
        """A claim is held: from now on the lease is renewed."""
        if not self._holders:
            self._arm(self._until - self.ttl_s + self.ttl_s / BEATS)
        self._holders[holder] = None

    def let_go(self, holder: Holder) -> None:
        """The claim is held no more. With the last one the renewing ends, when it would be due."""
        self._holders.pop(holder, None)

    async def retire(self) -> None:
        """End the lease and all claims, so that nobody has to wait for it to run out. For a runtime that closes; at most `RETIRE_S`."""
        if self._timer is not None:
            self._runtime.timers.cancel(self._timer)
            self._timer = None
        self._holders.clear()
        if self._until == float("-inf"):
            return
        self._until = self._until_wall = float("-inf")
        ending = self._runtime.start(self._retire())
        await asyncio.wait((ending,), timeout=RETIRE_S)

    async def _retire(self) -> None:
        with contextlib.suppress(Exception):  # it runs out by itself
            await self.store.retire(self.owner.id)

    # --- renewing -----------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        clock, late = self._runtime.clock, False
        began, began_wall = clock.monotonic(), clock.wall()
        try:
            await self.store.heartbeat(self.owner, self.ttl_s)
            store_works(self._runtime, self.store)
            late = not self.sure  # seen now: it may have run out while the store was asked
            self.lapses += late
            self._until, self._until_wall = began + self.ttl_s, began_wall + self.ttl_s
        finally:
            self._renewing = None
        if late:
            for holder in list(self._holders):
                await holder.look()

    def _arm(self, when: float) -> None:
        """Renew at this time of the runtime's clock, or now if that is over."""
        runtime = self._runtime
        if self._timer is None:
            left_s = max(0.0, when - runtime.clock.monotonic())
            self._timer = runtime.timers.at(runtime.loop.time() + left_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._holders and not self._runtime.closed:
            self._runtime.start(self._beat())

    async def _beat(self) -> None:
        """Renew; if the store does not answer, try again soon: while the lease is not sure, nothing is done under it."""
        try:
            if self._renewing is None:
                self._renewing = asyncio.current_task()
                await self._renew()
        except Exception as error:
            store_fails(self._runtime, self.store, "lease_not_renewed", f"The lease cannot be renewed: {error}")
            again_s = self.ttl_s / BEATS / 4
        else:
            again_s = self.ttl_s / BEATS
        if self._holders:
            self._arm(self._runtime.clock.monotonic() + again_s)


def lease_of(runtime: Runtime, store: Store) -> Lease:
    """The lease of a runtime in a store, made when it is first asked for."""
    for lease in runtime.leases:
        if lease.store is store:
            return lease
    lease = Lease(runtime, store, runtime.lease_s)
    runtime.leases.append(lease)
    return lease
