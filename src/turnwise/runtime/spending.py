"""What one turn spends, and what follows from it between its steps: limits that only the driver can weigh, warnings, reminders, and
conditions to stop. The machine decides; here is what it is told.

A request is weighed when its size is known, before it is sent (rule H3): `weigh` holds back an estimate of it in the turn's budget and
in those of all turns above it, `count` puts in its place what it took.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.budget import NO_ESTIMATE, Estimate, Remaining, Spent, low, spent_of
from ..core.errors import ErrorInfo
from ..core.events import Event, Notice
from ..core.events_rare import BudgetLow, CacheBroken
from ..core.inputs import CallModel, Halted, Input, ModelFailed, ModelReplied
from ..core.inputs_rare import CompactionEnded, LimitHit, SpentElsewhere, Stop
from ..core.limits import Limits
from ..core.settings import AGENTS_OWN
from ..core.state import TurnState
from ..core.step import Step, last_step
from ..core.usage import Usage
from ..models.secrets import mask
from . import log, process
from .budget import CURRENT, Budget, Nested
from .cache_breaks import cause_of_break, sent
from .reminders import ReminderContext, to_conclude, written
from .sizes import DENSE, SMALLEST_WINDOW

if TYPE_CHECKING:
    from .actor import Actor
    from .attempt import Attempt
    from .budgets.purse import Purse
    from .plan import TurnPlan
    from .turn import Turn

StopCondition = Callable[[Step], bool | str]
"""Looks at a step that asked for tools, when their results are in: true ends the turn there (reason `stopped`), a text is its cause.
Called on the event loop: it must not wait."""

COUNTED = frozenset((ModelReplied, ModelFailed, Halted, CompactionEnded, SpentElsewhere, Stop))
"""Inputs that say what was used."""


LIGHT_SHARE = 0.5
LIGHT_TOKENS = int(SMALLEST_WINDOW * LIGHT_SHARE)
LIGHT_BYTES = int(LIGHT_TOKENS / DENSE)
"""A request below these fits any model, unless a session has a window of its own or is compacted very early."""


class Spending:
    """The account of one turn while it is driven. `budget` is handed down to the runs that its tools start."""

    __slots__ = (
        "_before_s",
        "_began",
        "_compacts_early",
        "_is_counted",
        "_is_plain",
        "_judged",
        "_low",
        "_session",
        "_turn",
        "budget",
    )

    def __init__(self, session: Actor[Any], turn: Turn, limits: Limits) -> None:
        """Raises `BudgetError` (`depth_limit`) if the turn would be nested too deep."""
        self._session = session
        self._turn = turn
        resumed = session.state.turn if session.state.running else None
        limits = limits if resumed is None else resumed.limits
        spent = Spent() if resumed is None else _spent_by(resumed)
        purse = _purse(session, resumed is not None)
        self.budget = Budget(limits, CURRENT.get(), nested=self._nested, spent=spent, purse=purse)
        self.budget.may_nest()
        self._began = session.runtime.loop.time()
        self._before_s = spent.wall_time_s
        self._low = set[str]() if resumed is None else {one.limit for one in low(limits, spent)}
        self._is_plain = limits.tokens is None and limits.cost is None and limits.wall_time_s is None
        self._is_plain = self._is_plain and not limits.per_tool and purse is None
        compaction = session.agent.compaction
        self._compacts_early = session.agent.overrides is not None or (
            compaction is not None and compaction.at < LIGHT_SHARE
        )
        self._judged = 0
        self._is_counted = False

    @property
    def elapsed_s(self) -> float:
        """For how long the turn has gone on, without the time for which it was parked."""
        return self._before_s + self._session.runtime.loop.time() - self._began

    @property
    def wall_time_ends(self) -> float | None:
        """When the limit of wall time is reached, in loop time."""
        bound = self.budget.limits.wall_time_s
        return None if bound is None else self._began + max(0.0, bound - self._before_s)

    def remaining(self) -> Remaining:
        """What is left of the turn's limits. Callable from any thread."""
        return self.budget.remaining(self.elapsed_s)

    # --- before a model call ----------------------------------------------------------------------------------------

    def stops(self, asked: CallModel) -> bool:
        """Whether a condition ends the turn in place of this model call; the machine is told."""
        conditions = self._turn.plan.stop_when
        if not conditions or asked.step == self._judged or asked.attempt > 1 or asked.concluding:
            return False
        self._judged = asked.step
        step = last_step(self._session.state.history, asked.turn)
        if step is None:
            return False
        for condition in conditions:
            try:
                said = condition(step)
            except Exception as error:
                self._session.post(ModelFailed(_broken(condition, error)))
                return True
            if said:
                self._session.post(Stop(said if isinstance(said, str) else _name(condition)))
                return True
        return False

    def reminder(self, asked: CallModel) -> str:
        """What the model is told at the end of this request."""
        plan = self._turn.plan
        if not plan.reminders and not asked.concluding:
            return ""
        session, said = self._session, list[str]()
        context = ReminderContext(
            asked.turn, asked.step, session.runtime.clock.wall(), self.remaining(), session.id, plan.context
        )
        for reminder in plan.reminders:
            try:
                text = reminder(context)
            except Exception as error:
                what = mask(f"{_name(reminder)} raised {type(error).__name__}: {error}")
                self._tell([Notice("reminder_failed", f"A reminder is left out: {what}")])
                continue
            if text and text.strip():
                said.append(text)
        if asked.concluding:
            said.append(to_conclude(asked.concluding))
        return written(said)

    def is_light(self, attempt: Attempt, body_bytes: int) -> bool:
        """Whether there is nothing to weigh in a request: it fits any model, no limit but those of the machine bounds it, and it
        begins with what was sent before, or is the first."""
        session, asked = self._session, attempt.asked
        state, before = session.state, session.last_sent
        if not self._is_plain or self.budget.weighs or asked.must_compact or asked.concluding or self._compacts_early:
            return False
        if body_bytes > LIGHT_BYTES or (state.context_tokens or 0) > LIGHT_TOKENS or state.settings is not AGENTS_OWN:
            return False
        transcript = state.transcript
        if before is not None and (
            before.head is not attempt.head
            or state.views
            or len(transcript) < before.messages
            or (before.messages and transcript[before.messages - 1] is not before.last_message)
        ):
            return False
        session.last_sent = sent(attempt.target, attempt.head, state)
        return True

    def weigh(self, attempt: Attempt, request_tokens: int) -> bool:
        """The last look at a request that is about to be sent: False if a limit forbids it, and then the machine is told."""
        session, asked, target = self._session, attempt.asked, attempt.target
        limits = self.budget.limits
        if limits.wall_time_s is not None and self.elapsed_s >= limits.wall_time_s:
            session.post(LimitHit("wall_time"))
            return False
        if self.budget.weighs:
            cost = target.facts.cost_usd(Usage(request_tokens, 0), session.runtime.clock.wall()) or 0.0
            coming = Estimate(request_tokens, cost) if request_tokens or cost else NO_ESTIMATE
            if cause := self.budget.hold(coming, concluding=bool(asked.concluding)):
                session.post(LimitHit(cause))
                return False
        now = sent(target, attempt.head, session.state)
        before, session.last_sent = session.last_sent, now
        if before is not None and (broken := cause_of_break(before, now, session.state)) is not None:
            self._tell([CacheBroken(asked.turn, asked.step, broken)])
        return True

    # --- after it ---------------------------------------------------------------------------------------------------

    def count(self, given: Input) -> None:
        """Put down what an input of those in `COUNTED` says was used."""
        if isinstance(given, ModelReplied):
            self.budget.settle(given.message.usage, committed=True)
        elif isinstance(given, ModelFailed | Halted | Stop):
            if isinstance(given, ModelFailed):
                log.attempt_failed(self._session, given)
            self.budget.settle(given.usage, committed=False)
        elif isinstance(given, CompactionEnded | SpentElsewhere) and given.usage is not None and not self._is_counted:
            self.budget.add(given.usage)
        self._warn()

    def _warn(self) -> None:
        """Tell of limits that have become low, once for each."""
        if self._is_plain and self.budget.is_far():
            return
        limits, spent = self.budget.limits, self.budget.spent(self.elapsed_s)
        shared = () if self.budget.purse is None else self.budget.purse.low()
        fresh = [one for one in (*low(limits, spent), *shared) if one.limit not in self._low]
        if fresh:
            self._low.update([one.limit for one in fresh])
            number = self._session.state.turns
            self._tell([BudgetLow(number, one.limit, one.used, one.bound) for one in fresh])

    def close(self) -> None:
        """The turn is over, or parked."""
        self.budget.close()

    def _nested(self, nested: Nested) -> None:
        """A nested run has ended, on whatever loop."""
        loop = self._session.runtime.loop
        if process.in_loop(loop):
            self._put_down(nested)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the turn with it
                loop.call_soon_threadsafe(self._put_down, nested)

    def _put_down(self, nested: Nested) -> None:
        session = self._session
        if not session.is_driving(self._turn):
            return
        self._warn()
        self._is_counted = True  # while it ran
        folded = session.fold(SpentElsewhere(nested.usage, nested.steps, nested.calls))
        self._is_counted = False
        if folded:
            session.advance()

    def _tell(self, events: list[Event]) -> None:
        if self._session.is_driving(self._turn):
            self._turn.tell_all(events)


