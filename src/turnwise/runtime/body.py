"""What a call does once it runs: the tool's function, again where that is declared safe, and its result made fit for the model.

When a call runs and when it must stop is decided in calls.py. A result that is too long is cut in the middle and its whole text kept
in the session's blob store (rule E7); what a failed or stopped call had printed is treated alike.
"""

from __future__ import annotations

import contextlib
import inspect
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.content import BlobRef, Text
from ..core.events import Notice
from ..core.outcomes import OK, Cancelled, Failed, Timeout, ToolResult, result_of
from ..tools import ToolContext, failure_of, render_result
from ..tools.arguments import bounded
from ..tools.cap import capped, left_out, text_in
from ..tools.files import names_files, with_files
from ..tools.isolation import run_isolated
from ..tools.results import ERROR_CHARS
from ..tools.summaries import Returned
from . import log
from .artifacts import cut, keep, ref_of, whereabouts
from .attachments import stored
from .degraded import artifact_lost, works
from .extensions import run_wrapped
from .job import AnyTool, Job, printed

if TYPE_CHECKING:
    from .actor import Actor
    from .turn import Turn

RETRY_BASE_S = 0.2
RETRY_CAP_S = 10.0
RETRIES_PER_TURN = 20
REPEATS = 3
"""How often hooks may have a call run again whose tool says nothing of retries."""


