"""`ToolContext`: what a running call knows and may ask of the runtime. It is made by the executor, once per call.

A context is a handful of fields, so that it costs next to nothing; everything that does I/O goes through the seams that
the runtime lends in `ToolHost`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from ..core.budget import Remaining
from ..core.errors import ErrorInfo, ToolError
from ..core.principal import LOCAL, Principal
from ..core.protocols import Artifacts, Clock, Spawn, Transport
from .process import DEFAULT_LIMIT_BYTES, Printed, ProcessResult, run_process

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from ..store.scopes import State

    Ctx = TypeVar("Ctx", default=Any)
else:
    from typing import TypeVar

    Ctx = TypeVar("Ctx")

Report = Callable[[str, str, Any], None]
"""Tells progress: call id, message, data. Must not block and must be callable from any thread."""


class ToolHost(msgspec.Struct, frozen=True):
    """What the runtime lends to its tools; one value serves all calls."""

    clock: Clock
    spawn: Spawn
    report: Report
    artifacts: Artifacts | None = None
    remaining: Callable[[], Remaining] = Remaining
    state: Callable[[str], State] | None = None
    transport: Callable[[], Transport] | None = None


class ToolContext(msgspec.Struct, Generic[Ctx], eq=False):
    """A running call's view of the world. Declare a parameter of this type and it is passed in.

    `context` is the caller's own object, as given to `run`, `stream` or `session`; it is never journalled. `cancelled`
    turns True when the call is to stop: coroutines are cancelled anyway, functions in threads must look at it.
    `deadline` is a reading of the runtime's monotonic clock, None if the call has no time limit. In tests of your own
    tools `ToolContext(my_context)` is enough; only `run_process` needs a host. `scopes` is what `state` gives there, if it is
    set; else that is kept in memory, as long as this context.
    """

    context: Ctx
    session: str = ""
    turn: int = 0
    step: int = 0
    call_id: str = ""
    tool: str = ""
    principal: Principal = LOCAL
    deadline: float | None = None
    host: ToolHost | None = None
    cancelled: bool = False
    output: Printed | None = None
    scopes: State | None = None

    def progress(self, message: str, data: Any = None) -> None:
        """Tell watchers how far the call is (`tool.progress`). `data` must be JSON data. Callable from the tool's thread.

        Never waits and never fails the call; without a runtime it does nothing.
        """
        if self.host is not None:
            self.host.report(self.call_id, message, data)

    def time_left_s(self) -> float | None:
        """Seconds until the call's time is up, 0.0 if it already is, None if it has no limit."""
        if self.deadline is None or self.host is None:
            return None
        return max(0.0, self.deadline - self.host.clock.monotonic())

    def remaining(self) -> Remaining:
        """What is left of the turn's limits by now, and of those of the turns above it; None where there is no limit. Callable from
        the tool's thread."""
        return Remaining() if self.host is None else self.host.remaining()

    @property
    def state(self) -> State:
        """What tools remember outside the transcript, for the session, the user, the agent (`context.state.user.get("lang")`); see `State`.
        A tool that is a plain function uses `context.state.user.sync`. Its writer is `session/call`: the same when a call is run
        again after a crash."""
        if self.scopes is None:
            if self.host is not None and self.host.state is not None:
                return self.host.state(self.call_id)
            self.scopes = _state_in_memory(self)
        return self.scopes

    @property
    def printed(self) -> str:
        """What the call's processes have printed so far, stdout and stderr as they came; the end of it if it is long."""
        return "" if self.output is None else self.output.text()

    def keep(self, data: bytes) -> None:
        """Add to `printed`."""
        if self.output is None:
            self.output = Printed()
        self.output.add(data)

    async def run_process(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> ProcessResult:
        """Run a command to its end and return its exit code and output. No shell is involved.

        `env` replaces the environment (None: inherit all of it, keys included); without `stdin` the command reads from
        /dev/null. Of stdout and of stderr the first `limit_bytes` each are returned; the rest is read and dropped, and
        `truncated` says so. The command has a process group of its own. When the call is cancelled or its time is up,
        the whole group is killed; what it printed so far goes into the call's outcome. Processes that it left behind
        in its group are killed when it ends. Raises `OSError` if the command cannot be started.
        """
        return await run_process(self.spawn, self.keep, argv, cwd=cwd, env=env, stdin=stdin, limit_bytes=limit_bytes)

    @property
    def spawn(self) -> Spawn:
        """The seam that starts children. Raises `ToolError` (`no_runtime`) for a context made without a runtime."""
        if self.host is None:
            raise ToolError(
                ErrorInfo("tool", "no_runtime", "This ToolContext has no runtime: no process can be started.")
            )
        return self.host.spawn


def _state_in_memory(context: ToolContext[Any]) -> State:
    """For a context made by hand."""
    from ..store.memory import MemoryStore
    from ..store.scopes import State

    principal, session = context.principal, context.session or "session"
    return State(MemoryStore(), principal, agent="agent", session=session, writer=f"{session}/{context.call_id}")
