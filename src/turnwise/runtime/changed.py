"""What a session changes of its agent: checked before it is journalled, and put together with the models and tools that it names.

The journal holds names (`SessionSettings`); `Overrides` holds what they stand for. A model that is named without a connection of its
own is reached as the agent reaches its models of the same provider. Nothing is asked of a provider here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..core.compaction import Compaction
from ..core.errors import ConfigError, config_error
from ..core.settings import AGENTS_OWN, SessionSettings
from ..models.connection import Model
from ..models.handle import parts_of
from ..tools import Tool, tool
from .plan import Overrides

if TYPE_CHECKING:
    from .agent import Agent

Tools = Iterable[str | Tool[..., Any] | Callable[..., Any]]


def changed(agent: Agent[Any], before: Overrides | None, given: Mapping[str, Any]) -> Overrides:
    """The overrides with these settings changed; a setting of None is cleared. Raises `ConfigError` for a value that makes no sense."""
    said = before.settings if before is not None else AGENTS_OWN
    models = before.models if before is not None else None
    tools = before.tools if before is not None else None
    values = dict(given)
    if "model" in values:
        models = _models(agent, values["model"])
        values["model"] = None if models is None else models[0].name
    if "tools" in values:
        tools = _tools(agent, values["tools"], tools or {})
        values["tools"] = None if tools is None else tuple(tools)
    elif said.tools is None:
        tools = None
    for name, value in values.items():
        if value is not None and name in _RULES:
            _check(name, value)
    return _together(agent, msgspec.structs.replace(said, **values), models, tools, before)


def overrides_of(agent: Agent[Any], settings: SessionSettings, known: Overrides | None) -> Overrides | None:
    """The overrides that journalled settings stand for. Models and tools that `known` has are taken from there. Raises `ConfigError`
    (`unknown_tool`) for a tool that is the agent's no more."""
    if settings == AGENTS_OWN:
        return None
    if known is not None and known.settings == settings:
        return known
    models = known.models if known is not None else None
    if settings.model is None:
        models = None
    elif models is None or models[0].name != settings.model:
        models = _models(agent, settings.model)
    tools = (known.tools if known is not None else None) or {}
    if settings.capabilities is not None:
        from .capabilities.capability import contents_of
        from .capabilities.in_session import named

        bundled = named(agent, settings, known) or ()
        tools = {**{tool.name: tool for one in bundled for tool in contents_of(one).tools}, **tools}
    return _together(agent, settings, models, _tools(agent, settings.tools, tools), known)


def _together(
    agent: Agent[Any],
    settings: SessionSettings,
    models: tuple[Model, ...] | None,
    tools: Mapping[str, Tool[..., Any]] | None,
    known: Overrides | None,
) -> Overrides:
    """With what the session's capabilities add. Who has none never enters their room."""
    if settings.capabilities is None and not agent.capabilities:
        return Overrides(settings, models, tools, settings.instructions)
    from .capabilities.in_session import named, overrides, parts_of

    parts = parts_of(agent, settings, named(agent, settings, known), tools)
    return overrides(agent, settings, models, tools, parts)


# --- models and tools -------------------------------------------------------------------------------------------------


def _models(agent: Agent[Any], given: str | Model | None) -> tuple[Model, ...] | None:
    if given is None:
        return None
    if isinstance(given, Model):
        return (given,)
    if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid("model", given, "it is a provider:model name, or a Model")
    for model in agent.models:
        if model.name == given:
            return (model,)
    provider, _, own = parts_of(given)
    if not own:
        for model in agent.models:
            if parts_of(model)[0] == provider:
                rest = {k: v for k, v in model.connection.items() if k not in _OF_ONE_MODEL}
                return (Model(given, **cast(Any, rest)),)
    return (Model(given),)


_OF_ONE_MODEL = frozenset(("azure_deployment",))
"""What says which model is meant, not how it is reached."""


def _tools(
    agent: Agent[Any], given: Tools | None, before: Mapping[str, Tool[..., Any]]
) -> dict[str, Tool[..., Any]] | None:
    if given is None:
        return None
    if isinstance(given, str):
        raise _invalid("tools", given, "it is a list of tools, or of names of tools")
    out: dict[str, Tool[..., Any]] = {}
    for item in given:
        made = _named(agent, item, before) if isinstance(item, str) else _made(item)
        if made.name in out:
            raise config_error(
                "duplicate_tool", f"Two tools are named {made.name!r}.", "Give one another name: @tool(name=…)."
            )
        out[made.name] = made
    return out


def _made(item: Tool[..., Any] | Callable[..., Any]) -> Tool[..., Any]:
    return cast("Tool[..., Any]", item) if isinstance(item, Tool) else tool(item)


def _named(agent: Agent[Any], name: str, before: Mapping[str, Tool[..., Any]]) -> Tool[..., Any]:
    found = before.get(name) or agent.tools.get(name)
    if found is None:
        known = ", ".join(sorted({*agent.tools, *before})) or "none"
        raise config_error(
            "unknown_tool",
            f"There is no tool {name!r}.",
            f"The agent has: {known}. Give the tool itself in place of its name.",
        )
    return found


# --- values -----------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "instructions": (lambda v: isinstance(v, str), "it is text"),
    "max_output_tokens": (_is_count, "it is a whole number from 1"),
    "temperature": (lambda v: _is_number(v) and 0 <= v <= 2, "it is a number from 0 to 2"),
    "top_p": (lambda v: _is_number(v) and 0 <= v <= 1, "it is a number from 0 to 1"),
    "stream": (lambda v: isinstance(v, bool), "it is True or False"),
    "context_limit": (_is_count, "it is a whole number of tokens from 1"),
    "compaction": (lambda v: isinstance(v, bool | Compaction), "it is a Compaction, True or False"),
}


def _check(name: str, value: Any) -> None:
    holds, rule = _RULES[name]
    if not holds(value):
        raise _invalid(name, value, rule)


def _invalid(name: str, value: object, rule: str) -> ConfigError:
    return config_error(
        "invalid_value", f"{name}={value!r} cannot be set: {rule}.", "None goes back to what the agent says."
    )
