"""A session that is asked for by name before anybody has looked whether there is one: `agent.session("support-42", resume=True)`.

The object is there at once; what it is, is found out when its runtime is known: at `async with`, or with the first thing that is
asked of it. Then it takes the state of the stored session, or is the beginning of a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import SessionBusy, TurnwiseError
from ..core.store import NewSession, SessionInfo
from ..store.refusals import name_taken, session_exists
from . import refusals
from .finding import find, is_unfinished
from .kept import as_store

if TYPE_CHECKING:
    from .session import Session


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which session is meant, and what it is to be if there is none. Without `resume` there must be none."""

    name: str | None
    id: str | None
    resume: bool
    title: str = ""
    tags: tuple[str, ...] = ()
    folder: str = ""


async def look_up(session: Session[Any], wanted: Wanted) -> None:
    """Make the session what it is. Raises `ConfigError` (`no_store`), `StateError` (`name_taken`, `session_exists`, and what reading
    raises), `SessionError` (`other_agent`)."""
    store = as_store(session.store, "A session with a name")
    principal = session.state.principal
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
    await _become(session, found)


async def _become(session: Session[Any], found: SessionInfo) -> None:
    """Go on as that session."""
    if found.last:
        await session.take_over(found.id)
    else:
        session.begin_as(msgspec.structs.replace(session.beginning, session=found.id))
    session.name = found.name


async def go_on(session: Session[Any]) -> None:
    """Finish the turn that its process left behind, if there is one and no living process has it."""
    from .opening import recover

    if not is_unfinished(session):
        return
    try:
        session.recovered = await recover(session)
    except SessionBusy:
        return  # whoever begins a turn is told who has it
    except TurnwiseError as error:
        if error.result is None:
            raise
        session.recovered = error.result