class Bodies:
    """Runs the bodies of one turn's calls. `late` is told of a function in a thread that ends after its call was given up."""

    __slots__ = ("_late", "_retries", "_session", "_turn")

    def __init__(self, session: Actor[Any], turn: Turn, late: Callable[[Job], None]) -> None:
        self._session = session
        self._turn = turn
        self._late = late
        self._retries = 0

    def run(self, job: Job) -> Coroutine[Any, Any, ToolResult]:
        """Run a body to its end, with the middleware that is around it; its result, or its failure as one. Cancelling this cancels both."""
        extended = self._turn.extended
        if extended is None or (chain := extended.middleware.get("tool")) is None:
            return self.bare(job)
        return run_wrapped(chain, self, self._turn, job)

    async def bare(self, job: Job) -> ToolResult:
        """The same without middleware."""
        try:
            said = await (self._called(job) if job.tool.retries else self._once(job))
            body = render_result(said.value)
            if not isinstance(body, str):
                body = await stored(body, self._session)
        except (Exception, SystemExit) as error:
            log.tool_failed(self._session, job, error)
            failed = _failed(job, error)
            if self._has_hooks and (heard := await self._heard(job, failed)) is not failed:
                return await self.bare(job) if heard is None else await self._put_away(job, heard)
            return await self._fitted(job, failed)
        if said.complaint:
            self._tell(Notice("summary_failed", f"{job.tool.name} ({job.id}) has no summary: {said.complaint}"))
        result = job.result = ToolResult(job.id, body, OK, said.summary)
        if self._has_hooks and (heard := await self._heard(job, result)) is not result:
            return await self.bare(job) if heard is None else await self._put_away(job, heard)
        if job.tool.extract is not None and (extracted := await self._extracted(job, result)) is not None:
            return extracted
        limit = job.tool.max_result_chars
        if type(body) is str and (limit is None or len(body) <= limit):
            return result
        return await self._fitted(job, result)

    @property
    def session(self) -> Actor[Any]:
        return self._session

    async def failed(self, job: Job, error: Exception) -> ToolResult:
        """The result of a call that failed outside of its body."""
        return await self._fitted(job, _failed(job, error))

    # --- hooks -----------------------------------------------------------------------------------------------------

    @property
    def _has_hooks(self) -> bool:
        extended = self._turn.extended
        return extended is not None and extended.after_calls

    async def _heard(self, job: Job, result: ToolResult) -> ToolResult | None:
        """What hooks make of a result; None if the call is to run again. They are not asked about what nobody waits for any more: a body that was
        abandoned, or that ended in its own way when an interrupt stopped it."""
        if job.abandoned:
            return result
        if job.why == "interrupt":
            return result_of(job.id, Cancelled("the turn was interrupted")) if self._turn.guards_results else result
        from .hooks.at_result import hear_result

        heard = await hear_result(self._session, self._turn, job, result, self._may_repeat)
        if heard is None:
            await self.still_ours()
        return heard

    async def still_ours(self) -> None:
        """Look at the lease before a body begins later than its call did. Raises `CancelledError` if the session is another's by now (rules D2, D3)."""
        claims = self._session.claims
        if claims is not None and not await claims.ensure():
            raise CancelledError

    async def _put_away(self, job: Job, result: ToolResult) -> ToolResult:
        """A result that a hook gave, made fit like one of the tool's."""
        if not isinstance(result.body, str):
            result = msgspec.structs.replace(result, body=await stored(result.body, self._session))
        job.result = result
        return await self._fitted(job, result)

    async def stopped(self, job: Job, result: ToolResult) -> ToolResult | None:
        """The result of a call that was stopped. If its time was up, hooks have their say; None if it is to run again. Never raises."""
        extended = self._turn.extended
        if job.why != "timeout" or job.result is not None or extended is None or not extended.after_calls:
            return result
        from .hooks.at_result import hear_timeout

        outcome = result.outcome
        around = None if self._turn.extended is None else self._turn.extended.middleware.get("tool")
        whole = result_of(job.id, outcome, "" if around is not None and around.guards else printed(job))
        again = self._may_repeat if not isinstance(outcome, Timeout) or not outcome.still_running else _never
        heard = await hear_timeout(self._session, self._turn, job, whole, again)
        return heard if heard is None else self.fitted_now(job, heard)

    def printed(self, job: Job) -> str:
        """What a stopped call had printed, unless hooks would have to see it first."""
        return "" if self._turn.guards_results else printed(job)

    def _may_repeat(self, job: Job) -> bool:
        """Whether a call may run once more because a hook asks for it (rule E6)."""
        tool = job.tool
        if not (tool.idempotent or tool.read_only) or job.tries > (tool.retries or REPEATS):
            return False
        if self._retries >= RETRIES_PER_TURN:
            return False
        self._retries += 1
        return True

    # --- the function -----------------------------------------------------------------------------------------------

    async def _called(self, job: Job) -> Returned:
        """What the function returned, after further tries if it failed in a way that it declares safe to repeat (rule E6)."""
        runtime, tries = self._session.runtime, 0
        while True:
            try:
                return await self._once(job)
            except Exception as error:
                tries += 1
                tool = job.tool
                if (
                    job.why is not None
                    or tries > tool.retries
                    or self._retries >= RETRIES_PER_TURN
                    or not tool.may_retry(error)
                ):
                    raise
                self._retries += 1
                job.ticket = [None]
            await runtime.sleep(runtime.random.random() * min(RETRY_CAP_S, RETRY_BASE_S * 2 ** (tries - 1)))
            await self.still_ours()

    async def _once(self, job: Job) -> Returned:
        tool, context, blocking = job.tool, job.context, self._session.runtime.blocking
        assert context is not None
        if tool.kind == "question":
            return await self._answered(job)
        if tool.isolation == "process":
            return await run_isolated(tool, job.call.arguments, context)
        if not tool.is_async:
            job.ticket = [None]
            return await blocking.run(partial(self._in_thread, job, partial(_called, tool, job.args, context)))
        said = tool.returned(job.args, await tool.invoke(job.args, context))
        if names_files(said.value):
            said = msgspec.structs.replace(said, value=await blocking.run(partial(with_files, said.value)))
        return said

    async def _answered(self, job: Job) -> Returned:
        """A question that the program answers itself: `Agent(questions=…)`."""
        respond = self._session.agent.questions
        assert callable(respond)
        job.ticket = [None]
        if inspect.iscoroutinefunction(respond):
            answer = await respond(job.args)
        else:
            work = partial(self._in_thread, job, partial(respond, job.args))
            answer = await self._session.runtime.blocking.run(work)
            if inspect.isawaitable(answer):
                answer = await answer
        return Returned(job.tool.answered(job.args, answer))

    def _in_thread(self, job: Job, body: Callable[[], Any]) -> Any:
        """What the pool runs: the body, unless its call has ended before. It tells if it ends after its call was given up."""
        if not job.claim():
            return None
        try:
            return body()
        finally:
            if job.abandoned:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                    self._session.runtime.loop.call_soon_threadsafe(self._late, job)

    # --- its result -------------------------------------------------------------------------------------------------

    async def _extracted(self, job: Job, result: ToolResult) -> ToolResult | None:
        """A large result as a model has read it; None if it is not large, or the model did not answer."""
        text, extract = text_in(result.body), job.tool.extract
        if extract is None or len(text) <= extract.above_chars:
            return None
        from .extract import extract_from

        said = await extract_from(text, extract, job, self._session, self._tell)
        if not said:
            return None
        limit = job.tool.max_result_chars
        if limit is not None and len(said) > limit:
            said = capped(said, said, limit, lambda text, cut: left_out(text, cut, "It is not kept."))
        ref = await self._put(text)
        where = whereabouts(job.id, ref, self._turn.plan.tools)
        note = f"[A summary, made by a model, of a result of {len(text):,} characters. {where}]"
        media = () if isinstance(result.body, str) else tuple([b for b in result.body if type(b) is not Text])
        body = f"{note}\n{said}"
        return msgspec.structs.replace(result, body=(Text(body), *media) if media else body, artifact=ref)

    async def _fitted(self, job: Job, result: ToolResult) -> ToolResult:
        """The result, cut if it is too long; its whole text is then in the blob store."""
        text, limit = text_in(result.body), job.tool.max_result_chars
        if limit is None or len(text) <= limit:
            return result
        return cut(result, text, limit, await self._put(text), self._turn.plan.tools)

    def fitted_now(self, job: Job, result: ToolResult) -> ToolResult:
        """The same for a call that ends at once: the text is on its way into the blob store, and what refers to it waits for that."""
        text, limit = text_in(result.body), job.tool.max_result_chars
        if limit is None or len(text) <= limit:
            return result
        self._session.append_after(self._session.runtime.start(self._put(text)))
        return cut(result, text, limit, ref_of(text.encode()), self._turn.plan.tools)

    async def _put(self, text: str) -> BlobRef | None:
        """Keep a text. None if the blob store fails: the tool has run, so its call does not."""
        try:
            ref = await keep(text, self._session.blobs)
        except Exception as error:
            why = failure_of(error).message
            artifact_lost(self._session, self._turn, why)
            self._tell(Notice("artifact_lost", f"The whole text of a result could not be kept: {why}"))
            return None
        works(self._session.runtime, "artifacts")
        return ref

    def _tell(self, notice: Notice) -> None:
        self._session.notice(self._turn, notice)


def _called(tool: AnyTool, arguments: Any, context: ToolContext[Any]) -> Returned:
    """What a function in a thread returns, with its files read."""
    said = tool.returned(arguments, tool.invoke(arguments, context))
    return msgspec.structs.replace(said, value=with_files(said.value)) if names_files(said.value) else said


def _never(_: Job) -> bool:
    return False


def _failed(job: Job, error: BaseException) -> ToolResult:
    """A failure as a result. The model gets all of its message that fits a result, the outcome is bounded by itself."""
    info = failure_of(error)
    result = result_of(job.id, Failed(info), printed(job))
    if len(info.message) <= ERROR_CHARS:
        return result
    short = msgspec.structs.replace(info, message=bounded(info.message, ERROR_CHARS))
    return msgspec.structs.replace(result, outcome=Failed(short))
