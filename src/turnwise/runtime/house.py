"""How many sessions are kept together: which are open, which of their turns run, and what becomes of them at the end.

This is the inner half of `Sessions`; what callers see is in `sessions`. The parts are rooms of their own: `shelf` (which sessions are
open), `places` (which turns may run), `opening`, `titles`, `tape`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import msgspec

from ..core.errors import ErrorInfo, SessionBusy, TurnwiseError, config_error
from ..core.events import Notice
from ..core.principal import Principal
from ..core.store import SessionInfo, Store
from . import refusals
from .agent import Agent
from .budget import CURRENT
from .elsewhere import StoredWatcher
from .finding import Agents
from .opening import begun, open_stored, recover, save_snapshot
from .places import Places
from .recovery import unexpected
from .runtime import Runtime, default_runtime
from .session import Session
from .shelf import Shelf, expire
from .tape import Tapes
from .titles import Titles, Titling

if TYPE_CHECKING:
    from ..core.messages import Message
    from ..core.result import TurnResult
    from .actor import Actor
    from .turn import Turn

PROBLEMS = 20
"""How many of the last problems `status` shows."""
SLACK_S = 5.0
"""How long a turn that is left may take to let go of its journal and its tools."""
_ENDS = frozenset(("draining", "shut_down", "session_closed"))
"""What a task is told that goes on with a turn when these sessions end."""


class Drained(msgspec.Struct, frozen=True):
    """What a drain came to, as ids of sessions: whose turns ended (or parked) in time, and whose were left to be continued."""

    ended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller of `open` wants to find, or else begin."""

    agent: Agent[Any] | str | None
    create: bool
    principal: Principal
    context: Any
    title: str
    tags: tuple[str, ...]
    folder: str
    history: Sequence[Message]
    resume: bool


