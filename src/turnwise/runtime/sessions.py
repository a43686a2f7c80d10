"""Many sessions over one store, in one process: each open once, a bound on turns, fair between tenants, recovered and drained.

This is what callers see of it; how it is done is in `house`, and in the rooms that open from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import UNSET, UnsetType

from ..core.errors import ErrorInfo, error_of
from ..core.principal import LOCAL, Principal
from ..core.store import Edit, Hit, NewSession, Query, SessionInfo
from ..core.usage import NO_USAGE, Usage
from ..store.refusals import unknown_session
from . import refusals
from .agent import Agent
from .claims import is_left
from .degraded import search_fails, works
from .elsewhere import StoredWatcher, cursor_from
from .finding import find, find_or_create
from .history_ops import forked
from .house import Drained, House, Wish
from .recovery import Recovery
from .rows import all_sessions
from .runtime import Runtime
from .session import Session

if TYPE_CHECKING:
    from ..core.audit import AuditKind, AuditRecord
    from ..core.messages import Message
    from ..core.result import TurnResult

__all__ = ["Drained", "Sessions", "SessionsStatus"]


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


class Sessions(House):
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
        if wish.resume and not self.draining and (is_left(session) or session.state.queue):
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
        user, runtime = None if any_user else principal.user, await self._bind()
        try:
            hits = await self.store.search(principal.tenant, text, user=user, session=session, limit=limit)
        except Exception as error:
            search_fails(runtime, error)
            raise
        works(runtime, "search")
        return hits

    async def audit(
        self,
        which: str | None = None,
        *,
        principal: Principal | None = None,
        query: Query | None = None,
        since: float | None = None,
        until: float | None = None,
        kind: AuditKind | None = None,
        tool: str | None = None,
        who: Principal | None = None,
    ) -> AsyncGenerator[AuditRecord, None]:
        """What was decided in stored sessions: `async for record in sessions.audit(kind="verdict", tool="delete"): …`. In the one of this
        name or id, or in all of `principal`, or in all that `query` finds (default: all of the local tenant): sessions that were changed
        last come first, the records of each are in order. `since` and `until` are Unix seconds, `who` is the person who decided. Needs no
        agent. Raises `StateError` (`unknown_session`), and whatever else the store raises but for an entry that cannot be read: that is
        told as a record (`unreadable`). Leave it early with `aclosing`."""
        from ..core.audit import Wanted
        from .audit.reading import of_row, read_audit

        wanted = Wanted(since, until, kind, tool, who)
        if which is not None:
            found = of_row(self.store, await self._known(which, principal or LOCAL), wanted)
        elif principal is not None:
            mine = Query(tenant=principal.tenant, user=principal.user, archived=None)
            found = read_audit(self.store, mine, wanted)
        else:
            found = read_audit(self.store, query or Query(archived=None), wanted)
        async with aclosing(found) as records:
            async for record in records:
                yield record

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
        if title is not UNSET and self._titling is not None:
            self._titling.forget(info.id)
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
        entry first (0: all). Needs no agent. Raises `StateError` (`unknown_session`), `SessionError` once these sessions are closed,
        `ConfigError` for a cursor that the journal does not have."""
        info = await self._known(which, principal)
        cursor = cursor_from(after, info.last, info.id)
        tape = await self._tapes.of(info.id, cursor)
        if self._closed:  # meanwhile: nobody would close the watcher any more
            raise refusals.sessions_closed()
        watcher = StoredWatcher(tape, cursor, lambda: self._shelf.get(info.id))
        self._watchers[watcher] = None
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
            titles_usage=NO_USAGE if self._titling is None else self._titling.usage,
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
        orphaned = [row async for row in all_sessions(self.store, Query(tenant=None, orphaned=True, archived=None))]
        parked = [row async for row in all_sessions(self.store, Query(tenant=None, status="parked", archived=None))]
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
        if self.draining:
            raise error_of(refusals.DRAINING)
        task = self._go_on(session)
        await asyncio.wait((task,))
        return task.result() if not task.cancelled() else None

    async def _keep_recovering(self, runtime: Runtime, every_s: float) -> None:
        while not self.draining:
            try:
                await self.recover()
            except Exception as error:
                self._problem(error)
            await runtime.sleep(every_s)


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
