"""What a plugin is given when it is opened: its settings, its runtime, and the ways to add something to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, cast

from ...core.errors import ErrorInfo, HookError, config_error
from ...tools import Tool, tool
from .contributions import Added, add_hook, add_middleware, subscribe
from .found import by_path
from .plugin import Plugin, S

if TYPE_CHECKING:
    import asyncio

    from ..runtime import Runtime
    from .life import Life


class PluginContext(Generic[S]):
    """A plugin's view of its runtime. Everything that is added here is taken back when the plugin stops, whatever becomes of it.

    To be used on the runtime's loop, from `open` on until the plugin stops; after that it raises `HookError` (`plugin_stopped`).
    """

    __slots__ = ("_added", "_ended", "_life", "_tasks", "logger", "name", "runtime", "settings")

    def __init__(self, life: Life, settings: S) -> None:
        self._life = life
        self._added: list[Added] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False
        self.name: str = life.use.name
        self.settings: S = settings
        self.runtime: Runtime = life.runtime
        self.logger: logging.Logger = logging.getLogger(f"turnwise.plugins.{self.name}")

    # --- adding -------------------------------------------------------------------------------------------------------

    def add_tool(self, given: Tool[..., Any] | Callable[..., Any]) -> Added:
        """A tool for the agents that take this plugin's (`Agent(plugins=…)`), from their next turn on. A function is made one. Raises
        `ConfigError` (`duplicate_tool`) if another plugin has one of that name."""
        self._refuse_if_ended()
        made = cast("Tool[..., Any]", given) if isinstance(given, Tool) else tool(given)
        if made.isolation == "process" and by_path(self._life.use.plugin):
            raise config_error(
                "invalid_plugin",
                f"The tool {made.name!r} is to run in a process of its own, which could not import the file of its plugin.",
                "Install the plugin as a package, or leave isolation='process' out.",
            )
        return self._keep(self._life.offered.add_tool(self.name, made))

    def add_capability(self, capability: Any) -> Added:
        """A capability for the agents that take this plugin's, as if each had been given it: `Agent(capabilities=[…])`."""
        self._refuse_if_ended()
        return self._keep(self._life.offered.add_capability(self.name, capability))

    def add_hook(self, hook: Any) -> Added:
        """A hook (`turnwise.hooks`) on all sessions of the runtime, whatever their agents take."""
        self._refuse_if_ended()
        return self._keep(add_hook(self.runtime, hook))

    def add_middleware(self, middleware: Any) -> Added:
        """A middleware (`turnwise.middleware`) around what all sessions of the runtime do."""
        self._refuse_if_ended()
        return self._keep(add_middleware(self.runtime, middleware))

    def subscribe(self, pattern: str | Iterable[str], handler: Callable[..., Any], **options: Any) -> Added:
        """Have a function called with what is published on the runtime's bus. The options are those of `bus.subscribe`."""
        self._refuse_if_ended()
        return self._keep(subscribe(self.runtime, pattern, handler, options))

    def declare_point(self, name: str, **options: Any) -> Any:
        """Declare a point `NAME-OF-PLUGIN/name` that hooks can be at; the options are those of `turnwise.hooks.declare_point`. It is known in
        this process from then on: a module that declares it when it is imported lets agents have hooks there before the plugin runs."""
        self._refuse_if_ended()
        from ..hooks.points import declare_point

        return declare_point(f"{self.name}/{name}", **options)

    async def fire(self, name: str, value: Any) -> Any:
        """Run the runtime's hooks at a point of this plugin; see `runtime.fire`."""
        return await self.runtime.fire(f"{self.name}/{name}", value)

    # --- running ------------------------------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine beside, as long as the plugin runs: cancelled when it stops. If it raises, the plugin counts as degraded."""
        if self._ended:
            work.close()
        self._refuse_if_ended()
        task = self.runtime.start(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def plugin(self, name: str) -> Plugin[Any]:
        """Another plugin, one that this one `requires`. Raises `HookError` (`plugin_not_running`)."""
        if name not in self._life.use.plugin.requires:
            raise HookError(
                ErrorInfo(
                    "hook",
                    "plugin_not_running",
                    f"The plugin {self.name} asks for {name!r}, which it does not require.",
                    f"Add it to its requires: ({name!r},).",
                )
            )
        return self._life.others[name]

    def degrade(self, message: str) -> None:
        """Say that the plugin runs, but not as it should: `runtime.health` shows it until `restore`."""
        self._refuse_if_ended()
        self._life.degrade(ErrorInfo("hook", "plugin_degraded", message))

    def restore(self) -> None:
        """Say that it is well again."""
        self._refuse_if_ended()
        self._life.restore()

    # --- for its life -------------------------------------------------------------------------------------------------

    @property
    def added(self) -> tuple[Added, ...]:
        """What is there now of what was added."""
        return tuple([one for one in self._added if one.active])

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """What still runs of what was started."""
        return tuple(self._tasks)

    async def settle(self) -> None:
        """Have handlers deal with what was published before."""
        for one in self.added:
            await one.settle()

    def withdraw(self) -> None:
        """Take back all that was added, the last first, and cancel what runs beside. Nothing can be added from now on."""
        self._ended = True
        added, self._added = self._added, []
        for one in reversed(added):
            try:
                one.unregister()
            except Exception:
                self.logger.exception("The %s %s could not be taken back.", one.kind, one.name)
        for task in self._tasks:
            task.cancel()

    def _keep(self, added: Added) -> Added:
        self._added = [*[one for one in self._added if one.active], added]
        return added

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise HookError(
                ErrorInfo(
                    "hook",
                    "plugin_stopped",
                    f"The plugin {self.name} has stopped, or is not started, and can add nothing any more.",
                    "Use its context between the beginning of open() and its end only.",
                )
            )

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.logger.error("A task of the plugin %s failed.", self.name, exc_info=error)
            said = f"A task of the plugin {self.name} failed: {type(error).__name__}: {error}".rstrip(": ")
            self._life.degrade(ErrorInfo("hook", "plugin_task_failed", said))
