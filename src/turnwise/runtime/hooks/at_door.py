"""The points before a call runs: `tool.before`, when it may run, and `approval.requested`, when somebody is to be asked for leave.

They are heard where calls wait in line (`runtime.door`), so calls keep their order however long a hook takes. A call that a hook has changed is
asked for again, as it will run: a permission is bound to the exact call (rule P2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ...core.budget import denial
from ...core.errors import ErrorInfo
from ...core.outcomes import OK, Denied, Failed, Outcome, ToolResult
from ...core.outcomes import result_of as no_result
from ...tools import ArgumentsError, render_result
from ...tools.approval import Allow, Ask, Verdict
from ...tools.approval import Deny as Refuse
from ...tools.cap import text_in
from ..artifacts import SessionArtifacts
from ..attachments import stored
from ..job import AnyTool, Job
from . import chain as chains
from .hooked import hooked_of
from .results import Redirect, Replace
from .run import Run
from .values import ApprovalRequest, ToolRequest, Unfit

if TYPE_CHECKING:
    import asyncio

    from ..actor import Actor
    from ..turn import Turn


class Place(Protocol):
    """A call in the line, as it is seen here. `changed`: `tool.before` has made another call of it, which is to be asked for; `result`: it ends with
    this and does not run; `run`: the hooks that are being asked, or have begun to be."""

    job: Job
    verdict: Verdict | None
    changed: bool
    result: ToolResult | None
    run: Run | None
    task: asyncio.Task[None] | None


def hear(session: Actor[Any], turn: Turn, place: Place, later: Callable[[], None]) -> bool:
    """Have the hooks heard that have a say in the verdict. False if the place can go on at once; else `later` is told when it can."""
    hooked, job, verdict = hooked_of(session, turn), place.job, place.verdict
    run, place.run = place.run, None
    if isinstance(verdict, Allow):
        value = ToolRequest(job.call.name, job.call.arguments)
        run = hooked.before_call(job) if run is None else run
    elif isinstance(verdict, Ask):
        value = ApprovalRequest(job.id, job.tool.name, job.call.arguments, verdict.reason, verdict.expires_in_s)
        chain = hooked.chain("approval.requested")
        run = None if chain is None else hooked.heard(chain, value, call_id=job.id)
    else:
        return False
    return run is not None and _asked(session, turn, place, run, value, later)


def _asked(
    session: Actor[Any],
    turn: Turn,
    place: Place,
    run: Run,
    value: ToolRequest | ApprovalRequest,
    later: Callable[[], None],
) -> bool:
    """Hear what they have to say; True if `later` is told when that is done."""

    def said(outcome: chains.Outcome) -> bool:
        place.run = None
        if isinstance(value, ToolRequest):
            return _before(session, turn, place, outcome, later)
        _requested(place, outcome)
        return False

    def ended(outcome: chains.Outcome) -> None:
        if not said(outcome):
            later()

    run.take = _taker(place.job.tool, value)
    place.run = run
    outcome = run.begin(ended)
    return True if outcome is None else said(outcome)


def _taker(tool: AnyTool, value: ToolRequest | ApprovalRequest) -> Callable[[Any, Any], Any] | None:
    """What checks changed arguments: the tool's own decoder, as for the model's."""
    if not isinstance(value, ToolRequest):
        return None

    def fitting(value: ToolRequest, _: Any) -> ToolRequest:
        try:
            tool.resources_of(tool.decode(value.raw_arguments))
        except ArgumentsError as error:
            raise Unfit(f"the arguments are not valid. {error.problem}") from None
        return value

    return fitting


def _requested(place: Place, outcome: chains.Outcome) -> None:
    if outcome.halt is not None:
        place.verdict = Refuse(outcome.reason)
    elif outcome.changed:
        place.verdict = Ask(outcome.value.reason, outcome.value.expires_in_s)


def _before(session: Actor[Any], turn: Turn, place: Place, outcome: chains.Outcome, later: Callable[[], None]) -> bool:
    """Take what they made of the call; True if `later` is told when that is done."""
    match outcome.halt:
        case Replace(result=result):
            return _replaced(session, turn, place, outcome.by, result, later)
        case Redirect():
            _redirected(turn, place, outcome, outcome.halt)
        case None:
            if outcome.changed:
                job = place.job
                _change(place, msgspec.structs.replace(job.call, arguments=outcome.value.raw_arguments), job.tool)
        case _:
            place.verdict = Refuse(outcome.reason)
    return False


def _change(place: Place, call: Any, tool: AnyTool) -> None:
    """Another call in this place. Raises what decoding it raises."""
    args = tool.decode(call.arguments)
    job = Job(call, tool, args, tool.resources_of(args))
    job.hooked, job.instead = True, (call.name, call.arguments)
    place.job, place.changed = job, True


def _redirected(turn: Turn, place: Place, outcome: chains.Outcome, halt: Redirect) -> None:
    """Another tool runs under this call, with arguments that fit it, within its own limit."""
    job, plan = place.job, turn.plan
    tool = plan.tools.get(halt.to)
    if tool is None:
        names = ", ".join(sorted(plan.tools))
        return _fail(
            place, f"Hook {outcome.by} wants the tool {halt.to!r}, which the turn does not have.", f"It has: {names}."
        )
    if why := _beyond_limit(turn, tool.name):
        place.result = no_result(job.id, Denied(why))
        return None
    raw = outcome.value.raw_arguments
    try:
        if halt.arguments is not None:
            raw = halt.arguments if isinstance(halt.arguments, str) else msgspec.json.encode(halt.arguments).decode()
        _change(place, msgspec.structs.replace(job.call, name=tool.name, arguments=raw), tool)
        hooked_of(turn.session, turn).redirected.append((job.id, tool.name))
    except ArgumentsError as error:
        _fail(
            place, f"Hook {outcome.by} wants {tool.name} to be called, and the arguments do not fit it. {error.problem}"
        )
    except Exception as error:
        _fail(place, f"Hook {outcome.by} wants {tool.name} to be called, and that failed: {error}")
    return None


def _beyond_limit(turn: Turn, name: str) -> str:
    """Why the tool may not be called any more in this turn, in words for the model; "" if it may (rule E9)."""
    current = turn.session.state.turn
    own = None if current is None else current.limits.per_tool.get(name)
    if current is None or own is None:
        return ""
    redirected = [current.find(id) for id, to in hooked_of(turn.session, turn).redirected if to == name]
    coming = sum(1 for c in redirected if c is not None and c.result is None and c.call.name != name)
    return denial(current.limits, f"calls:{name}") if current.called.get(name, 0) + coming >= own else ""


def _fail(place: Place, what: str, hint: str = "Give Redirect(…, arguments=…) what the tool takes.") -> None:
    outcome: Outcome = Failed(ErrorInfo("hook", "bad_redirect", what, hint))
    place.result = no_result(place.job.id, outcome)


# --- a result without a run ----------------------------------------------------------------------------------------------


def _replaced(session: Actor[Any], turn: Turn, place: Place, by: str, given: Any, later: Callable[[], None]) -> bool:
    """The call ends with this result. Text that is not too long is ready at once."""
    job = place.job
    try:
        result = as_result(job.id, given)
    except Exception as error:
        place.result = unfit_result(job.id, by, error)
        return False
    limit = job.tool.max_result_chars
    if isinstance(result.body, str) and (limit is None or len(result.body) <= limit):
        place.result = result
        return False

    async def fit() -> None:
        try:
            place.result = await fitted(session, turn, result, limit)
        except Exception as error:
            place.result = unfit_result(job.id, by, error)

    def ready(_: object) -> None:
        place.task = None
        later()

    place.task = session.runtime.start(fit())
    place.task.add_done_callback(ready)  # never at once: whoever asked is told first that it has to wait
    return True


async def fitted(session: Actor[Any], turn: Turn, result: ToolResult, limit: int | None) -> ToolResult:
    """A result of a hook as one of a tool: bytes put away, and cut if it is too long."""
    if not isinstance(result.body, str):
        result = msgspec.structs.replace(result, body=await stored(result.body, session))
    if limit is None or len(text_in(result.body)) <= limit:
        return result
    return await SessionArtifacts(session).fitted(result, limit, turn.plan.tools)


def as_result(call_id: str, given: Any) -> ToolResult:
    """What a hook gave in place of a result. Raises what makes it none."""
    if isinstance(given, ToolResult):
        return msgspec.structs.replace(given, call_id=call_id)
    return ToolResult(call_id, render_result(given), OK)


def unfit_result(call_id: str, by: str, error: Exception) -> ToolResult:
    """The outcome of a call whose hook gave what is no result."""
    said = f"What hook {by} gave in place of a result cannot be told to a model: {error}"
    info = ErrorInfo("hook", "unfit_value", said, "Give what a tool may return.", detail=type(error).__name__)
    return no_result(call_id, Failed(info))
