"""Which session, turn, step and call the running code belongs to, by context variables: for log records and traces, and for nothing else.

A turn's context names its session, weakly: a pooled connection keeps the context of the turn that opened it. The context of a call names
the call, whose id has turn and step in it.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from .budget import CURRENT

if TYPE_CHECKING:
    from .actor import Actor
    from .runtime import Runtime
    from .turn import Turn

SESSION: ContextVar[ref[Any] | None] = ContextVar("turnwise_session", default=None)
CALL: ContextVar[str] = ContextVar("turnwise_call", default="")


class Where(NamedTuple):
    """Ids as they stand in journals and events; "" and 0: none."""

    session: str = ""
    turn: int = 0
    step: int = 0
    call: str = ""


NOWHERE = Where()


def enter_turn(turn: Turn, session: Actor[Any], context: Context) -> None:
    """Let what runs in a turn's context find its budget and its session."""
    context.run(_enter, turn, session)
    probe = session.runtime.probe
    if probe is not None:
        turn.probed = probe.turn_begins(context)


def _enter(turn: Turn, session: Actor[Any]) -> None:
    CURRENT.set(turn.spending.budget)
    SESSION.set(ref(session))


def call_context(context: Context, turn: Turn, call_id: str, runtime: Runtime) -> Context:
    """A copy of the turn's context for one call."""
    own = context.copy()
    own.run(CALL.set, call_id)
    if runtime.probe is not None:
        runtime.probe.call_begins(turn.probed, call_id, own)
    return own


def where() -> Where:
    """Where the running code is, by its context."""
    found = SESSION.get()
    session: Actor[Any] | None = None if found is None else found()
    return NOWHERE if session is None else where_in(session, CALL.get())


def where_in(session: Actor[Any], call: str = "") -> Where:
    """The turn and step that a session is at; those of the call, if there is one."""
    if call:
        turn, step, _ = call.split(".", 2)
        return Where(session.id, int(turn[1:]), int(step[1:]), call)
    current = session.state.turn
    if current is None or not session.running:
        return Where(session.id, session.state.turns)
    return Where(session.id, current.number, current.step)
