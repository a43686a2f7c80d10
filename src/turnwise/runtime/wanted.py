"""A session that an agent is asked for, and one that is asked for by name: `agent.session("support-42", resume=True)`.

Of the latter nobody has looked yet whether there is one. The object is there at once; what it is, is found out when its runtime is known: at
`async with`, or with the first thing that is asked of it. Then it takes the state of the stored session, or is the beginning of a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.entries import SessionCreated
from ..core.errors import SessionBusy, TurnwiseError, config_error
from ..core.messages import Message
from ..core.principal import Principal
from ..core.repair import repair
from ..core.store import NewSession
from ..store.memory import MemoryJournals
from ..store.refusals import name_taken, session_exists
from ..tools.context import Ctx
from . import refusals
from .finding import find
from .history_ops import moment
from .kept import Persist
from .parts import with_rows
from .session import Session

if TYPE_CHECKING:
    from .agent import Agent


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which session is meant, and what it is to be if there is none. Without `resume` there must be none."""

    name: str | None = None
    id: str | None = None
    resume: bool = False
    title: str = ""
    tags: tuple[str, ...] = ()
    folder: str = ""


def new_session(
    agent: Agent[Ctx],
    history: Sequence[Message],
    context: Ctx | None,
    principal: Principal,
    id: str | None,
    persist: Persist = "auto",
    wanted: Wanted | None = None,
) -> Session[Ctx]:
    """See `Agent.session`."""
    if persist not in ("auto", "never"):
        raise config_error("invalid_value", f"session(persist={persist!r}): it is 'auto' or 'never'.")
    if wanted is not None and persist == "never":
        raise config_error(
            "conflicting_settings",
            "A session that is to be found again cannot be kept in memory only.",
            "Leave out name and resume, or persist='never'.",
        )
    at, fresh = moment(agent)
    created = SessionCreated(id or fresh, principal, at, tuple(repair(history)), agent=agent.name)
    store = agent.store if persist == "auto" else MemoryJournals()
    session = Session(agent, created, context=context, store=store)
    if wanted is not None:
        session.arrival = Arrival(wanted)
    return session


class Arrival:
    """A `Session` on its way to what it is, as its inner rooms see it. It is looked up once, whoever asks first; if that fails, whoever asks
    next tries again."""

    __slots__ = ("_looking", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._looking: asyncio.Task[None] | None = None

    async def look_up(self, session: Any) -> None:
        """Make the session what it is. Raises `ConfigError` (`no_store`), `StateError` (`name_taken`, `session_exists`, and what
        reading it raises), `SessionError` (`other_agent`). Cancelling it stops the waiting only."""
        looking = self._looking
        if looking is None:
            looking = self._looking = session.runtime.start(look_up(session, self.wanted))
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


async def look_up(session: Session[Any], wanted: Wanted) -> None:
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
