"""The plugins of one runtime: started in order when it is opened, stopped in the reverse when it is closed, all or none of the required ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ...core.errors import ErrorInfo, HookError, config_error
from .configured import Configured, Use
from .contributions import Offered
from .life import Life, State
from .order import in_order
from .plugin import Plugin

if TYPE_CHECKING:
    from ..runtime import Runtime


class PluginStatus(msgspec.Struct, frozen=True):
    """How a plugin stands. `state` is `disabled` for one that its configuration says not to start; `error` is why it is `failed`, or what went
    wrong when it stopped; `adds` counts what it has added by kind (`tool`, `hook` …)."""

    name: str
    version: str
    source: str
    state: State | Literal["disabled"]
    required: bool
    priority: int
    requires: tuple[str, ...] = ()
    adds: Mapping[str, int] = {}
    error: ErrorInfo | None = None


class RunningPlugins(Mapping[str, Plugin[Any]]):
    """`runtime.plugins`: the plugins that run, by name, in the order in which they were started. `status()` has all of them."""

    def __init__(self, runtime: Runtime, configured: Configured) -> None:
        self._runtime = runtime
        self._configured = configured
        self.offered = Offered()
        self._lives: dict[str, Life] = {}
        for use in in_order(configured.uses):
            self._lives[use.name] = Life(use, runtime, self.offered, self)
        self.begun = False

    def __getitem__(self, name: str) -> Plugin[Any]:
        life = self._lives.get(name)
        if life is None or life.plugin is None or life.state != "running":
            raise KeyError(name)
        return life.plugin

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, life in self._lives.items() if life.state == "running"])

    def __len__(self) -> int:
        return sum([life.state == "running" for life in self._lives.values()])

    def knows(self, name: str) -> bool:
        """Whether a plugin of this name is configured, running or not."""
        return name in self._lives or any(left.name == name for left in self._configured.left_out)

    def status(self) -> tuple[PluginStatus, ...]:
        """All that are configured: first those that were to be started, in that order."""
        left_out = [
            PluginStatus(
                left.name,
                left.version,
                left.source,
                "disabled" if left.error is None else "failed",
                left.required,
                left.priority,
                error=left.error,
            )
            for left in self._configured.left_out
        ]
        return (*[_status(life) for life in self._lives.values()], *left_out)

    # --- for the runtime ----------------------------------------------------------------------------------------------

    def refuse_if_not_begun(self) -> None:
        """A runtime that was never entered would silently run without its plugins."""
        if not self.begun:
            raise config_error(
                "plugins_not_started",
                "This runtime has plugins, which start when it is entered.",
                "Write: async with Runtime(plugins=…) as runtime: ….",
            )

    async def start(self) -> None:
        """Start them, if that was not done. Raises `HookError` if a required one does not start; the runtime is closed by then. So it is if this is cancelled."""
        begun, self.begun = self.begun, True
        self._runtime.bind()
        if begun:
            return
        try:
            await self._start_all()
        except BaseException:
            closing = self._runtime.start(
                self._runtime.close()
            )  # a second cancellation stops the waiting, not the closing
            await asyncio.wait((closing,))
            raise

    async def _start_all(self) -> None:
        for left in self._configured.left_out:
            if left.error is not None:
                self._runtime.health.degrade(f"plugin.{left.name}", left.error.code, left.error.message)
        for life in self._lives.values():
            lacking = [name for name in life.use.plugin.requires if name not in self]
            if lacking:
                life.refuse(f"it requires {', '.join(lacking)}, which does not run")
            elif await life.start():
                continue
            assert life.error is not None
            if life.use.required:
                raise HookError(_with_hint(life.error, life.use)) from life.raised
            life.degrade(life.error)

    async def stop(self) -> None:
        """Stop all that run, the last one first. What goes wrong is told, and stops nothing. Idempotent."""
        for life in reversed(self._lives.values()):
            before = life.error
            await life.stop()
            if life.error is not None and life.error is not before:
                life.context.logger.error("%s", life.error.message, exc_info=life.raised)
                life.degrade(life.error)


def _status(life: Life) -> PluginStatus:
    use = life.use
    adds: dict[str, int] = {}
    for one in life.context.added:
        adds[one.kind] = adds.get(one.kind, 0) + 1
    return PluginStatus(
        use.name, use.version, use.source, life.state, use.required, use.priority, use.plugin.requires, adds, life.error
    )


def _with_hint(error: ErrorInfo, use: Use) -> ErrorInfo:
    hint = f"If it can be done without, say so: plugins.{use.name}.required = false."
    return msgspec.structs.replace(error, hint=hint)
