"""What a plugin is: a name, a type of settings, and an `open` that is entered when a runtime starts and left when it stops.

How plugins are found is in `found`, how they are configured in `configured`, and how they live in `life`.
"""

from __future__ import annotations

import inspect
import re
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

from ...core.errors import ConfigError, config_error

if TYPE_CHECKING:
    from .context import PluginContext

S = TypeVar("S", bound=msgspec.Struct)

PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
"""Names stand in configurations, topics and the names of hook points."""


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a plugin that has none."""


class Plugin(Generic[S]):
    """A plugin: subclass it, name it, and write `open`.

    - `name`: lower-case letters, digits, `-` and `_`; what configurations, status and errors call it. Of a package it is also the name of the
      entry point.
    - `version`: for lists; "" means that of the package it came in.
    - `requires`: names of plugins that must run before this one starts, and until it has stopped.
    - `Plugin[MySettings]` says which struct its settings are read into: types, bounds and defaults are that struct's. A bare
      `Plugin` has none.

    It is made, without arguments, each time that a runtime starts.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()
    settings_type: ClassVar[type[msgspec.Struct]] = NoSettings

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin: Any = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Plugin):
                cls.settings_type = _settings_type(cls, get_args(base)[0])
        if cls.name:
            _check(cls)

    def open(self, context: PluginContext[S]) -> AbstractAsyncContextManager[None]:
        """The plugin's life, as an asynchronous context manager (`@asynccontextmanager`): what is before `yield` starts it, what is after it
        stops it. Both are bounded in time (`start_s`, `stop_s`) and run in one task, on the runtime's loop: what blocks belongs into
        a thread. What was added to `context` is taken back before the part after `yield` runs, whether or not that works.
        """
        raise NotImplementedError


def schema_of(plugin: type[Plugin[Any]]) -> dict[str, Any]:
    """The JSON schema of a plugin's settings."""
    return msgspec.json.schema(plugin.settings_type)


def _settings_type(cls: type, given: object) -> type[msgspec.Struct]:
    if isinstance(given, TypeVar):
        return NoSettings
    if isinstance(given, type) and issubclass(given, msgspec.Struct):
        return given
    raise _wrong(cls, f"Plugin[{given!r}] says no type of settings", "It is a msgspec.Struct.")


def _check(cls: type[Plugin[Any]]) -> None:
    """A mistake that everyone makes once is told where it is made."""
    if not isinstance(cls.name, str) or PLUGIN_NAME.fullmatch(cls.name) is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _wrong(
            cls, f"name = {cls.name!r} is no name", "Lower-case letters, digits, '-' and '_', a letter first: weather."
        )
    if isinstance(cls.requires, str):
        raise _wrong(cls, f"requires = {cls.requires!r} is one string", f"Write a tuple of names: ({cls.requires!r},).")
    if not any("open" in vars(base) for base in cls.__mro__ if base is not Plugin):
        raise _wrong(cls, "it has no open()", "Write: @asynccontextmanager async def open(self, context): …; yield; ….")
    if inspect.isasyncgenfunction(cls.open) or inspect.iscoroutinefunction(cls.open):
        raise _wrong(
            cls,
            "open() is no context manager",
            "Decorate it with @contextlib.asynccontextmanager, and yield once, where it runs.",
        )


def _wrong(cls: type, what: str, hint: str) -> ConfigError:
    return config_error("invalid_plugin", f"The plugin {cls.__qualname__} cannot be used: {what}.", hint)
