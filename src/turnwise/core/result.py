"""What a turn came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .errors import ErrorInfo, StateError
from .messages import Message, StopReason
from .usage import NO_USAGE, Usage

if TYPE_CHECKING:
    from .state import SessionState

TurnReason = Literal["completed", "stopped", "limit", "loop", "timeout", "interrupted", "parked", "error"]


PendingKind = Literal["approval", "external", "question"]
"""What a call waits for: leave to run, a result from the caller who runs it, or an answer of the user."""


class Pending(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A call that waits for someone. `arguments` is its raw JSON text; `expires_at` (Unix seconds) is when it is given up."""

    call_id: str
    name: str
    arguments: str
    kind: PendingKind
    reason: str = ""
    expires_at: float | None = None


class TurnWarning(msgspec.Struct, frozen=True, gc=False):
    """Something that the turn had to do without: which part of the runtime, and why, with a code of docs/degraded.md."""

    part: str
    code: str
    message: str


class TurnResult(msgspec.Struct, frozen=True, gc=False):
    """The true account of a turn, however it ended.

    `text` is the model's last text; `messages` are what the turn added to the transcript, the user's input first;
    `steps` counts model calls that were committed; `usage` adds up all attempts, failed ones included; `cause` says more
    about `reason` (which limit, who interrupted); `error` is set when `reason` is `error`; `pending` is what a parked turn
    waits for; `output` is the typed answer if one was asked for and given, and `text` then what it was read from; `warnings` are
    of what did not work and did not end the turn.
    """

    session: str
    turn: int
    reason: TurnReason
    text: str = ""
    steps: int = 0
    calls: int = 0
    usage: Usage = NO_USAGE
    stop_reason: StopReason = "unknown"
    cause: str = ""
    error: ErrorInfo | None = None
    messages: tuple[Message, ...] = ()
    pending: tuple[Pending, ...] = ()
    output: Any = None
    warnings: tuple[TurnWarning, ...] = ()


def result_of(state: SessionState) -> TurnResult:
    """The account of the last turn."""
    turn = state.turn
    if turn is None:
        raise StateError(ErrorInfo("state", "illegal_entry", "The session has no turn yet."))
    last = turn.last
    return TurnResult(
        state.id,
        turn.number,
        "parked" if turn.phase == "parked" else turn.reason,
        turn.answer if turn.answered else last.text if last else "",
        turn.steps,
        turn.calls,
        turn.usage,
        last.stop_reason if last else "unknown",
        turn.cause,
        turn.error,
        tuple(state.history[turn.first :]),
        turn.pending,
    )
