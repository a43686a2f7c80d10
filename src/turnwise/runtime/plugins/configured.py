"""A configuration becomes the plugins that are to run and what each is told, or all the mistakes that are in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

import msgspec

from ...core.errors import ConfigError, ErrorInfo
from .document import Document
from .found import FoundPlugin, by_name
from .order import unmet
from .plugin import Plugin
from .problems import Problem, invalid, joined, meant
from .settings import Fault, read

START_S = 10.0
STOP_S = 5.0

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class Use(msgspec.Struct, frozen=True):
    """A plugin and how it is to run.

    Args:
        plugin: The class.
        settings: Its settings, or plain data for them; None: all defaults.
        enabled: False: it is not started.
        priority: Of plugins that could start next, the one with the higher number does; what it adds comes first where order matters.
        required: A runtime does not start without it. False: if it does not start, the runtime says so (`runtime.health`) and goes on.
        start_s: Seconds that its start may take, until `yield`.
        stop_s: Seconds that its stop may take, from `yield` on.
        source: Where it comes from, in words, for lists.
        version: Its own, else that of its package.
    """

    plugin: type[Plugin[Any]]
    settings: msgspec.Struct | Mapping[str, Any] | None = None
    enabled: bool = True
    priority: int = 0
    required: bool = True
    start_s: float = START_S
    stop_s: float = STOP_S
    source: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        return self.plugin.name


class LeftOut(msgspec.Struct, frozen=True):
    """A plugin that is configured and will not run: it is disabled, or it is optional and `error` says why it cannot be loaded."""

    name: str
    source: str = ""
    version: str = ""
    priority: int = 0
    required: bool = False
    error: ErrorInfo | None = None
    problem: Problem | None = None


class Configured(msgspec.Struct, frozen=True):
    """What a configuration comes to."""

    uses: tuple[Use, ...]
    left_out: tuple[LeftOut, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """What a configuration may say of a plugin."""

    enabled: bool = True
    priority: int = 0
    required: bool = True
    start_s: Seconds = START_S
    stop_s: Seconds = STOP_S
    settings: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True):
    """A configuration file."""

    plugins: dict[str, Row]


# --- from a file ------------------------------------------------------------------------------------------------------


def configured(document: Document, found: Iterable[FoundPlugin]) -> Configured:
    """What a document says of the plugins that there are. Raises `PluginsConfigError` with everything that is wrong."""
    rows, faults = _rows(document.data)
    reading = _Reading(document, by_name(found), rows)
    reading.wrong(*faults)
    for name, row in reading.rows.items():
        reading.plugin(name, row)
    disabled = [name for name, row in reading.rows.items() if not row.enabled]
    reading.wrong(*unmet(reading.requires, rows, disabled))
    if reading.problems:
        raise invalid(reading.problems)
    return Configured(tuple(reading.uses), tuple(reading.left_out))


class _Reading:
    """What has been made of a document so far."""

    def __init__(self, document: Document, there: Mapping[str, list[FoundPlugin]], rows: Mapping[str, Row]) -> None:
        self.document = document
        self.there = there
        self.rows = rows
        self.problems: list[Problem] = list(document.problems)
        self.requires: dict[str, tuple[str, ...]] = {}
        self.uses: list[Use] = []
        self.left_out: list[LeftOut] = []

    def plugin(self, name: str, row: Row) -> None:
        """One plugin and its settings. A disabled one is not loaded, so its settings are not looked at."""
        path = ("plugins", name)
        found = self.there.get(name, [])
        if not row.enabled:
            seen = found[0] if found else None
            source, version = (seen.source, seen.version) if seen is not None else ("", "")
            self.left_out.append(LeftOut(name, source, version, row.priority, row.required))
        elif not found:
            said = f"there is no such plugin{meant(name, self.there) or _known(sorted(self.there))}"
            self.wrong(Fault(path, said, "a plugin that is installed, or whose file is given"))
        elif len(found) > 1:
            sources = joined([one.source for one in found], "and")
            self.wrong(Fault(path, f"more than one plugin has this name: {sources}", "one plugin of this name"))
        else:
            self._loaded(found[0], row, path)

    def _loaded(self, found: FoundPlugin, row: Row, path: tuple[str, str]) -> None:
        try:
            plugin = found.load()
        except ConfigError as error:
            problem = self.document.problem(Fault(path, error.message, "a plugin that can be loaded"))
            if row.required:
                self.problems.append(problem)
            else:
                left = LeftOut(found.name, found.source, found.version, row.priority, False, error.info, problem)
                self.left_out.append(left)
            return
        self.requires[plugin.name] = plugin.requires
        settings, faults = read(row.settings, plugin.settings_type, (*path, "settings"))
        if not isinstance(row.settings, _Unknown):
            self.wrong(*faults)
        use = Use(
            plugin,
            settings,
            priority=row.priority,
            required=row.required,
            start_s=row.start_s,
            stop_s=row.stop_s,
            source=found.source,
            version=plugin.version or found.version,
        )
        self.uses.append(use)

    def wrong(self, *faults: Fault) -> None:
        self.problems += [self.document.problem(fault) for fault in faults]


def _known(names: list[str]) -> str:
    if not names:
        return "; none is installed"
    return f"; there are {joined(names, 'and')}" if len(names) > 1 else f"; there is only {names[0]}"


def _rows(data: object) -> tuple[dict[str, Row], list[Fault]]:
    """What is said of each plugin, as far as it can be understood, and every mistake. What is left empty in YAML is None there."""
    if not isinstance(data, dict):
        return {}, read(data, _File)[1]
    said: dict[Any, Any] = {
        name: {} if value is None else value for name, value in cast("dict[Any, Any]", data).items()
    }
    rows: dict[Any, Any] = {}
    if isinstance(said.get("plugins"), dict):
        rows = said["plugins"] = {name: _filled(row) for name, row in said["plugins"].items()}
    file, faults = read(said, _File)
    if file is not None:
        return dict(file.plugins), []
    return {str(name): _understood(row) for name, row in rows.items()}, faults


def rows_of(document: Document) -> dict[str, Row]:
    """What a document says of each plugin, as far as it can be understood."""
    return _rows(document.data)[0]


class _Unknown(dict[str, Any]):
    """Settings that are no table: nothing can be said of them but that."""


def _understood(row: object) -> Row:
    """What is right of a row that is not all right, so that the mistakes in its settings can be told, too."""
    if not isinstance(row, dict):
        return Row(settings=_Unknown())
    said = cast("dict[Any, Any]", row)
    well = {name: said[name] for name in Row.__struct_fields__ if name in said and _is_well(name, said[name])}
    if "settings" in said and "settings" not in well:
        well["settings"] = _Unknown()
    return Row(**well)


def _is_well(name: str, value: object) -> bool:
    return not read({name: value}, Row)[1]


def _filled(row: object) -> object:
    if row is None:
        return {}
    if isinstance(row, dict) and "settings" in row and row["settings"] is None:
        return {**cast("dict[Any, Any]", row), "settings": {}}
    return cast("object", row)


# --- from a program ---------------------------------------------------------------------------------------------------


def checked(uses: Iterable[Use]) -> Configured:
    """Uses that a program has written itself, with settings read from plain data. Raises `PluginsConfigError` with all mistakes."""
    out: dict[str, Use] = {}
    left_out: list[LeftOut] = []
    faults: list[Fault] = []
    for use in uses:
        path = ("plugins", use.name)
        said = {name: getattr(use, name) for name in Row.__struct_fields__ if name != "settings"}
        faults += read(said, Row, path)[1]
        if use.name in out or any(one.name == use.name for one in left_out):
            faults.append(Fault(path, "is there twice", "one plugin of this name"))
        source = use.source or f"{use.plugin.__module__}.{use.plugin.__qualname__}"
        version = use.version or use.plugin.version
        if not use.enabled:
            left_out.append(LeftOut(use.name, source, version, use.priority, use.required))
            continue
        settings, wrong = _settings(use, (*path, "settings"))
        faults += wrong
        out[use.name] = msgspec.structs.replace(use, settings=settings, source=source, version=version)
    disabled = [one.name for one in left_out]
    faults += unmet({name: use.plugin.requires for name, use in out.items()}, [*out, *disabled], disabled)
    if faults:
        raise invalid([Document().problem(fault) for fault in faults])
    return Configured(tuple(out.values()), tuple(left_out))


def _settings(use: Use, path: tuple[str, ...]) -> tuple[msgspec.Struct | None, list[Fault]]:
    given, type_ = use.settings, use.plugin.settings_type
    if isinstance(given, type_):
        return given, []
    if isinstance(given, msgspec.Struct):
        said = f"expected {type_.__name__}, found {type(given).__name__}"
        return None, [Fault(path, said, type_.__name__)]
    return read({} if given is None else dict(given), type_, path)
