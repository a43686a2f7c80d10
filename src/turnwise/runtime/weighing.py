"""The last look at a request whose size is known: can the model read it, and is there a budget for it?

What stands against it is posted instead (a limit), or begun (a compaction); the attempt is then dropped before anything was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..core.changes import Trigger
from ..core.compaction import in_force
from ..core.estimate import Calibration, request_weight, weigh
from ..core.messages import Message
from .plan import Target
from .said import BYTES_PER_TOKEN
from .sizes import fits_any_model, limit_of, sizes_of

if TYPE_CHECKING:
    from .actor import Actor
    from .attempt import Attempt


class Due(msgspec.Struct, frozen=True):
    """A request that is to be made smaller: it takes so many tokens, and its model reads `limit`, if that is known. `calibration` is
    how its tokens are estimated."""

    trigger: Trigger
    target: Target
    tokens: int
    limit: int | None
    calibration: Calibration

    def size(self, message: Message) -> int:
        return self.calibration.tokens(weigh(message))

    def messages(self, session: Actor[Any]) -> int:
        """The tokens of the transcript as it is now."""
        return sum(map(self.size, session.state.transcript))


async def may_send(session: Actor[Any], attempt: Attempt, body_bytes: int) -> bool:
    """Whether a request of that size is sent."""
    purse = None if session.turn is None else session.turn.spending.budget.purse
    if purse is not None and (not await purse.ready(attempt.target) or attempt.stopped):
        return False
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
    due = await look(session, attempt, body_bytes)
    turn = session.turn
    if due is not None and turn is not None and not attempt.stopped:
        turn.compact(attempt, due)
    return due is None


async def look(session: Actor[Any], attempt: Attempt, body_bytes: int) -> Due | None:
    """Weigh a request that is ready to be sent; None if it may be."""
    target, asked, state = attempt.target, attempt.asked, session.state
    handle, sizes = target.handle, sizes_of(session)
    limit = attempt.context_limit = await limit_of(state.settings, target.facts, session.runtime)
    weight = request_weight(body_bytes, sizes.media(state))
    calibration = sizes.calibration(handle, state)
    tokens = calibration.tokens(weight)
    if asked.must_compact:
        sizes.refused(handle, weight, limit)
        calibration = sizes.calibration(handle, state)
        return Due("overflow", target, calibration.tokens(weight), limit, calibration)
    settings = in_force(session.agent.compaction, state.settings.compaction)
    if settings is not None and limit is not None and asked.may_compact and sizes.is_over(tokens, limit, settings.at):
        return Due("auto", target, tokens, limit, calibration)
    sizes.sending(handle, weight, state)
    return None
