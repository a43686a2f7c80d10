"""What a turn runs with: resolved once when it begins, the same for all its steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..core.compaction import in_force
from ..core.errors import ConfigError, config_error
from ..core.limits import Deadlines, Limits
from ..core.messages import Message
from ..core.request import RequestHead
from ..core.settings import AGENTS_OWN, SessionSettings
from ..core.turn import Policy
from ..models.connection import Model
from ..models.facts import Facts
from ..models.handle import ModelHandle, Sealed
from ..tools import Tool
from ..wire.base import LEAVE_TOOLS_OUT, Codec
from .gates import Gate
from .retry_budget import RetryBudget

if TYPE_CHECKING:
    from ..core.inputs import Input
    from ..models import catalogue
    from ..tools.output import OutputSpec, OutputType, Strategy
    from .agent import Agent
    from .capabilities.composing import Parts
    from .reminders import Reminder
    from .runtime import Runtime
    from .spending import StopCondition


INHERITED: ContextVar[Any] = ContextVar("turnwise_context", default=None)
"""Within a tool: the context object of its turn, which runs that the tool starts inherit."""


class Overrides(msgspec.Struct, frozen=True):
    """What a session has changed of its agent, with the models and tools that the names in `settings` stand for. `instructions` are what the
    model is sent; `parts` is what the session comes to with its capabilities, if they are not those of its agent."""

    settings: SessionSettings
    models: tuple[Model, ...] | None = None
    tools: Mapping[str, Tool[..., Any]] | None = None
    instructions: str | None = None
    parts: Parts | None = None


class Wishes(msgspec.Struct, frozen=True):
    """What the caller asked for when starting a turn. `watched`: someone reads the deltas as they come, so text that was
    shown cannot be taken back. `overrides` are the session's own at the time."""

    context: Any = None
    limits: Limits | None = None
    stream: bool | None = None
    watched: bool = True
    client_ref: str | None = None
    stop_when: tuple[StopCondition, ...] = ()
    output: OutputSpec | None = None
    overrides: Overrides | None = None


class Target(msgspec.Struct, frozen=True):
    """A model that may be asked, with its encoded head, what bounds requests to its key, and what is known about it. `strategy` is how
    it gives a typed answer, if one is asked for."""

    handle: ModelHandle
    head: RequestHead
    sealed: Sealed
    budget: RetryBudget
    gate: Gate | None
    facts: Facts
    strategy: Strategy | None = None

    @property
    def codec(self) -> Codec:
        return self.handle.codec

    def head_for(self, transcript: Sequence[Message], *, concluding: bool = False) -> RequestHead:
        """The head that goes with these messages: the target's own unless the codec has to change it (rule T5), or the model is to
        call no tool any more (`concluding`). Its tools stay in it: the provider has read them."""
        head = self.handle.codec.head_for(self.head, transcript)
        return _without_calls(head, self.handle) if concluding and head.tools else head

    def sealed_for(self, head: RequestHead) -> Sealed:
        """The head encoded; the kept one if it is the target's own."""
        return self.sealed if head is self.head else self.handle.seal(head)


def _without_calls(head: RequestHead, handle: ModelHandle) -> RequestHead:
    """The head with `tool_choice="none"` where that leaves the tools in their place; else without a demand for calls."""
    settings = head.settings
    if handle.codec.api not in LEAVE_TOOLS_OUT and handle.asked.tools == "native":
        forbidden = msgspec.structs.replace(head, settings=msgspec.structs.replace(settings, tool_choice="none"))
        with contextlib.suppress(ConfigError):  # there are hosts that do not take it
            handle.codec.encode_head(forbidden)
            return forbidden
    if settings.tool_choice in (None, "auto"):
        return head
    return msgspec.structs.replace(head, settings=msgspec.structs.replace(settings, tool_choice=None))


_SAMPLING = ("max_output_tokens", "temperature", "top_p")


def target_of(
    handle: ModelHandle,
    head: RequestHead,
    runtime: Runtime,
    session: SessionSettings = AGENTS_OWN,
    output: OutputSpec | None = None,
    known: catalogue.Overrides | None = None,
) -> Target:
    """The target for a model: `head` is what is asked of any model, `session` what its session says otherwise, `output` the form that
    its answer is to have, `known` what the caller knows better than the catalogue. Raises `ConfigError` for what this one cannot
    do."""
    own = handle.head(head)
    changed = {n: v for n in _SAMPLING if (v := getattr(session, n)) is not None}
    if changed:
        own = msgspec.structs.replace(own, settings=msgspec.structs.replace(own.settings, **changed))
    strategy = None
    if output is not None:
        from .output import ask

        own, strategy = ask(own, handle, output)
    budget, gate = runtime.retry_budgets.of(handle.key_scope), runtime.gates.of(handle.provider, handle.key_scope)
    return Target(
        handle,
        own,
        handle.seal(own),
        budget,
        gate,
        Facts(handle.asked, handle.base_url, handle.host.base_url, known),
        strategy,
    )


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
    object and never journalled; `watch_s` is how often the deadlines are looked at; `output` is the form that the answer is to have."""

    targets: tuple[Target, ...]
    tools: Mapping[str, Tool[..., Any]]
    deadlines: Deadlines
    limits: Limits
    policy: Policy
    parallel_calls: int
    context: Any
    watch_s: float | None
    output: OutputSpec | None = None
    reminders: tuple[Reminder, ...] = ()
    stop_when: tuple[StopCondition, ...] = ()

    @property
    def must_learn(self) -> bool:
        """Whether something has to be known about the models before the turn begins, though no cost is limited."""
        return self.targets[0].facts.has_overrides

    def target(self, number: int) -> Target:
        """Model number `number`; the last one if there are fewer than there were when the journal was written."""
        return self.targets[min(number, len(self.targets) - 1)]


class Begin(NamedTuple):
    """How a turn begins that does not begin with a prompt: the input is made when the plan is known."""

    make: Callable[[TurnPlan], Input]


def watch_of(deadlines: Deadlines) -> float | None:
    """How often the deadlines of model calls are to be looked at, in seconds."""
    return min([s for s in (deadlines.first_byte_s, deadlines.idle_s) if s is not None], default=None)


def make_plan(agent: Agent[Any], wishes: Wishes, targets: tuple[Target, ...]) -> TurnPlan:
    """The plan of a turn from its agent and what the caller asked for."""
    overrides = wishes.overrides
    own_tools = None if overrides is None else overrides.tools
    said = AGENTS_OWN if overrides is None else overrides.settings
    restart = agent.restart if wishes.watched else "before_commit"
    compact = in_force(agent.compaction, said.compaction) is not None
    output = wishes.output
    corrections, answer = 0, ""
    if output is not None:
        from .output import bounds

        corrections, answer = bounds(output, agent.output_retries, [target.strategy for target in targets])
    return TurnPlan(
        targets,
        agent.tools if own_tools is None else own_tools,
        agent.deadlines,
        wishes.limits or agent.limits,
        Policy(agent.retry, restart, len(targets), compact, agent.loops, corrections, answer),
        agent.parallel_calls,
        wishes.context,
        watch_of(agent.deadlines),
        output,
        agent.reminders if overrides is None or overrides.parts is None else overrides.parts.reminders,
        (*agent.stop_when, *wishes.stop_when),
    )


def spec_of(output: OutputType) -> OutputSpec | None:
    """The form that an answer is to have, if it is to have one."""
    if output is None:
        return None
    from ..tools.output import output_spec

    return output_spec(output)
