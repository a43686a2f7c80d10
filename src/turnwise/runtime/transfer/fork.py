"""A session that goes on from where another one is, or was: `fork_stored`, of one that nobody has opened. `Session.fork` and `Sessions.fork`
are for those that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.store import NewSession, SessionInfo, Store
from ...store.projection import read_state
from ...store.refusals import unknown_session
from ..history_ops import fork_of
from ..rows import all_or_nothing, row_of
from ..seams import SystemClock, Uuid7

if TYPE_CHECKING:
    from ..runtime import Runtime


async def fork_stored(
    store: Store,
    session: SessionInfo,
    at: int | None = None,
    *,
    name: str | None = None,
    folder: str = "",
    runtime: Runtime | None = None,
) -> SessionInfo:
    """A new session of the same principal and agent, with the same title and tags, that begins as `session` is, or was after turn `at`; its row.

    Raises `ConfigError` (`invalid_value`) for a turn that there never was, `StateError`: `unknown_session`, `name_taken`, and what reading
    the journal raises; then there is no new session. `runtime` gives clock and ids (default: the machine's).
    """
    clock, ids = (SystemClock(), Uuid7()) if runtime is None else (runtime.clock, runtime.ids)
    read = await read_state(store, session.id)
    if read is None:
        raise unknown_session(session.id)
    created = fork_of(read[0], session.agent, at, ids.session_id(), clock.wall())
    new = NewSession(
        id=created.session,
        principal=session.principal,
        name=name,
        title=session.title,
        agent=session.agent,
        folder=folder,
        tags=session.tags,
    )
    await store.create(new)
    async with all_or_nothing(store, new.id):
        await store.append(new.id, 0, [created])
    return await row_of(store, new.id)
