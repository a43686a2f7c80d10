"""Bounds on what is sent to one provider key, shared by all sessions of a runtime: requests at once, and per minute.

A request waits its turn before it is sent; interrupting the turn ends the waiting. What a provider then still refuses is
retried by the turn machine like any other failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from ..core.errors import config_error

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter


class ProviderLimits(msgspec.Struct, frozen=True):
    """What may be sent to a provider with one key; None means no bound.

    `concurrency` bounds the requests under way at once, from sending to the end of the response. `requests_per_minute` and
    `tokens_per_minute` are leaky buckets: bursts up to the bound, then evenly. Tokens are estimated at four bytes of request each.
    """

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise config_error(
                    "invalid_value", f"ProviderLimits({name}={value}) lets nothing through.", "Use 1 or more."
                )


class Gate:
    """Lets requests to one provider key through. `enter` before sending, `leave` once for each `enter` that returned."""

    __slots__ = ("_requests", "_slots", "_tokens", "waiting")

    def __init__(self, limits: ProviderLimits) -> None:
        self._slots = None if limits.concurrency is None else asyncio.Semaphore(limits.concurrency)
        self._requests = _limiter(limits.requests_per_minute)
        self._tokens = _limiter(limits.tokens_per_minute)
        self.waiting: int = 0

    async def enter(self, tokens: int) -> None:
        """Wait until a request of about so many tokens may be sent. Cancelling it takes nothing."""
        self.waiting += 1
        try:
            if self._slots is not None:
                await self._slots.acquire()
            try:
                if self._requests is not None:
                    await self._requests.acquire()
                if self._tokens is not None:
                    await self._tokens.acquire(max(1.0, min(tokens, self._tokens.max_rate)))
            except BaseException:
                self.leave()
                raise
        finally:
            self.waiting -= 1

    def leave(self) -> None:
        """The response has ended, or was given up."""
        if self._slots is not None:
            self._slots.release()


class Gates:
    """The gates of a runtime. `limits` are by provider name; `"*"` is for all that are not named."""

    __slots__ = ("_by_key", "_limits")

    def __init__(self, limits: Mapping[str, ProviderLimits]) -> None:
        self._limits = limits
        self._by_key: dict[object, Gate] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait their turn."""
        return sum([gate.waiting for gate in self._by_key.values()])

    def of(self, provider: str, key: object) -> Gate | None:
        """The gate of a provider key; None if nothing bounds it."""
        limits = self._limits.get(provider) or self._limits.get("*")
        if limits is None:
            return None
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = Gate(limits)
        return found


def _limiter(per_minute: float | None) -> AsyncLimiter | None:
    if per_minute is None:
        return None
    from aiolimiter import AsyncLimiter

    return AsyncLimiter(per_minute, 60)
