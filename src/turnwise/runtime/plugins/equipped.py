"""An agent with what it takes from the plugins of the runtime that it runs on. The agent itself is not changed: it may run elsewhere, too."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ...core.errors import config_error
from .problems import meant

if TYPE_CHECKING:
    from ...tools import Tool
    from ..agent import Agent
    from ..runtime import Runtime
    from .contributions import Offered

A = TypeVar("A", bound="Agent[Any]")


def equipped(agent: A, runtime: Runtime) -> A:
    """The agent with the tools and capabilities of the plugins that it names, as they are now; kept until they change. Raises `ConfigError`:
    `duplicate_tool`, `unknown_plugin`."""
    base: A = agent.unequipped or agent
    running = runtime.plugins
    _refuse_unknown(base, runtime)
    if running is None:
        return base
    offered = running.offered
    kept = base.equipped
    if kept is not None and kept[0]() is runtime and kept[1] == offered.version:
        return kept[2]
    made = _made(base, offered)
    base.equipped = weakref.ref(runtime), offered.version, made
    return made


def _made(base: A, offered: Offered) -> A:
    wants = base.plugins or ()
    tools: dict[str, Tool[..., Any]] = {}
    for name, (plugin, tool) in offered.tools.items():
        if wants is not True and plugin not in wants:
            continue
        if base.tools.get(name, tool) is not tool:
            raise config_error(
                "duplicate_tool",
                f"The agent {base.name} and the plugin {plugin} both have a tool named {name!r}.",
                "Give the agent's another name (@tool(name=…)), or name the plugins that it takes: Agent(plugins=[…]).",
            )
        tools[name] = tool
    made = _with_tools(base, tools)
    asked = [one for plugin, one in offered.capabilities if wants is True or plugin in wants]
    if asked:
        made = made.with_(*[one for one in asked if one not in made.capabilities])
        made.extensions = base.extensions  # hooks that are added to the agent are on its sessions, equipped or not
    made.unequipped = base
    return made


def _with_tools(base: Agent[Any], tools: Mapping[str, Tool[..., Any]]) -> Any:
    """Another agent with these tools, too: as its own, beneath those of its capabilities."""
    made: Any = copy.copy(base)
    made.tools = {**base.tools, **tools}
    bare = getattr(base, "bare", None)
    if bare is not None:
        made.bare = msgspec.structs.replace(bare, tools={**bare.tools, **tools})
    made.forget()
    return made


def _refuse_unknown(base: Agent[Any], runtime: Runtime) -> None:
    wants, running = base.plugins, runtime.plugins
    if wants is True or wants is False:
        return
    for name in wants:
        if running is None or not running.knows(name):
            known = [] if running is None else [one.name for one in running.status()]
            raise config_error(
                "unknown_plugin",
                f"The agent {base.name} takes the tools of a plugin {name!r}, which its runtime does not have{meant(name, known)}",
                "Give it one: Agent(runtime=Runtime(plugins=…)), or open sessions on that runtime.",
            )
