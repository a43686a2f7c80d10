"""The points after a call has run: `tool.error` if it failed or ran out of time, then `tool.after`. They are heard before the result is cut or kept,
so what they take out of it is nowhere.

A call whose body has ended is not bounded by its tool's timeout any more, but by that of its hooks. While they are asked, an interrupt ends it with
what is known by then, or, if a hook fails closed, with nothing (rule H2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core.events import Notice
from ...core.outcomes import Failed, ToolResult, result_of
from ..job import Job
from . import failures
from .at_door import as_result, unfit_result
from .chain import Chain, Outcome
from .hooked import hooked_of
from .results import Replace, Retry

if TYPE_CHECKING:
    from ..actor import Actor
    from ..turn import Turn


async def hear_result(
    session: Actor[Any], turn: Turn, job: Job, result: ToolResult, may_repeat: Callable[[Job], bool]
) -> ToolResult | None:
    """The result after its hooks; None if the call is to run again. Cancelling this cuts them off; what then holds is in `job.result`."""
    hooked = hooked_of(session, turn)
    error = hooked.chain("tool.error") if result.is_error else None
    after = hooked.chain("tool.after")
    if error is None and after is None:
        return result
    job.untimed = True
    if job.timer is not None:
        session.runtime.timers.cancel(job.timer)
        job.timer = None
    for chain in (error, after):
        if chain is None:
            continue
        job.result = _without(chain, after, job, result)
        run = hooked.heard(chain, result, call_id=job.id)
        if run is None:
            continue
        outcome = await run.wait()
        if isinstance(outcome.halt, Retry):
            if await _repeated(session, turn, job, outcome, may_repeat):
                return None
            result = outcome.value
        else:
            result = _taken(job, outcome)
    job.result = result
    return result


def _without(chain: Chain, after: Chain | None, job: Job, result: ToolResult) -> ToolResult:
    """What the call ends with if its hooks are cut off."""
    guard = next((c for c in (chain, after) if c is not None and c.guards), None)
    if guard is None:
        return result
    closed = next(hook for hook in guard.hooks if hook.spec.fail == "closed")
    return result_of(job.id, Failed(failures.cut_off(closed)))


def _taken(job: Job, outcome: Outcome) -> ToolResult:
    if outcome.error is not None:
        return result_of(job.id, Failed(outcome.error))
    if isinstance(outcome.halt, Replace):
        try:
            return as_result(job.id, outcome.halt.result)
        except Exception as error:
            return unfit_result(job.id, outcome.by, error)
    return outcome.value


async def _repeated(
    session: Actor[Any], turn: Turn, job: Job, outcome: Outcome, may_repeat: Callable[[Job], bool]
) -> bool:
    """Whether the call may run again, as a hook asks; then it has waited for as long as that says, and its time begins anew (rule E6)."""
    halt, tool = outcome.halt, job.tool
    if not may_repeat(job):
        what = "it is neither idempotent nor read-only, or" if not (tool.idempotent or tool.read_only) else "it"
        said = f"{tool.name} ({job.id}) is not run again as hook {outcome.by} asks: {what} was tried often enough."
        session.notice(turn, Notice("retry_refused", said))
        return False
    if isinstance(halt, Retry) and halt.after_s:
        await session.runtime.sleep(halt.after_s)
    claims = session.claims
    if claims is not None and not await claims.ensure():
        raise asyncio.CancelledError
    job.tries += 1
    job.result, job.why, job.ticket, job.untimed = None, None, [], False
    turn.calls.time(job)
    return True


async def hear_timeout(
    session: Actor[Any], turn: Turn, job: Job, result: ToolResult, may_repeat: Callable[[Job], bool]
) -> ToolResult | None:
    """The same for a call that ran out of time, in its own task, which was cancelled for that. Never raises."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()
    try:
        return await hear_result(session, turn, job, result, may_repeat)
    except asyncio.CancelledError:
        return result if job.result is None else job.result
