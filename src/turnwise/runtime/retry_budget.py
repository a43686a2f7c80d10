"""Retries left per provider key, shared by all sessions of a runtime, so that an outage is not answered with a storm.

A token bucket: each retry takes one, a finished call gives a tenth back, and time refills it. The turn machine decides that a
step may be retried; this only says whether there is budget. Not persisted.
"""

from __future__ import annotations

from ..core.protocols import Clock

CAPACITY = 50.0
REFILL_PER_S = 0.5
EARNED_BY_SUCCESS = 0.1


class RetryBudget:
    """The bucket of one provider key."""

    __slots__ = ("_clock", "_left", "_seen")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = CAPACITY
        self._seen = clock.monotonic()

    def may_retry(self) -> bool:
        """Whether a retry is left; takes none."""
        now = self._clock.monotonic()
        self._left = min(CAPACITY, self._left + (now - self._seen) * REFILL_PER_S)
        self._seen = now
        return self._left >= 1

    def take(self) -> None:
        """A retry is made."""
        self._left -= 1

    def earn(self) -> None:
        """A call succeeded."""
        if self._left < CAPACITY:
            self._left = min(CAPACITY, self._left + EARNED_BY_SUCCESS)


class RetryBudgets:
    """The buckets of a runtime, by what identifies a provider key."""

    __slots__ = ("_by_key", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_key: dict[object, RetryBudget] = {}

    def of(self, key: object) -> RetryBudget:
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = RetryBudget(self._clock)
        return found
