"""Middleware around a whole turn, however it is driven: from before its input is journalled until its account is there.

The chain runs in a task of the runtime. Beginning the turn waits until the chain has come to its innermost `next`; what is raised before that
refuses the turn, and nothing is journalled. From there the chain waits for the turn's end, beside whoever reads it. It sees the true
account and cannot change it; if it fails in the middle, the turn is interrupted.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ...core.errors import TurnwiseError, error_of
from ...core.inputs import Interrupt
from ...core.result import TurnResult
from ..exchange import CLOSED
from ..plan import Begin
from . import refusals
from .requests import TurnRequest

if TYPE_CHECKING:
    from ..actor import Actor
    from ..attachments import Prompt
    from ..session import Session
    from ..turn import Turn
    from .compose import Chain


class Wrapping:
    """The chain around one turn."""

    __slots__ = (
        "_begun",
        "_called_off",
        "_chain",
        "_failure",
        "_never",
        "_opening",
        "_reached",
        "_session",
        "_task",
        "_turn",
    )

    def __init__(self, chain: Chain, session: Actor[Any], turn: Turn, opening: Prompt | Begin) -> None:
        self._chain = chain
        self._session = session
        self._turn = turn
        self._opening = opening
        self._task: asyncio.Task[None] | None = None
        self._reached: asyncio.Future[None] | None = None
        self._never: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._begun = False
        self._called_off = False

    async def enter(self) -> Prompt | Begin:
        """Wait until the chain lets the turn begin; what it begins with. Raises what the chain raises, and `SessionError`
        (`turn_called_off`) if the turn was interrupted meanwhile. Cancelling it ends the chain."""
        session, turn = self._session, self._turn
        runtime = session.runtime
        reached = self._reached = runtime.loop.create_future()
        self._never = runtime.loop.create_future()
        opening = self._opening
        request = TurnRequest(
            session=cast("Session[Any]", session),
            prompt=None if isinstance(opening, Begin) else opening,
            context=turn.wishes.context,
            principal=session.state.principal,
            agent=session.agent.name,
            runtime=runtime,
        )
        self._task = runtime.start(self._run(request), turn.variables.copy())
        try:
            if not reached.done():
                await asyncio.wait((reached, self._task), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if reached.done():
            return self._opening
        if self._called_off:
            raise refusals.called_off()
        if self._failure is None:
            raise error_of(CLOSED)
        raise self._failure

    async def _run(self, request: TurnRequest) -> None:
        try:
            result = await self._chain(request, self._terminal)
            if not self._begun:
                raise refusals.not_continued()
            if self._turn.over and result is not self._turn.result:
                raise refusals.result_changed()
            if not self._turn.over:
                raise refusals.result_changed()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failure = error
        if self._begun and not self._turn.over and self._turn.opened:
            self._session.post(Interrupt("middleware"))

    async def _terminal(self, request: TurnRequest) -> TurnResult:
        """Innermost: the turn begins, and comes to its end."""
        turn, reached, never = self._turn, self._reached, self._never
        assert reached is not None and never is not None
        self._begun = True
        turn.variables = contextvars.copy_context()
        if request.prompt is not None:
            self._opening = request.prompt
        if request.context is not turn.wishes.context:
            turn.wishes = msgspec.structs.replace(turn.wishes, context=request.context)
        if not reached.done():
            reached.set_result(None)
        await asyncio.wait((turn.ended(), never), return_when=asyncio.FIRST_COMPLETED)
        if never.done():
            never.result()
        return turn.result

    # --- from outside -------------------------------------------------------------------------------------------------

    def never_began(self, error: BaseException) -> None:
        """The turn was refused after the chain had let it through: the chain is told."""
        never = self._never
        if self._task is None or never is None or never.done():
            return
        if isinstance(error, Exception):
            never.set_exception(error)
            never.exception()  # whether or not anybody waits for it any more
        else:
            self._task.cancel()

    def call_off(self) -> None:
        """The turn is interrupted, or its session closed, while the chain holds it back."""
        if not self._begun and self._task is not None and not self._task.done():
            self._called_off = True
            self._task.cancel()

    async def leave(self, quiet: bool) -> None:
        """The turn is over: let the chain come to its end, at most for the turn's grace. Raises what it failed with, the turn's account in
        its `result`, unless `quiet`."""
        task, turn = self._task, self._turn
        if task is None:
            return
        grace_s = turn.plan.deadlines.grace_s
        if not task.done():
            await asyncio.wait((task,), timeout=grace_s)
        if not task.done():
            task.cancel()
            self._failure = refusals.too_slow(grace_s, "A turn middleware")
        error = self._failure
        if error is None or quiet:
            return
        if isinstance(error, TurnwiseError):
            error.result = turn.result
        raise error
