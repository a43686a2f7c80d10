"""The rarer entries: calls that wait for someone, what was decided about them, turns that park, and what changes the view or the settings
of a session.

Those of every turn are in `entries`, where the union of all is, too.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ErrorInfo
from .limits import Limits
from .messages import UserMessage
from .principal import Principal
from .result import PendingKind
from .settings import SessionSettings
from .usage import Usage
from .view import Change

Trigger = Literal["auto", "manual", "overflow"]
"""Why a compaction was made: the next request would have been too large, someone asked, or the provider refused the request."""


DecisionSource = Literal["policy", "hook", "middleware"]
"""Who decided, where it was no person."""

Decision = Literal["allow", "ask", "deny", "failed", "modify", "replace", "cancel", "retry", "redirect"]
"""What was decided: of a policy `allow`, `ask`, `deny`, or `failed` (it could not be asked, which means no); the rest are the results of
hooks. `failed` of a hook: it raised or took too long, and stood for a refusal."""


class CallWaiting(msgspec.Struct, frozen=True, gc=False, tag="call.waiting", omit_defaults=True):
    """A call waits: for leave to run, for a result from the caller who runs it, or for an answer of the user (rule C6). `arguments` and `name`
    as in `CallStarted`."""

    call_id: str
    name: str
    kind: PendingKind
    at: float
    reason: str = ""
    expires_at: float | None = None
    arguments: str | None = None
    v: int = 1


class ApprovalAnswered(msgspec.Struct, frozen=True, gc=False, tag="approval.answered", omit_defaults=True):
    """Someone allowed a call or did not. `arguments` are those that it is to run with instead, if they were edited. `by` says who, if it
    was said; else it was whoever held the session."""

    call_id: str
    allowed: bool
    at: float
    reason: str = ""
    arguments: str | None = None
    expired: bool = False
    by: Principal | None = None
    v: int = 1


class Decided(msgspec.Struct, frozen=True, gc=False, tag="decision.made", omit_defaults=True):
    """Something other than a person decided (rule P4): the agent's policy about a call, or a hook or middleware about what it stands at.

    `decision` is what it said, `rule` by which rule: the policy's own name for it, or the id of the hook or middleware; `point` is where a
    hook stands. `call_id`, `name` and `arguments_sha256` bind it to one call with these very arguments (`audit.fingerprint`);
    `before_sha256` is of those that were replaced.
    """

    source: DecisionSource
    decision: Decision
    at: float
    turn: int = 0
    call_id: str = ""
    name: str = ""
    arguments_sha256: str = ""
    before_sha256: str = ""
    rule: str = ""
    point: str = ""
    reason: str = ""
    v: int = 1


class Parked(msgspec.Struct, frozen=True, gc=False, tag="turn.parked", omit_defaults=True):
    """All that is left of the step waits for someone: the turn rests."""

    turn: int
    at: float
    v: int = 1


class Recovered(msgspec.Struct, frozen=True, gc=False, tag="turn.recovered", omit_defaults=True):
    """The process that drove the turn is gone, and another one has taken it on: for the `number`th time since a step or a call last
    came to its end. The calls in `again` had started and are run once more. `given_up`: it happened too often, and the turn ends."""

    turn: int
    at: float
    number: int
    again: tuple[str, ...] = ()
    given_up: bool = False
    v: int = 1


class Resumed(msgspec.Struct, frozen=True, gc=False, tag="turn.resumed", omit_defaults=True):
    """A parked turn goes on."""

    turn: int
    at: float
    v: int = 1


class TurnContinued(msgspec.Struct, frozen=True, gc=False, tag="turn.continued", omit_defaults=True):
    """A turn without an input: the model is asked again with the transcript as it is. If that ends with what the model said, it is
    told to go on by `message`: no provider has to take words of its own as the last ones."""

    turn: int
    limits: Limits
    at: float
    client_ref: str | None = None
    message: UserMessage | None = None
    v: int = 1


class FollowUpQueued(msgspec.Struct, frozen=True, gc=False, tag="follow_up.queued", omit_defaults=True):
    """The user spoke ahead: a turn with this message begins when the running one has ended well. `number` counts from 1."""

    message: UserMessage
    at: float
    client_ref: str | None = None
    number: int = 0
    v: int = 1


class FollowUpsDropped(msgspec.Struct, frozen=True, gc=False, tag="follow_up.dropped", omit_defaults=True):
    """What was queued is not wanted any more: these numbers, or all of it."""

    at: float
    numbers: tuple[int, ...] = ()
    v: int = 1


class LimitReached(msgspec.Struct, frozen=True, gc=False, tag="limit.reached", omit_defaults=True):
    """A limit is reached, and one last step without tools is to conclude the turn."""

    turn: int
    cause: str
    at: float
    v: int = 1


class LoopFound(msgspec.Struct, frozen=True, gc=False, tag="loop.found", omit_defaults=True):
    """The model goes round in circles: the last `period` steps have come `repeats` times in a row (rule E8). `message` is what it is
    told about it, if it is told."""

    turn: int
    step: int
    period: int
    repeats: int
    names: tuple[str, ...]
    action: Literal["warn", "tell", "stop"]
    at: float
    message: UserMessage | None = None
    v: int = 1


class NestedSpent(msgspec.Struct, frozen=True, gc=False, tag="nested.spent", omit_defaults=True):
    """What a run that a tool of this turn started has used; or a model that worked for the turn, without a step of its own."""

    turn: int
    usage: Usage
    at: float
    steps: int = 0
    calls: int = 0
    v: int = 1


class Compacted(msgspec.Struct, frozen=True, gc=False, tag="context.compacted", omit_defaults=True):
    """The transcript leaves out more of the history. `usage` is what the summary cost; tokens are estimates of the request."""

    change: Change
    trigger: Trigger
    at: float
    before_tokens: int = 0
    after_tokens: int = 0
    usage: Usage | None = None
    model: str = ""
    v: int = 1


class CompactionFailed(msgspec.Struct, frozen=True, gc=False, tag="context.not_compacted", omit_defaults=True):
    """No compaction came about; the transcript is as it was (rule X3)."""

    error: ErrorInfo
    trigger: Trigger
    at: float
    usage: Usage | None = None
    v: int = 1


class CompactionUndone(msgspec.Struct, frozen=True, gc=False, tag="context.restored", omit_defaults=True):
    """The last compaction does not hold any more."""

    at: float
    v: int = 1


class Cleared(msgspec.Struct, frozen=True, gc=False, tag="context.cleared", omit_defaults=True):
    """The conversation begins anew; totals are kept, and so is the history."""

    at: float
    v: int = 1


class Rewound(msgspec.Struct, frozen=True, gc=False, tag="session.rewound", omit_defaults=True):
    """Everything after turn `to` is taken back. Turn numbers go on."""

    to: int
    at: float
    v: int = 1


class SettingsChanged(msgspec.Struct, frozen=True, gc=False, tag="settings.changed", omit_defaults=True):
    """These settings hold from the next model call on. `by` says who has set them, if it was said."""

    settings: SessionSettings
    at: float
    by: Principal | None = None
    v: int = 1


ChangeEntry = (
    ApprovalAnswered
    | CallWaiting
    | Cleared
    | Compacted
    | CompactionFailed
    | CompactionUndone
    | Decided
    | FollowUpQueued
    | FollowUpsDropped
    | LimitReached
    | LoopFound
    | NestedSpent
    | Parked
    | Recovered
    | Resumed
    | Rewound
    | SettingsChanged
    | TurnContinued
)
