"""What a turn runs with: resolved once when it begins, the same for all its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import config_error
from ..core.limits import Deadlines, Limits
from ..core.messages import Message
from ..core.request import RequestHead
from ..core.turn import Policy
from ..models.handle import ModelHandle, Sealed
from ..tools import Tool
from ..wire.base import Codec
from .gates import Gate
from .retry_budget import RetryBudget

if TYPE_CHECKING:
    from .agent import Agent
    from .runtime import Runtime


INHERITED: ContextVar[Any] = ContextVar("turnwise_context", default=None)
"""Within a tool: the context object of its turn, which runs that the tool starts inherit."""


class Wishes(msgspec.Struct, frozen=True):
    """What the caller asked for when starting a turn. `watched`: someone reads the deltas as they come, so text that was
    shown cannot be taken back."""

    context: Any = None
    limits: Limits | None = None
    stream: bool | None = None
    watched: bool = True


class Target(msgspec.Struct, frozen=True):
    """A model that may be asked, with its encoded head, and what bounds requests to its key."""

    handle: ModelHandle
    head: RequestHead
    sealed: Sealed
    budget: RetryBudget
    gate: Gate | None

    @property
    def codec(self) -> Codec:
        return self.handle.codec

    def sealed_for(self, transcript: Sequence[Message]) -> Sealed:
        """The head that goes with these messages: the kept one unless the codec has to change it (rule T5)."""
        head = self.handle.codec.head_for(self.head, transcript)
        return self.sealed if head is self.head else self.handle.seal(head)


def target_of(handle: ModelHandle, head: RequestHead, runtime: Runtime) -> Target:
    """The target for a model: `head` is what is asked of any model. Raises `ConfigError` for what this one cannot do."""
    own = handle.head(head)
    budget, gate = runtime.retry_budgets.of(handle.key_scope), runtime.gates.of(handle.provider, handle.key_scope)
    return Target(handle, own, handle.seal(own), budget, gate)


def check_extras(targets: Sequence[Target]) -> None:
    """Raise `ConfigError` (`unused_config`) for typed settings that none of these models takes."""
    taken = {kind for target in targets for kind in target.codec.extras}
    for target in targets:
        extra = target.head.settings.extra
        for one in extra if isinstance(extra, tuple) else (extra,):
            if type(one) not in taken:
                raise config_error(
                    "unused_config",
                    f"{type(one).__name__} means nothing to {target.handle.host.label}.",
                    f"It takes {', '.join([k.__name__ for k in target.codec.extras]) or 'no extra settings'}.",
                )


class TurnPlan(msgspec.Struct, frozen=True):
    """Models, tools and bounds of one turn. `targets` are the model and those to fall back on; `context` is the caller's own
    object and never journalled; `watch_s` is how often the deadlines are looked at."""

    targets: tuple[Target, ...]
    tools: Mapping[str, Tool[..., Any]]
    deadlines: Deadlines
    limits: Limits
    policy: Policy
    parallel_calls: int
    context: Any
    watch_s: float | None

    def target(self, number: int) -> Target:
        """Model number `number`; the last one if there are fewer than there were when the journal was written."""
        return self.targets[min(number, len(self.targets) - 1)]


def watch_of(deadlines: Deadlines) -> float | None:
    """How often the deadlines of model calls are to be looked at, in seconds."""
    return min([s for s in (deadlines.first_byte_s, deadlines.idle_s) if s is not None], default=None)


def make_plan(agent: Agent[Any], wishes: Wishes, targets: tuple[Target, ...]) -> TurnPlan:
    """The plan of a turn from its agent and what the caller asked for."""
    return TurnPlan(
        targets,
        agent.tools,
        agent.deadlines,
        wishes.limits or agent.limits,
        Policy(agent.retry, agent.restart if wishes.watched else "before_commit", len(targets)),
        agent.parallel_calls,
        wishes.context,
        watch_of(agent.deadlines),
    )
