"""The store's end: journals in memory that never wait, and a whole store in memory or in SQLite that takes its time and fails.

A `FaultyStore` is what one process has of the store. An append takes effect at one moment and is acknowledged at a later one; the world is told
of it at the first, and a crash may come between the two.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.entries import Entry
from ...core.errors import state_error
from ...core.store import Claim, Owner
from ...store.memory import MemoryStore
from ...store.sqlite import SqliteStore
from .inline import let_go, on_commit, sqlite_on
from .journals import Violation

if TYPE_CHECKING:
    from .process import Process
    from .world import World


MUTE_S = 45.0
"""For how long a process cannot renew its lease: long enough for it to run out."""


SLOW_S = 30.0


class Watched(MemoryStore):
    """A store in memory whose appends do not wait. The world sees each of them."""

    __slots__ = ("_world",)

    def __init__(self, world: World) -> None:
        super().__init__(world.wall)
        self._world = world

    def append_now(self, session: str, after: int, entries: Sequence[Entry]) -> int:
        last = super().append_now(session, after, entries)
        self._world.appended(session, after, entries)
        return last


class FaultyStore:
    """A store that takes its time, of one process."""

    where: ClassVar[str] = "memory"
    lasting: ClassVar[bool] = False

    def __init__(self, world: World, process: Process, inner: Any) -> None:
        self._world = world
        self._process = process
        self._inner = inner
        self._draw = world.draw(f"store/{process.number}")
        self._free_at = 0.0
        self.failed: set[str] = set()
        """Sessions whose last append failed: their claims are given up."""
        self.was_mute = False
        self._mute_until = 0.0
        """Until then no lease is renewed."""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        try:
            fence = await self._append(session, after, entries, claim)
        except Exception:
            self.failed.add(session)
            raise
        self.failed.discard(session)
        return fence

    async def _append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None) -> int:
        world = self._world
        fault = world.stores.fault(session)
        if fault == "slow_append":
            self.was_mute = True  # what comes later waits behind it, the renewal of the lease, too
        await self._wait(SLOW_S if fault == "slow_append" else 0.0)
        if fault == "append_fails":
            raise state_error("append_failed", "The disk does not answer.", "Try again.")
        if fault == "disk_full":
            raise state_error("disk_full", "The disk is full.", "Make room.", session=session)
        if fault == "lease_lost":
            self.was_mute, self._mute_until = True, world.time.now + MUTE_S
        fence = await self._effect(session, after, entries, claim)
        if fault == "append_fails_late":
            raise state_error("append_failed", "The disk does not answer.", "Try again.")
        if self._draw.random() < 0.3:
            await asyncio.sleep(self._draw.choice((0.001, 0.01)))
        return fence

    async def _effect(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None) -> int:
        """Append; the world is told in the moment in which it takes effect."""
        fence = await self._inner.append(session, after, entries, claim)
        self._tell(session, after, entries, claim, fence)
        return fence

    def _tell(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None, fence: int) -> None:
        self._world.stores.fenced(session, claim, fence)
        self._world.appended(session, after, tuple(entries), self._process)

    async def _wait(self, more_s: float = 0.0) -> None:
        """Until it is this one's turn; what comes later takes effect later."""
        now = self._process.loop.time()
        draw = self._draw.random()
        at = max(self._free_at, now + more_s + (0.0 if draw < 0.5 else 0.002 if draw < 0.95 else 0.3))
        self._free_at = at
        await asyncio.sleep(at - now)

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        await self._wait()
        if self._process.loop.time() < self._mute_until:
            raise state_error("append_failed", "The disk does not answer.", "Try again.")
        await self._inner.heartbeat(Owner(owner.id, self._process.name, self._process.number), ttl_s)

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        await self._wait()
        return await self._inner.read(session, after, limit)

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        return await self._inner.wait(session, after, timeout_s)

    def blobs(self, tenant: str) -> Any:
        return self._inner.blobs(tenant)

    async def close(self) -> None:
        """What is inside belongs to the world."""


