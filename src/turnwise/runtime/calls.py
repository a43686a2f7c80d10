"""The tool calls of one turn: checked, started within bounds, timed, stopped, and each ended with exactly one outcome.

A call's way: `admit` (known tool? arguments that fit?), the door (allowed?) and the schedule (a free place?) -> `CallStarted` in the
journal -> `launch` -> the body -> its outcome. A call that fails a check ends there and takes the same way out. Outcomes come back
through `_end` and nowhere else. A call ends in time even if its body does not: a body deaf to cancellation is abandoned to the
runtime, counted, and what it returns later is dropped (rules E1 to E6).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ..core.content import ToolCall
from ..core.errors import ErrorInfo
from ..core.events import Notice
from ..core.inputs import CallBegins, CallEnded, Input
from ..core.inputs_rare import SpentElsewhere
from ..core.outcomes import (
    Cancelled,
    Denied,
    Failed,
    InvalidArguments,
    Outcome,
    Timeout,
    ToolResult,
    UnknownTool,
    result_of,
)
from ..tools import ArgumentsError, failure_of
from . import log
from .body import Bodies
from .door import Door
from .job import Job, begun_by, note_begun
from .schedule import Schedule
from .where import call_context

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


class Calls:
    """The calls of one turn. `session` is told of beginnings and ends; tasks and timers are the runtime's."""

    __slots__ = (
        "_admitted",
        "_bodies",
        "_context",
        "_door",
        "_idle",
        "_inputs",
        "_launching",
        "_schedule",
        "_session",
        "_stopping",
        "_turn",
    )

    def __init__(self, session: Actor[Any], turn: Turn, context: contextvars.Context) -> None:
        self._session = session
        self._turn = turn
        self._context = context
        self._bodies = Bodies(session, turn, self._late)
        self._schedule: Schedule[Job] = Schedule()
        self._inputs: list[Input] = []
        self._door = Door(session, turn, context, self._enter, self.say, self._settled)
        self._launching = False
        self._admitted: list[Job] = []
        self._stopping = False
        self._idle: asyncio.Future[None] | None = None

    # --- the way in -------------------------------------------------------------------------------------------------

    def forget(self, call_ids: Sequence[str]) -> None:
        """Calls that had not begun have their outcome."""
        self._door.forget(call_ids)
        for following in self._schedule.forget(call_ids, self._turn.plan.parallel_calls):
            self._begin(following)

    def admit(self, call: ToolCall, allowed: bool = False, hooked: bool = False) -> None:
        """Check a call and journal its beginning, or its end if it cannot run, or that it waits for somebody. It runs at the next
        `launch`. `allowed`: someone who was asked has allowed it."""
        if self._stopping or call.id in self._schedule or call.id in self._door:
            return None
        plan, answered = self._turn.plan, self._turn.answered
        if answered is not None and call.name == plan.policy.answer:
            self._inputs.append(answered.taken(call))
            return None
        tool = plan.tools.get(call.name)
        if tool is None:
            return self._refuse(call, UnknownTool(call.name))
        try:
            args = tool.decode(call.arguments)
            resources = tool.resources_of(args)
        except ArgumentsError as error:
            return self._refuse(call, InvalidArguments(error.problem))
        except Exception as error:
            return self._refuse(call, Failed(failure_of(error)))
        if len(self._session.runtime.abandoned_bodies) >= MAX_ABANDONED and tool.is_async:
            return self._refuse(call, Failed(TOO_MANY_ABANDONED))
        return self._door.bring(Job(call, tool, args, resources, hooked), allowed)

    def _refuse(self, call: ToolCall, outcome: Outcome) -> None:
        self.say(CallEnded(result_of(call.id, outcome)))

    def _enter(self, job: Job) -> None:
        """A call that may run begins as soon as there is a place for it, if the turns above this one have room for it."""
        if why := self._turn.spending.budget.take_call(job.tool.name):
            self._refuse(job.call, Denied(why))
            return
        if self._schedule.enter(job, self._turn.plan.parallel_calls):
            self._begin(job)

    def say(self, given: Input) -> None:
        self._inputs.append(given)

    def _begin(self, job: Job) -> None:
        self._admitted.append(job)
        digest = sha256(job.call.arguments.encode("utf-8", "surrogatepass")).hexdigest()
        self._inputs.append(CallBegins(job.id, digest, job.tool.idempotent, job.tool.read_only, *job.instead))

    def journal(self) -> None:
        """Fold the beginnings and ends that have come together."""
        if self._inputs:
            inputs, self._inputs = self._inputs, []
            self._session.fold_all(inputs)
            note_begun(self._admitted, self._session.state)

    def _settled(self) -> None:
        """Something has come together outside of `admit` and `launch`."""
        self.journal()
        self._session.advance()

    # --- running ----------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the bodies of calls whose beginning is durable by now (rule D1)."""
        if not self._admitted:
            return
        admitted, self._admitted = begun_by(self._session.told, self._admitted)
        runtime = self._session.runtime
        self._launching = True
        for job in admitted:
            if self._stopping:
                self._end(job, result_of(job.id, Cancelled("the turn was interrupted before it began")))
                continue
            job.context = self._session.tool_context(job.call, self._turn, job.tool.timeout_s)
            job.task = runtime.start(self._run(job), call_context(self._context, self._turn, job.id, runtime))
            self.time(job)
        self._launching = False
        self.journal()

    def time(self, job: Job) -> None:
        """The time that the tool has begins now."""
        runtime, limit, task = self._session.runtime, job.tool.timeout_s, job.task
        if limit is not None and task is not None and not task.done() and not job.untimed:
            job.timer = runtime.timers.at(runtime.loop.time() + limit, partial(self._stop_job, job, "timeout"))

    async def _run(self, job: Job) -> None:
        try:
            if (claims := self._session.claims) is not None and not await claims.ensure():
                raise asyncio.CancelledError  # the process stood still, and the session is another's by now
            result = await self._bodies.run(job)
        except asyncio.CancelledError:
            in_thread = _in_thread(job) and not job.claim()
            result = await self._bodies.stopped(job, self._stopped(job, in_thread))
            if result is None:
                await self._run(job)
                return
            self._end(job, result)
            job.abandoned = in_thread
            if job.why is None and _is_cancelled():
                raise
            return
        self._end(job, result)

    # --- the way out ------------------------------------------------------------------------------------------------

    def _end(self, job: Job, result: ToolResult) -> None:
        """The one place where a running call ends."""
        if job.timer is not None:
            self._session.runtime.timers.cancel(job.timer)
            job.timer = None
        if job.abandoned:
            self._late(job)
            return
        if job.context is not None:
            job.context.cancelled = True
        if job.usage is not None:
            self._inputs.append(SpentElsewhere(job.usage))
        self._inputs.append(CallEnded(result))
        for following in self._schedule.leave(job.id, self._turn.plan.parallel_calls):
            self._begin(following)
        if not self._launching:
            self._settled()
        if self._idle is not None and not self._schedule.running and not self._idle.done():
            self._idle.set_result(None)

    def _late(self, job: Job) -> None:
        what = f"{job.tool.name} ({job.id}) ended after it was given up; its result is dropped."
        self._session.notice(self._turn, Notice("late_result", what))

    def _stopped(self, job: Job, still_running: bool) -> ToolResult:
        """The result of a call that was stopped, with what it had printed; its own if the body had ended by then."""
        if job.result is not None:
            return self._bodies.fitted_now(job, job.result)
        if job.why == "timeout":
            outcome: Outcome = Timeout(job.tool.timeout_s or 0.0, still_running)
        elif job.why is None and not _is_cancelled():
            outcome = Failed(ErrorInfo("tool", "tool_failed", "The tool cancelled itself.", detail="CancelledError"))
        else:
            outcome = Cancelled("the turn was interrupted", still_running)
        return self._bodies.fitted_now(job, result_of(job.id, outcome, self._bodies.printed(job)))

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
        log.abandoned(self._session, job)
        self._end(job, self._stopped(job, still_running=True))
        job.abandoned = True

    async def stop(self) -> None:
        """Cancel what runs and wait until every call has ended or was abandoned; what waits never starts."""
        self._stopping = True
        self._door.close()
        self._schedule.clear()
        admitted, self._admitted = self._admitted, []
        for job in admitted:
            self._end(job, result_of(job.id, Cancelled("the turn was interrupted before it began")))
        running = self._schedule.running
        if not running:
            return
        idle = self._idle = self._session.runtime.loop.create_future()
        for job in list(running.values()):
            self._stop_job(job, "interrupt")
        if running:
            await idle


def _in_thread(job: Job) -> bool:
    """Whether the body is a function in a thread, which nothing stops once it has begun."""
    return not job.tool.is_async and job.tool.isolation == "none" and job.result is None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
