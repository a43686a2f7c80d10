"""The tool calls of one turn: checked, started within bounds, timed, stopped, and each ended with exactly one outcome.

A call's way: `admit` (known tool? arguments that fit? a free place?) -> `CallStarted` in the journal -> `launch` -> the body -> its
outcome. A call that fails a check ends there and takes the same way out. Outcomes come back through `_end` and nowhere
else. A call ends in time even if its body does not: a body deaf to cancellation is abandoned to the runtime, counted,
and what it returns later is dropped (rules E1 to E6).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ..core.content import ToolCall
from ..core.errors import ErrorInfo
from ..core.events import Notice
from ..core.inputs import CallBegins, CallEnded, Input
from ..core.outcomes import Cancelled, Failed, InvalidArguments, Outcome, Timeout, ToolResult, UnknownTool, result_of
from ..tools import ArgumentsError, ToolContext, failure_of, render_result
from ..tools.isolation import run_isolated
from .attachments import stored
from .job import Job, printed

if TYPE_CHECKING:
    from .actor import Actor
    from .turn import Turn

STOP_GRACE_S = 0.05
"""How long a cancelled body may take to end before it is abandoned."""

MAX_ABANDONED = 8
"""How many abandoned coroutines may still run in a runtime before further calls are refused."""

TOO_MANY_ABANDONED = ErrorInfo(
    "tool",
    "too_many_abandoned",
    f"{MAX_ABANDONED} tools that would not stop when told to are still running, so no further one is started.",
    "Fix the tool that ignores cancellation, or isolate it: @tool(isolation='process').",
)

RETRY_BASE_S = 0.2
RETRY_CAP_S = 10.0
RETRIES_PER_TURN = 20


class Calls:
    """The calls of one turn. `session` is told of beginnings and ends; tasks and timers are the runtime's."""

    __slots__ = (
        "_admitted",
        "_context",
        "_idle",
        "_inputs",
        "_launching",
        "_retries",
        "_running",
        "_session",
        "_stopping",
        "_turn",
        "_waiting",
    )

    def __init__(self, session: Actor[Any], turn: Turn, context: contextvars.Context) -> None:
        self._session = session
        self._turn = turn
        self._context = context
        self._inputs: list[Input] = []
        self._launching = False
        self._admitted: list[Job] = []
        self._waiting: list[Job] = []
        self._running: dict[str, Job] = {}
        self._retries = 0
        self._stopping = False
        self._idle: asyncio.Future[None] | None = None

    # --- the way in -------------------------------------------------------------------------------------------------

    def forget(self, call_ids: Sequence[str]) -> None:
        """Calls that had not begun have their outcome."""
        self._waiting = [job for job in self._waiting if job.call.id not in call_ids]
        self._refill()

    def admit(self, call: ToolCall, allowed: bool = False) -> None:
        """Check a call and journal its beginning, or its end if it cannot run. It runs at the next `launch`. `allowed`: someone who
        was asked has allowed it."""
        if self._stopping:
            return None
        tool = self._turn.plan.tools.get(call.name)
        if tool is None:
            return self._refuse(call, UnknownTool(call.name))
        try:
            args = tool.decode(call.arguments)
            resource = tool.resource_of(args)
        except ArgumentsError as error:
            return self._refuse(call, InvalidArguments(error.problem))
        except Exception as error:
            return self._refuse(call, Failed(failure_of(error)))
        if len(self._session.runtime.abandoned_bodies) >= MAX_ABANDONED and tool.is_async:
            return self._refuse(call, Failed(TOO_MANY_ABANDONED))
        job = Job(call, tool, args, resource)
        queued = {j.resource for j in self._waiting if j.resource is not None} if self._waiting else set[str]()
        if not self._free(job, queued):
            self._waiting.append(job)
            return None
        return self._begin(job)

    def _refuse(self, call: ToolCall, outcome: Outcome) -> None:
        self._inputs.append(CallEnded(result_of(call.id, outcome)))

    def _begin(self, job: Job) -> None:
        call = job.call
        self._running[call.id] = job
        self._admitted.append(job)
        digest = sha256(call.arguments.encode("utf-8", "surrogatepass")).hexdigest()
        self._inputs.append(CallBegins(call.id, digest, job.tool.idempotent, job.tool.read_only))

    def journal(self) -> None:
        """Fold the beginnings and ends that have come together."""
        if self._inputs:
            inputs, self._inputs = self._inputs, []
            self._session.fold_all(inputs)

    def _free(self, job: Job, queued: set[str]) -> bool:
        """Whether a job may start now: within the bounds, and in order with others that touch its resource (rule E5)."""
        running = self._running
        if len(running) >= self._turn.plan.parallel_calls:
            return False
        bound = job.tool.concurrency
        if bound is not None and sum(1 for j in running.values() if j.tool is job.tool) >= bound:
            return False
        resource = job.resource
        return resource is None or (resource not in queued and all(j.resource != resource for j in running.values()))

    def _refill(self) -> None:
        """Begin what waits and may start now, in call order."""
        if not self._waiting or self._stopping:
            return
        left: list[Job] = []
        queued: set[str] = set()
        for job in self._waiting:
            if self._free(job, queued):
                self._begin(job)
                continue
            left.append(job)
            if job.resource is not None:
                queued.add(job.resource)
        self._waiting = left

    # --- running ----------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the bodies of calls whose beginning is journalled by now."""
        if not self._admitted:
            return
        admitted, self._admitted = self._admitted, []
        runtime = self._session.runtime
        self._launching = True
        for job in admitted:
            if self._stopping:
                self._end(job, result_of(job.call.id, Cancelled("the turn was interrupted before it began")))
                continue
            limit = job.tool.timeout_s
            job.context = self._session.tool_context(job.call, self._turn, limit)
            job.task = runtime.start(self._run(job), self._context.copy())
            if limit is not None and not job.task.done():
                job.timer = runtime.timers.at(runtime.loop.time() + limit, partial(self._expire, job))
        self._launching = False
        self.journal()

    async def _run(self, job: Job) -> None:
        try:
            body = render_result(await self._body(job))
            if not isinstance(body, str):
                body = await stored(body, self._session)
            result = ToolResult(job.call.id, body)
        except asyncio.CancelledError:
            in_thread = not job.tool.is_async and job.tool.isolation == "none" and not job.claim()
            self._end(job, result_of(job.call.id, self._stopped(job, in_thread), printed(job)))
            job.abandoned = in_thread
            if job.why is None and _is_cancelled():
                raise
            return
        except (Exception, SystemExit) as error:
            result = result_of(job.call.id, Failed(failure_of(error)), printed(job))
        self._end(job, result)

    async def _body(self, job: Job) -> Any:
        """The tool's function, again if it failed in a way that it declares safe to retry (rule E6)."""
        tool, context, runtime, tries = job.tool, job.context, self._session.runtime, 0
        assert context is not None
        while True:
            try:
                if tool.isolation == "process":
                    return await run_isolated(tool, job.call.arguments, context)
                if tool.is_async:
                    return await tool.invoke(job.args, context)
                job.ticket = [None]
                return await runtime.blocking.run(partial(self._in_thread, job, context))
            except Exception as error:
                tries += 1
                if tries > tool.retries or self._retries >= RETRIES_PER_TURN or not tool.may_retry(error):
                    raise
                self._retries += 1
                job.ticket = [None]
            await runtime.sleep(runtime.random.random() * min(RETRY_CAP_S, RETRY_BASE_S * 2 ** (tries - 1)))

    def _in_thread(self, job: Job, context: ToolContext[Any]) -> Any:
        """What the pool runs: the function, unless its call has ended before, which tells if it ends in the meantime."""
        if not job.claim():
            return None
        try:
            return job.tool.invoke(job.args, context)
        finally:
            if job.abandoned:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                    self._session.runtime.loop.call_soon_threadsafe(self._late, job)

    # --- the way out ------------------------------------------------------------------------------------------------

    def _end(self, job: Job, result: ToolResult) -> None:
        """The one place where a running call ends."""
        if job.timer is not None:
            self._session.runtime.timers.cancel(job.timer)
            job.timer = None
        if job.abandoned:
            self._late(job)
            return
        del self._running[job.call.id]
        if job.context is not None:
            job.context.cancelled = True
        self._inputs.append(CallEnded(result))
        self._refill()
        if not self._launching:
            self.journal()
            self._session.advance()
        if self._idle is not None and not self._running and not self._idle.done():
            self._idle.set_result(None)

    def _late(self, job: Job) -> None:
        what = f"{job.tool.name} ({job.call.id}) ended after it was given up; its result is dropped."
        self._session.notice(self._turn, Notice("late_result", what))

    def _stopped(self, job: Job, still_running: bool) -> Outcome:
        if job.why == "timeout":
            return Timeout(job.tool.timeout_s or 0.0, still_running)
        if job.why is None and not _is_cancelled():
            return Failed(ErrorInfo("tool", "tool_failed", "The tool cancelled itself.", detail="CancelledError"))
        return Cancelled("the turn was interrupted", still_running)

    def _expire(self, job: Job) -> None:
        self._stop_job(job, "timeout")

    def _stop_job(self, job: Job, why: Literal["timeout", "interrupt"]) -> None:
        runtime = self._session.runtime
        if job.timer is not None:
            runtime.timers.cancel(job.timer)
        if job.why is None:
            job.why = why
        if job.context is not None:
            job.context.cancelled = True
        if job.task is not None:
            job.task.cancel()
        job.timer = runtime.timers.at(runtime.loop.time() + STOP_GRACE_S, partial(self._abandon, job))

    def _abandon(self, job: Job) -> None:
        """The body did not stop when it was told to: its call ends without it."""
        job.timer = None
        task = job.task
        if task is not None:
            self._session.runtime.abandon(task)
        result = result_of(job.call.id, self._stopped(job, still_running=True), printed(job))
        self._end(job, result)
        job.abandoned = True

    async def stop(self) -> None:
        """Cancel what runs and wait until every call has ended or was abandoned; what waits never starts."""
        self._stopping = True
        self._waiting.clear()
        admitted, self._admitted = self._admitted, []
        for job in admitted:
            self._end(job, result_of(job.call.id, Cancelled("the turn was interrupted before it began")))
        if not self._running:
            return
        idle = self._idle = self._session.runtime.loop.create_future()
        for job in list(self._running.values()):
            self._stop_job(job, "interrupt")
        if self._running:
            await idle


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
