"""What can happen to a session (inputs of the turn machine; the rarer ones are in `inputs_rare`), and what the machine then wants
done (its effects)."""

from __future__ import annotations

import msgspec

from .content import Body, ToolCall
from .entries import InterruptCause, Keep
from .errors import ErrorInfo
from .inputs_rare import RareInput
from .limits import Limits
from .messages import AssistantMessage
from .outcomes import ToolResult
from .usage import Usage

# --- of every turn ----------------------------------------------------------------------------------------------------


class UserInput(msgspec.Struct, frozen=True, gc=False):
    """The user speaks and a turn begins. `queued`: it is the first follow-up of the queue, in other words if `body` has any; `instead_of`:
    the last turn is taken back before."""

    body: Body
    limits: Limits
    client_ref: str | None = None
    queued: bool = False
    instead_of: int | None = None


class Continue(msgspec.Struct, frozen=True, gc=False):
    """A turn begins without an input: the model is asked again with the transcript as it is. `instead_of`: the last turn is taken
    back before."""

    limits: Limits
    client_ref: str | None = None
    instead_of: int | None = None


class ModelReplied(msgspec.Struct, frozen=True, gc=False):
    """A response is complete. `problem` is what is wrong with it as the typed answer that was asked for; `context_limit` is how many
    tokens its model reads, if it is known."""

    message: AssistantMessage
    problem: str | None = None
    context_limit: int | None = None


class ModelFailed(msgspec.Struct, frozen=True, gc=False):
    """A model call failed. `shown`: watchers have seen output of it. `draw` is a random number in [0, 1) for the jitter;
    `may_retry` is false when the provider's shared retry budget is spent."""

    error: ErrorInfo
    shown: bool = False
    usage: Usage | None = None
    draw: float = 1.0
    may_retry: bool = True


class CallBegins(msgspec.Struct, frozen=True, gc=False):
    """A call passed every check and is about to run. `name` and `arguments` are set if a hook has made another call of it."""

    call_id: str
    arguments_sha256: str
    idempotent: bool = False
    read_only: bool = False
    name: str = ""
    arguments: str | None = None


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """A call has its outcome. `final`: it brings the answer of the turn, which needs no further model call if it fits; an error says
    why it does not."""

    result: ToolResult
    final: bool = False


class Steer(msgspec.Struct, frozen=True, gc=False):
    """The user adds to the running turn. `skip`: calls that have not begun are not run. `at_once`: the model call that is due is held
    back, so this enters before it and not after."""

    body: Body
    client_ref: str | None = None
    skip: bool = False
    at_once: bool = False


class Interrupt(msgspec.Struct, frozen=True, gc=False):
    """The turn is to end now."""

    cause: InterruptCause = "user"
    keep: Keep = "partial"


class Halted(msgspec.Struct, frozen=True, gc=False):
    """After an interrupt: everything that ran has stopped or was abandoned. `text` is what the response had said so far. `lost`:
    what ran was not stopped but lost from sight, so nobody knows how far it came."""

    text: str | None = None
    model: str = ""
    provider: str = ""
    usage: Usage | None = None
    error: ErrorInfo | None = None
    lost: bool = False


Input = (
    UserInput | Continue | ModelReplied | ModelFailed | CallBegins | CallEnded | Steer | Interrupt | Halted | RareInput
)

# --- effects ----------------------------------------------------------------------------------------------------------


class CallModel(msgspec.Struct, frozen=True, gc=False):
    """Send the transcript to model number `model` of the agent's, after `delay_s`. `must_compact`: the provider found it too long, so
    it is compacted before; `may_compact` is false when that was tried for this step. `concluding` names the limit that is reached: the
    model is to conclude without tools."""

    turn: int
    step: int
    attempt: int
    delay_s: float = 0.0
    model: int = 0
    must_compact: bool = False
    may_compact: bool = True
    concluding: str = ""


class RunTool(msgspec.Struct, frozen=True, gc=False):
    """Run this call, or say why not; its end comes back as `CallEnded`. `allowed`: someone has allowed it already. `hooked`: its hooks have
    had their say."""

    call: ToolCall
    allowed: bool = False
    hooked: bool = False


class SkipCalls(msgspec.Struct, frozen=True, gc=False):
    """These calls have their outcome without having run: forget them."""

    call_ids: tuple[str, ...]


class Halt(msgspec.Struct, frozen=True, gc=False):
    """Stop everything that runs for the turn, then say `Halted`."""

    cause: InterruptCause


class Park(msgspec.Struct, frozen=True, gc=False):
    """The turn rests: its driver is not needed until `Resume`."""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The turn is over."""


Effect = CallModel | RunTool | SkipCalls | Halt | Park | Finish
