"""Events: what watchers of a turn are told, and what decoders tell the reducer.

One dotted name each, the same in Python tags, `--json`, SSE and hooks. `ToolCall*` = the model speaks; `Tool*` = we run.
`attempt` counts the tries of one step from 1; `block` is the position of the block in the message being made. Unknown
events may be ignored.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .content import AssistantBlock, ToolCall
from .errors import ErrorInfo
from .events_rare import RareEvent
from .messages import Mark, StopReason
from .outcomes import ToolResult
from .result import Pending, TurnResult
from .usage import Usage

# --- a turn and its steps -------------------------------------------------------------------------------------------


class TurnStarted(msgspec.Struct, frozen=True, gc=False, tag="turn.started", tag_field="type"):
    """The input was accepted. `client_ref` is what its caller calls it, here as elsewhere."""

    session: str
    turn: int
    client_ref: str | None = None


class StepStarted(msgspec.Struct, frozen=True, gc=False, tag="step.started", tag_field="type"):
    """A model call begins."""

    turn: int
    step: int
    attempt: int
    model: str


class StepFinished(msgspec.Struct, frozen=True, gc=False, tag="step.finished", tag_field="type"):
    """The response is complete and journalled; `calls` are all calls it asks for."""

    turn: int
    step: int
    attempt: int
    stop_reason: StopReason
    raw_stop_reason: str | None
    usage: Usage | None
    calls: tuple[ToolCall, ...] = ()


class UsageUpdated(msgspec.Struct, frozen=True, gc=False, tag="usage.updated", tag_field="type"):
    """Tokens of the step (or the failed attempt) that just ended, and of the session so far. `context_tokens` is what the
    conversation takes by now; `context_limit` is how much the model reads, if it is known."""

    turn: int
    step: int
    step_usage: Usage
    session_usage: Usage
    context_tokens: int | None = None
    context_limit: int | None = None


class AttemptRestarted(msgspec.Struct, frozen=True, gc=False, tag="attempt.restarted", tag_field="type"):
    """A model call failed before its step was committed and is tried again after `delay_s`.

    Deltas of the failed attempt (`attempt` - 1) do not count: drop them.
    """

    turn: int
    step: int
    attempt: int
    delay_s: float
    error: ErrorInfo


class Steered(msgspec.Struct, frozen=True, gc=False, tag="turn.steered", tag_field="type"):
    """Something was added to the running turn; it enters before the next model call. `mark` is who speaks, see `UserMessage`."""

    turn: int
    text: str
    client_ref: str | None = None
    mark: Mark = ""


class Notice(msgspec.Struct, frozen=True, gc=False, tag="notice", tag_field="type"):
    """Something worth knowing that changes nothing."""

    code: str
    message: str


class StepSnapshot(msgspec.Struct, frozen=True, gc=False, tag="step.snapshot", tag_field="type"):
    """What a step has said so far: the first thing told to a watcher that joins in the middle of it. Deltas go on from here."""

    turn: int
    step: int
    attempt: int
    content: tuple[AssistantBlock, ...]


class TurnParked(msgspec.Struct, frozen=True, gc=False, tag="turn.parked", tag_field="type"):
    """The last event of a stream whose turn waits for someone; `session.resume()` goes on when that has come."""

    result: TurnResult
    pending: tuple[Pending, ...]


class TurnFinished(msgspec.Struct, frozen=True, gc=False, tag="turn.finished", tag_field="type"):
    """The last event of a stream, whatever happened, unless the turn is parked."""

    result: TurnResult


# --- the model speaks -----------------------------------------------------------------------------------------------


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag="text.delta", tag_field="type"):
    """More text of the answer."""

    text: str
    block: int = 0
    attempt: int = 1


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False, tag="thinking.delta", tag_field="type"):
    """More of the model's reasoning."""

    text: str
    block: int = 0
    attempt: int = 1


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False, tag="tool_call.started", tag_field="type"):
    """The model begins to ask for a tool; its arguments follow. `id` is ours."""

    id: str
    name: str
    block: int = 0
    attempt: int = 1
    provider_id: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, tag="tool_call.delta", tag_field="type"):
    """More of a call's arguments: a piece of raw JSON text."""

    arguments: str
    block: int = 0
    attempt: int = 1


class ToolCallReady(msgspec.Struct, frozen=True, gc=False, tag="tool_call.ready", tag_field="type"):
    """A call is complete and journalled."""

    call: ToolCall


# --- we run ---------------------------------------------------------------------------------------------------------


class ToolStarted(msgspec.Struct, frozen=True, gc=False, tag="tool.started", tag_field="type"):
    """A tool begins to run."""

    call_id: str
    name: str


class ToolProgress(msgspec.Struct, frozen=True, gc=False, tag="tool.progress", tag_field="type"):
    """A running tool reports."""

    call_id: str
    message: str
    data: Any = None


class ToolFinished(msgspec.Struct, frozen=True, gc=False, tag="tool.finished", tag_field="type"):
    """A call has its outcome, whether it ran or not, and the outcome is journalled."""

    call_id: str
    name: str
    result: ToolResult


Event = (
    TurnStarted
    | StepStarted
    | TextDelta
    | ThinkingDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallReady
    | UsageUpdated
    | StepFinished
    | AttemptRestarted
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Steered
    | StepSnapshot
    | Notice
    | TurnParked
    | TurnFinished
    | RareEvent
)
