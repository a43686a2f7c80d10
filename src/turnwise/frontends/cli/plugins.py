"""`turnwise plugins list | check`: which plugins there are, and whether a configuration is right. Starts none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ...core.errors import config_error
from ...runtime.plugins.problems import invalid
from ...runtime.plugins.survey import Surveyed, survey
from .demo.table import grid
from .exits import COMPLETED, USAGE
from .screen import Screen
from .sessions import as_line, guarded

DEFAULTS = ("plugins.toml", "plugins.yaml", "plugins.yml")
"""What is looked for in the folder that the program runs in."""

_HEAD = ("plugin", "version", "enabled", "status", "from")


class Checked(msgspec.Struct, frozen=True):
    """What is right: the plugins that would run, in the order of their start."""

    file: str
    plugins: tuple[str, ...]


def list_plugins(file: Path | None, paths: Sequence[Path], as_json: bool) -> int:
    def command(screen: Screen) -> int:
        seen = survey(file or _default(), paths)
        if as_json:
            screen.data(b"".join([as_line(one) for one in seen.plugins]))
        elif seen.plugins:
            screen.answer("\n".join(grid(_HEAD, [_row(one) for one in seen.plugins])) + "\n")
            for problem in dict.fromkeys([*seen.problems, *[p for one in seen.plugins for p in one.problems]]):
                screen.note(str(problem))
        else:
            screen.note("There are no plugins: no installed package has any, and no --path is given.")
        return COMPLETED

    return guarded(as_json, command)


def check_plugins(file: Path | None, paths: Sequence[Path], as_json: bool) -> int:
    def command(screen: Screen) -> int:
        checked = file or _default()
        if checked is None:
            raise config_error(
                "no_plugins_file",
                f"There is no {' or '.join(DEFAULTS[:2])} in this folder.",
                "Name the file: turnwise plugins check FILE.",
            )
        seen = survey(checked, paths)
        if seen.problems and as_json:
            screen.report(
                msgspec.json.encode({"error": invalid(seen.problems).info, "problems": seen.problems}).decode()
            )
            return USAGE
        if seen.problems:
            raise invalid(seen.problems)
        if as_json:
            screen.data(as_line(Checked(str(checked), seen.order)))
        else:
            screen.answer(f"{checked} is right. Starts: {', '.join(seen.order) or 'no plugin'}.\n")
        return COMPLETED

    return guarded(as_json, command)


def _default() -> Path | None:
    return next((path for name in DEFAULTS if (path := Path(name)).is_file()), None)


def _row(one: Surveyed) -> tuple[str, ...]:
    enabled = "-" if one.enabled is None else "yes" if one.enabled else "no"
    return one.name, one.version or "-", enabled, one.status, one.source or "-"
