"""Entries in, events out: what watchers are told of a journal entry.

A pure projection, so a replayed journal tells the same events as the live turn did. What happens inside a step before it is
committed (deltas, progress) is not here: it is told as it happens and is not journalled.
"""

from __future__ import annotations

from .entries import (
    ApprovalAnswered,
    AttemptFailed,
    CallOutcome,
    CallStarted,
    CallWaiting,
    Compacted,
    CompactionFailed,
    Entry,
    FollowUpQueued,
    InputAccepted,
    LimitReached,
    LoopFound,
    NestedSpent,
    Parked,
    SteerAccepted,
    StepCommitted,
    TurnContinued,
    TurnEnded,
)
from .events import (
    ApprovalGiven,
    ApprovalRequested,
    AttemptRestarted,
    ContextCompacted,
    Event,
    FollowUpAccepted,
    LoopDetected,
    Notice,
    QuestionAsked,
    ResultAwaited,
    Steered,
    StepFinished,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnParked,
    TurnStarted,
    UsageUpdated,
)
from .result import result_of
from .state import SessionState


def narrate(entry: Entry, state: SessionState) -> list[Event]:
    """The events of an entry that was just folded into `state`."""
    if type(entry) is CallStarted:
        return [ToolStarted(entry.call_id, entry.name)]
    if type(entry) is CallOutcome:
        return _outcome(entry)
    if type(entry) is StepCommitted:
        return _step(entry, state)
    if type(entry) is InputAccepted:
        return [TurnStarted(state.id, entry.message.turn, entry.client_ref)]
    if type(entry) is TurnEnded:
        return [TurnFinished(result_of(state))]
    if type(entry) is AttemptFailed:
        return _failed(entry, state)
    return _rare(entry, state)


def _rare(entry: Entry, state: SessionState) -> list[Event]:
    match entry:
        case SteerAccepted(message=message):
            return [Steered(message.turn, message.text, entry.client_ref, message.mark)]
        case TurnContinued():
            return [TurnStarted(state.id, entry.turn, entry.client_ref)]
        case FollowUpQueued():
            return [FollowUpAccepted(entry.message.text, entry.client_ref)]
        case CallWaiting():
            return [_waiting(entry, state)]
        case ApprovalAnswered():
            call = state.turn.find(entry.call_id) if state.turn else None
            name = call.call.name if call is not None else ""
            return [ApprovalGiven(entry.call_id, name, entry.allowed, entry.reason, entry.arguments)]
        case Parked():
            result = result_of(state)
            return [TurnParked(result, result.pending)]
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
            step = state.turn.step if state.turn else 0
            return [UsageUpdated(entry.turn, step, entry.usage, state.usage, state.context_tokens)]
        case Compacted(change=change):
            masked = len(change.masked)
            return [
                ContextCompacted(entry.trigger, entry.before_tokens, entry.after_tokens, change.covers, masked),
            ]
        case CompactionFailed():
            return [Notice("not_compacted", entry.error.for_user())]
        case _:
            return []


def _waiting(entry: CallWaiting, state: SessionState) -> Event:
    call = state.turn.find(entry.call_id) if state.turn else None
    arguments = call.call.arguments if call is not None else ""
    if entry.kind == "approval":
        return ApprovalRequested(entry.call_id, entry.name, arguments, entry.reason, entry.expires_at)
    if entry.kind == "question":
        return QuestionAsked(entry.call_id, entry.name, arguments, entry.expires_at)
    return ResultAwaited(entry.call_id, entry.name, arguments, entry.expires_at)


def _outcome(entry: CallOutcome) -> list[Event]:
    """A call that never ran still has a beginning and an end, so that watchers can pair them (rule E4)."""
    end = ToolFinished(entry.result.call_id, entry.name, entry.result)
    return [end] if entry.ran else [ToolStarted(entry.result.call_id, entry.name), end]


def _step(entry: StepCommitted, state: SessionState) -> list[Event]:
    message, usage = entry.message, entry.message.usage
    calls = message.tool_calls
    events: list[Event] = [ToolCallReady(call) for call in calls] if calls else []
    if usage is not None:
        events.append(UsageUpdated(message.turn, message.step, usage, state.usage, state.context_tokens))
    response = message.response
    events.append(
        StepFinished(
            message.turn, message.step, entry.attempt, response.stop_reason, response.raw_stop_reason, usage, calls
        )
    )
    return events


def _failed(entry: AttemptFailed, state: SessionState) -> list[Event]:
    events: list[Event] = []
    if entry.usage is not None:
        events.append(UsageUpdated(entry.turn, entry.step, entry.usage, state.usage, state.context_tokens))
    if entry.retry_in_s is not None:
        events.append(AttemptRestarted(entry.turn, entry.step, entry.attempt + 1, entry.retry_in_s, entry.error))
    return events