class House:
    """The fields of `Sessions`, and how they move."""

    def __init__(
        self,
        store: Store,
        agents: Mapping[str, Agent[Any]] | Iterable[Agent[Any]] | Agent[Any] = (),
        *,
        runtime: Runtime | None = None,
        max_turns: int | None = 64,
        max_waiting: int | None = None,
        max_open: int = 1000,
        idle_s: float | None = 900.0,
        contexts: Callable[[SessionInfo], Any] | None = None,
        titles: Titles | None = None,
        recover_every_s: float | None = None,
        drain_s: float = 10.0,
    ) -> None:
        for name, value, least in (
            ("max_turns", max_turns, 1),
            ("max_waiting", max_waiting, 0),
            ("max_open", max_open, 1),
        ):
            if value is not None and value < least:
                raise config_error("invalid_value", f"Sessions({name}={value}) is too few.", f"Use {least} or more.")
        self.store = store
        self.agents = Agents(agents)
        self._given_runtime = runtime
        self._max_open = max_open
        self._idle_s = idle_s
        self._contexts = contexts
        self._titling = None if titles is None else Titling(titles)
        self._recover_every_s = recover_every_s
        self._drain_s = drain_s
        self._places = places = Places(max_turns, max_waiting)
        self._queue = ("turns", lambda: places.waiting)
        self._running: dict[Turn, Session[Any]] = {}
        self._quiet: asyncio.Future[None] | None = None
        self._loading: dict[str, asyncio.Task[Session[Any]]] = {}
        self._recovering: dict[str, asyncio.Task[TurnResult | None]] = {}
        self._watchers: WeakKeyDictionary[StoredWatcher, None] = WeakKeyDictionary()
        self._own: dict[asyncio.Task[Any], None] = {}
        self._problems: deque[ErrorInfo] = deque(maxlen=PROBLEMS)
        self._context = contextvars.copy_context()
        self._closed = False
        self._runtime: Runtime | None = None

    # --- what it stands on -----------------------------------------------------------------------------------------------

    async def _bind(self) -> Runtime:
        """The runtime, with what hangs on it."""
        if self._closed:
            raise refusals.sessions_closed()
        if self._runtime is None:
            runtime = self._given_runtime or await default_runtime()
            runtime.bind()
            if self._runtime is None:
                self._runtime = runtime
                runtime.queues.append(self._queue)
                self._shelf = Shelf(runtime, self._max_open, self._idle_s, self._save, self._wake)
                self._tapes = Tapes(self.store, runtime)
        else:
            self._runtime.bind()
        return self._runtime

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of the runtime that ends with these sessions."""
        assert self._runtime is not None
        task = self._runtime.start(work, self._context.copy())
        self._own[task] = None
        task.add_done_callback(self._own.pop)
        return task

    async def _save(self, session: Session[Any]) -> None:
        try:
            await save_snapshot(session)
        except Exception as error:
            self._problem(error, session.id)

    def _wake(self, session_id: str) -> None:
        """Something of a session expires that was let go."""
        if not self._closed:
            self._start(self._look_after(session_id))

    async def _look_after(self, session_id: str) -> None:
        try:
            found = self._shelf.get(session_id)
            if found is not None:
                self._shelf.use(found)
                expire(found)
                return
            info = await self.store.info(session_id)
            if info is not None and info.status == "parked" and self.agents.has(info):
                await self._opened(info, self.agents.of(info, None))
        except Exception as error:
            self._problem(error, session_id)

    def _problem(self, error: BaseException, session: str = "") -> None:
        if isinstance(error, TurnwiseError):
            if not isinstance(error, SessionBusy) and error.code not in _ENDS:
                self._problems.append(error.info)
        elif isinstance(error, Exception):
            self._problems.append(unexpected(error, session))

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _opened(self, info: SessionInfo, agent: Agent[Any], wish: Wish | None = None) -> Session[Any]:
        """The live session of this row: the one there is, or read once however many ask."""
        found = self._shelf.get(info.id)
        if found is None:
            runtime = await self._bind()
            loading = self._loading.get(info.id)
            if loading is None:
                loading = self._loading[info.id] = runtime.start(self._read(info, agent, wish))
                loading.add_done_callback(lambda task: self._loaded(info.id, task))
            await asyncio.wait((loading,))
            if loading.cancelled():
                raise refusals.closed(info.id)
            found = loading.result()
        elif info.last > found.told and found.turn is None:
            await found.catch_up()
        if self._closed:  # meanwhile: nobody would close the session any more
            await found.close()
            raise refusals.sessions_closed()
        found.name = info.name
        self._shelf.use(found)
        if self._shelf.is_over:
            await self._shelf.make_room()
        return found

    async def _read(self, info: SessionInfo, agent: Agent[Any], wish: Wish | None) -> Session[Any]:
        context = None if wish is None else wish.context
        if context is None and self._contexts is not None:
            context = self._contexts(info)
        if info.last:
            session = await open_stored(agent, info.id, store=self.store, runtime=self._runtime, context=context)
        else:
            history = () if wish is None else wish.history
            session = begun(agent, info, self.store, self._runtime, context, history)
        session.keeper, session.name = self, info.name
        if session.state.history and not info.last:
            await session.write_down()
        if self._titling is not None and not info.title:
            self._titling.expect(info)
        if not self._closed:
            self._shelf.use(session, session.told)
        return session

    def _loaded(self, session_id: str, task: asyncio.Task[Session[Any]]) -> None:
        self._loading.pop(session_id, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; they may all have gone

    def _go_on(self, session: Session[Any]) -> asyncio.Task[TurnResult | None]:
        """Continue what the session was doing, in a task of the runtime; once, however many ask."""
        task = self._recovering.get(session.id)
        if task is None:
            task = self._recovering[session.id] = self._start(recover(session))
            task.add_done_callback(lambda done: self._gone_on(session.id, done))
        return task

    def _gone_on(self, session_id: str, task: asyncio.Task[TurnResult | None]) -> None:
        self._recovering.pop(session_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._problem(error, session_id)

    # --- turns, for `Keeper` -------------------------------------------------------------------------------------------------

    async def admit(self, session: Actor[Any], turn: Turn) -> None:
        """See `Keeper`."""
        kept = self._running[turn] = cast("Session[Any]", session)
        self._shelf.use(kept)
        budget = CURRENT.get()
        if budget is not None and not budget.closed:
            return  # a tool of a running turn waits for this one: it has its place
        if self._places.is_full and kept.hub is not None:
            kept.hub.announce(Notice("queued", f"The turn waits for a place; {self._places.waiting} came before it."))
        try:
            await self._places.take(turn, kept.state.principal.tenant)
        except BaseException:
            self._forget(turn)
            raise

    def call_off(self, turn: Turn) -> None:
        """See `Keeper`."""
        self._places.call_off(turn)

    def waits(self, turn: Turn) -> bool:
        """See `Keeper`."""
        return self._places.waits(turn)

    def left(self, session: Actor[Any], turn: Turn) -> None:
        """See `Keeper`."""
        self._forget(turn)
        self._places.give_back(turn)
        if self._closed or session.closed:
            return
        kept = cast("Session[Any]", session)
        self._shelf.use(kept)
        if self._shelf.is_over:
            self._start(self._shelf.make_room())
        titling = self._titling
        if titling is not None and titling.wants(kept) and turn.over and turn.result.reason == "completed":
            self._start(self._entitle(kept))

    def _forget(self, turn: Turn) -> None:
        self._running.pop(turn, None)
        if self._quiet is not None and not self._running and not self._quiet.done():
            self._quiet.set_result(None)

    def closed(self, session: Actor[Any]) -> None:
        """See `Keeper`."""
        self._shelf.remove(cast("Session[Any]", session))

    async def _entitle(self, session: Session[Any]) -> None:
        """Give the session a title, if a model has one for it."""
        assert self._titling is not None
        try:
            await self._titling.entitle(session, self.store)
        except Exception as error:
            self._problem(error, session.id)
            if session.hub is not None:
                session.hub.announce(Notice("not_titled", f"The session got no title: {error}"))

    # --- the end ------------------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether no further turn begins."""
        return self._places.refusal is not None

    async def drain(self, deadline_s: float = 30.0) -> Drained:
        """Let no further turn begin, wait for those that run, and at the deadline leave what still runs as its journal has it.

        Turns that wait for a place, and all that come, raise `SessionError` (`draining`). What is left gets no entry: its model
        calls and tools are stopped, its watchers and callers are told (`shut_down`), its claim is given back, and any process may go on
        with it at once. Parked turns stay parked. Cancelling the wait leaves the rest running, to be drained again.
        """
        runtime = await self._bind()
        for turn in self._places.close(refusals.DRAINING):
            self._forget(cast("Turn", turn))
        began = {session.id for session in self._running.values()}
        if self._running and deadline_s > 0:
            self._quiet = self._quiet or runtime.loop.create_future()
            await asyncio.wait((self._quiet,), timeout=deadline_s)
        left = {session.id: session for session in self._running.values()}
        if left:
            await asyncio.wait([runtime.start(_leave(session)) for session in left.values()])
        return Drained(tuple(sorted(began - left.keys())), tuple(sorted(left)))

    async def close(self, drain_s: float | None = None) -> Drained:
        """Drain, save the snapshots of all sessions that are open, and close them and their watchers. Store and runtime stay open. What
        it returns is that of `drain`; idempotent."""
        if self._closed or self._runtime is None:
            self._closed = True
            return Drained()
        drained = await self.drain(self._drain_s if drain_s is None else drain_s)
        self._closed = True
        if self._queue in self._runtime.queues:
            self._runtime.queues.remove(self._queue)
        for watcher in list(self._watchers):
            watcher.close()
        tasks = [task for task in self._own if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SLACK_S)
        await self._shelf.save_all()
        for session in self._shelf.all():
            await session.close()
        self._shelf.close()
        self._tapes.forget()
        return drained


async def _leave(session: Session[Any]) -> None:
    await session.leave_turn(SLACK_S)
    await session.close()
