"""What a capability is, and what it brings: read once from each, so that the same agent always sends the same bytes (rule T7).

How capabilities are put together is in `composing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from ...core.errors import TurnwiseError, config_error
from ...tools import Tool, tool
from ..extensions import Extensions

if TYPE_CHECKING:
    from ...store.scopes import State
    from ..reminders import Reminder

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
Requirement = "str | type[Capability]"


class HasState(Protocol):
    """What knows its scoped state: a tool's context."""

    @property
    def state(self) -> State: ...


class HasScopes(Protocol):
    """The same for sessions."""

    @property
    def scopes(self) -> State: ...


class Capability:
    """Something that an agent can do, with all that belongs to it, under one name.

    Make one, `Capability("billing", instructions=…, tools=[…])`, or derive a class that sets the same as attributes (or passes them to
    `__init__`) and has methods of its own: `agent.capability(Billing).refund(…)`.

    - `name`: unique in an agent, and the namespace of `state` (default: the class's name, `MyNotes` becomes `my_notes`).
    - `instructions`: appended to the agent's. `tools`: added to the agent's. `hooks` and `middleware`: in force where the capability is.
      `reminders`: behind the agent's.
    - `requires`: names or classes of capabilities that must be there, too.

    One capability may serve many agents and sessions at once, so what belongs to a session is kept in `state`. These are read once, when it
    is first used.
    """

    name: str = ""
    instructions: str = ""
    tools: Iterable[Tool[..., Any] | Callable[..., Any]] = ()
    hooks: Iterable[Any] = ()
    middleware: Iterable[Any] = ()
    reminders: Iterable[Reminder] = ()
    requires: Iterable[str | type[Capability]] = ()

    def __init__(
        self,
        name: str = "",
        *,
        instructions: str = "",
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        hooks: Iterable[Any] = (),
        middleware: Iterable[Any] = (),
        reminders: Iterable[Reminder] = (),
        requires: Iterable[str | type[Capability]] = (),
    ) -> None:
        given: Mapping[str, Any] = {
            "name": name,
            "instructions": instructions,
            "tools": tools,
            "hooks": hooks,
            "middleware": middleware,
            "reminders": reminders,
            "requires": requires,
        }
        for field, value in given.items():
            if isinstance(value, str):
                if value:
                    setattr(self, field, value)
            elif several := tuple(value):
                setattr(self, field, several)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self)}>"

    def state(self, where: HasState | HasScopes) -> State:
        """The scoped state of this capability, under its own name, as a tool's context or a session reaches it: `await
        self.state(context).session.get("items")`. Other capabilities, and tools, do not see these keys."""
        found = cast("State | None", getattr(where, "scopes", None)) or cast("HasState", where).state
        return found.within(name_of(self))


class Contents(msgspec.Struct, frozen=True):
    """What a capability brings. `hook_ids` are those that its hooks were given, not those that follow from names of functions; `problems` are what is wrong with it by itself; `extensions` is None if it has neither hooks nor
    middleware."""

    name: str
    instructions: str
    tools: tuple[Tool[..., Any], ...]
    extensions: Extensions | None
    hook_ids: tuple[str, ...]
    reminders: tuple[Reminder, ...]
    requires: tuple[str | type[Capability], ...]
    problems: tuple[str, ...]


def name_of(capability: Capability) -> str:
    """Its name; that of its class, in the way of names, if it has none of its own."""
    return capability.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(capability).__name__).lower()


def contents_of(capability: Capability) -> Contents:
    """What it brings, always the same. Raises `ConfigError` (`bad_capability`) for what is no capability."""
    if not isinstance(capability, Capability):  # pyright: ignore[reportUnnecessaryIsInstance]
        hint = "Give an instance: Billing(), not Billing." if isinstance(capability, type) else "Give a Capability."
        raise config_error("bad_capability", f"{capability!r} is no capability.", hint)
    kept = capability.__dict__.get("_contents")
    if kept is None:
        kept = _read(capability)
        object.__setattr__(capability, "_contents", kept)  # it may be a frozen dataclass
    return kept


def _read(capability: Capability) -> Contents:
    name = name_of(capability)
    problems: list[str] = []
    if NAME.fullmatch(name) is None:
        problems.append(
            f"a capability has the name {name!r}: it begins with a letter, and has at most 64 letters, digits, _ and -"
        )
    instructions = capability.instructions
    if not isinstance(instructions, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        problems.append(f"{name}: its instructions are {type(instructions).__name__}, not text")
        instructions = ""
    tools: list[Tool[..., Any]] = []
    for one in capability.tools:
        try:
            tools.append(cast("Tool[..., Any]", one) if isinstance(one, Tool) else tool(one))
        except TurnwiseError as error:
            problems.append(f"{name}: {error.message}")
    hooks = tuple(capability.hooks)
    return Contents(
        name,
        instructions,
        tuple(tools),
        _extensions(name, hooks, tuple(capability.middleware), problems),
        tuple(dict.fromkeys([id for one in hooks for id in _ids(one)])),
        tuple(capability.reminders),
        tuple(capability.requires),
        tuple(problems),
    )


def _ids(hook: object) -> list[str]:
    """The ids that a hook was given: as an object, or by its decorators."""
    given = [getattr(hook, "id", ""), *[spec.id for spec in getattr(hook, "turnwise_hooks", ())]]
    return [one for one in given if isinstance(one, str) and one]


def _extensions(
    name: str, hooks: tuple[object, ...], middleware: tuple[Any, ...], problems: list[str]
) -> Extensions | None:
    made = Extensions(f"capability:{name}")
    for add, several in ((made.register, hooks), (made.add_middleware, middleware)):
        for one in several:
            try:
                add(one)
            except TurnwiseError as error:
                problems.append(f"{name}: {error.message}")
    return made if made.version else None
