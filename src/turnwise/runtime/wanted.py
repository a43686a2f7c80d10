"""A session that is asked for by name before anybody has looked whether there is one: `agent.session("support-42", resume=True)`.

The object is there at once; what it is, is found out when its runtime is known: at `async with`, or with the first thing that is
asked of it. Then it takes the state of the stored session, or is the beginning of a new one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import SessionBusy, TurnwiseError
from ..core.principal import Principal
from ..core.store import NewSession, Query, SessionInfo, Store
from ..store.refusals import name_taken, session_exists
from . import refusals
from .parts import with_rows

if TYPE_CHECKING:
    from .runtime import Runtime
    from .session import Session

_ID_CHARS = frozenset("0123456789abcdef-")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which session is meant, and what it is to be if there is none. Without `resume` there must be none."""

    name: str | None = None
    id: str | None = None
    resume: bool = False
    title: str = ""
    tags: tuple[str, ...] = ()
    folder: str = ""


class Arrival:
    """A session on its way to what it is. It is looked up once, whoever asks first; if that fails, whoever asks next tries again."""

    __slots__ = ("_looking", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._looking: asyncio.Task[None] | None = None

    async def look_up(self, session: Any) -> None:
        """Make the session what it is. Raises `ConfigError` (`no_store`), `StateError` (`name_taken`, `session_exists`, and what
        reading it raises), `SessionError` (`other_agent`). Cancelling it stops the waiting only."""
        looking = self._looking
        if looking is None:
            runtime: Runtime = session.runtime
            looking = self._looking = runtime.start(look_up(session, self.wanted))
        await asyncio.wait((looking,))
        if looking.cancelled() or looking.exception() is not None:
            self._looking = None
        if looking.cancelled():
            raise refusals.closed(session.id)
        looking.result()

    async def arrive(self, session: Any) -> None:
        """Look the session up, and go on with a turn that its process left behind, if that is wished. Once."""
        await session.bind()
        arrived, session.arrival = session.arrival, None
        if arrived is not None and self.wanted.resume:
            await go_on(session)


async def look_up(session: Any, wanted: Wanted) -> None:
    """See `Arrival.look_up`."""
    store, principal = with_rows(session.store, "A session with a name"), session.state.principal
    which = wanted.name if wanted.id is None else wanted.id
    assert which is not None
    found = await find(store, which, principal)
    if found is None:
        await store.create(
            NewSession(
                id=session.id,
                principal=principal,
                name=wanted.name,
                title=wanted.title,
                agent=session.agent.name,
                folder=wanted.folder,
                tags=wanted.tags,
            )
        )
        session.name = wanted.name
        return
    if not wanted.resume:
        raise name_taken(which, found.id) if found.name == which else session_exists(which)
    if found.agent and found.agent != session.agent.name:
        raise refusals.other_agent(found.id, found.agent, session.agent.name)
    if found.last:
        await session.take_over(found.id)
    else:
        session.begin_as(found.id)
    session.name = found.name


async def go_on(session: Session[Any]) -> None:
    """Finish the turn that its process left behind, if there is one and no living process has it."""
    from .opening import recover

    session.watch_expiry()
    try:
        session.recovered = await recover(session)
    except SessionBusy:
        return  # whoever begins a turn is told who has it
    except TurnwiseError as error:
        if error.result is None:
            raise
        session.recovered = error.result


# --- rows -------------------------------------------------------------------------------------------------------------


async def find(store: Store, which: str, principal: Principal) -> SessionInfo | None:
    """The session of this name or id that belongs to the principal. Names come first, unless it looks like one of our ids."""
    looks_like_id = len(which) == 36 and which.count("-") == 4 and _ID_CHARS.issuperset(which)
    for look in (_by_id, _by_name) if looks_like_id else (_by_name, _by_id):
        found = await look(store, which, principal)
        if found is not None:
            return found
    return None


async def _by_name(store: Store, name: str, principal: Principal) -> SessionInfo | None:
    rows = await store.sessions(Query(tenant=principal.tenant, user=principal.user, name=name, archived=None, limit=1))
    return rows[0] if rows else None


async def _by_id(store: Store, session_id: str, principal: Principal) -> SessionInfo | None:
    info = await store.info(session_id)
    return info if info is not None and info.principal == principal else None
