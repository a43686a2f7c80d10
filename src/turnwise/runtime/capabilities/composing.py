"""Capabilities put together: what an agent, or a session of it, comes to with them. Whatever does not fit is reported, all of it at once.

Nothing here changes an agent or a session, or reads the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from ...core.errors import config_error
from ...tools import Tool
from ..extensions import Extensions
from .capability import Capability, Contents, contents_of, name_of

if TYPE_CHECKING:
    from ..reminders import Reminder

C = TypeVar("C", bound=Capability)


class Parts(msgspec.Struct, frozen=True):
    """What a turn runs with, as far as capabilities have a say; `extensions` are the hooks and middleware of those that have any."""

    instructions: str
    tools: Mapping[str, Tool[..., Any]]
    reminders: tuple[Reminder, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    extensions: tuple[Extensions, ...] = ()


def compose(bare: Parts, capabilities: Sequence[Capability], hook_ids: Iterable[str] = ()) -> Parts:
    """`bare` with these capabilities, in their order; `hook_ids` are those of its own hooks. Raises `ConfigError`: `capability_conflict`
    with everything that does not fit, `bad_capability`."""
    contents = [contents_of(one) for one in capabilities]
    problems = [problem for one in contents for problem in one.problems]
    problems += _twice(contents)
    problems += _clashing_tools(bare.tools, contents)
    problems += _unmet(capabilities, contents)
    problems += _clashing_hooks(hook_ids, contents)
    if problems:
        raise config_error(
            "capability_conflict",
            "These capabilities cannot be put together; leave some out, or give what clashes other names:\n"
            + "\n".join([f"- {one}" for one in problems]),
        )
    return Parts(
        joined(bare.instructions, contents),
        {**bare.tools, **{tool.name: tool for one in contents for tool in one.tools}},
        (*bare.reminders, *[reminder for one in contents for reminder in one.reminders]),
        tuple(capabilities),
        tuple([one.extensions for one in contents if one.extensions is not None]),
    )


def joined(instructions: str, contents: Iterable[Contents]) -> str:
    """Instructions in their order, a blank line between them."""
    said = [instructions, *[one.instructions.strip() for one in contents]]
    return "\n\n".join([text for text in said if text])


def _twice(contents: Sequence[Contents]) -> list[str]:
    names = [one.name for one in contents]
    return [
        f"{names.count(name)} capabilities have the name {name!r}"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _clashing_tools(own: Mapping[str, Tool[..., Any]], contents: Sequence[Contents]) -> list[str]:
    """A tool that several have, and that is the very same, is no clash."""
    problems: list[str] = []
    known = {name: ("the agent", tool) for name, tool in own.items()}
    for one in contents:
        for tool in one.tools:
            owner, other = known.setdefault(tool.name, (one.name, tool))
            if other is not tool:
                problems.append(f"{owner} and {one.name} have a tool named {tool.name!r} each")
    return problems


def _unmet(capabilities: Sequence[Capability], contents: Sequence[Contents]) -> list[str]:
    names = {one.name for one in contents}
    problems: list[str] = []
    for one in contents:
        for wanted in one.requires:
            there = wanted in names if isinstance(wanted, str) else any(isinstance(c, wanted) for c in capabilities)
            if not there:
                problems.append(f"{one.name} requires {_label(wanted)}, which is not there")
    return problems


def _clashing_hooks(own: Iterable[str], contents: Sequence[Contents]) -> list[str]:
    known = dict.fromkeys(own, "the agent")
    problems: list[str] = []
    for one in contents:
        for id in one.hook_ids:
            if id in known:
                problems.append(f"{known[id]} and {one.name} have a hook with the id {id!r} each")
            known.setdefault(id, one.name)
    return problems


def _label(wanted: str | type[Capability]) -> str:
    return repr(wanted) if isinstance(wanted, str) else f"a {wanted.__name__}"


# --- finding one --------------------------------------------------------------------------------------------------------


@overload
def find(capabilities: Sequence[Capability], which: type[C], whose: str) -> C: ...
@overload
def find(capabilities: Sequence[Capability], which: str, whose: str) -> Capability: ...
@overload
def find(capabilities: Sequence[Capability], which: str | type[Capability], whose: str) -> Capability: ...
def find(capabilities: Sequence[Capability], which: str | type[Capability], whose: str) -> Capability:
    """The one of that name or class. Raises `ConfigError`: `unknown_capability`; `invalid_value` for a class of which there are several."""
    if isinstance(which, str):
        found = [one for one in capabilities if name_of(one) == which]
    else:
        found = [one for one in capabilities if isinstance(one, which)]
    if not found:
        there = ", ".join([name_of(one) for one in capabilities]) or "none"
        raise config_error("unknown_capability", f"{whose} does not have {_label(which)}.", f"It has: {there}.")
    if len(found) > 1:
        names = ", ".join([name_of(one) for one in found])
        raise config_error("invalid_value", f"{whose} has several of that class: {names}.", "Ask for one by its name.")
    return found[0]
