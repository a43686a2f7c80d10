"""Many sessions over one store, in one process: each open once, a bound on turns, fair between tenants, recovered and drained.

The parts are rooms of their own: `shelf` (which sessions are open), `places` (which turns may run), `recovery`, `titles`, `elsewhere`
(watching), `finding` (names and rows). Here they are put together.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakSet

import msgspec
from msgspec import UNSET, UnsetType

from ..core.errors import ErrorInfo, SessionBusy, TurnwiseError, config_error, error_of
from ..core.events import Notice
from ..core.principal import LOCAL, Principal
from ..core.store import Edit, Hit, NewSession, Query, SessionInfo, Store
from ..core.usage import NO_USAGE, Usage
from ..store.refusals import unknown_session
from . import refusals
from .agent import Agent
from .budget import CURRENT
from .claims import is_left
from .elsewhere import StoredWatcher, cursor_from
from .finding import Agents, begun, find_or_create
from .history_ops import forked
from .opening import open_stored, recover, save_snapshot
from .places import Places
from .recovery import Recovery, all_sessions, unexpected
from .runtime import Runtime, default_runtime
from .session import Session
from .shelf import Shelf, expire
from .tape import Tapes
from .wanted import find

if TYPE_CHECKING:
    from ..core.messages import Message
    from ..core.result import TurnResult
    from .actor import Actor
    from .titles import Titles
    from .turn import Turn

PROBLEMS = 20
"""How many of the last problems `status` shows."""
SLACK_S = 5.0
"""How long a turn that is left may take to let go of its journal and its tools."""
_ENDS = frozenset(("draining", "shut_down", "session_closed"))
"""What a task is told that goes on with a turn when these sessions end."""
TITLE_TRIES = 3
"""Turns of a session after which a title is asked for, while it has none."""


class SessionsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions and turns there are in this process. `open` sessions are kept in memory, `in_use` ones are referred to by
    anybody; `running` turns run, `waiting` ones wait for a place. `titles_usage` is what titles have taken. `problems` are the last
    things that went wrong without anybody being told: snapshots, titles, recoveries."""

    open: int
    in_use: int
    running: int
    waiting: int
    recovering: int
    draining: bool
    titles_usage: Usage
    problems: tuple[ErrorInfo, ...]


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


