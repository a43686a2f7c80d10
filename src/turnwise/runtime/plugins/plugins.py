"""`Plugins`: which plugins a runtime is to run, and what each is told. Data: nothing runs before a runtime is opened with it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from ...core.errors import config_error
from .configured import Configured, LeftOut, Use, checked, configured
from .document import read_document
from .found import found_in, given, installed_plugins
from .plugin import Plugin

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .running import RunningPlugins


class Plugins:
    """The plugins of a runtime: `async with Runtime(plugins=Plugins.load("plugins.toml")) as runtime: …`.

    Made by a program, of classes and `Use`s: `Plugins([Weather, Use(Alerts, required=False)])`. Made by `load`, of a file. May be given to
    several runtimes: each makes plugins of its own. Raises `PluginsConfigError` with all that is wrong.
    """

    __slots__ = ("_configured",)

    def __init__(self, plugins: Iterable[type[Plugin[Any]] | Use] = ()) -> None:
        self._configured = checked([one if isinstance(one, Use) else _use(one) for one in plugins])

    @classmethod
    def load(
        cls,
        file: str | os.PathLike[str],
        *,
        paths: Iterable[str | os.PathLike[str]] = (),
        plugins: Iterable[type[Plugin[Any]]] = (),
    ) -> Self:
        """What a TOML or YAML file says, by its name: exactly the plugins that it names run.

        They are those of installed packages (entry points `turnwise.plugins`), of the files and folders in `paths`, whose code is run by
        this, and the classes in `plugins`. Raises `PluginsConfigError` with every mistake, each with file, line, path and what was
        expected; `ConfigError` (`broken_plugin`, `invalid_plugin`) for what is in `paths` or `plugins`.
        """
        found = [*installed_plugins(), *found_in(paths), *given(plugins)]
        made = cls.__new__(cls)
        made._configured = configured(read_document(file), found)
        return made

    @property
    def uses(self) -> tuple[Use, ...]:
        """Those that will be started."""
        return self._configured.uses

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Those that will not: disabled ones, and optional ones that cannot be loaded."""
        return self._configured.left_out

    @property
    def configured(self) -> Configured:
        return self._configured

    def __repr__(self) -> str:
        return f"Plugins({[use.name for use in self.uses]})"

    def on(self, runtime: Runtime) -> RunningPlugins:
        """What will run them on this runtime, once it is opened."""
        from .running import RunningPlugins

        return RunningPlugins(runtime, self._configured)


def _use(plugin: type[Plugin[Any]]) -> Use:
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin) and plugin.name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise config_error(
            "invalid_plugin",
            f"{plugin!r} is no plugin.",
            "Give the class itself, a subclass of Plugin that has a name, or Use(thatClass, …).",
        )
    return Use(plugin)
