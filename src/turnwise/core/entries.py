"""Entries: what a journal is made of.

An entry says something that happened and will stay true. Entries are appended, never changed; compaction, undo and the
like are entries too. Every entry type has a version `v`: a reader that meets a type or version it does not know makes the
session read-only instead of guessing (rule D7). Times are Unix seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .changes import ChangeEntry
from .errors import ErrorInfo
from .limits import Limits
from .messages import AssistantMessage, Message, UserMessage
from .outcomes import ToolResult
from .principal import Principal
from .result import TurnReason
from .settings import AGENTS_OWN, SessionSettings
from .usage import Usage
from .view import View

InterruptCause = Literal["user", "left", "consumer_dropped", "timeout", "wall_time", "closed", "store", "middleware"]
"""Who ended the turn: a person or program, a consumer that left its stream or dropped its channel, the deadline, the limit of wall
time, a closing runtime, a journal that could not be written, or a middleware around the turn that failed."""

Keep = Literal["partial", "none"]
"""What an interrupted turn leaves in the transcript: all of it with the text so far, or nothing."""


class SessionCreated(msgspec.Struct, frozen=True, gc=False, tag="session.created", omit_defaults=True):
    """First entry of every journal. `history` was handed in by the caller and repaired on entry (rule T6), or is that of the
    session that this one was forked from, with its `views` and `settings`. `agent` is the name of the one that it belongs to: who
    recovers its turns has to know."""

    session: str
    principal: Principal
    at: float
    history: tuple[Message, ...] = ()
    forked_from: str = ""
    views: tuple[View, ...] = ()
    settings: SessionSettings = AGENTS_OWN
    agent: str = ""
    v: int = 1


class InputAccepted(msgspec.Struct, frozen=True, gc=False, tag="input.accepted", omit_defaults=True):
    """A turn begins with this message, under these limits; `queued` if it was the first follow-up of the queue. `client_ref` is the
    caller's own name for the input, here as elsewhere."""

    message: UserMessage
    limits: Limits
    client_ref: str | None = None
    queued: bool = False
    v: int = 1


class StepCommitted(msgspec.Struct, frozen=True, gc=False, tag="step.committed", omit_defaults=True):
    """A response is complete. `attempt` is the try that made it; `answer` the name of the tool by which it gives the answer of the turn,
    if it does so by a call; `context_limit` how many tokens its model reads, if that is known."""

    message: AssistantMessage
    attempt: int
    answer: str = ""
    context_limit: int | None = None
    v: int = 1


class AttemptFailed(msgspec.Struct, frozen=True, gc=False, tag="attempt.failed", omit_defaults=True):
    """A model call failed and left the transcript as it was. `retry_in_s` is None if it was the last try; `model` is the number
    of the model that is asked then, among the agent's; `compact` if the transcript is compacted before."""

    turn: int
    step: int
    attempt: int
    error: ErrorInfo
    at: float
    usage: Usage | None = None
    retry_in_s: float | None = None
    model: int = 0
    compact: bool = False
    v: int = 1


class CallStarted(msgspec.Struct, frozen=True, gc=False, tag="call.started", omit_defaults=True):
    """A tool is about to run. `arguments_sha256` fingerprints the final arguments; only an idempotent call may be run
    `again` after a crash (rule D2), and only a `read_only` one leaves the world as it was. `arguments` are set, and `name` is another one than
    the model gave, if a hook has made another call of it: that is then what the transcript shows."""

    call_id: str
    name: str
    arguments_sha256: str
    idempotent: bool
    at: float
    read_only: bool = False
    again: bool = False
    arguments: str | None = None
    v: int = 1


class CallOutcome(msgspec.Struct, frozen=True, gc=False, tag="call.outcome", omit_defaults=True):
    """A call has ended, or never ran (`ran` is false); there is exactly one per call (rule T1). `final`: it was the answer of the
    turn."""

    result: ToolResult
    name: str
    ran: bool
    at: float
    final: bool = False
    v: int = 1


class SteerAccepted(msgspec.Struct, frozen=True, gc=False, tag="steer.accepted", omit_defaults=True):
    """The user added to the running turn; the message enters the transcript at the next safe boundary (rule T3). `skip`: calls that
    had not begun are not run any more. `at_once`: nothing had been sent for the step that was due, so the message entered before it."""

    message: UserMessage
    client_ref: str | None = None
    skip: bool = False
    at_once: bool = False
    v: int = 1


class Interrupted(msgspec.Struct, frozen=True, gc=False, tag="turn.interrupted", omit_defaults=True):
    """The turn is to end; no further model call is made and no further tool started."""

    turn: int
    cause: InterruptCause
    at: float
    keep: Keep = "partial"
    v: int = 1


class PartialKept(msgspec.Struct, frozen=True, gc=False, tag="step.partial", omit_defaults=True):
    """Text of a response that was cut off by an interrupt (rule T2)."""

    message: AssistantMessage
    v: int = 1


class TurnEnded(msgspec.Struct, frozen=True, gc=False, tag="turn.ended", omit_defaults=True):
    """The turn is over. `usage` is what an attempt cost that was cut off by an interrupt, as far as it is known."""

    turn: int
    reason: TurnReason
    at: float
    cause: str = ""
    error: ErrorInfo | None = None
    usage: Usage | None = None
    v: int = 1


Entry = (
    SessionCreated
    | InputAccepted
    | StepCommitted
    | AttemptFailed
    | CallStarted
    | CallOutcome
    | SteerAccepted
    | Interrupted
    | PartialKept
    | TurnEnded
    | ChangeEntry
)
