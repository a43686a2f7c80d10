"""Sessions that are stored are opened here: read from where their last snapshot left off, continued if their process is gone, and saved.

What an opened session is was decided by its journal; the agent says what it goes on with. Which sessions there are, and how many of them are
open at once, is the business of `sessions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.entries import SessionCreated
from ..core.errors import SessionBusy, SessionError
from ..core.messages import Message
from ..core.repair import repair
from ..core.result import TurnResult
from ..core.store import SessionInfo, Store
from ..store.projection import read_state
from ..store.refusals import unknown_session
from ..tools.context import Ctx
from . import follow_ups, snapshots
from .changed import overrides_of
from .claims import is_left
from .follow_ups import WELL
from .history_ops import Move, moment
from .plan import Wishes
from .runtime import default_runtime
from .session import Session
from .turn import Turn

if TYPE_CHECKING:
    from .agent import Agent
    from .runtime import Runtime


async def open_stored(
    agent: Agent[Ctx],
    session_id: str,
    *,
    store: Store,
    runtime: Runtime | None = None,
    context: Ctx | None = None,
) -> Session[Ctx]:
    """A session as its journal has it. Nothing is written, and no turn begins: a parked one goes on with `resume()` once what it waits
    for has come (what has waited for too long is given up as it was meant to be), and one whose process is gone with `recover`.

    `runtime` owns what the session starts (default: the agent's, else that of the loop); `context` is handed to tools. Raises
    `StateError`: `unknown_session`; `unknown_entry`, `damaged_entry` or `illegal_entry` for a journal that cannot be read to its end;
    `ConfigError` (`unknown_tool`) if the session's settings name a tool that the agent does not have.
    """
    found = await read_state(store, session_id)
    if found is None:
        raise unknown_session(session_id)
    state, snapshot = found
    created = SessionCreated(state.id, state.principal, state.created_at)
    if agent.plugins:
        from .plugins.equipped import equipped

        agent = equipped(agent, runtime or agent.runtime or await default_runtime())
    overrides = overrides_of(agent, state.settings, None)
    session = Session(agent, created, context=context, store=store, overrides=overrides, runtime=runtime, state=state)
    await session.bind()
    if session.claims is not None:
        session.claims.saved = snapshots.saved_as(snapshot)
    turn = state.turn
    if turn is not None and turn.phase == "parked":
        session.expiry.watch(turn.pending)
    return session


def begun(
    agent: Agent[Any],
    info: SessionInfo,
    store: Store,
    runtime: Runtime | None,
    context: Any,
    history: Sequence[Message] = (),
) -> Session[Any]:
    """A session that has a row and no journal yet."""
    at, _ = moment(agent)
    created = SessionCreated(info.id, info.principal, at, tuple(repair(history)), agent=info.agent)
    return Session(agent, created, context=context, store=store, runtime=runtime)


async def recover(session: Session[Any]) -> TurnResult | None:
    """Go on with a turn whose process is gone, to its end, and then with what was said ahead; the account of the turn, whatever became
    of it. A parked turn goes on if all that it waited for has come. None if there is nothing to go on with, or a living process does.

    Cancelling it interrupts the turn. To watch the turn, or to ask for its typed answer, use
    `session.stream(Move.RESUME, output=…)` instead.
    """
    if not is_left(session) and not _waits_for_nobody(session):
        return await _next_of(session)
    turn = Turn(session, Move.RESUME.begin(session, None), Wishes(session.context, watched=False))
    try:
        async with turn:
            async for _ in turn.batches():
                pass
    except SessionError as error:
        # Another process has it, or has ended it by now.
        if isinstance(error, SessionBusy) or error.code == "not_parked":
            return None
        raise
    return turn.result


def _waits_for_nobody(session: Session[Any]) -> bool:
    """Whether a turn is parked though all that it waited for has come: its process ended before it could go on."""
    turn = session.state.turn
    return turn is not None and turn.phase == "parked" and not turn.pending and not session.running


async def _next_of(session: Session[Any]) -> TurnResult | None:
    """The process may have ended between a turn and the follow-up that was to come after it."""
    state = session.state
    if session.running or state.running or not state.queue or state.turn is None or state.turn.reason not in WELL:
        return None
    try:
        return await follow_ups.next_result(session)
    except SessionBusy:
        return None


async def save_snapshot(session: Session[Any]) -> bool:
    """Have the session's state kept as it is now, so that it is opened quickly; false if it cannot be: the store has no snapshots or
    fails, or something is still on its way into the journal."""
    return session.claims is not None and await session.claims.save()
