"""The account of a turn whose journal cannot be written any more: what it had come to by what is durable."""

from __future__ import annotations

import msgspec

from ..core.errors import ErrorInfo
from ..core.messages import AssistantMessage
from ..core.result import TurnResult
from ..core.state import SessionState
from ..core.usage import NO_USAGE, Usage

Account = tuple[int, int, Usage, AssistantMessage | None]
"""Steps, calls, usage and last answer of a turn."""


def account_of(state: SessionState) -> Account:
    """What the turn has come to so far; it is acknowledged once the entries folded by now are durable."""
    turn = state.turn
    return (0, 0, NO_USAGE, None) if turn is None else (turn.steps, turn.calls, turn.usage, turn.last)


def lost_result(state: SessionState, account: Account | None, error: ErrorInfo) -> TurnResult:
    """How the turn under way ends with this error; `account` is None if nothing of it is durable."""
    steps, calls, usage, last = account or (0, 0, NO_USAGE, None)
    return TurnResult(
        state.id,
        state.turns,
        "error",
        last.text if last else "",
        steps,
        calls,
        usage,
        last.stop_reason if last else "unknown",
        error.code,
        msgspec.structs.replace(error, session=state.id, turn=state.turns),
    )
