"""The points around sessions and turns: what begins, what has ended, what went wrong, what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.content import Body
from ...core.errors import TurnwiseError, error_of
from ...core.events import AttemptRestarted, Event, TurnFinished
from ...core.events_rare import ApprovalGiven
from ...core.inputs import Input, UserInput
from ...core.result import TurnResult
from ..plan import Begin, TurnPlan
from . import failures
from .chain import Outcome
from .hooked import chain_of, hooked_of, run_outside
from .values import ApprovalAnswer, SessionFacts

if TYPE_CHECKING:
    from ..actor import Actor
    from ..attachments import Prompt
    from ..ground import Ground
    from ..turn import Turn


# --- sessions ----------------------------------------------------------------------------------------------------------


async def session_began(session: Ground[Any]) -> None:
    """`session.started`: the session has its runtime."""
    await _tell(session, "session.started")


async def session_ended(session: Ground[Any]) -> None:
    """`session.ended`: it was closed; what ran in it is over."""
    if session.bound:
        await _tell(session, "session.ended")


async def _tell(session: Ground[Any], point: str) -> None:
    chain = chain_of(session, point)
    if chain is not None:
        state = session.state
        stored = getattr(session.store, "lasting", True)
        facts = SessionFacts(state.id, session.name, session.agent.name, state.principal, state.turns, stored)
        await run_outside(session, chain, facts).wait()


# --- turns -------------------------------------------------------------------------------------------------------------


async def before_turn(
    session: Actor[Any], turn: Turn, opening: Prompt | Begin, body: Body | None, plan: TurnPlan
) -> tuple[Prompt | Begin, Body | None]:
    """`turn.before`: how the turn begins after all. Raises `HookError` if it does not."""
    hooked = hooked_of(session, turn)
    chain = hooked.chain("turn.before")
    if chain is None:
        return opening, body
    said = body if not isinstance(opening, Begin) else _input_of(session, opening, plan)
    run = hooked.run(chain, said, tracked=True)
    if turn.stop_asked is not None or session.closed:
        run.cut()  # it was stopped on its way from its middleware to here: no hook is asked
    outcome = await run.wait()
    if outcome.error is not None:
        raise error_of(msgspec.structs.replace(outcome.error, session=session.id))
    if outcome.halt is not None:
        refused = failures.refused(outcome.by, "turn.before", outcome.reason)
        raise error_of(msgspec.structs.replace(refused, session=session.id))
    if not outcome.changed:
        return opening, body
    changed = await session.body_of(outcome.value)
    return (opening, changed) if not isinstance(opening, Begin) else (_begin_with(opening, changed), body)


def _input_of(session: Actor[Any], opening: Begin, plan: TurnPlan) -> Body | None:
    """What a turn that begins without a prompt is about to say: an input that is said again, or one that was queued."""
    try:
        given = opening.make(plan)
    except TurnwiseError:
        return None  # it is raised when the input is made in earnest
    if not isinstance(given, UserInput):
        return None
    return session.state.queue[0].message.body if given.queued else given.body


def _begin_with(opening: Begin, body: Body) -> Begin:
    def make(plan: TurnPlan) -> Input:
        given = opening.make(plan)
        return msgspec.structs.replace(given, body=body) if isinstance(given, UserInput) else given

    return Begin(make)


def after_turn(session: Actor[Any], turn: Turn, result: TurnResult) -> bool:
    """`turn.after`: the end is durable and told. The turn's reader comes to the end when its hooks have; the session is free meanwhile. False if
    there is nothing to wait for."""
    hooked = hooked_of(session, turn)
    chain = hooked.chain("turn.after")
    if chain is not None:
        hooked.run(chain, result, tracked=True).begin(_nothing)
    turn.closing = bool(hooked.under_way)
    return turn.closing


def _nothing(_: Outcome) -> None:
    """Hooks that only watch have ended."""


# --- what is told when it is durable -------------------------------------------------------------------------------------


def events_told(session: Actor[Any], turn: Turn | None, events: Sequence[Event]) -> None:
    """`error` and `approval.answered`, which follow from what is journalled."""
    for event in events:
        if type(event) is ApprovalGiven:
            answer = ApprovalAnswer(event.call_id, event.name, event.allowed, event.reason, event.arguments)
            _watch(session, turn, "approval.answered", answer, event.call_id)
        elif type(event) is AttemptRestarted:
            _watch(session, turn, "error", event.error, "")
        elif type(event) is TurnFinished and event.result.error is not None:
            _watch(session, turn, "error", event.result.error, "")


def _watch(session: Actor[Any], turn: Turn | None, point: str, value: Any, call_id: str) -> None:
    """Call hooks that only watch. The end of the turn that they are called in waits for them."""
    chain = chain_of(session, point)
    if chain is None:
        return
    if turn is None:
        run_outside(session, chain, value, call_id=call_id).begin(_nothing)
        return
    run = hooked_of(session, turn).run(chain, value, call_id=call_id, tracked=True)
    run.begin(_nothing)
