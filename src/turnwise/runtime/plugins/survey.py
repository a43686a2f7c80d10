"""All the plugins that there are and all that a configuration names, with what is wrong with each: for lists and checks. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from ...core.errors import ConfigError
from .configured import Configured, Row, configured, rows_of
from .document import Document, read_document
from .found import FoundPlugin, found_in, installed_plugins
from .order import in_order
from .plugin import schema_of
from .problems import PluginsConfigError, Problem, path_text

Standing = Literal["ready", "unconfigured", "disabled", "invalid", "broken", "missing"]
"""`ready`: it would be started. `unconfigured`: no configuration names it. `invalid`: what the configuration says of it is wrong. `broken`: it
cannot be loaded. `missing`: it is named and not there."""


class Surveyed(msgspec.Struct, frozen=True):
    """What is known of a plugin. `enabled` is None if no configuration names it; `settings` is the JSON schema of its settings."""

    name: str
    version: str
    source: str
    status: Standing
    enabled: bool | None
    required: bool | None
    priority: int | None
    requires: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    settings: dict[str, Any] | None = None


class Survey(msgspec.Struct, frozen=True):
    """All plugins by name, all that is wrong, and the names of those that would run, in the order of their start."""

    plugins: tuple[Surveyed, ...]
    problems: tuple[Problem, ...]
    order: tuple[str, ...]


def survey(file: str | os.PathLike[str] | None, paths: Iterable[str | os.PathLike[str]] = ()) -> Survey:
    """What there is, and what the file says of it. Imports the packages of all installed plugins, and what is in `paths`. Raises
    `ConfigError` for a file or a path that cannot be read at all."""
    found = [*installed_plugins(), *found_in(paths)]
    document = Document() if file is None else read_document(file)
    made, problems = Configured(()), tuple[Problem, ...]()
    if file is not None:
        try:
            made = configured(document, found)
        except PluginsConfigError as error:
            problems = error.problems
        problems += tuple([left.problem for left in made.left_out if left.problem is not None])
    rows = rows_of(document)
    surveyed = [_surveyed(one, rows.get(one.name), problems) for one in found]
    there = {one.name for one in found}
    for name, row in rows.items():
        if name not in there:
            status: Standing = "missing" if row.enabled else "disabled"
            wrong = _of(name, problems)
            surveyed.append(Surveyed(name, "", "", status, row.enabled, row.required, row.priority, problems=wrong))
    order = tuple([use.name for use in in_order(made.uses)])
    return Survey(tuple(sorted(surveyed, key=lambda one: (one.name, one.source))), problems, order)


def _surveyed(found: FoundPlugin, row: Row | None, problems: Sequence[Problem]) -> Surveyed:
    said = (None, None, None) if row is None else (row.enabled, row.required, row.priority)
    wrong = _of(found.name, problems)
    try:
        plugin = found.load()
    except ConfigError as error:
        own = wrong or (Problem(error.message),)
        return Surveyed(found.name, found.version, found.source, "broken", *said, problems=own)
    status: Standing = "unconfigured" if row is None else "invalid" if wrong else "ready" if row.enabled else "disabled"
    version = plugin.version or found.version
    return Surveyed(found.name, version, found.source, status, *said, plugin.requires, wrong, schema_of(plugin))


def _of(name: str, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Those at a plugin's place in the file, or below it."""
    place = path_text(("plugins", name))
    return tuple([one for one in problems if one.path == place or one.path.startswith((f"{place}.", f"{place}["))])
