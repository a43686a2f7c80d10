"""What was spent of one budget by one session, agent, user or tenant, as far as this process knows, and what is held back for requests
under way.

What is kept elsewhere is in `base`, as of when that was last read; what this process spent since, in `unsaved`. All of it is arithmetic
under a lock: runs nested in a turn may be on other loops.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from ...core.budget import Estimate
from ...core.budgets import NOTHING, ONE_TURN, Budget, BudgetStatus, Per, Used, forbidden, left_of, no_turn, window_at
from ...core.protocols import Clock

if TYPE_CHECKING:
    from .ledger import Ledger


class Key(NamedTuple):
    """Which account: whose budget it is (an agent's name; "": the runtime's), for whom, and which budget."""

    agent: str
    per: Per
    tenant: str
    subject: str
    name: str
    window_s: float | None


Budgets = tuple[Budget, ...]
"""All that bound one account, by different things."""


class Account:
    """`ledger` keeps it beyond the process; None if its journal does. `terms` are the budgets that were asked of it lately."""

    __slots__ = ("__weakref__", "_base", "_clock", "_held", "_lock", "_unsaved", "_window", "key", "ledger", "terms")

    def __init__(self, key: Key, clock: Clock, ledger: Ledger | None = None) -> None:
        self.key = key
        self.ledger = ledger
        self.terms: Budgets = ()
        self._clock = clock
        self._lock = threading.Lock()
        self._base = self._unsaved = self._held = NOTHING
        self._window = window_at(key.window_s, clock.wall())

    # --- spending -----------------------------------------------------------------------------------------------------

    def look(self, budgets: Budgets) -> str:
        """The cause by which nothing more may be sent; "" if something may."""
        with self._lock:
            spent = self._spent() + self._held
            return next((cause for budget in budgets if (cause := forbidden(budget, spent))), "")

    def hold(self, budgets: Budgets, coming: Estimate, held: Used) -> str:
        """Hold back `held` for a request; "" if all of these allow it, else the cause, and then nothing is held."""
        with self._lock:
            spent = self._spent() + self._held
            for budget in budgets:
                if cause := forbidden(budget, spent, coming):
                    return cause
            self._held += held
        return ""

    def settle(self, held: Used, took: Used) -> None:
        """What `held` was held back for took `took`."""
        with self._lock:
            self._spent()
            self._held -= held
            self._unsaved += took

    def take_turn(self, budgets: Budgets) -> str:
        """Count a turn that begins; "" if all of these allow it, else the cause, and then it is not counted."""
        with self._lock:
            begun = self._spent().turns
            for budget in budgets:
                if cause := no_turn(budget, begun):
                    return cause
            self._unsaved += ONE_TURN
        return ""

    def give_turn_back(self) -> None:
        """It did not begin after all."""
        self.settle(NOTHING, NOTHING - ONE_TURN)

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """The number of the window that the clock is in."""
        with self._lock:
            self._spent()
            return self._window

    @property
    def spent(self) -> Used:
        """What is known to be spent in this window."""
        with self._lock:
            return self._spent()

    @property
    def committed(self) -> Used:
        """The same with what is held back."""
        with self._lock:
            return self._spent() + self._held

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, nor unsaved."""
        return self._held == NOTHING and self._unsaved == NOTHING

    def status(self, budget: Budget) -> BudgetStatus:
        key = self.key
        with self._lock:
            spent, held, window = self._spent(), self._held, self._window
        return BudgetStatus(
            budget=budget,
            agent=key.agent,
            tenant=key.tenant,
            subject=key.subject,
            spent=spent,
            held=held,
            left=left_of(budget, spent + held),
            resets_at=None if key.window_s is None else (window + 1) * key.window_s,
        )

    # --- keeping ------------------------------------------------------------------------------------------------------

    def unsaved(self) -> tuple[int, Used]:
        """What is not written yet, and in which window it was spent."""
        with self._lock:
            self._spent()
            return self._window, self._unsaved

    def saved(self, window: int, amount: Used, base: Used) -> None:
        """Of what was unsaved, `amount` is part of `base` now, which is all that is known to be spent elsewhere."""
        with self._lock:
            self._spent()
            if window == self._window:
                self._base = base
                self._unsaved -= amount

    def begin_anew(self, window: int, base: Used) -> None:
        """All that was spent is in `base`, what was noted here included."""
        with self._lock:
            self._spent()
            self._base = base if window == self._window else NOTHING
            self._unsaved = NOTHING

    def _spent(self) -> Used:
        window = window_at(self.key.window_s, self._clock.wall())
        if window > self._window:  # a clock that is set back opens no window again
            self._window, self._base, self._unsaved = window, NOTHING, NOTHING
        return self._base + self._unsaved
