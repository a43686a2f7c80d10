"""The last look at a request whose size is known: can the model read it, and is there a budget for it?

What stands against it is posted instead (a limit), or begun (a compaction); the attempt is then dropped before anything was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.compaction import in_force
from ..core.estimate import request_weight
from .said import BYTES_PER_TOKEN
from .sizes import fits_any_model

if TYPE_CHECKING:
    from .actor import Actor
    from .attempt import Attempt


async def may_send(session: Actor[Any], attempt: Attempt, body_bytes: int) -> bool:
    """Whether a request of that size is sent."""
    if not await _is_short_enough(session, attempt, body_bytes):
        return False
    turn = session.turn
    return turn is not None and turn.spending.weigh(attempt, _tokens(session, attempt, body_bytes))


def _tokens(session: Actor[Any], attempt: Attempt, body_bytes: int) -> int:
    """What a request takes: by what was learned of the model, if it was worth learning."""
    sizes, state = session.sizes, session.state
    if sizes is None:
        return body_bytes // BYTES_PER_TOKEN
    return sizes.calibration(attempt.target.handle, state).tokens(request_weight(body_bytes, sizes.media(state)))


async def _is_short_enough(session: Actor[Any], attempt: Attempt, body_bytes: int) -> bool:
    """Whether the model can read the request; False if the conversation is made shorter instead."""
    compaction = in_force(session.agent.compaction, session.state.settings.compaction)
    share = 1.0 if compaction is None else compaction.at
    if session.sizes is None and not attempt.asked.must_compact and fits_any_model(session.state, body_bytes, share):
        return True
    from .compact import look

    due = await look(session, attempt, body_bytes)
    turn = session.turn
    if due is not None and turn is not None and not attempt.stopped:
        turn.compact(attempt, due)
    return due is None
