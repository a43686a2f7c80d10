"""What follows from the rarer inputs, and what several kinds of input share. A side room of `turn`, which decides on the others."""

from __future__ import annotations

from . import budget
from .changes import (
    ApprovalAnswered,
    CallWaiting,
    Cleared,
    Compacted,
    CompactionFailed,
    CompactionUndone,
    Decided,
    FollowUpQueued,
    FollowUpsDropped,
    LimitReached,
    NestedSpent,
    Resumed,
    Rewound,
    SettingsChanged,
    TurnContinued,
)
from .content import ToolCall, UserBlock
from .entries import CallOutcome, Entry, InputAccepted, InterruptCause, PartialKept, SteerAccepted, TurnEnded
from .errors import ErrorInfo
from .inputs import Continue, Halted, Input, Steer, UserInput
from .inputs_rare import (
    Approve,
    CallWaits,
    ChangeSettings,
    Clear,
    CompactionEnded,
    Decide,
    Deny,
    DropFollowUps,
    Expire,
    FollowUp,
    LimitHit,
    Recover,
    Resume,
    Rewind,
    SpentElsewhere,
    Stop,
    UndoCompaction,
)
from .messages import AssistantMessage, ResponseInfo, UserMessage
from .outcomes import Cancelled, Denied, Outcome, result_of
from .principal import Principal
from .recovery import closed, recovered
from .result import TurnReason
from .state import CallState, SessionState, TurnState
from .view import WHOLE, back_to

SKIPPED = Cancelled("the user said something new before it began")
EXPIRED = "nobody answered in time"
GO_ON = "Continue."
BASE_CHANGED = ErrorInfo(
    "session", "base_changed", "The conversation was changed while it was being compacted.", "Compact it again."
)


def decide_rare(state: SessionState, turn: TurnState | None, given: Input, now: float) -> list[Entry]:
    """The entries that follow; `turn` is the one that runs, if one does."""
    match given:
        case ChangeSettings(settings=settings, by=by):
            return [SettingsChanged(settings, now, by)]
        case Decide():
            return [_decided(turn, given, now)]
        case FollowUp(body=body, client_ref=client_ref):
            return [FollowUpQueued(UserMessage(body, created_at=now), now, client_ref, state.queued + 1)]
        case DropFollowUps(numbers=numbers):
            dropped = any(not numbers or q.number in numbers for q in state.queue)
            return [FollowUpsDropped(now, numbers)] if dropped else []
        case CompactionEnded():
            return _compaction(state, turn, given, now)
        case UndoCompaction():
            return [CompactionUndone(now)] if state.views and not state.views[-1].cleared else []
        case _:
            pass
    if turn is not None:
        return _in_turn(turn, given, now)
    match given:
        case Continue():
            return _continued(state, given, now)
        case Clear():
            return [Cleared(now)]
        case Rewind(to=to):
            return [Rewound(to, now)]
        case _:
            return []


def _in_turn(turn: TurnState, given: Input, now: float) -> list[Entry]:
    if type(given) is SpentElsewhere:
        return [NestedSpent(turn.number, given.usage, now, given.steps, given.calls)]
    if type(given) is Recover:
        taken_on = recovered(turn, given, now)
        return [*taken_on, *halted(turn, Halted(lost=True), now)] if turn.phase == "ending" else taken_on
    if turn.phase == "ending":
        return []
    match given:
        case CallWaits():
            call = turn.find(given.call_id) if turn.phase == "tools" else None
            if call is None or call.result is not None or call.waits is not None or (call.started and not call.again):
                return []
            name = given.name or call.call.name
            return [
                CallWaiting(given.call_id, name, given.kind, now, given.reason, given.expires_at, given.arguments),
            ]
        case Approve():
            call = _asking(turn, given.call_id)
            said = ApprovalAnswered(given.call_id, True, now, given.reason, given.arguments, by=given.by)
            return [] if call is None else [said]
        case Deny():
            call = _asking(turn, given.call_id)
            return [] if call is None else _denied(call, given.reason, given.expired, now, given.by)
        case Expire():
            return _expired(turn, now)
        case Resume():
            return [Resumed(turn.number, now)] if turn.phase == "parked" else []
        case Stop(cause=cause, usage=usage):
            return [TurnEnded(turn.number, "stopped", now, cause, None, usage)] if turn.phase == "model" else []
        case LimitHit(cause=cause):
            return [_forbidden(turn, cause, now)] if turn.phase == "model" else []
        case _:
            return []


# --- beginnings and ends ----------------------------------------------------------------------------------------------


def accept(state: SessionState, given: UserInput, now: float) -> list[Entry]:
    """A turn begins with an input."""
    body = given.body or state.queue[0].message.body if given.queued and state.queue else given.body
    client_ref = state.queue[0].client_ref if given.queued and state.queue else given.client_ref
    if given.queued and not state.queue:
        return []
    said = InputAccepted(UserMessage(body, state.turns + 1, 1, 0, now), given.limits, client_ref, given.queued)
    return [said] if given.instead_of is None else [Rewound(given.instead_of - 1, now), said]


def _continued(state: SessionState, given: Continue, now: float) -> list[Entry]:
    """A turn begins without an input; nothing follows if there is nothing to go on from."""
    back = given.instead_of
    kept, shown = len(state.history), len(state.views)
    if back is not None:
        kept, shown = back_to(state.history, state.views, back - 1)
    change = state.views[shown - 1].change if shown else WHOLE
    last = state.history[kept - 1] if kept > change.covers else change.summary
    if last is None:
        return []
    number = state.turns + 1
    told = UserMessage(GO_ON, number, 1, 0, now, "reminder") if isinstance(last, AssistantMessage) else None
    continued = TurnContinued(number, given.limits, now, given.client_ref, told)
    return [continued] if back is None else [Rewound(back - 1, now), continued]


