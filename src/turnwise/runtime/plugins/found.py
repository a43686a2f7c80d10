"""Which plugins there are: those of installed packages, by the entry points `turnwise.plugins`, and those of files that the caller names.

A file is loaded only because the caller of these functions gave its path: no configuration, folder or environment variable does
(rules P5 and P7). A package's code is imported only when its plugin is asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import msgspec

from ...core.errors import ConfigError, TurnwiseError, config_error
from .plugin import Plugin, schema_of

GROUP = "turnwise.plugins"
_MODULES = "_turnwise_plugin_"


class FoundPlugin(msgspec.Struct, frozen=True):
    """A plugin that there is. `source` says in words where it comes from; `by` is how it was found: by the entry point of a `package`, in a
    file at a `path`, or given by the program itself (`code`)."""

    name: str
    version: str
    source: str
    by: Literal["package", "path", "code"]
    entry: metadata.EntryPoint | None = None
    known: type[Plugin[Any]] | None = None

    def load(self) -> type[Plugin[Any]]:
        """Its class; a package is imported for it. Raises `ConfigError` (`broken_plugin`, `invalid_plugin`)."""
        if self.known is not None:
            return self.known
        assert self.entry is not None
        try:
            loaded = self.entry.load()
        except Exception as error:
            raise _broken(self.source, error) from error
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin) and loaded.name):
            raise config_error(
                "invalid_plugin",
                f"{self.source} leads to {self.entry.value}, which is no plugin.",
                "An entry point names a subclass of turnwise.plugins.Plugin that has a name.",
            )
        if loaded.name != self.name:
            raise config_error(
                "invalid_plugin",
                f"{self.source} leads to a plugin named {loaded.name!r}.",
                "Its entry point and its name have to be the same.",
            )
        return _usable(cast("type[Plugin[Any]]", loaded), self.source)


def installed_plugins() -> list[FoundPlugin]:
    """Those of installed packages, by name. Nothing of theirs is imported."""
    found: list[FoundPlugin] = []
    for entry in metadata.entry_points(group=GROUP):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist is not None else ("", "")
        source = f"package {package}" if package else f"entry point {entry.value}"
        found.append(FoundPlugin(entry.name, version, source, "package", entry=entry))
    return sorted(found, key=lambda one: (one.name, one.source))


def plugins_in(path: str | os.PathLike[str]) -> tuple[type[Plugin[Any]], ...]:
    """The plugin classes that a file (`weather.py`) or the folder of a package defines. This runs its code, once in a process.

    It is loaded under a name of ours, so it neither hides nor is hidden by a module of its name; within a folder, relative imports work.
    Raises `ConfigError` (`broken_plugin`, `invalid_plugin`).
    """
    given = Path(os.path.abspath(os.path.expanduser(os.fspath(path))))
    module = _module_at(given)
    names = (module.__name__, f"{module.__name__}.")
    classes: list[type[Plugin[Any]]] = [
        cast("type[Plugin[Any]]", value)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Plugin)
        and value.name
        and (value.__module__ == names[0] or value.__module__.startswith(names[1]))
    ]
    if not classes:
        raise config_error(
            "invalid_plugin",
            f"{given} defines no plugin.",
            "A plugin is a subclass of turnwise.plugins.Plugin that has a name.",
        )
    return tuple([_usable(one, str(given)) for one in dict.fromkeys(classes)])


def found_in(paths: Iterable[str | os.PathLike[str]]) -> list[FoundPlugin]:
    """The plugins of files that the caller names. Raises as `plugins_in`."""
    return [
        FoundPlugin(one.name, one.version, os.fspath(path), "path", known=one)
        for path in paths
        for one in plugins_in(path)
    ]


def given(classes: Iterable[type[Plugin[Any]]]) -> list[FoundPlugin]:
    """Those that a program has itself."""
    out: list[FoundPlugin] = []
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, Plugin) and one.name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise config_error(
                "invalid_plugin",
                f"{one!r} is no plugin.",
                "Give the class itself: a subclass of Plugin that has a name.",
            )
        source = f"{one.__module__}.{one.__qualname__}"
        out.append(FoundPlugin(one.name, one.version, source, "code", known=_usable(one, source)))
    return out


def by_path(plugin: type[Plugin[Any]]) -> bool:
    """Whether its module can be imported by nobody else: it was loaded from a file."""
    return plugin.__module__.startswith(_MODULES)


def _usable(plugin: type[Plugin[Any]], source: str) -> type[Plugin[Any]]:
    """Refuse a settings type that has no schema: it could not be read from a file either."""
    try:
        schema_of(plugin)
    except (TypeError, NameError, RecursionError) as error:
        raise config_error(
            "invalid_plugin",
            f"{source}: the settings of {plugin.name} cannot be described: {error}.",
            "Use the types of JSON: strings, numbers, lists, tables, enums and other structs.",
        ) from error
    return plugin


# --- files ------------------------------------------------------------------------------------------------------------


def _module_at(path: Path) -> ModuleType:
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".py":
        raise config_error(
            "broken_plugin",
            f"There is no plugin at {path}.",
            "Give the path of a .py file, or of the folder of a package.",
        )
    real = file.resolve()
    name = f"{_MODULES}{path.stem.replace('-', '_')}_{hashlib.sha256(str(real).encode()).hexdigest()[:12]}"
    if (known := sys.modules.get(name)) is not None:
        return known
    within = [str(real.parent)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, real, submodule_search_locations=within)
    assert spec is not None and spec.loader is not None, "it is a .py file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[loaded]
        raise _broken(str(path), error) from error
    return module


def _broken(source: str, error: Exception) -> ConfigError:
    said = error.message if isinstance(error, TurnwiseError) else f"{type(error).__name__}: {error}".rstrip(": ")
    return config_error("broken_plugin", f"{source} cannot be loaded: {said.rstrip('.')}.", "Mend it, or leave it out.")


def by_name(found: Iterable[FoundPlugin]) -> Mapping[str, list[FoundPlugin]]:
    """All that have a name; more than one is a conflict, if that name is asked for."""
    out: dict[str, list[FoundPlugin]] = {}
    for one in found:
        out.setdefault(one.name, []).append(one)
    return out
