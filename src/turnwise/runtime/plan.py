"""What a turn runs with: resolved once when it begins, the same for all its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.limits import Deadlines, Limits
from ..core.messages import Message
from ..core.request import RequestHead
from ..core.turn import Policy
from ..models.handle import ModelHandle, Sealed
from ..tools import Tool
from ..wire.base import Codec
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


class TurnPlan(msgspec.Struct, frozen=True):
    """Model, tools and bounds of one turn. `context` is the caller's own object; it is never journalled. `watch_s` is how often
    the deadlines are looked at."""

    handle: ModelHandle
    head: RequestHead
    sealed: Sealed
    tools: Mapping[str, Tool[..., Any]]
    deadlines: Deadlines
    limits: Limits
    policy: Policy
    budget: RetryBudget
    parallel_calls: int
    context: Any
    codec: Codec
    watch_s: float | None

    def sealed_for(self, transcript: Sequence[Message]) -> Sealed:
        """The head that goes with these messages: the plan's own unless the codec has to change it (rule T5)."""
        head = self.codec.head_for(self.head, transcript)
        return self.sealed if head is self.head else self.handle.seal(head)


def make_plan(
    agent: Agent[Any], wishes: Wishes, runtime: Runtime, handle: ModelHandle, head: RequestHead, sealed: Sealed
) -> TurnPlan:
    """The plan of a turn from its agent, what the caller asked for, and the runtime that it runs on."""
    deadlines = agent.deadlines
    patience = [s for s in (deadlines.first_byte_s, deadlines.idle_s) if s is not None]
    return TurnPlan(
        handle,
        head,
        sealed,
        agent.tools,
        agent.deadlines,
        wishes.limits or agent.limits,
        Policy(agent.retry, agent.restart if wishes.watched else "before_commit"),
        runtime.retry_budgets.of(handle.key_scope),
        agent.parallel_calls,
        wishes.context,
        handle.codec,
        min(patience, default=None),
    )