def steer(turn: TurnState, given: Steer, now: float) -> list[Entry]:
    """The user adds to the turn."""
    message = steer_message(turn, given.body, now)
    entries: list[Entry] = [SteerAccepted(message, given.client_ref, given.skip, given.at_once)]
    if given.skip:
        entries += [closed(c, SKIPPED, now) for c in turn.awaited if c.result is None and (c.again or not c.started)]
    return entries


def steer_message(turn: TurnState, body: str | tuple[UserBlock, ...], now: float) -> UserMessage:
    return UserMessage(body, turn.number, turn.step, turn.steered + 1, now)


def halted(turn: TurnState, given: Halted, now: float) -> list[Entry]:
    """Everything has stopped: what is open is closed, and the turn ends."""
    why = Cancelled("the turn was interrupted")
    entries: list[Entry] = [closed(c, why, now, lost=given.lost) for c in turn.awaited if c.result is None]
    if given.text and not turn.awaited and turn.keep == "partial":
        info = ResponseInfo(given.provider, given.model, usage=given.usage, completed_at=now)
        entries.append(PartialKept(AssistantMessage(given.text, turn.number, turn.step, now, True, info)))
    cause = cause_of(turn)
    if given.error is not None:
        entries.append(TurnEnded(turn.number, "error", now, given.error.code, given.error, given.usage))
    else:
        entries.append(TurnEnded(turn.number, _REASONS.get(cause, "interrupted"), now, cause, None, given.usage))
    if turn.keep == "none":
        entries.append(Rewound(turn.number - 1, now))
    return entries


_REASONS: dict[InterruptCause, TurnReason] = {"timeout": "timeout", "wall_time": "limit"}


def cause_of(turn: TurnState) -> InterruptCause:
    """Who interrupts the turn."""
    return turn.interrupt or "user"


def no_run(call: ToolCall, outcome: Outcome, now: float) -> CallOutcome:
    """The outcome of a call that never ran."""
    return CallOutcome(result_of(call.id, outcome), call.name, False, now)


def reached(turn: TurnState) -> str:
    """The limit that leaves no room for another model call; "" if there is room (rule E9)."""
    steps, calls = turn.steps + turn.nested_steps, turn.calls + turn.nested_calls
    return budget.reached(turn.limits, budget.spent_of(turn.usage, steps=steps, calls=calls))


def _forbidden(turn: TurnState, cause: str, now: float) -> Entry:
    """The driver may not send a request. If it was the one to conclude with, the turn ends without."""
    if turn.concluding:
        return TurnEnded(turn.number, "limit", now, turn.concluding)
    return limit_entry(turn, cause, now)


def limit_entry(turn: TurnState, cause: str, now: float) -> Entry:
    """What a limit does: end the turn, or let the model conclude first."""
    if turn.limits.on_limit == "conclude" and turn.steps:
        return LimitReached(turn.number, cause, now)
    return TurnEnded(turn.number, "limit", now, cause)


# --- calls that wait --------------------------------------------------------------------------------------------------


def _asking(turn: TurnState, call_id: str) -> CallState | None:
    """The call of that id, if it waits for leave."""
    call = turn.find(call_id)
    waits = None if call is None or call.result is not None else call.waits
    return call if waits is not None and waits.kind == "approval" else None


def _denied(call: CallState, reason: str, expired: bool, now: float, by: Principal | None = None) -> list[Entry]:
    answer = ApprovalAnswered(call.call.id, False, now, reason, expired=expired, by=by)
    return [answer, closed(call, Denied(reason or "it was not allowed"), now)]


def _decided(turn: TurnState | None, given: Decide, now: float) -> Decided:
    return Decided(
        given.source,
        given.decision,
        now,
        0 if turn is None else turn.number,
        given.call_id,
        given.name,
        given.arguments_sha256,
        given.before_sha256,
        given.rule,
        given.point,
        given.reason,
    )


def _expired(turn: TurnState, now: float) -> list[Entry]:
    entries: list[Entry] = []
    for call in turn.awaited:
        waits = call.waits
        if waits is None or call.result is not None or waits.expires_at is None or waits.expires_at > now:
            continue
        if waits.kind == "approval":
            entries += _denied(call, EXPIRED, True, now)
        else:
            entries.append(closed(call, Cancelled(EXPIRED), now))
    return entries


# --- the view ---------------------------------------------------------------------------------------------------------


def _compaction(state: SessionState, turn: TurnState | None, given: CompactionEnded, now: float) -> list[Entry]:
    """A compaction swaps in only if the view is still the one it was planned on (rule X4)."""
    if turn is not None and turn.phase == "ending" and given.trigger != "manual":
        return []
    if given.change is not None and given.base == state.base:
        return [
            Compacted(
                given.change,
                given.trigger,
                now,
                given.before_tokens,
                given.after_tokens,
                given.usage,
                given.model,
            )
        ]
    error = given.error or BASE_CHANGED
    failed = CompactionFailed(error, given.trigger, now, given.usage)
    if turn is None or turn.overflow is None or given.trigger == "manual":
        return [failed]
    # Nothing helps against what the provider refused: its own error ends the turn.
    return [failed, TurnEnded(turn.number, "error", now, turn.overflow.code, turn.overflow)]
