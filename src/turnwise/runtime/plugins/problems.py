"""What is wrong with a configuration: every mistake with its place and what was expected, all of them in one error.

What a user wrote as a value is never repeated: it may be a key (rule P6).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from ...core.errors import ConfigError, ErrorInfo

Path = tuple[str | int, ...]
"""Where in a configuration something is: keys, and numbers of elements from 0."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One mistake. `line` counts from 1; 0: it is not known, or there is no file. `expected` is what would have been right, in words."""

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    expected: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join([part for part in (place, self.path, self.message) if part])


class PluginsConfigError(ConfigError):
    """A configuration of plugins cannot be used (`invalid_plugins`). `problems` are all that is wrong with it."""

    def __init__(self, info: ErrorInfo, problems: Sequence[Problem] = ()) -> None:
        super().__init__(info)
        self.problems = tuple(problems)


def invalid(problems: Iterable[Problem]) -> PluginsConfigError:
    """One error for all of them, in the order of their lines."""
    found = sorted(problems, key=lambda one: (one.file, one.line))
    if len(found) == 1:
        message = str(found[0])
    else:
        lines = "\n".join([f"- {one}" for one in found])
        message = f"The configuration of plugins has {len(found)} errors:\n{lines}"
    return PluginsConfigError(ErrorInfo("config", "invalid_plugins", message), found)


def path_text(path: Path) -> str:
    """`plugins.weather.settings.cities[0]`; keys that would be misread are quoted."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            key = part if part.replace("-", "_").isidentifier() else msgspec.json.encode(part).decode()
            out += f".{key}" if out else key
    return out


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` if a known name is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def joined(words: Sequence[str], last: str = "or") -> str:
    """`a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
