"""In which order plugins start: what is required first, then by priority, then as they are configured. They stop in the reverse."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .problems import meant
from .settings import Fault

if TYPE_CHECKING:
    from .configured import Use

Requires = Mapping[str, Sequence[str]]
"""What each plugin requires, by name."""


def in_order(uses: Sequence[Use]) -> list[Use]:
    """The order of their start. There are no circles: see `unmet`. What is required and not among them is not waited for."""
    waiting = {use.name: use for use in uses}
    out: list[Use] = []
    while waiting:
        ready = [use for use in waiting.values() if not any(name in waiting for name in use.plugin.requires)]
        first = max(ready, key=lambda use: use.priority)  # of equal ones the first
        out.append(waiting.pop(first.name))
    return out


def unmet(requires: Requires, known: Collection[str], disabled: Collection[str]) -> Iterator[Fault]:
    """What cannot be had: plugins that are required and not there, and circles. `known` are all that are configured."""
    for plugin, names in requires.items():
        path = ("plugins", plugin)
        for name in names:
            if name in disabled:
                said = f"requires {name!r}, which is disabled: expected it to be enabled"
                yield Fault(path, said, f"{name} enabled")
            elif name not in known:
                said = f"requires {name!r}, which is not configured{meant(name, known)}"
                yield Fault(path, said, f"a plugin {name}")
    for circle in circles(requires):
        said = f"requires itself: {' -> '.join([*circle, circle[0]])}"
        yield Fault(("plugins", circle[0]), said, "no circle of requirements")


def circles(requires: Requires) -> list[tuple[str, ...]]:
    """The circles that following the names comes upon, each once, beginning with the plugin that was given first."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()
    order = list(requires)

    def follow(name: str, way: list[str]) -> None:
        if name in way:
            circle = way[way.index(name) :]
            first = min(range(len(circle)), key=lambda i: order.index(circle[i]))
            found.setdefault(frozenset(circle), (*circle[first:], *circle[:first]))
        elif name in requires and name not in done:
            for another in requires[name]:
                follow(another, [*way, name])
            done.add(name)

    for name in order:
        follow(name, [])
    return list(found.values())
