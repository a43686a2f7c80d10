"""The circuit breaker of a hook: one that fails again and again is not called for a while, and then tried once.

What counts is the share of failures among the last calls, and only once there were enough of them: so two slow calls in ten thousand open
nothing. What an open breaker means is the hook's own fail mode: one that fails open is skipped, one that fails closed blocks.
"""

from __future__ import annotations

from typing import Literal

WINDOW_CALLS = 64
"""How many of the last calls are looked at."""
LEAST_CALLS = 8
"""With fewer calls than that in the window, nothing opens."""
FAILED_SHARE = 0.5
OPEN_S = 30.0
"""How long a hook is left alone at first; twice as long each time that its trial fails."""
LONGEST_S = 600.0

_WINDOW = (1 << WINDOW_CALLS) - 1

BreakerState = Literal["closed", "open", "half_open"]


class Breaker:
    """`failed` has a bit for each of the last calls, set for those that failed; `opened` is when it may be tried again (loop time), None while
    it is closed."""

    __slots__ = ("_from", "_open_s", "_trying", "failed", "opened")

    def __init__(self) -> None:
        self.failed = 0
        self.opened: float | None = None
        self._from = 0
        self._open_s = OPEN_S
        self._trying = False

    @property
    def state(self) -> BreakerState:
        if self.opened is None:
            return "closed"
        return "half_open" if self._trying else "open"

    def lets(self, now: float) -> bool:
        """Whether an open breaker lets a call through: one, when its time is up."""
        if self.opened is None:
            return True
        if self._trying or now < self.opened:
            return False
        self._trying = True
        return True

    def went_well(self, calls: int) -> None:
        """The `calls`th call of all ended as it should. Need not be told while `failed` is 0 and the breaker closed."""
        if self.opened is not None:
            self.opened, self._trying, self._open_s = None, False, OPEN_S
            self.failed, self._from = 0, calls
        self.failed = self.failed << 1 & _WINDOW

    def went_wrong(self, now: float, calls: int) -> bool:
        """The `calls`th call of all failed, or took too long; True if the breaker opens now."""
        if self.opened is not None:
            if self._trying:
                self._open_s = min(LONGEST_S, self._open_s * 2)
                self.opened, self._trying = now + self._open_s, False
            return False
        self.failed = (self.failed << 1 | 1) & _WINDOW
        seen = min(WINDOW_CALLS, calls - self._from)
        if seen < LEAST_CALLS or self.failed.bit_count() < FAILED_SHARE * seen:
            return False
        self.opened = now + self._open_s
        return True

    def was_cut_off(self) -> None:
        """A trial came to no end: the next call is one."""
        self._trying = False
