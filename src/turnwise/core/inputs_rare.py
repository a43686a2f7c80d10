"""The rarer inputs: what is said of calls that wait, decisions of the driver, and changes of the view and the settings."""

from __future__ import annotations

import msgspec

from .changes import Decision, DecisionSource, Trigger
from .content import Body
from .errors import ErrorInfo
from .principal import Principal
from .result import PendingKind
from .settings import SessionSettings
from .usage import Usage
from .view import Change


class CallWaits(msgspec.Struct, frozen=True, gc=False):
    """A call cannot run before someone has said or done something. `name` and `arguments` are set if a hook has made another call of it."""

    call_id: str
    kind: PendingKind
    reason: str = ""
    expires_at: float | None = None
    name: str = ""
    arguments: str | None = None


class Approve(msgspec.Struct, frozen=True, gc=False):
    """A waiting call may run, with these arguments if they were edited."""

    call_id: str
    arguments: str | None = None
    reason: str = ""
    by: Principal | None = None


class Deny(msgspec.Struct, frozen=True, gc=False):
    """A waiting call may not run."""

    call_id: str
    reason: str = ""
    expired: bool = False
    by: Principal | None = None


class Decide(msgspec.Struct, frozen=True, gc=False):
    """Something other than a person has decided; for the record alone. It comes before the input that follows from it."""

    source: DecisionSource
    decision: Decision
    call_id: str = ""
    name: str = ""
    arguments_sha256: str = ""
    before_sha256: str = ""
    rule: str = ""
    point: str = ""
    reason: str = ""


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Time has passed: what has waited for too long is given up."""


class Resume(msgspec.Struct, frozen=True, gc=False):
    """A parked turn goes on."""


class Recover(msgspec.Struct, frozen=True, gc=False):
    """The process that drove the turn is gone, and another one takes it on (rule D2). `budget` is how often in a row that may happen
    before the turn is given up, with no step or call finished in between."""

    budget: int


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The turn ends before its next model call, or with one whose answer is not taken, because someone decided so. `usage` is what that took."""

    cause: str = ""
    usage: Usage | None = None


class LimitHit(msgspec.Struct, frozen=True, gc=False):
    """The next model call would pass a limit that only the driver can weigh: tokens, money, an outer run's."""

    cause: str


class FollowUp(msgspec.Struct, frozen=True, gc=False):
    """The user speaks ahead, for after the running turn."""

    body: Body
    client_ref: str | None = None


class DropFollowUps(msgspec.Struct, frozen=True, gc=False):
    """These follow-ups are not wanted any more, or none that is queued."""

    numbers: tuple[int, ...] = ()


class SpentElsewhere(msgspec.Struct, frozen=True, gc=False):
    """A run within this turn, or a model at work for it, has used something."""

    usage: Usage
    steps: int = 0
    calls: int = 0


class CompactionEnded(msgspec.Struct, frozen=True, gc=False):
    """A compaction planned on view number `base` came to `change`, or failed with `error`."""

    base: int
    trigger: Trigger
    change: Change | None = None
    error: ErrorInfo | None = None
    before_tokens: int = 0
    after_tokens: int = 0
    usage: Usage | None = None
    model: str = ""


class UndoCompaction(msgspec.Struct, frozen=True, gc=False):
    """The last compaction is not wanted."""


class Clear(msgspec.Struct, frozen=True, gc=False):
    """The conversation begins anew."""


class Rewind(msgspec.Struct, frozen=True, gc=False):
    """Everything after turn `to` is taken back."""

    to: int


class ChangeSettings(msgspec.Struct, frozen=True, gc=False):
    """These settings hold from the next model call on."""

    settings: SessionSettings
    by: Principal | None = None


RareInput = (
    Approve
    | CallWaits
    | ChangeSettings
    | Clear
    | CompactionEnded
    | Decide
    | Deny
    | DropFollowUps
    | Expire
    | FollowUp
    | LimitHit
    | Recover
    | Resume
    | Rewind
    | SpentElsewhere
    | Stop
    | UndoCompaction
)
