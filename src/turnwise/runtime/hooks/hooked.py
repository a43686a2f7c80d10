"""The chains of one turn, and those of a session outside of its turns: for whom they are run, and what cuts them off.

What each point does with the outcome is in the rooms `at_*`.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from ..extensions import extended_of
from .chain import Chain
from .context import HookContext
from .points import Take
from .quick import call_all
from .run import Run
from .values import ToolRequest

if TYPE_CHECKING:
    from ...core.inputs_rare import Decide
    from ...core.request import RequestHead
    from ..ground import Ground
    from ..job import Job
    from ..plan import Target
    from ..turn import Turn


class Hooked:
    """What a turn that has hooks knows of them. `under_way` are the chains that are waited for and that an interrupt cuts off; `kept` is a head
    that hooks have changed last, and what was made of it; `redirected` are calls that run as another tool, which the machine may not know yet; `decided` what they
    said before the turn had begun, for its record; `halted`: the turn is being stopped."""

    __slots__ = ("_session", "_turn", "_variables", "decided", "halted", "kept", "redirected", "under_way")

    def __init__(self, session: Ground[Any], turn: Turn, variables: contextvars.Context) -> None:
        self._session = session
        self._turn = turn
        self._variables = variables
        self.under_way: dict[Run, None] = {}
        self.halted = False
        self.redirected: list[tuple[str, str]] = []
        self.decided: list[Decide] = []
        self.kept: tuple[RequestHead, Target] | None = None

    def chain(self, point: str) -> Chain | None:
        """The hooks of a point as the turn has them by now."""
        extended = self._turn.extended
        return None if extended is None else extended.hooks.get(point)

    def run(
        self,
        chain: Chain,
        value: Any,
        *,
        take: Take | None = None,
        call_id: str = "",
        attempt: int = 0,
        tracked: bool = False,
    ) -> Run:
        """A chain for this turn. `tracked`: nothing else cuts it off at an interrupt."""
        session, variables = self._session, self._variables.copy()
        context = self._context(chain, value, call_id, attempt)
        under_way = self.under_way if tracked else None
        return Run(chain, context, session.runtime, variables, session, self._turn, take, under_way)

    def heard(
        self, chain: Chain, value: Any, *, call_id: str = "", attempt: int = 0, tracked: bool = False
    ) -> Run | None:
        """The same, begun as far as its hooks need not be waited for. None if that is all, and they had nothing to say."""
        if chain.waits:
            return self.run(chain, value, call_id=call_id, attempt=attempt, tracked=tracked)
        session, variables = self._session, self._variables.copy()
        context = self._context(chain, value, call_id, attempt)
        called = variables.run(call_all, chain.hooks, context, session.runtime.loop.time)
        if called is None:
            return None
        under_way = self.under_way if tracked else None
        context.value = value
        return Run(chain, context, session.runtime, variables, session, self._turn, None, under_way, called)

    def before_call(self, job: Job) -> Run | None:
        """`tool.before`, begun for a call that may run. None if its hooks have nothing to say."""
        chain = self.chain("tool.before")
        if chain is None or job.hooked:
            return None
        job.hooked = True
        return self.heard(chain, ToolRequest(job.call.name, job.call.arguments), call_id=job.id)

    def _context(self, chain: Chain, value: Any, call_id: str, attempt: int) -> HookContext:
        session, turn = self._session, self._turn
        state = session.state
        current = state.turn
        number, step = (state.turns + 1, 0) if not turn.opened or current is None else (current.number, current.step)
        return HookContext(
            chain.point.name,
            value,
            value,
            session.agent.name,
            state.id,
            number,
            step,
            attempt,
            call_id,
            state.principal,
            turn.wishes.context,
        )

    def cut(self) -> None:
        """The turn is interrupted."""
        self.halted = True
        for run in list(self.under_way):
            run.cut()


def hooked_of(session: Ground[Any], turn: Turn) -> Hooked:
    """The hooks of a turn that has any."""
    if turn.hooked is None:
        turn.hooked = Hooked(session, turn, turn.variables)
    return turn.hooked


def chain_of(session: Ground[Any], point: str) -> Chain | None:
    """The hooks of a point of the session as they are now."""
    extended = extended_of(session)
    return None if extended is None else extended.hooks.get(point)


def run_outside(
    session: Ground[Any], chain: Chain, value: Any, *, old: Any = None, take: Take | None = None, call_id: str = ""
) -> Run:
    """A chain for a session, in or out of a turn, with the caller's context variables."""
    state, turn = session.state, session.turn
    current = state.turn if state.running else None
    number, step = (0, 0) if current is None else (current.number, current.step)
    context = HookContext(
        chain.point.name,
        value,
        old,
        session.agent.name,
        state.id,
        number,
        step,
        0,
        call_id,
        state.principal,
        session.context if turn is None else turn.wishes.context,
    )
    return Run(chain, context, session.runtime, contextvars.copy_context(), session, turn, take)
