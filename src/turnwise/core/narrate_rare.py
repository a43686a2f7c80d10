"""What watchers are told of the rarer entries. A side room of `narrate`, which is the only caller."""

from __future__ import annotations

from .changes import (
    ApprovalAnswered,
    CallWaiting,
    Compacted,
    CompactionFailed,
    Decided,
    FollowUpQueued,
    FollowUpsDropped,
    LimitReached,
    LoopFound,
    NestedSpent,
    Parked,
    Recovered,
    TurnContinued,
)
from .entries import Entry, SteerAccepted
from .events import Event, Notice, Steered, TurnParked, TurnStarted, UsageUpdated
from .events_rare import (
    ApprovalGiven,
    ApprovalRequested,
    ContextCompacted,
    DecisionMade,
    FollowUpAccepted,
    FollowUpDropped,
    LoopDetected,
    QuestionAsked,
    ResultAwaited,
    TurnRecovered,
)
from .result import result_of
from .state import SessionState
from .usage import Usage


def narrate_rare(entry: Entry, state: SessionState) -> list[Event]:
    """The events of an entry that was just folded into `state`."""
    match entry:
        case SteerAccepted(message=message):
            return [Steered(message.turn, message.text, entry.client_ref, message.mark)]
        case TurnContinued():
            return [TurnStarted(state.id, entry.turn, entry.client_ref)]
        case FollowUpQueued():
            return [FollowUpAccepted(entry.message.text, entry.client_ref, entry.number)]
        case FollowUpsDropped(numbers=numbers):
            return [FollowUpDropped(numbers)]
        case CallWaiting():
            return [_waiting(entry, state)]
        case ApprovalAnswered():
            call = state.turn.find(entry.call_id) if state.turn else None
            name = call.call.name if call is not None else ""
            return [ApprovalGiven(entry.call_id, name, entry.allowed, entry.reason, entry.arguments)]
        case Decided():
            source, rule, point = entry.source, entry.rule, entry.point
            return [DecisionMade(source, entry.decision, entry.call_id, entry.name, rule, point, entry.reason)]
        case Parked():
            result = result_of(state)
            return [TurnParked(result, result.pending)]
        case Recovered():
            return [TurnRecovered(entry.turn, state.turn.step if state.turn else 0, entry.number, entry.again)]
        case LoopFound():
            told: list[Event] = [
                LoopDetected(entry.turn, entry.step, entry.names, entry.period, entry.repeats, entry.action)
            ]
            if entry.message is not None:
                told.append(Steered(entry.turn, entry.message.text, None, entry.message.mark))
            return told
        case LimitReached():
            return [Notice("concluding", f"The limit of {entry.cause} is reached: the model is asked to conclude.")]
        case NestedSpent():
            return _used(entry.usage, state)
        case Compacted(change=change):
            masked = len(change.masked)
            return [
                *_used(entry.usage, state),
                ContextCompacted(entry.trigger, entry.before_tokens, entry.after_tokens, change.covers, masked),
            ]
        case CompactionFailed():
            return [*_used(entry.usage, state), Notice("not_compacted", entry.error.for_user())]
        case _:
            return []


def _used(usage: Usage | None, state: SessionState) -> list[Event]:
    """What was spent beside the steps of the turn; outside one it is of turn 0."""
    if usage is None:
        return []
    turn = state.turn if state.running else None
    number, step = (0, 0) if turn is None else (turn.number, turn.step)
    return [UsageUpdated(number, step, usage, state.usage, state.context_tokens, state.context_limit)]


def _waiting(entry: CallWaiting, state: SessionState) -> Event:
    call = state.turn.find(entry.call_id) if state.turn else None
    arguments = call.call.arguments if call is not None else ""
    if entry.kind == "approval":
        return ApprovalRequested(entry.call_id, entry.name, arguments, entry.reason, entry.expires_at)
    if entry.kind == "question":
        return QuestionAsked(entry.call_id, entry.name, arguments, entry.expires_at)
    return ResultAwaited(entry.call_id, entry.name, arguments, entry.expires_at)
