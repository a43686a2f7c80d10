"""The budgets of a tree of runs. A run that a tool starts spends from the limits of the turn it was started in, and from those of
every turn above that one (rule E9).

Each turn has a `Budget`, and a context variable hands it down to the runs that its tools start. What a model call will take at
least is held back in the whole line of budgets before the request is sent, and what it did take is counted when it has
ended: so runs that go on at the same time cannot spend the same tokens twice. All of this is in memory. What a nested run came to
in the end is told to the turn above it once, for its journal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from ..core.budget import NOTHING_SPENT, Estimate, Remaining, Spent, denial, least, reached, remaining, spent_of
from ..core.errors import BudgetError, ErrorInfo
from ..core.limits import NO_COUNTS, Counts, Limits
from ..core.usage import NO_USAGE, Usage

if TYPE_CHECKING:
    from .budgets.purse import Purse

CURRENT: ContextVar[Budget | None] = ContextVar("turnwise_budget", default=None)
"""Within the tools of a turn: its budget."""


class Nested(msgspec.Struct, frozen=True, gc=False):
    """What a run came to, those nested in it included."""

    usage: Usage
    steps: int
    calls: int


ONE_CALL = Spent(calls=1)


class Budget:
    """What one turn may spend, and what it has spent so far, nested runs included.

    `nested` takes what a nested run came to, once for each, on that run's thread. `spent` is what the turn had used when it was
    resumed. One model call at a time is held for. Safe for several threads: nested runs may be on other loops.
    """

    __slots__ = (
        "_by_tool",
        "_calls",
        "_coming",
        "_held",
        "_lock",
        "_nested",
        "_parent",
        "_spent",
        "_steps",
        "_used",
        "closed",
        "limits",
        "purse",
        "weighs",
    )

    def __init__(
        self,
        limits: Limits,
        parent: Budget | None = None,
        *,
        nested: Callable[[Nested], None] | None = None,
        spent: Spent = NOTHING_SPENT,
        purse: Purse | None = None,
    ) -> None:
        self.limits = limits
        self.purse = purse
        """The budgets that it shares with other turns (`budgets`), if there are any."""
        self.weighs = purse is not None or parent is not None or limits.tokens is not None or limits.cost is not None
        """Whether a model call is held against more than the machine keeps by itself: steps and calls of this turn."""
        self.closed = False
        self._parent = parent
        self._lock: threading.Lock = threading.Lock() if parent is None else parent._lock
        self._nested = nested
        self._spent = spent
        self._by_tool = dict(spent.per_tool)
        self._held = NOTHING_SPENT
        self._coming: Estimate | None = None
        self._used = NO_USAGE
        self._steps = self._calls = 0

    def may_nest(self) -> None:
        """Raise `BudgetError` (`depth_limit`) if the turn is nested deeper than one above it allows."""
        budget, depth = self._parent, 1
        while budget is not None:
            if budget.limits.depth is not None and depth > budget.limits.depth:
                raise _too_deep(depth, budget.limits.depth)
            budget, depth = budget._parent, depth + 1

    # --- model calls ------------------------------------------------------------------------------------------------

    def hold(self, coming: Estimate, *, concluding: bool = False) -> str:
        """Hold back what the next model call will take at least; "" if every limit of the line allows it. Else the limit that does
        not, and then nothing is held. A step that concludes a turn (`concluding`) is beyond the turn's own limits, and beyond no others."""
        if not self.weighs:
            return ""
        with self._lock:
            for budget in self._line():
                if concluding and budget is self:
                    continue
                if cause := reached(budget.limits, budget._spent + budget._held, coming):
                    return cause
            if self.purse is not None and (cause := self.purse.hold(coming)):
                return cause
            self._coming = coming
            for budget in self._line():
                budget._held += Spent(1, 0, coming.tokens, coming.cost)
        return ""

    def is_far(self) -> bool:
        """Whether much is left of the steps and calls of this turn; a look that costs next to nothing."""
        limits, spent = self.limits, self._spent
        steps, calls = limits.steps, limits.calls
        return (steps is None or spent.steps * 2 < steps) and (calls is None or spent.calls * 2 < calls)

    def settle(self, usage: Usage | None, *, committed: bool) -> None:
        """The model call has ended that something was held back for, and took `usage`. It is a step if its answer is committed."""
        with self._lock:
            requests = 0 if self._coming is None else 1
            self._let_go()
            self._add(usage, 1 if committed else 0)
        if self.purse is not None:
            self.purse.settle(usage, requests=requests)

    def add(self, usage: Usage) -> None:
        """Something else was used for the turn, such as a summary."""
        with self._lock:
            self._add(usage, 0)
        if self.purse is not None:
            self.purse.add(usage)

    def _add(self, usage: Usage | None, steps: int) -> None:
        took = Spent(steps)
        if usage is not None:
            took = spent_of(usage, steps=steps)
            self._used = usage if self._used is NO_USAGE else self._used + usage
        self._steps += steps
        if not self.closed:
            self._spent += took
        if self._parent is not None:
            for budget in self._parent._line():
                budget._spent += took

    def _let_go(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            for budget in self._line():
                budget._held += Spent(-1, 0, -coming.tokens, -coming.cost)

    # --- tool calls -------------------------------------------------------------------------------------------------

    def take_call(self, tool: str) -> str:
        """Count a tool call that is about to run; "" if the turns above allow it, else why not, in words for the model, and then it
        is not counted. The turn's own limits are kept by the machine, which denies calls before they come here."""
        with self._lock:
            above = () if self._parent is None else tuple(self._parent._line())
            for budget in above:
                bound = budget.limits.calls
                if bound is not None and budget._spent.calls >= bound:
                    return denial(budget.limits, "calls")
            self._calls += 1
            self._by_tool[tool] = self._by_tool.get(tool, 0) + 1
            if not self.closed:
                self._spent += ONE_CALL
            for budget in above:
                budget._spent += ONE_CALL
        return ""

    # --- looking and ending -----------------------------------------------------------------------------------------

    def remaining(self, elapsed_s: float = 0.0) -> Remaining:
        """What is left for this turn, those above it considered; it has gone on for `elapsed_s`."""
        with self._lock:
            spent = msgspec.structs.replace(
                self._spent + self._held, wall_time_s=elapsed_s, per_tool=Counts(self._by_tool)
            )
            left = remaining(self.limits, spent)
            if self.purse is not None:
                left = least(left, self.purse.remaining())
            for budget in self._line():
                if budget is not self:
                    above = remaining(budget.limits, budget._spent + budget._held)
                    left = least(left, msgspec.structs.replace(above, wall_time_s=None, per_tool=NO_COUNTS))
        return left

    def spent(self, elapsed_s: float = 0.0) -> Spent:
        """What was spent so far, nested runs included; the turn has gone on for `elapsed_s`."""
        with self._lock:
            return msgspec.structs.replace(self._spent, wall_time_s=elapsed_s, per_tool=Counts(self._by_tool))

    def close(self) -> None:
        """The turn is over: what is still held is let go, and the turn above is told what this one came to since its budget was made."""
        if self.purse is not None:
            self.purse.close()
        with self._lock:
            if self.closed:
                return
            self._let_go()
            above = next((budget for budget in self._line() if budget is not self), None)
            self.closed = True
            self._nested = None  # a pooled connection keeps the context of the turn that opened it, and so this budget
            if above is None:
                return
            came_to = Nested(self._used, self._steps, self._calls)
            above._steps += came_to.steps
            above._calls += came_to.calls
            above._used += came_to.usage
        if above._nested is not None:
            above._nested(came_to)

    def _line(self) -> Iterator[Budget]:
        """This budget and those above it, as far as their turns are not over: what outlives its turn is bounded by the next one."""
        budget: Budget | None = self
        while budget is not None:
            if not budget.closed:
                yield budget
            budget = budget._parent


def _too_deep(depth: int, bound: int) -> BudgetError:
    runs = "no run" if bound == 0 else f"runs nested {bound} deep"
    return BudgetError(
        ErrorInfo(
            "budget",
            "depth_limit",
            f"A tool tried to start a run {depth} deep, but a turn above it allows {runs}.",
            "Raise Limits(depth=…) of the outermost run, or see why agents call each other so deep.",
        )
    )
