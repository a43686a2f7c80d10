"""One plugin on one runtime, from its start to its stop, each bounded in time.

What `open` enters and leaves is entered and left in one task of the runtime's, which waits in between: whatever has to be closed by the task
that opened it (cancel scopes, say) can be used in a plugin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ...core.errors import ErrorInfo, TurnwiseError
from ...models.secrets import mask
from .configured import Use
from .context import PluginContext
from .contributions import Offered, tell
from .plugin import Plugin
from .settings import note_secrets

if TYPE_CHECKING:
    from ..runtime import Runtime

LAST_S = 1.0
"""What a plugin that was cancelled may take at least to end; then it is abandoned."""

State: TypeAlias = Literal["waiting", "starting", "running", "stopping", "stopped", "failed"]


class Life:
    """What becomes of a plugin. Its failures are kept here and never raised: what they mean is for others to say."""

    __slots__ = (
        "_leave",
        "_opened",
        "_task",
        "context",
        "error",
        "offered",
        "others",
        "plugin",
        "raised",
        "runtime",
        "state",
        "use",
    )

    def __init__(self, use: Use, runtime: Runtime, offered: Offered, others: Mapping[str, Plugin[Any]]) -> None:
        """`others` are the plugins that run, by name."""
        self.use = use
        self.runtime = runtime
        self.offered = offered
        self.others = others
        self.state: State = "waiting"
        self.error: ErrorInfo | None = None
        self.raised: BaseException | None = None
        self.plugin: Plugin[Any] | None = None
        self.context: PluginContext[Any] = PluginContext(self, use.settings)
        if use.settings is not None:
            note_secrets(use.settings)
        self._task: asyncio.Task[None] | None = None

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self) -> bool:
        """Start it; whether it runs. If not, nothing is left of it, or what is deaf to being cancelled is abandoned, and `error` says why."""
        loop = self.runtime.loop
        self._opened: asyncio.Future[None] = loop.create_future()
        self._leave: asyncio.Future[None] = loop.create_future()
        self._become("starting")
        self._task = self.runtime.start(self._live())
        await asyncio.wait((self._opened,), timeout=self.use.start_s)
        if self.state == "running":
            return True
        hung = not self._opened.done()
        gone = await self._end(self.use.stop_s)
        if hung:
            self.error = _info(self, "plugin_start_timeout", f"did not start within {self.use.start_s:g} s", gone)
        else:
            self.error = _info(self, "plugin_start_failed", f"did not start: {_said(self.raised)}", gone)
        self._become("failed")
        return False

    def refuse(self, why: str) -> None:
        """It cannot be started."""
        self.error = _info(self, "plugin_start_failed", f"did not start: {why}")
        self._become("failed")

    async def _live(self) -> None:
        try:
            plugin = self.use.plugin()
            async with plugin.open(self.context):
                if self._leave.done():  # it was given up meanwhile, and did not hear of it
                    return
                self.plugin = plugin
                self._become("running")
                self._opened.set_result(None)
                await self._leave
                if self.context.tasks:
                    await asyncio.wait(self.context.tasks)
        except asyncio.CancelledError as error:
            self.raised = self.raised or error
            raise
        except Exception as error:
            self.raised = error
        finally:
            if not self._opened.done():
                self._opened.set_result(None)

    # --- stopping -----------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Stop it, if it runs or is being started."""
        if self._task is None or self.state in ("stopped", "failed"):
            return
        ran = self.state == "running"
        ends = self.runtime.loop.time() + self.use.stop_s
        self._become("stopping")
        if ran:
            await self._settle()
        self.context.withdraw()
        if not self._leave.done():
            self._leave.set_result(None)
        in_time = ran and await self._wait(ends - self.runtime.loop.time())
        gone = in_time or await self._end(LAST_S if ran else self.use.stop_s)
        if ran and not in_time:
            self.error = _info(self, "plugin_stop_timeout", f"did not stop within {self.use.stop_s:g} s", gone)
        elif ran and self.raised is not None:
            self.error = _info(self, "plugin_stop_failed", f"did not stop well: {_said(self.raised)}")
        self._become("stopped")

    async def _settle(self) -> None:
        """At most half of its time, so that the rest of `open` has some, too."""
        settling = self.runtime.start(self.context.settle())
        if (await asyncio.wait((settling,), timeout=self.use.stop_s / 2))[1]:
            settling.cancel()
        elif not settling.cancelled() and (error := settling.exception()) is not None:
            self.context.logger.error("What it was told last is not all dealt with.", exc_info=error)

    async def _end(self, within_s: float) -> bool:
        """Cancel it and take back what it has added; whether it has ended. What has not is abandoned: counted, and not waited for."""
        assert self._task is not None
        self.context.withdraw()
        if not self._leave.done():
            self._leave.set_result(None)
        self._task.cancel()
        if await self._wait(within_s):
            return True
        for task in (self._task, *self.context.tasks):
            if not task.done():
                self.runtime.abandon(task)
        return False

    async def _wait(self, within_s: float) -> bool:
        assert self._task is not None
        tasks = (self._task, *self.context.tasks)
        return not (await asyncio.wait(tasks, timeout=within_s))[1]

    # --- telling ------------------------------------------------------------------------------------------------------

    def degrade(self, error: ErrorInfo) -> None:
        """It does not run, or not as it should."""
        self.runtime.health.degrade(f"plugin.{self.use.name}", error.code, error.message)

    def restore(self) -> None:
        self.runtime.health.restore(f"plugin.{self.use.name}")

    def _become(self, state: State) -> None:
        self.state = state
        tell(self.runtime, self.use.name, {"state": state, "error": msgspec.to_builtins(self.error)})


def _info(life: Life, code: str, what: str, gone: bool = True) -> ErrorInfo:
    more = "" if gone else ", and it does not end: it may still be running"
    return ErrorInfo("hook", code, mask(f"The plugin {life.use.name} {what}{more}."))


def _said(error: BaseException | None) -> str:
    if error is None or isinstance(error, asyncio.CancelledError):
        return "it was cancelled"
    if isinstance(error, TurnwiseError):
        return error.message.rstrip(".")
    return f"{type(error).__name__}: {error}".rstrip(": .")
