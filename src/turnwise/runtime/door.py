"""The door that calls go through once they are checked: what the agent's policy says of them, and who answers those without code.

A policy may take its time; calls enter in their order all the same, so that writers to one resource stay in order (rule E5). Whatever goes
wrong with it, an error or no answer in time, means no (rule P1). Nothing waits here for a person: such a call is journalled as
waiting and forgotten, and comes again when it was allowed (rule C6).
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.events import Notice
from ..core.inputs import CallEnded, Input
from ..core.inputs_rare import CallWaits
from ..core.outcomes import Denied, ToolResult, result_of
from ..core.result import Pending, PendingKind
from ..tools import failure_of
from ..tools.approval import Allow, ApprovalPolicy, Ask, Deny, ProposedCall, Verdict
from .job import Job
from .timers import Timer

if TYPE_CHECKING:
    from .actor import Actor
    from .hooks.run import Run
    from .turn import Turn

CHECK_TIMEOUT_S = 30.0
"""How long a policy may take for one call."""
ALLOW = Allow()
UNCHECKED = Deny("it could not be checked whether it is allowed")
NOBODY = Deny("there is nobody who could answer; decide by yourself, or do without")


class _Place:
    """A call in the line. `verdict` is None while the policy thinks, `failed` says why it could not be asked; `ready` once hooks have had their
    say as well. For the rest see `hooks.at_door`."""

    __slots__ = ("changed", "failed", "job", "ready", "result", "run", "task", "timer", "verdict")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.verdict: Verdict | None = None
        self.failed = ""
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None
        self.ready = self.changed = False
        self.result: ToolResult | None = None
        self.run: Run | None = None


class Door:
    """The line of calls of one turn. `enter` takes a call that runs, `say` an input about one that does not, and `settled` is told
    when calls have gone through outside of `bring`."""

    __slots__ = ("_bringing", "_context", "_enter", "_line", "_say", "_session", "_settled", "_turn")

    def __init__(
        self,
        session: Actor[Any],
        turn: Turn,
        context: contextvars.Context,
        enter: Callable[[Job], None],
        say: Callable[[Input], None],
        settled: Callable[[], None],
    ) -> None:
        self._session = session
        self._turn = turn
        self._context = context
        self._enter = enter
        self._say = say
        self._settled = settled
        self._line: deque[_Place] = deque()
        self._bringing = False

    def __contains__(self, call_id: str) -> bool:
        return bool(self._line) and any(place.job.id == call_id for place in self._line)

    def bring(self, job: Job, allowed: bool) -> None:
        """A call comes; `allowed` if somebody who was asked has said so."""
        policy = None if allowed else self._session.agent.approvals
        extended, run = self._turn.extended, None
        if policy is None and not self._line:
            if extended is not None and extended.before_calls and (hooked := self._turn.hooked) is not None:
                run = hooked.before_call(job)
            if run is None:
                self._allowed(job)
                return
        place = _Place(job)
        place.run = run
        self._line.append(place)
        self._bringing = True
        if policy is None:
            place.verdict = ALLOW
            self._decided(place)
        else:
            self._ask(place, policy)
        self._bringing = False
        self._let_through()

    def forget(self, call_ids: Collection[str]) -> None:
        """These calls have their outcome."""
        for place in [p for p in self._line if p.job.id in call_ids]:
            self._drop(place)
            self._line.remove(place)
        self._let_through()

    def close(self) -> None:
        """Nobody comes through any more."""
        for place in self._line:
            self._drop(place)
        self._line.clear()

    # --- asking the policy --------------------------------------------------------------------------------------------

    def _ask(self, place: _Place, policy: ApprovalPolicy) -> None:
        job, runtime = place.job, self._session.runtime
        place.failed = ""
        context = self._session.tool_context(job.call, self._turn, None)
        proposed = ProposedCall(job.id, job.tool, job.args, job.call.arguments, context)
        try:
            said = self._context.copy().run(policy, proposed)
        except Exception as error:
            self._unchecked(place, failure_of(error).message)
            return
        if not inspect.isawaitable(said):
            self._answered(place, said)
            return
        place.timer = runtime.timers.at(runtime.loop.time() + CHECK_TIMEOUT_S, partial(self._late, place))
        place.task = runtime.start(self._wait(place, said), self._context.copy())

    async def _wait(self, place: _Place, said: Awaitable[Verdict]) -> None:
        try:
            verdict = await said
        except asyncio.CancelledError:
            if place.verdict is None and place in self._line:
                self._unchecked(place, "The check was cancelled.")
            raise
        except Exception as error:
            self._unchecked(place, failure_of(error).message)
        else:
            self._answered(place, verdict)

    def _late(self, place: _Place) -> None:
        task = place.task
        self._unchecked(place, f"The check did not end within {CHECK_TIMEOUT_S:g} s.")
        if task is not None:
            task.cancel()

    def _unchecked(self, place: _Place, why: str) -> None:
        if place.verdict is None:
            job, place.failed = place.job, why
            self._session.notice(
                self._turn, Notice("approval_failed", f"{job.tool.name} ({job.id}) is not allowed: {why}")
            )
        self._answered(place, UNCHECKED)

    def _answered(self, place: _Place, verdict: object) -> None:
        if place.verdict is not None or place not in self._line:
            return  # too late
        if not isinstance(verdict, Allow | Ask | Deny):
            self._unchecked(place, f"The policy gave a {type(verdict).__name__}, not Allow, Ask or Deny.")
            return
        place.verdict = verdict
        self._disarm(place)
        from .audit.said import judged

        self._say(judged(place.job, verdict, place.failed))
        self._decided(place)
        if not self._bringing:
            self._let_through()
            self._settled()

    # --- asking hooks -------------------------------------------------------------------------------------------------

    def _decided(self, place: _Place) -> None:
        """The policy has spoken. Where there are hooks, they are heard before that holds."""
        extended = self._turn.extended
        if extended is not None and extended.before_calls:
            from .hooks.at_door import hear

            if hear(self._session, self._turn, place, partial(self._heard_later, place)):
                return
        self._heard(place)

    def _heard(self, place: _Place) -> None:
        """A call that hooks have changed is asked for once more, as it will run (rule P2)."""
        changed, place.changed = place.changed, False
        policy = self._session.agent.approvals
        if changed and policy is not None and place.result is None:
            place.verdict = None
            self._ask(place, policy)
        else:
            place.ready = True

    def _heard_later(self, place: _Place) -> None:
        if place not in self._line:
            return
        self._bringing = True
        self._heard(place)
        self._bringing = False
        self._let_through()
        self._settled()

    def _drop(self, place: _Place) -> None:
        self._disarm(place)
        if place.run is not None:
            place.run.drop()
        if place.task is not None:
            place.task.cancel()

    def _disarm(self, place: _Place) -> None:
        if place.timer is not None:
            self._session.runtime.timers.cancel(place.timer)
            place.timer = None

    # --- through ------------------------------------------------------------------------------------------------------

    def _let_through(self) -> None:
        while self._line and self._line[0].ready and (verdict := self._line[0].verdict) is not None:
            place = self._line.popleft()
            if place.result is not None:
                self._say(CallEnded(place.result))
            else:
                self._through(place.job, verdict)

    def _through(self, job: Job, verdict: Verdict) -> None:
        match verdict:
            case Deny(reason=reason):
                self._say(CallEnded(result_of(job.id, Denied(reason))))
            case Ask():
                self._wait_for(job, "approval", verdict.reason, verdict.expires_in_s)
            case Allow():
                self._allowed(job)

    def _allowed(self, job: Job) -> None:
        kind, questions = job.tool.kind, self._session.agent.questions
        if kind == "function" or (kind == "question" and callable(questions)):
            self._enter(job)
        elif kind == "question" and questions == "decline":
            self._through(job, NOBODY)
        else:
            self._wait_for(job, kind, "", job.tool.expires_in_s)

    def _wait_for(self, job: Job, kind: PendingKind, reason: str, expires_in_s: float | None) -> None:
        """Somebody else is needed; nothing here waits with the call."""
        expires_at = None
        if expires_in_s is not None:
            expires_at = self._session.runtime.clock.wall() + expires_in_s
            waits = Pending(job.id, job.tool.name, job.call.arguments, kind, reason, expires_at)
            self._session.expiry.watch((waits,))
        self._say(CallWaits(job.id, kind, reason, expires_at, *job.instead))
