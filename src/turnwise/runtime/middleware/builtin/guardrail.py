"""`guardrail("name", check)`: a function that looks at what is said and may stop it.

The check of an input runs beside the model call: the request is sent at once, nothing of the answer is shown before the check has passed, and
a check that says no ends the turn, aborts the call and counts what it took. A check of an output holds back what it has not seen.
Whatever goes wrong with a check, an error or no answer in time, counts as a no (rule P1), unless it is said to fail open.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from ....core.decoded import DecoderEvent, ResponseEnded
from ....core.errors import config_error
from ....core.events import Notice, TextDelta
from ....core.outcomes import ToolResult
from ..refusals import Tripped
from ..requests import ModelRequest, ToolRequest
from ..response import Ended, ModelResponse

if TYPE_CHECKING:
    from ...runtime import Runtime

On = Literal["input", "output", "tool"]
Check = Callable[..., Any]
"""A function, async or not, of (text, request). Falsy: go on; true or a text: stop, for that reason."""

REMEMBERED = 256
"""Texts that have passed are not checked again when a step is tried again."""


class Guardrail:
    """See `guardrail`. `tripped` counts how often it has said no."""

    guards = True

    def __init__(
        self,
        name: str,
        check: Check,
        on: On,
        parallel: bool,
        every_chars: int | None,
        ends_turn: bool,
        timeout_s: float,
        fail: Literal["open", "closed"],
    ) -> None:
        if on not in ("input", "output", "tool"):
            raise config_error("invalid_value", f"guardrail(on={on!r}) means nothing.", "Use input, output or tool.")
        if fail not in ("open", "closed"):
            raise config_error("invalid_value", f"guardrail(fail={fail!r}) means nothing.", "Use open or closed.")
        if not name or (every_chars is not None and every_chars < 1) or timeout_s <= 0:
            raise config_error("invalid_value", f"guardrail({name!r}, …): these settings make no sense.")
        self.name = name
        self._check = check
        self._parallel = parallel
        self._every = every_chars
        self._ends_turn = ends_turn
        self._timeout_s = timeout_s
        self._fail = fail
        self._passed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.tripped = 0
        if on == "tool":
            self.tool = self._around_tool
        else:
            self.model = self._around_input if on == "input" else self._around_output

    # --- what users say -----------------------------------------------------------------------------------------------

    async def _around_input(self, request: ModelRequest, next: Any) -> ModelResponse:
        text = "\n\n".join([message.text for message in request.fresh()])
        passed = (request.session, text)
        if not text or passed in self._passed:
            return await next(request)
        if not self._parallel:
            await self._let(text, request, request.runtime)
            self._remember(passed)
            return await next(request)
        return await self._beside(text, passed, request, next)

    async def _beside(self, text: str, passed: tuple[str, str], request: ModelRequest, next: Any) -> ModelResponse:
        runtime = request.runtime
        check = runtime.start(self._let(text, request, runtime))
        sending = runtime.start(_awaited(next(request)))
        try:
            await asyncio.wait((check, sending), return_when=asyncio.FIRST_COMPLETED)
            if _said_no(check):
                await _dropped(sending)
                check.result()
            if not sending.done():
                await asyncio.wait((sending,))
            response: ModelResponse = sending.result()
        except BaseException:
            await _dropped(check)
            await _dropped(sending)
            raise
        if check.done():
            check.result()
            self._remember(passed)
            return response

        def told(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                response.abort(error if isinstance(error, Tripped) else self._broken(error))
            elif not done.cancelled():
                self._remember(passed)

        def over(_: Ended) -> None:
            if not check.done():
                check.cancel()

        async def held(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
            if not check.done():
                await asyncio.wait((check,))
            check.result()
            async for event in events:
                yield event

        check.add_done_callback(told)
        return response.at_end(over).through(held)

    def _remember(self, passed: tuple[str, str]) -> None:
        self._passed[passed] = None
        if len(self._passed) > REMEMBERED:
            self._passed.popitem(last=False)

    # --- what the model says ------------------------------------------------------------------------------------------

    async def _around_output(self, request: ModelRequest, next: Any) -> ModelResponse:
        runtime, every = request.runtime, self._every

        async def held(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
            """Nothing is passed on that was not checked with all that came before it."""
            waiting: list[DecoderEvent] = []
            said, unchecked = "", 0
            async for event in events:
                waiting.append(event)
                if type(event) is TextDelta:
                    said += event.text
                    unchecked += len(event.text)
                ends = type(event) is ResponseEnded
                if unchecked and (ends or (every is not None and unchecked >= every)):
                    await self._let(said, request, runtime)
                    unchecked = 0
                if not unchecked and (ends or every is not None):
                    for one in waiting:
                        yield one
                    waiting.clear()
            for one in waiting:
                if type(one) is not TextDelta:
                    yield one

        return (await next(request)).through(held)

    # --- what tools give ----------------------------------------------------------------------------------------------

    async def _around_tool(self, request: ToolRequest, next: Any) -> ToolResult:
        result: ToolResult = await next(request)
        await self._let(result.text, request, request.runtime)
        return result

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _let(self, text: str, request: Any, runtime: Runtime) -> None:
        """Ask the check. Raises `Tripped` if it says no."""
        try:
            said = await self._asked(text, request, runtime)
        except Tripped:
            raise
        except Exception as error:
            if self._fail == "open":
                if isinstance(request, ModelRequest):
                    request.via.tell(
                        Notice("guardrail_failed", f"The guardrail {self.name} failed and is open: {error}")
                    )
                return
            raise self._broken(error) from error
        if said:
            raise self._trip(said if isinstance(said, str) else "it is not allowed")

    async def _asked(self, text: str, request: Any, runtime: Runtime) -> Any:
        said = self._check(text, request)
        if not inspect.isawaitable(said):
            return said
        task = runtime.start(_awaited(said))
        try:
            if not task.done():
                await asyncio.wait((task,), timeout=self._timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            raise TimeoutError(f"no answer within {self._timeout_s:g} s")
        return task.result()

    def _broken(self, error: BaseException) -> Tripped:
        return self._trip(f"it could not be checked: {type(error).__name__}: {error}")

    def _trip(self, reason: str) -> Tripped:
        self.tripped += 1
        return Tripped(self.name, reason, ends_turn=self._ends_turn)


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given


def _said_no(check: asyncio.Task[Any]) -> bool:
    return check.done() and not check.cancelled() and check.exception() is not None


async def _dropped(task: asyncio.Task[Any]) -> None:
    """Stop a task of ours, and wait until it has stopped."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # it was looked at


def guardrail(
    name: str,
    check: Check,
    *,
    on: On = "input",
    parallel: bool = True,
    every_chars: int | None = None,
    ends_turn: bool = True,
    timeout_s: float = 30.0,
    fail: Literal["open", "closed"] = "closed",
) -> Guardrail:
    """Have `check(text, request)` look at what users say (`input`), at what the model says (`output`), or at results of tools (`tool`).

    If it gives a text or True, the turn ends with the reason `stopped` and the cause `guardrail:NAME`; with `ends_turn=False` only the tool
    call is denied. An input is checked beside the model call unless `parallel=False`; the answer is held back until then. An output is checked
    when it is whole, or every `every_chars` characters, and shown as far as it was checked. `timeout_s` bounds each check; what a failed
    check means is `fail`. A function that is not async must not block.
    """
    return Guardrail(name, check, on, parallel, every_chars, ends_turn, timeout_s, fail)
