"""The `Runtime` owns every task, thread, client and child that Turnwise starts, and is closed with all of them.

It is given its seams (clock, chance, ids, transport, blocking, spawn, store, blobs) and makes the real ones when they are
not given. Without an explicit runtime each event loop has a default one, which is closed together with the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from ..core.errors import ErrorInfo, SessionClosed
from ..core.principal import LOCAL, Principal
from ..core.protocols import Blobs, Blocking, Clock, Ids, Random, Spawn, Transport
from .extensions import Extensions
from .gates import Gates, ProviderLimits
from .health import Health
from .parts import has_records
from .prefix import Prefix
from .retry_budget import RetryBudgets
from .seams import SystemChance, SystemClock, Uuid7
from .timers import Timers

if TYPE_CHECKING:
    from ..core.budgets import Budget, BudgetStatus
    from ..core.store import Journals, Records
    from ..store.scopes import State
    from .budgets.ledger import Ledger
    from .bus.bus import Bus
    from .extensions import Registration
    from .ground import Ground
    from .hooks.chain import Outcome as HookOutcome
    from .hooks.hook import HookStatus
    from .lease import Lease
    from .observer import Observer
    from .overview import RuntimeStatus
    from .plugins.plugins import Plugins
    from .telemetry.probe import Probe

_CLOSE_GRACE_S = 5.0
ENCODED_BYTES = 64 << 20
"""Encoded histories of idle sessions are kept up to this many bytes in all, for one runtime."""
SMALL_BYTES = 16 << 10
"""Histories smaller than this are not counted: what they take is of the order of the session itself."""


class Runtime:
    """Owner of whatever sessions start. Belongs to the event loop it is first used on.

    Use it as `async with Runtime() as runtime:` or rely on the default one of the loop. `close()` interrupts running
    turns, waits for them at most their grace, and leaves no task, connection or child behind. `environ` is where keys and
    addresses are looked up (default: the process's environment). `limits` bound what is sent to each provider key, by provider
    name (`"*"`: all others): see `ProviderLimits`. `lease_s` is for how long this process may be silent before others may take over its
    sessions in a store that is shared: see docs/resume.md. `hooks` are called for all sessions (docs/hooks.md), and
    `middleware` is around all that is done, outside of that of agents (docs/middleware.md). `budgets` bound what
    the turns of each session, agent, user or tenant may spend together, whatever the agent: see docs/limits.md. `plugins` are started by `async with` and
    stopped by `close`: see docs/plugins.md.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        ids: Ids | None = None,
        transport: Transport | None = None,
        blocking: Blocking | None = None,
        spawn: Spawn | None = None,
        store: Journals | None = None,
        blobs: Blobs | None = None,
        environ: Mapping[str, str] | None = None,
        limits: Mapping[str, ProviderLimits] | None = None,
        lease_s: float = 30.0,
        hooks: Iterable[object] = (),
        middleware: Iterable[object] = (),
        budgets: Iterable[Budget] = (),
        plugins: Plugins | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.random: Random = random or SystemChance()
        self.ids: Ids = ids or Uuid7()
        self.store = store
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.blobs = blobs
        self._records: Records | None = None
        self.retry_budgets = RetryBudgets(self.clock)
        self.gates = gates = Gates(limits or {})
        self.health = Health(self.clock)
        self.observers: tuple[Observer, ...] = ()
        self.failing_stores: list[object] = []
        self._bus: Bus | None = None
        self.probe: Probe | None = None
        self.dropped: dict[str, int] = {}
        self.queues: list[tuple[str, Callable[[], int]]] = [("requests", lambda: gates.waiting)]
        self.extensions = Extensions("runtime", hooks, middleware)
        self.closed = False
        self._transport = transport
        self._blocking = blocking
        self._spawn = spawn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timers: Timers | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their beginning, in which they are ended, too
        self._turns: dict[Any, None] = {}
        self._encoded: WeakKeyDictionary[Prefix, int] = WeakKeyDictionary()
        self._encoded_bytes = 0
        self.abandoned_bodies: set[asyncio.Task[Any]] = set()
        self.lease_s = lease_s
        self.ledger: Ledger | None = _ledger(self, tuple(budgets))
        self.leases: list[Lease] = []
        self.plugins = None if plugins is None else plugins.on(self)

    async def __aenter__(self) -> Self:
        if self.plugins is not None:
            await self.plugins.start()
        self.bind()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- what it owns -----------------------------------------------------------------------------------------------

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop or self.bind()

    @property
    def timers(self) -> Timers:
        if self._timers is None:
            self._timers = Timers(self.loop)
        return self._timers

    @property
    def transport(self) -> Transport:
        if self._transport is None:
            from ..models.transport import HttpTransport

            self._transport = HttpTransport()
        return self._transport

    @property
    def blocking(self) -> Blocking:
        if self._blocking is None:
            from .blocking import ThreadPool

            self._blocking = ThreadPool()
        return self._blocking

    @property
    def spawn(self) -> Spawn:
        if self._spawn is None:
            from .spawn import ProcessSpawn

            self._spawn = ProcessSpawn()
        return self._spawn

    @property
    def records(self) -> Records:
        """Where scoped state is kept that is no session's: in the store if it keeps records, else in memory, as long as this runtime."""
        if self._records is None:
            from ..store.memory import MemoryStore

            store = self.store
            self._records = store if has_records(store) else MemoryStore(self.clock.wall)
        return self._records

    def scopes(self, principal: Principal = LOCAL, *, agent: str = "", session: str = "", writer: str = "") -> State:
        """Scoped state outside of a session: `runtime.scopes(Principal("acme", "ann")).user`. See `State`."""
        from ..store.scopes import State
        from .scoped_state import RuntimeReach

        return State(RuntimeReach(self, principal), principal, agent=agent, session=session, writer=writer)

    def add_hook(self, hook: object) -> Registration:
        """A hook of all sessions of this runtime, from their next steps on, and what takes it away again; see `turnwise.hooks`. Raises
        `ConfigError` (`bad_hook`, `unknown_point`, `unhonoured_result`)."""
        return self.extensions.register(hook)

    def hooks(self) -> list[HookStatus]:
        """All hooks that are registered here, and with agents and sessions that have run here: what they are called for, how often, and how that
        went."""
        from .hooks.listed import listed

        return listed(self)

    async def fire(
        self,
        point: str,
        value: Any = None,
        *,
        session: Ground[Any] | None = None,
        take: Callable[[Any, Any], Any] | None = None,
    ) -> HookOutcome:
        """Call the hooks of a point that `declare_point` has declared, and wait for them: those of this runtime and, with `session`, those of its
        agent and its own. `take` checks what a `Modify` brings, and gives the value to go on with. What came of it is for the caller to
        honour. Raises `ConfigError` (`unknown_point`, and `invalid_value` for a point of the engine's, which nobody else fires)."""
        from .hooks.listed import fire

        return await fire(self, point, value, session, take)

    def bind(self) -> asyncio.AbstractEventLoop:
        """Tie the runtime to the running loop. Raises `SessionClosed` if it was closed, `RuntimeError` on another loop."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise SessionClosed(
                ErrorInfo(
                    "session", "session_closed", "This runtime is closed.", "Open a new Runtime, or leave it out."
                )
            )
        if self.plugins is not None:
            self.plugins.refuse_if_not_begun()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("This Runtime belongs to another event loop; make one per loop.")
        return loop

    def start(self, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine in a task of ours. From Python 3.12 on it runs at once up to its first wait."""
        task = _task(work, self.loop, context)
        if task.done():
            return task
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def sleep(self, seconds: float) -> None:
        """Wait on the runtime's timers."""
        loop = self.loop
        done: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.timers.at(loop.time() + seconds, wake)
        try:
            await done
        finally:
            self.timers.cancel(timer)

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """A tool's body that did not stop when cancelled: counted until it ends, and no longer waited for by `close`."""
        if task in self._tasks:
            del self._tasks[task]
            task.remove_done_callback(self._tasks.pop)
        self.abandoned_bodies.add(task)
        task.add_done_callback(self.abandoned_bodies.discard)

    def keep_encoded(self, prefix: Prefix) -> None:
        """A turn has ended: keep its session's encoded history while all kept ones fit into `ENCODED_BYTES`, the ones used
        longest ago dropped first."""
        size = len(prefix)
        if size < SMALL_BYTES:
            return
        kept = self._encoded
        self._encoded_bytes -= kept.pop(prefix, 0)
        kept[prefix] = size
        self._encoded_bytes += size
        if self._encoded_bytes > ENCODED_BYTES:
            self._drop_encoded()

    @property
    def encoded_bytes(self) -> int:
        """What the encoded histories that are kept take, those of sessions that are gone included until they are counted anew."""
        return self._encoded_bytes

    def _drop_encoded(self) -> None:
        """Sessions that are gone have taken theirs with them, so the sum is made anew first."""
        kept = self._encoded
        self._encoded_bytes = sum(kept.values())
        for prefix in list(kept):
            if self._encoded_bytes <= ENCODED_BYTES:
                break
            self._encoded_bytes -= kept.pop(prefix)
            prefix.drop()

    def budgets(self) -> tuple[BudgetStatus, ...]:
        """How the budgets of agents, users and tenants stand that turns of this runtime have drawn on lately; those of one session:
        `session.budgets()`."""
        return () if self.ledger is None else self.ledger.statuses()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell it of all turns from now on; what is returned ends that."""
        self.observers = (*self.observers, observer)

        def end() -> None:
            self.observers = tuple([one for one in self.observers if one is not observer])

        return end

    @property
    def bus(self) -> Bus:
        """The event bus, made when it is first asked for, on the runtime's loop. Raises `SessionClosed` if the runtime is closed by then."""
        if self._bus is None:
            from .bus.bus import Bus

            self._bus = Bus(self)
        return self._bus

    def tell_bus(self, topic: str, data: Any = None) -> None:
        """Publish something, if anybody ever asked for the bus. Callable from any thread; never raises."""
        if self._bus is not None:
            self._bus.publish(topic, data)

    def status(self) -> RuntimeStatus:
        """How the runtime stands: its parts, what runs, who listens, what was left behind."""
        from .overview import status_of

        return status_of(self, self._bus, self._turns, self._tasks)

    def count_dropped(self, queue: str, events: int = 1) -> None:
        """Events were not kept for somebody who is too slow, in the queue of that name."""
        self.dropped[queue] = self.dropped.get(queue, 0) + events
        if self.probe is not None:
            self.probe.dropped(queue, events)

    @property
    def active_turns(self) -> int:
        """How many turns and single requests run."""
        return len(self._turns)

    def waiting(self) -> dict[str, int]:
        """How much waits in the runtime's queues, by their names."""
        found: dict[str, int] = {}
        for name, depth in self.queues:
            found[name] = found.get(name, 0) + depth()
        if self._blocking is not None and (threads := getattr(self._blocking, "waiting", None)) is not None:
            found["threads"] = threads
        return found

    def adopt(self, turn: Any) -> None:
        """A turn begins; it is ended by `close` if it still runs then."""
        self._turns[turn] = None

    def release(self, turn: Any) -> None:
        """The turn is over."""
        self._turns.pop(turn, None)

    async def close(self) -> None:
        """End running turns, then everything else. Idempotent. What does not stop within the grace is cancelled."""
        if self.closed:
            return
        self.closed = True
        ended = [turn.close() for turn in list(self._turns)]
        if ended:
            await asyncio.wait([asyncio.ensure_future(e) for e in ended], timeout=_CLOSE_GRACE_S)
        if self.plugins is not None:
            await self.plugins.stop()
        if self.ledger is not None:
            await self.ledger.settled()
        for lease in self.leases:
            await lease.retire()
        if self._bus is not None:
            await self._bus.close()
        await self._cancel_tasks()
        if self._timers is not None:
            self._timers.close()
        for owned in (self._blocking, self._spawn, self._transport):
            if owned is not None:
                await owned.close()

    async def _cancel_tasks(self) -> None:
        tasks = [t for t in self._tasks if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_GRACE_S)


def _ledger(runtime: Runtime, budgets: tuple[Budget, ...]) -> Ledger | None:
    if not budgets:
        return None
    from .budgets.ledger import Ledger

    return Ledger(runtime, budgets)


if sys.version_info >= (3, 12):

    def _task(
        work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, context: contextvars.Context | None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(work, loop=loop, context=context, eager_start=True)

else:

    def _task(
        work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, context: contextvars.Context | None
    ) -> asyncio.Task[Any]:
        return loop.create_task(work, context=context)


# --- the default runtime of a loop ------------------------------------------------------------------------------------

_defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Runtime, AsyncGenerator[None, None]]] = (
    WeakKeyDictionary()
)


async def default_runtime() -> Runtime:
    """The runtime of the running loop, made on first use.

    It is closed by the loop itself: `asyncio.run` and its kin shut down the loop's asynchronous generators before they close
    it, and one of these is ours and closes the runtime.
    """
    loop = asyncio.get_running_loop()
    found = _defaults.get(loop)
    if found is not None and not found[0].closed:
        return found[0]
    runtime = Runtime()
    runtime.bind()
    closing = _close_with_loop(runtime)
    await anext(closing)
    _defaults[loop] = (runtime, closing)
    return runtime


def default_runtime_if_any() -> Runtime | None:
    """The running loop's default runtime, if it has one already."""
    found = _defaults.get(asyncio.get_running_loop())
    return None if found is None or found[0].closed else found[0]


async def _close_with_loop(runtime: Runtime) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await runtime.close()
        _defaults.pop(runtime.loop, None)  # the runtime knows its loop, which would keep the entry for ever
