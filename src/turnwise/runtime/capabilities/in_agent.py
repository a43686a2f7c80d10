"""Agents and their capabilities: composed when an agent is made, and made anew with others. An agent is never changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...tools.context import Ctx
from .capability import Capability
from .composing import Parts, compose

if TYPE_CHECKING:
    from ..agent import Agent


def install(agent: Agent[Any], capabilities: Iterable[Capability]) -> None:
    """Compose an agent that is being made with its capabilities. Raises as `compose`."""
    bare = bare_of(agent)
    parts = compose(bare, tuple(capabilities), [hook.id for hook in agent.extensions.hooks])
    agent.bare = bare if parts.capabilities else None
    agent.capabilities, agent.bundled = parts.capabilities, parts.extensions
    agent.instructions, agent.tools, agent.reminders = parts.instructions, dict(parts.tools), parts.reminders


def bare_of(agent: Agent[Any]) -> Parts:
    """What the agent is without its capabilities."""
    return agent.bare or Parts(agent.instructions, agent.tools, agent.reminders)


def with_capabilities(agent: Agent[Ctx], added: Iterable[Capability]) -> Agent[Ctx]:
    """See `Agent.with_`."""
    made = copied(agent)
    bare = bare_of(agent)
    made.bare, made.instructions, made.tools, made.reminders = None, bare.instructions, dict(bare.tools), bare.reminders
    install(made, (*agent.capabilities, *added))
    return made


def copied(agent: Agent[Ctx]) -> Agent[Ctx]:
    """Another agent with the same data. What it has worked out for itself it works out anew; hooks that are added to one are not in the
    other."""
    made = copy.copy(agent)
    made.forget()
    made.extensions = agent.extensions.copied()
    return made
