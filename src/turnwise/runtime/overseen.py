"""What watches over a running turn beside its driver: its deadlines, and the progress reports of its tools."""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING, Any, cast

from ..core.errors import TurnwiseError
from ..core.events import Event, Notice, StepStarted, ToolProgress
from ..core.inputs import CallModel, Input, Interrupt, ModelFailed
from ..core.result import TurnWarning
from ..tools import ToolHost
from . import log, process
from .artifacts import SessionArtifacts
from .attempt import Attempt
from .extensions import enter, extended_of, wrapped
from .observer import tell_beside
from .plan import Begin, Target, TurnPlan
from .spending import Spending
from .timers import Timer
from .watched import WatchedStream

if TYPE_CHECKING:
    from ..core.content import Body
    from ..core.result import TurnResult
    from ..store.scopes import State
    from ..tools.output import OutputSpec
    from .actor import Actor
    from .attachments import Prompt
    from .calls import Calls
    from .extensions import Extended
    from .hooks.hooked import Hooked
    from .middleware.turns import Wrapping
    from .output import Answered
    from .turn import Turn

MAX_UNREAD_PROGRESS = 1000
"""Progress reports that wait for a consumer; when there are more, further ones are dropped until it reads."""


class Overseen(WatchedStream):
    """The part of a turn that looks at the time, and that its tools and hooks talk to. `extended` is what is added to it by now (hooks,
    middleware), `hooked` what it knows of its hooks, if it has any, and `wrapping` what is around all of it. `warnings` are of what it has
    lost; `rewords`: its result is not told as the journal has it."""

    __slots__ = (
        "_calls",
        "_context",
        "_deadline",
        "_host",
        "_progress",
        "_told",
        "_watch",
        "extended",
        "hooked",
        "plan",
        "probed",
        "rewords",
        "spending",
        "warnings",
        "wrapping",
    )
    _calls: Calls | None
    plan: TurnPlan
    spending: Spending
    _context: contextvars.Context

    def __init__(self, session: Actor[Any]) -> None:
        super().__init__(session)
        self._host: ToolHost | None = None
        self._watch: Timer | None = None
        self._deadline: float | None = None
        self._progress = 0
        self.warnings: tuple[TurnWarning, ...] = ()
        self.rewords = False
        self.probed: Any = None
        self._told = (0, 0)
        self.extended: Extended | None = None
        self.hooked: Hooked | None = None
        self.wrapping: Wrapping | None = None

    @property
    def session(self) -> Actor[Any]:
        """Whose turn it is."""
        return self._session

    @property
    def variables(self) -> contextvars.Context:
        """The context variables that its caller had."""
        return self._context

    @variables.setter
    def variables(self, context: contextvars.Context) -> None:
        self._context = context

    @property
    def guards_results(self) -> bool:
        """Whether a hook or middleware has to see what tools say before anybody else does."""
        if self.extended is None:
            return False
        chain, around = self.extended.hooks.get("tool.after"), self.extended.middleware.get("tool")
        return (chain is not None and chain.guards) or (around is not None and around.guards)

    @staticmethod
    def answers_to(output: OutputSpec) -> Answered:
        """What checks the answers of a turn that was asked for this output."""
        from .output import Answered

        return Answered(output)

    def replan(self) -> bool:
        """Take the session's settings as they are now; False if they cannot be used, which ends the turn."""
        session, turn = self._session, cast("Turn", self)
        try:
            self.plan = session.plan_of(turn)
        except TurnwiseError as error:
            session.post(ModelFailed(error.info))
            return False
        session.machine.policy = self.plan.policy
        return True

    async def hook_beginning(
        self, opening: Prompt | Begin, body: Body | None, plan: TurnPlan
    ) -> tuple[Prompt | Begin, Body | None]:
        """How the turn begins after hooks have had their say. Raises `HookError` if it does not."""
        from .hooks.at_turn import before_turn

        return await before_turn(self._session, cast("Turn", self), opening, body, plan)

    def attempt_of(self, asked: CallModel, target: Target) -> Attempt:
        """The attempt that is to be made, with what is around it by now."""
        session = self._session
        extended = self.extended = extended_of(session)
        if extended is not None and (chain := extended.middleware.get("model")) is not None:
            return wrapped(chain, cast("Turn", self), asked, target)
        return Attempt(asked, target, self.plan.deadlines, session.runtime, cast("Turn", self).answered)

    async def begin_within(self, extended: Extended, opening: Prompt | Begin) -> Prompt | Begin:
        """What the turn begins with, once the middleware around it has let it through. Raises what refuses it."""
        self.extended = extended
        chain = extended.middleware.get("turn")
        return opening if chain is None else await enter(chain, cast("Turn", self), opening)

    def never_began(self, error: BaseException) -> None:
        """It was refused before it began."""
        if self.wrapping is not None:
            self.wrapping.never_began(error)

    def call_off(self) -> None:
        """It is not wanted any more, and has not begun."""
        if self.wrapping is not None:
            self.wrapping.call_off()
        if self.hooked is not None:
            self.hooked.cut()

    def hook_step(self, attempt: Attempt) -> bool:
        """Give the attempt the hooks of its step; True if they come before it is told that it begins."""
        from .hooks.at_step import hook_step

        return hook_step(cast("Turn", self), attempt)

    def begin_calls(self) -> None:
        """Journal what came of checking the calls that were admitted."""
        if self._calls is not None:
            self._calls.journal()

    def launch(self) -> None:
        """Start the tools of calls that were admitted and journalled."""
        if self._calls is not None:
            self._calls.launch()

    def forget_calls(self) -> None:
        """What was admitted came to nothing, and may have ended since."""
        self._calls = None

    def hook_end(self, result: TurnResult) -> bool:
        """Have hooks see the end of the turn; False if none has to be waited for."""
        from .hooks.at_turn import after_turn

        return after_turn(self._session, cast("Turn", self), result)

    def announce(self, asked: CallModel, target: Target) -> None:
        """Tell that a model call begins; not again, if it was dropped before it was sent, and is made once more."""
        if self._told == (asked.step, asked.attempt):
            return
        self._told = asked.step, asked.attempt
        began = StepStarted(asked.turn, asked.step, asked.attempt, target.handle.model)
        self._out.append(began)
        for observer in self._session.runtime.observers:
            observer.told(self._session, cast("Turn", self), (began,))
        if asked.attempt > 1:
            log.tried_again(self._session, asked, target)
            target.budget.take()

    def replied(self, attempt: Attempt, given: Input) -> None:
        """What came of an attempt, later than its response was read."""
        if self._attempt is attempt:
            self._attempt = None
        self._session.post(given)
        self.wake()

    @property
    def host(self) -> ToolHost:
        """What tools of this turn may use of the runtime."""
        if self._host is None:
            runtime = self._session.runtime
            self._host = ToolHost(
                runtime.clock,
                runtime.spawn,
                self._report,
                SessionArtifacts(self._session),
                self.spending.remaining,
                self._state_for,
                lambda: runtime.transport,
            )
        return self._host

    def _state_for(self, call_id: str) -> State:
        """The scoped state that a tool's call can reach."""
        from .scoped_state import state_of

        return state_of(self._session, call_id)

    def tell(self, events: list[Event]) -> None:
        """Hand events to the consumer, which need not be waiting."""
        self._out += events
        self.wake()

    def tell_all(self, events: list[Event]) -> None:
        """Tell what is in no entry of the journal: the consumer, and the bus."""
        self.tell(events)
        if self._session.runtime.observers:
            tell_beside(self._session, cast("Turn", self), events)

    def _report(self, call_id: str, message: str, data: Any) -> None:
        """A tool's progress, from any thread."""
        loop, progress = self._session.runtime.loop, ToolProgress(call_id, message, data)
        if process.in_loop(loop):
            self._tell_progress(progress)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(self._tell_progress, progress)

    def _tell_progress(self, progress: ToolProgress) -> None:
        """Dropped while too many wait for a consumer that does not read (rule C4)."""
        if self._result is not None:
            return
        self._progress += 1
        if self._progress <= MAX_UNREAD_PROGRESS:
            self.tell([progress])
        elif self._progress == MAX_UNREAD_PROGRESS + 1:
            self.tell([Notice("progress_dropped", "Progress reports are dropped until the stream is read.")])
        if self._progress > MAX_UNREAD_PROGRESS:
            self._session.runtime.count_dropped("progress")

    def _disarm_watch(self) -> None:
        if self._watch is not None:
            self._session.runtime.timers.cancel(self._watch)
            self._watch = None

    def arm_watch(self) -> None:
        """One timer per turn looks at all its deadlines. It comes round often enough to see each phase run out exactly:
        a phase that begins between two looks is seen at the next one, which is no later than its own end."""
        if self._watch is not None or self._result is not None:
            return
        plan, runtime = self.plan, self._session.runtime
        now = runtime.loop.time()
        due = self._deadline
        if due is None and plan.deadlines.turn_s is not None:
            due = self._deadline = now + plan.deadlines.turn_s
        if (ends := self.spending.wall_time_ends) is not None:
            due = ends if due is None else min(due, ends)
        if plan.watch_s is not None and (due is None or now + plan.watch_s < due):
            due = now + plan.watch_s
        attempt = self._attempt
        if attempt is not None and attempt.waiting_since is not None and attempt.patience_s is not None:
            due = min(due or now + attempt.patience_s, attempt.waiting_since + attempt.patience_s)
        if due is not None:
            self._watch = runtime.timers.at(due, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._result is not None:
            return
        now = self._session.runtime.loop.time()
        if self._deadline is not None and now >= self._deadline:
            self._session.post(Interrupt("timeout"))
            return
        if (ends := self.spending.wall_time_ends) is not None and now >= ends:
            self._session.post(Interrupt("wall_time"))
            return
        attempt = self._attempt
        if attempt is not None and attempt.overdue(now):
            self._attempt = None
            self._session.post(attempt.give_up())
            self.wake()
        self.arm_watch()