def costs_are_bounded(session: Actor[Any], plan: TurnPlan) -> bool:
    """Whether the cost of a turn is limited, by itself or by a budget that it shares with others."""
    if plan.limits.cost is not None:
        return True
    if not _has_budgets(session):
        return False
    from .budgets.purse import bounds_cost

    return bounds_cost(session, _above())


def _purse(session: Actor[Any], resumed: bool) -> Purse | None:
    """What a turn shares with others, if there are budgets; most turns have none."""
    if not _has_budgets(session):
        return None
    from .budgets.purse import Purse

    return Purse(session, _above(), resumed=resumed)


def _has_budgets(session: Actor[Any]) -> bool:
    """Whether a turn shares any; for most of them three looks say no."""
    ledger, above = session.runtime.ledger, CURRENT.get()
    if ledger is None and above is None:
        return session.agent.budgets != ()
    shared = ledger is not None and ledger.budgets != ()
    return shared or session.agent.budgets != () or (above is not None and above.purse is not None)


def _above() -> Purse | None:
    """That of the turn whose tool begins this one."""
    budget = CURRENT.get()
    return None if budget is None else budget.purse


def _spent_by(turn: TurnState) -> Spent:
    """What a parked turn had used."""
    return spent_of(
        turn.usage,
        steps=turn.steps + turn.nested_steps,
        calls=turn.calls + turn.nested_calls,
        wall_time_s=max(0.0, turn.parked_at - turn.began_at - turn.rested_s),
        per_tool=turn.called,
    )


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _broken(condition: StopCondition, error: Exception) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "stop_condition_failed",
        mask(f"The stop condition {_name(condition)} failed: {type(error).__name__}: {error}"),
        "Correct it: a turn whose condition cannot be told is not let run on.",
        detail=type(error).__name__,
    )