class Sessions:
    """The sessions of a store in this process: `async with Sessions(store, agents=[support, sales]) as sessions:`.

    Args:
        store: Where they are kept; whoever opened it closes it.
        agents: Who they talk to: agents (known by `Agent.name`), a mapping by the names that stored sessions know them by, or one.
        runtime: What owns tasks and connections (default: the loop's).
        max_turns: Turns that run at once, in all sessions; further ones wait, fairly between tenants. None: no bound. A turn that a
            tool of a running turn begins has its place already.
        max_waiting: Turns that may wait; further ones are refused (`too_many_waiting`). None: no bound.
        max_open: Sessions kept in memory while nobody uses them; those used longest ago are let go, their snapshots saved.
        idle_s: Sessions that nobody has used for so long are let go, too. None: only when there are too many.
        contexts: What is handed to the tools of a session for which `open` was given no context, a recovered one above all.
        titles: How sessions get titles (default: none).
        recover_every_s: How often `recover()` is done by itself, from `async with` on (default: never).
        drain_s: How long leaving the `async with` waits for running turns; see `drain`.

    There should be one for a store in a process: it is what makes two callers of one session share it. All methods belong to
    the loop of the runtime.
    """

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
        self._titles = titles
        self._titling: Agent[Any] | None = None
        self._titles_usage = NO_USAGE
        self._untitled: dict[str, int] = {}
        self._recover_every_s = recover_every_s
        self._drain_s = drain_s
        self._places = Places(max_turns, max_waiting)
        self._running: dict[Turn, Session[Any]] = {}
        self._quiet: asyncio.Future[None] | None = None
        self._loading: dict[str, asyncio.Task[Session[Any]]] = {}
        self._recovering: dict[str, asyncio.Task[TurnResult | None]] = {}
        self._watchers: WeakSet[StoredWatcher] = WeakSet()
        self._own: set[asyncio.Task[Any]] = set()
        self._problems: deque[ErrorInfo] = deque(maxlen=PROBLEMS)
        self._context = contextvars.copy_context()
        self._closed = False
        self._runtime: Runtime | None = None

    async def __aenter__(self) -> Self:
        runtime = await self._bind()
        if self._recover_every_s is not None:
            self._start(self._keep_recovering(runtime, self._recover_every_s))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(
        self,
        which: str | None = None,
        *,
        agent: Agent[Any] | str | None = None,
        create: bool = True,
        principal: Principal = LOCAL,
        context: Any = None,
        title: str = "",
        tags: Iterable[str] = (),
        folder: str = "",
        history: Sequence[Message] = (),
        resume: bool = True,
    ) -> OpeningSession:
        """The session of this name or id, begun if there is none; None begins one without a name. `session = await sessions.open("a")`,
        or `async with sessions.open("a") as session:`. Leaving that closes nothing: others may be using it.

        All who open one session get the same object. `agent` is needed to begin a session if there are several; of one that there is
        it must be the one it belongs to. It is opened for `principal`; another's is as good as unknown. `context` is handed to tools from
        the next turn on. A turn that its process left behind goes on in the background (`session.turn`), unless `resume` is false.

        Raises `ConfigError` (`unknown_agent`, `which_agent`), `SessionError` (`other_agent`), `StateError` (`unknown_session` if
        `create` is false; `name_taken` by someone else's session; `unknown_entry`, `damaged_entry`). Cancelling it stops the waiting.
        """
        return OpeningSession(
            self,
            which,
            Wish(
                agent=agent,
                create=create,
                principal=principal,
                context=context,
                title=title,
                tags=tuple(tags),
                folder=folder,
                history=history,
                resume=resume,
            ),
        )

    async def open_now(self, which: str | None, wish: Wish) -> Session[Any]:
        """See `open`."""
        runtime = await self._bind()
        new = self._new(runtime, which, wish)
        info = await find_or_create(self.store, which, wish.principal, wish.create, new)
        agent = self.agents.of(info, wish.agent)
        session = await self._opened(info, agent, wish)
        if wish.context is not None:
            session.context = wish.context
        if wish.resume and not self.draining and is_left(session):
            self._go_on(session)
        return session

    def _new(self, runtime: Runtime, name: str | None, wish: Wish) -> Callable[[], NewSession]:
        return lambda: NewSession(
            id=runtime.ids.session_id(),
            principal=wish.principal,
            name=name,
            title=wish.title,
            agent=self.agents.for_new(wish.agent),
            folder=wish.folder,
            tags=wish.tags,
        )

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
        if self._titles is not None and not info.title and info.turns < TITLE_TRIES:
            self._untitled[info.id] = TITLE_TRIES - info.turns
        self._shelf.use(session, session.told)
        return session

    def _loaded(self, session_id: str, task: asyncio.Task[Session[Any]]) -> None:
        self._loading.pop(session_id, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; they may all have gone

    def get(self, session_id: str) -> Session[Any] | None:
        """The session of this id if it is in use in this process; nobody is asked."""
        return None if self._runtime is None else self._shelf.get(session_id)

    async def fork(
        self,
        which: str,
        at: int | None = None,
        *,
        name: str | None = None,
        title: str = "",
        tags: Iterable[str] = (),
        principal: Principal = LOCAL,
    ) -> Session[Any]:
        """A new session that goes on from where that one is, or was after turn `at`; see `Session.fork`. It is durable when this
        returns. Raises what `open` raises, and `ConfigError` for a turn that there never was."""
        origin = await self.open(which, create=False, principal=principal, resume=False)
        runtime, seen = await self._bind(), await self.store.info(origin.id)
        created = forked(origin, at, runtime.ids.session_id(), runtime.clock.wall())
        if seen is not None:
            created = msgspec.structs.replace(created, agent=seen.agent)
        info = await self.store.create(
            NewSession(
                id=created.session,
                principal=created.principal,
                name=name,
                title=title,
                agent=created.agent,
                folder=seen.folder if seen is not None else "",
                tags=tuple(tags),
            )
        )
        fork = Session(
            origin.agent,
            created,
            context=origin.context,
            store=self.store,
            overrides=origin.overrides,
            runtime=runtime,
        )
        fork.share_blobs(origin)
        fork.keeper, fork.name = self, info.name
        await fork.write_down()
        self._shelf.use(fork)
        return fork

    # --- what there is ------------------------------------------------------------------------------------------------

    async def info(self, which: str, *, principal: Principal = LOCAL) -> SessionInfo | None:
        """The row of the session of this name or id; None if this principal has none."""
        return await find(self.store, which, principal)

    async def list(self, query: Query | None = None) -> Sequence[SessionInfo]:
        """Sessions of the local tenant that are not archived, those changed last first; or what `query` asks for."""
        return await self.store.sessions(query or Query())

    async def search(
        self,
        text: str,
        *,
        principal: Principal = LOCAL,
        any_user: bool = False,
        session: str | None = None,
        limit: int = 20,
    ) -> Sequence[Hit]:
        """Where messages and tool results have all words of `text`; words in double quotes stand together. `any_user`: of the whole
        tenant."""
        user = None if any_user else principal.user
        return await self.store.search(principal.tenant, text, user=user, session=session, limit=limit)

    async def edit(
        self,
        which: str,
        *,
        principal: Principal = LOCAL,
        name: str | UnsetType | None = UNSET,
        title: str | UnsetType = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        archived: bool | UnsetType = UNSET,
        agent: str | UnsetType = UNSET,
    ) -> SessionInfo:
        """Rename, title, tag, archive, or hand over to another agent; what is left out stays. Raises `StateError` (`unknown_session`,
        `name_taken`), `SessionBusy` for another agent while the session is in use."""
        info = await self._known(which, principal)
        live = self.get(info.id)
        if agent is not UNSET and agent != info.agent and live is not None:
            if live.turn is not None:
                raise refusals.busy(info.id)
            await live.close()
        given = tags if isinstance(tags, UnsetType) else tuple(tags)
        done = await self.store.edit(info.id, Edit(name=name, title=title, tags=given, archived=archived, agent=agent))
        if (live := self.get(info.id)) is not None:
            live.name = done.name
        if title is not UNSET:
            self._untitled.pop(info.id, None)
        return done

    async def delete(self, which: str, *, principal: Principal = LOCAL) -> bool:
        """Remove the session with all that belongs to it; false if there is none. Raises `SessionBusy` while a turn of it runs, here
        or elsewhere."""
        info = await self.info(which, principal=principal)
        if info is None:
            return False
        live = self.get(info.id)
        if live is not None:
            if live.turn is not None:
                raise refusals.busy(info.id)
            await live.close()
        return await self.store.delete(info.id)

    async def watch(self, which: str, *, after: int | None = None, principal: Principal = LOCAL) -> StoredWatcher:
        """The events of a session from now on, whichever process runs its turns; with `after`, a watcher's cursor, those behind that
        entry first (0: all). Needs no agent. Raises `StateError` (`unknown_session`), `ConfigError` for a cursor that the journal
        does not have."""
        info = await self._known(which, principal)
        cursor = cursor_from(after, info.last, info.id)
        tape = await self._tapes.of(info.id, cursor)
        watcher = StoredWatcher(tape, cursor, lambda: self._shelf.get(info.id))
        self._watchers.add(watcher)
        return watcher

    async def _known(self, which: str, principal: Principal) -> SessionInfo:
        await self._bind()
        info = await find(self.store, which, principal)
        if info is None:
            raise unknown_session(which)
        return info

    def status(self) -> SessionsStatus:
        """How many sessions and turns there are here."""
        bound = self._runtime is not None
        return SessionsStatus(
            open=len(self._shelf) if bound else 0,
            in_use=len(self._shelf.all()) if bound else 0,
            running=len(self._running) - self._places.waiting,
            waiting=self._places.waiting,
            recovering=len(self._recovering),
            draining=self.draining,
            titles_usage=self._titles_usage,
            problems=tuple(self._problems),
        )

    # --- what was left behind -----------------------------------------------------------------------------------------

    async def recover(self) -> Recovery:
        """Find the turns, of all tenants, that were running when their process died, and go on with those whose agents are known here,
        in the background and within `max_turns`. Returns what was found; `await recovery.wait()` for the ends.

        A process counts as dead when its lease has run out. Sessions that wait for someone go on waiting and are only listed, and so
        are those of unknown agents. Raises what the store raises.
        """
        runtime = await self._bind()
        orphaned = await all_sessions(self.store, Query(tenant=None, orphaned=True, archived=None))
        parked = await all_sessions(self.store, Query(tenant=None, status="parked", archived=None))
        known = [info for info in orphaned if self.agents.has(info) and not self._is_driven(info.id)]
        recovery = Recovery(parked, [info for info in orphaned if not self.agents.has(info)])
        recovery.start(runtime, known, self._places.most or len(known), self._recover_one)
        return recovery

    def _is_driven(self, session_id: str) -> bool:
        """Whether its turn runs here: some stores in memory know of no owners."""
        live = self.get(session_id)
        return session_id in self._recovering or (live is not None and live.turn is not None)

    async def _recover_one(self, info: SessionInfo) -> TurnResult | None:
        if self.draining:
            raise error_of(refusals.DRAINING)
        session = await self._opened(info, self.agents.of(info, None))
        task = self._go_on(session)
        await asyncio.wait((task,))
        return task.result() if not task.cancelled() else None

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

    async def _keep_recovering(self, runtime: Runtime, every_s: float) -> None:
        while not self.draining:
            try:
                await self.recover()
            except Exception as error:
                self._problem(error)
            await runtime.sleep(every_s)

    # --- for sessions -------------------------------------------------------------------------------------------------

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
        if turn.over and turn.result.reason == "completed" and kept.id in self._untitled and not self.draining:
            self._start(self._entitle(kept))

    def _forget(self, turn: Turn) -> None:
        self._running.pop(turn, None)
        if self._quiet is not None and not self._running and not self._quiet.done():
            self._quiet.set_result(None)

    def closed(self, session: Actor[Any]) -> None:
        """See `Keeper`."""
        self._shelf.remove(cast("Session[Any]", session))
        self._untitled.pop(session.id, None)

    async def _entitle(self, session: Session[Any]) -> None:
        """Give the session a title, if a model has one for it."""
        from .titles import title_of, titling_agent

        assert self._titles is not None
        tries = self._untitled.pop(session.id, 0)
        try:
            if self._titling is None:
                self._titling = titling_agent(self._titles, await self._bind())
            title, usage = await title_of(self._titling, session.history, self._titles.max_chars)
            self._titles_usage += usage
            info = await self.store.info(session.id)
            if info is not None and not info.title:
                await self.store.edit(session.id, Edit(title=title))
        except Exception as error:
            self._problem(error, session.id)
            if session.hub is not None:
                session.hub.announce(Notice("not_titled", f"The session got no title: {error}"))
            if tries > 1 and not self._closed:
                self._untitled[session.id] = tries - 1

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

    # --- the inner side -----------------------------------------------------------------------------------------------

    async def _bind(self) -> Runtime:
        """The runtime, with what hangs on it."""
        if self._closed:
            raise refusals.sessions_closed()
        if self._runtime is None:
            runtime = self._given_runtime or await default_runtime()
            runtime.bind()
            if self._runtime is None:
                self._runtime = runtime
                self._shelf = Shelf(runtime, self._max_open, self._idle_s, self._save, self._wake)
                self._tapes = Tapes(self.store, runtime)
        else:
            self._runtime.bind()
        return self._runtime

    def _start(self, work: Any) -> asyncio.Task[Any]:
        """A task of the runtime that ends with these sessions."""
        assert self._runtime is not None
        task = self._runtime.start(work, self._context.copy())
        self._own.add(task)
        task.add_done_callback(self._own.discard)
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


class OpeningSession:
    """A session that is being opened: await it, or use it as `async with`."""

    __slots__ = ("_sessions", "_which", "_wish")

    def __init__(self, sessions: Sessions, which: str | None, wish: Wish) -> None:
        self._sessions = sessions
        self._which = which
        self._wish = wish

    def __await__(self) -> Generator[Any, None, Session[Any]]:
        return self._sessions.open_now(self._which, self._wish).__await__()

    async def __aenter__(self) -> Session[Any]:
        return await self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is closed: others may be using the session, and it is let go when it has not been used for a while."""


async def _leave(session: Session[Any]) -> None:
    await session.leave_turn(SLACK_S)
    await session.close()
