"""What a caller may do with what was said: go on from it, say it again, take it back, fork it. All of it appends entries; nothing is lost.

The last turn is the last one that the history has. What was cleared away is out of reach for `undo` and `regenerate`, not for
`rewind`, which goes back to any turn and to what held then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.entries import SessionCreated
from ..core.errors import config_error
from ..core.inputs import Continue, Input, UserInput
from ..core.inputs_rare import Clear, Recover, Resume, Rewind
from ..core.messages import Message, UserMessage
from ..core.repair import last_turn as number_of_last
from ..core.state import SessionState
from ..core.view import back_to
from . import refusals
from .plan import Begin, TurnPlan
from .seams import SystemClock, Uuid7

if TYPE_CHECKING:
    from .actor import Actor
    from .agent import Agent


class Move(Enum):
    """How a turn begins without a prompt; given in place of one to `run`, `stream` and their kin.

    `CONTINUE`: the model is asked again with the conversation as it is; "Continue." is said in the user's place if the model had the
    last word. `REGENERATE`: the last turn is taken back and its input given again. `RESUME`: a parked turn goes on, or one whose process
    is gone.
    """

    CONTINUE = "continue"
    REGENERATE = "regenerate"
    RESUME = "resume"

    def begin(self, session: Actor[Any], client_ref: str | None) -> Begin:
        """The beginning of such a turn. Opening it raises `SessionError`: `nothing_said`, `not_parked`."""
        return Begin(partial(_OPENINGS[self], session, client_ref))


def _continue(session: Actor[Any], client_ref: str | None, plan: TurnPlan) -> Input:
    if not session.state.transcript:
        raise refusals.nothing_to("continue", session.id)
    return Continue(plan.limits, client_ref)


def _regenerate(session: Actor[Any], client_ref: str | None, plan: TurnPlan) -> Input:
    messages = last_turn(session.state)
    if not messages:
        raise refusals.nothing_to("say again", session.id)
    number, said = messages[0].turn, input_of(messages)
    if said is None:
        return Continue(plan.limits, client_ref, number)
    return UserInput(said.body, plan.limits, client_ref, instead_of=number)


def _resume(session: Actor[Any], _client_ref: str | None, _plan: TurnPlan) -> Input:
    """A turn that runs and that nobody drives was left by its process: it is taken on (rule D2)."""
    return Recover(session.agent.max_recoveries) if session.state.under_way else Resume()


_OPENINGS: dict[Move, Callable[[Actor[Any], str | None, TurnPlan], Input]] = {
    Move.CONTINUE: _continue,
    Move.REGENERATE: _regenerate,
    Move.RESUME: _resume,
}


def last_turn(state: SessionState) -> Sequence[Message]:
    """The messages of the last turn; none if nothing was said since the history was cleared. A history that was handed in is no turn."""
    history = state.history
    cleared = max([v.change.covers for v in state.views if v.cleared], default=0)
    number = history[-1].turn if len(history) > cleared else 0
    if number == 0:
        return ()
    first = len(history)
    while first > cleared and history[first - 1].turn == number:
        first -= 1
    return history[first:]


def input_of(messages: Sequence[Message]) -> UserMessage | None:
    """What a turn began with; None if it began without an input."""
    first = messages[0]
    return first if isinstance(first, UserMessage) and not first.mark and first.order == 0 else None


async def undo(session: Actor[Any]) -> str | None:
    """Take back the last turn; its input's text ("" if it had none), or None if there is nothing to take back."""
    said: list[str] = []

    def back() -> Rewind:
        refuse_while_busy(session)
        messages = last_turn(session.state)
        if not messages:
            return Rewind(session.state.turns)
        before = input_of(messages)
        said.append("" if before is None else before.text)
        return Rewind(messages[0].turn - 1)

    refuse_while_busy(session)
    if not last_turn(session.state):
        return None
    await session.apply(back)
    return said[0] if said else None


async def rewind(session: Actor[Any], to: int) -> None:
    """Take back everything after turn `to`; 0 takes back all turns."""
    check_turn(session.state, "rewind(to=", to)

    def back() -> Rewind:
        refuse_while_busy(session)
        return Rewind(to)

    await session.apply(back)


async def clear(session: Actor[Any]) -> None:
    """Begin the conversation anew."""

    def cleared() -> Clear:
        refuse_while_busy(session)
        return Clear()

    await session.apply(cleared)


def forked(session: Actor[Any], at: int | None, id: str, now: float) -> SessionCreated:
    """The first entry of a session that goes on from where this one is, or was after turn `at`."""
    return fork_of(session.state, session.agent.name, at, id, now)


def fork_of(state: SessionState, agent: str, at: int | None, id: str, now: float) -> SessionCreated:
    """As `forked`, of a session that nobody has opened."""
    if at is not None:
        check_turn(state, "fork(at=", at)
    kept, shown = back_to(state.history, state.views, state.turns if at is None else at)
    history = tuple(state.history[:kept])
    last = number_of_last(history)
    views = tuple([msgspec.structs.replace(view, turn=min(view.turn, last)) for view in state.views[:shown]])
    return SessionCreated(id, state.principal, now, history, state.id, views, state.settings, agent)


def check_turn(state: SessionState, what: str, number: int) -> None:
    if not 0 <= number <= state.turns:
        raise config_error(
            "invalid_value",
            f"{what}{number}): session {state.id} has no such turn; its last one is {state.turns}.",
            "0 stands for what was before the first turn.",
        )


def refuse_while_busy(session: Actor[Any]) -> None:
    """Raise `SessionBusy` while a turn runs or is parked: what it says cannot be taken from under it."""
    if session.running:
        raise refusals.busy(session.id)
    current = session.state.turn
    if current is not None and session.state.running:
        raise refusals.unfinished(session.id, current)


def moment(agent: Agent[Any]) -> tuple[float, str]:
    """The time (Unix seconds), and an id for a session that begins then."""
    runtime = agent.runtime
    if runtime is None:
        return SystemClock().wall(), Uuid7().session_id()
    return runtime.clock.wall(), runtime.ids.session_id()
