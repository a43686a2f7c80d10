"""Entries in, events out: what watchers are told of a journal entry.

A pure projection, so a replayed journal tells the same events as the live turn did. What happens inside a step before it is
committed (deltas, progress) is not here: it is told as it happens and is not journalled.
"""

from __future__ import annotations

from .entries import AttemptFailed, CallOutcome, CallStarted, Entry, InputAccepted, StepCommitted, TurnEnded
from .events import (
    AttemptRestarted,
    Event,
    Notice,
    StepFinished,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UsageUpdated,
)
from .narrate_rare import narrate_rare
from .result import result_of
from .state import SessionState


def narrate(entry: Entry, state: SessionState) -> list[Event]:
    """The events of an entry that was just folded into `state`."""
    if type(entry) is CallStarted:
        return [] if entry.again else [ToolStarted(entry.call_id, entry.name)]
    if type(entry) is CallOutcome:
        return _outcome(entry)
    if type(entry) is StepCommitted:
        return _step(entry, state)
    if type(entry) is InputAccepted:
        return [TurnStarted(state.id, entry.message.turn, entry.client_ref)]
    if type(entry) is TurnEnded:
        return _ended(state)
    if type(entry) is AttemptFailed:
        return _failed(entry, state)
    return narrate_rare(entry, state)


def _outcome(entry: CallOutcome) -> list[Event]:
    """A call that never ran still has a beginning and an end, so that watchers can pair them (rule E4)."""
    end = ToolFinished(entry.result.call_id, entry.name, entry.result)
    return [end] if entry.ran else [ToolStarted(entry.result.call_id, entry.name), end]


def _step(entry: StepCommitted, state: SessionState) -> list[Event]:
    message, usage = entry.message, entry.message.usage
    calls = message.tool_calls
    events: list[Event] = [ToolCallReady(call) for call in calls] if calls else []
    if usage is not None:
        events.append(
            UsageUpdated(message.turn, message.step, usage, state.usage, state.context_tokens, state.context_limit)
        )
    response = message.response
    events.append(
        StepFinished(
            message.turn, message.step, entry.attempt, response.stop_reason, response.raw_stop_reason, usage, calls
        )
    )
    return events


def _ended(state: SessionState) -> list[Event]:
    """What is taken back with its turn may have had effects that are not."""
    turn, finished = state.turn, TurnFinished(result_of(state))
    if turn is None or turn.interrupt is None or turn.keep != "none" or not turn.changed:
        return [finished]
    names = ", ".join(dict.fromkeys(turn.changed))
    return [
        Notice("side_effects", f"The turn is taken back, but these tools ran and may have had effects: {names}."),
        finished,
    ]


def _failed(entry: AttemptFailed, state: SessionState) -> list[Event]:
    events: list[Event] = []
    if entry.usage is not None:
        events.append(
            UsageUpdated(entry.turn, entry.step, entry.usage, state.usage, state.context_tokens, state.context_limit)
        )
    if entry.retry_in_s is not None:
        events.append(AttemptRestarted(entry.turn, entry.step, entry.attempt + 1, entry.retry_in_s, entry.error))
    return events
