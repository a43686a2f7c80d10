"""Middleware around a tool call: its body with all its tries, within its timeout, until its result is fit for the model.

What the call is (tool, arguments) was allowed and journalled before and cannot be changed here (rule P2). A middleware that fails makes the
call fail; what the body returned then counts for nothing, since nobody let it through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ...core.outcomes import Denied, ToolResult, result_of
from . import refusals
from .requests import ToolRequest

if TYPE_CHECKING:
    from ...core.step import Step
    from ..body import Bodies
    from ..job import Job
    from ..turn import Turn
    from .compose import Chain


async def run_wrapped(chain: Chain, bodies: Bodies, turn: Turn, job: Job) -> ToolResult:
    """Run a body with middleware around it; its result, or its failure as one. Cancelling this cancels both."""
    assert job.context is not None
    session = bodies.session
    request = ToolRequest(
        tool=job.tool,
        arguments=job.args,
        call=job.call,
        context=job.context,
        agent=session.agent.name,
        runtime=session.runtime,
    )

    async def terminal(given: ToolRequest) -> ToolResult:
        if given is not request:
            raise refusals.unchangeable(
                "a tool call", "it is allowed and journalled as it is; use a hook of tool.before"
            )
        await bodies.still_ours()
        result = await bodies.bare(job)
        if job.timer is None:
            turn.calls.time(
                job
            )  # hooks have had their own time; what is around the call is bounded by the tool's, once more
        job.result, job.ticket = None, [None]  # it does not count before it was let through
        return result

    job.ticket = [None]  # while it is held back, no thread has begun
    try:
        result = await chain(request, terminal)
    except refusals.Tripped as error:
        if not job.abandoned:  # else the call has ended without its result, and its turn perhaps, too
            _held_back(turn, job, error)
        return result_of(job.id, Denied(error.reason))
    except Exception as error:
        return await bodies.failed(job, error)
    return result if result.call_id == job.id else msgspec.structs.replace(result, call_id=job.id)


def _held_back(turn: Turn, job: Job, error: refusals.Tripped) -> None:
    from ..audit.said import audit

    audit(
        turn.session, "cancel", source="middleware", rule=error.name, point="tool", call=job.call, reason=error.reason
    )
    if error.ends_turn:
        _end_after(turn, error.cause)


def _end_after(turn: Turn, cause: str) -> None:
    """The turn ends when the calls of this step have their outcomes, before the model is asked again."""

    def tripped(_: Step) -> str:
        return cause

    turn.wishes = msgspec.structs.replace(turn.wishes, stop_when=(*turn.wishes.stop_when, tripped))
    turn.plan = msgspec.structs.replace(turn.plan, stop_when=(*turn.plan.stop_when, tripped))