def _in_memory() -> str | None:
    """A folder that costs no disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _passed(name: str) -> Any:
    async def passed(self: FaultyStore, *args: Any, **options: Any) -> Any:
        await self._wait()  # pyright: ignore[reportPrivateUsage]
        return await getattr(self._inner, name)(*args, **options)  # pyright: ignore[reportPrivateUsage]

    passed.__name__ = name
    return passed


for _name in (
    "create",
    "info",
    "sessions",
    "edit",
    "delete",
    "search",
    "save_snapshot",
    "snapshot",
    "retire",
    "claim",
    "holds",
    "release",
    "collect_blobs",
    "get_record",
    "put_record",
    "delete_record",
    "records",
    "stats",
):
    setattr(FaultyStore, _name, _passed(_name))


class AtOnce(FaultyStore):
    """The same of SQLite: it can append before it returns, and else an append takes effect with its commit, before anybody is told."""

    def __init__(self, world: World, process: Process, inner: SqliteStore) -> None:
        super().__init__(world, process, inner)
        self._under_way: dict[tuple[str, int], tuple[Sequence[Entry], Claim | None]] = {}
        on_commit(inner, self._committed)

    def _committed(self, session: str, after: int, fence: int) -> None:
        found = self._under_way.pop((session, after), None)
        if found is not None:
            self._tell(session, after, *found, fence)

    async def _effect(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None) -> int:
        self._under_way[session, after] = entries, claim
        try:
            return await self._inner.append(session, after, entries, claim)
        finally:
            self._under_way.pop((session, after), None)

    def append_at_once(
        self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None
    ) -> int | None:
        if self._free_at > self._process.loop.time() or self._draw.random() < 0.4 or self._world.stores.awaits(session):
            return None
        self._under_way[session, after] = entries, claim
        try:
            fence = self._inner.append_at_once(session, after, entries, claim)
        finally:
            self._under_way.pop((session, after), None)
        if fence is not None:
            self._world.stores.fault(session)
        return fence


class Stores:
    """The stores of a world. `for_process` gives a process its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kind = world.plan.store
        self._draw = world.draw("store")
        self._armed: dict[str, dict[int, str]] = {}
        self._appends: dict[str, int] = {}
        self._fences: dict[str, int] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[Process, SqliteStore] = {}
        self._memory = Watched(world) if self._kind == "memory" else MemoryStore(world.wall)

    def arm(self, name: str, faults: Sequence[tuple[str, int]]) -> None:
        """From now on the appends of a session are counted, and these faults strike."""
        self._armed[name] = {number: fault for fault, number in faults}
        self._appends[name] = 0

    def fault(self, session: str) -> str:
        """What happens to the next append of a session."""
        name = self._world.names.get(session, session)
        armed = self._armed.get(name)
        if not armed:
            return ""
        self._appends[name] += 1
        fault = armed.get(self._appends[name], "")
        if fault:
            self._world.struck_name(name, fault)
        return fault

    def awaits(self, session: str) -> bool:
        """Whether a fault strikes the next append of a session."""
        name = self._world.names.get(session, session)
        return self._appends.get(name, 0) + 1 in self._armed.get(name, ())

    def fenced(self, session: str, claim: Claim | None, fence: int) -> None:
        """An append was accepted under a claim: nobody may have taken the session over since."""
        highest = self._fences.get(session, 0)
        if claim is not None and claim.fence and claim.fence < highest:
            what = f"{session}: an append under fence {claim.fence} took effect, and {highest} has been given since"
            self._world.fail(Violation("D3", what))
        self._fences[session] = max(highest, fence)

    def for_process(self, process: Process) -> Any:
        """The store as this process has it."""
        if self._kind == "memory":
            return self._memory
        if self._kind == "stored":
            return FaultyStore(self._world, process, self._memory)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="turnwise-simulation-", dir=_in_memory())
        store = sqlite_on(process.loop, Path(self._folder.name) / "turnwise.db", self._world.wall)
        self._files[process] = store
        return AtOnce(self._world, process, store)

    def dropped(self, process: Process) -> None:
        """A process is gone: its files are closed, as the system does."""
        store = self._files.pop(process, None)
        if store is not None:
            let_go(store)

    def close(self) -> None:
        """The world is over."""
        for process in list(self._files):
            self.dropped(process)
        if self._folder is not None:
            self._folder.cleanup()
