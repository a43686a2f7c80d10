"""Capabilities that a session has otherwise than its agent. A change is one of the session's settings, journalled by names (`changed`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import config_error
from ...core.settings import AGENTS_OWN, SessionSettings
from ...tools import Tool
from ..plan import Overrides
from .capability import Capability, contents_of, name_of
from .composing import Parts, compose, find, joined
from .in_agent import bare_of

if TYPE_CHECKING:
    from ..agent import Agent


def in_force(agent: Agent[Any], overrides: Overrides | None) -> tuple[Capability, ...]:
    """The capabilities that the next step has."""
    return agent.capabilities if overrides is None or overrides.parts is None else overrides.parts.capabilities


def added(agent: Agent[Any], before: Overrides | None, capability: Capability) -> Overrides:
    """The overrides with this capability, too. Raises `ConfigError` (`capability_conflict`)."""
    return _changed(agent, before, (*in_force(agent, before), capability))


def removed(agent: Agent[Any], before: Overrides | None, which: str | type[Capability]) -> Overrides:
    """The overrides without it. Raises `ConfigError`: `unknown_capability`; `capability_conflict` if another one requires it."""
    there = in_force(agent, before)
    gone = find(there, which, "The session")
    return _changed(agent, before, tuple([one for one in there if one is not gone]))


def _changed(agent: Agent[Any], before: Overrides | None, capabilities: tuple[Capability, ...]) -> Overrides:
    settings = before.settings if before is not None else AGENTS_OWN
    tools = before.tools if before is not None and settings.tools is not None else None
    parts = parts_of(agent, settings, capabilities, tools)
    if tools is not None:
        tools = _exactly(tools, in_force(agent, before), capabilities)
        settings = msgspec.structs.replace(settings, tools=tuple(tools))
    names = None if parts is None else tuple([name_of(one) for one in capabilities])
    settings = msgspec.structs.replace(settings, capabilities=names)
    return overrides(agent, settings, None if before is None else before.models, tools, parts)


def _exactly(
    tools: Mapping[str, Tool[..., Any]], before: Sequence[Capability], now: Sequence[Capability]
) -> dict[str, Tool[..., Any]]:
    """Tools of a session that has said exactly which it wants: those of what was removed go, those of what was added come."""
    gone = {id(tool) for one in before if one not in now for tool in contents_of(one).tools}
    left = {name: tool for name, tool in tools.items() if id(tool) not in gone}
    return {**left, **{tool.name: tool for one in now if one not in before for tool in contents_of(one).tools}}


# --- from names to things -------------------------------------------------------------------------------------------------


def named(agent: Agent[Any], settings: SessionSettings, known: Overrides | None) -> tuple[Capability, ...] | None:
    """The capabilities that journalled settings name; None: as the agent has them. Raises `ConfigError` (`unknown_capability`) with all
    that the agent lacks."""
    if settings.capabilities is None:
        return None
    there = {name_of(one): one for one in (*agent.capabilities, *in_force(agent, known))}
    missing = [name for name in settings.capabilities if name not in there]
    if missing:
        raise config_error(
            "unknown_capability",
            f"The session has {', '.join(map(repr, missing))}, which the agent {agent.name!r} does not have.",
            "Open it with an agent that has: Agent(capabilities=[…]), or agent.with_(…).",
        )
    return tuple([there[name] for name in settings.capabilities])


def parts_of(
    agent: Agent[Any],
    settings: SessionSettings,
    capabilities: tuple[Capability, ...] | None,
    tools: Mapping[str, Tool[..., Any]] | None,
) -> Parts | None:
    """What the session comes to with these capabilities; None if they are those of its agent. `tools` are those that the session wants,
    if it has said that."""
    if capabilities is None or _same(capabilities, agent.capabilities):
        return None
    bare = bare_of(agent)
    if tools is not None:
        bundled = {id(tool) for one in (*agent.capabilities, *capabilities) for tool in contents_of(one).tools}
        bare = msgspec.structs.replace(bare, tools={n: tool for n, tool in tools.items() if id(tool) not in bundled})
    return compose(bare, capabilities, [hook.id for hook in agent.extensions.hooks])


def overrides(
    agent: Agent[Any],
    settings: SessionSettings,
    models: Any,
    tools: Mapping[str, Tool[..., Any]] | None,
    parts: Parts | None,
) -> Overrides:
    """Overrides whose instructions and tools are what the model is sent."""
    instructions = settings.instructions
    if instructions is not None and (has := agent.capabilities if parts is None else parts.capabilities):
        instructions = joined(instructions, [contents_of(one) for one in has])
    elif parts is not None:
        instructions = parts.instructions
    if tools is None and parts is not None:
        tools = parts.tools
    return Overrides(settings, models, tools, instructions, parts)


def _same(some: Sequence[Capability], others: Sequence[Capability]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
