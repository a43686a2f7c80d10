"""`rate_limit(requests_per_minute=60, per="tenant")`: so many in a minute. Bursts up to `burst`, then evenly; first come first served.

What waits too long is refused with an error that the machine may act on: it can be tried again, or go to another model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from typing import Any

from ....core.errors import ErrorInfo, ProviderError, config_error
from ....core.estimate import weigh
from ....core.messages import Message
from ..compose import Kind
from ..requests import EmbedRequest, ModelRequest
from ..response import Ended, ModelResponse
from .keys import Around, Per, check_per, key_of, kinds

BYTES_PER_TOKEN = 4
FORGET_EVERY = 256


class _Bucket:
    """A leaky bucket told by one number: `free_at` is when all that was let through, or waits, will have drained."""

    __slots__ = ("free_at",)

    def __init__(self) -> None:
        self.free_at = 0.0

    def take(self, amount: float, rate: float, burst: float, now: float) -> float:
        """Take so much; how long to wait for it."""
        self.free_at = max(self.free_at, now) + amount / rate
        return max(0.0, self.free_at - burst / rate - now)

    def give_back(self, amount: float, rate: float) -> None:
        self.free_at -= amount / rate


class RateLimit(Around):
    """See `rate_limit`. `waiting` counts those who wait now."""

    name = "rate_limit"

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        burst: float | None,
        max_wait_s: float | None,
        per: Per,
        of: Iterable[Kind],
    ) -> None:
        if requests_per_minute is None and tokens_per_minute is None:
            raise config_error("invalid_value", "rate_limit() limits nothing.", "Say requests_per_minute=….")
        for name, value in (
            ("requests_per_minute", requests_per_minute),
            ("tokens_per_minute", tokens_per_minute),
            ("burst", burst),
        ):
            if value is not None and value < 1:
                raise config_error(
                    "invalid_value", f"rate_limit({name}={value}) lets nothing through.", "Use 1 or more."
                )
        check_per("rate_limit", per)
        super().__init__(of)
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._burst = burst
        self._max_wait_s = max_wait_s
        self._per: Per = per
        self._buckets: dict[Hashable, tuple[_Bucket, _Bucket]] = {}
        self.waiting = 0

    async def around(self, request: Any, next: Any) -> Any:
        runtime = request.runtime
        key: Hashable = (request.__class__, key_of(self._per, request))
        tokens = min(float(_tokens_of(request)), self._tokens) if self._tokens is not None else 0.0
        wait_s = self._take(key, tokens, runtime.loop.time())
        if wait_s > 0:
            if self._max_wait_s is not None and wait_s > self._max_wait_s:
                self._give_back(key, tokens)
                raise _refused(wait_s)
            self.waiting += 1
            try:
                await runtime.sleep(wait_s)
            except asyncio.CancelledError:
                self._give_back(key, tokens)
                raise
            finally:
                self.waiting -= 1
        result = await next(request)
        if self._tokens is not None and isinstance(result, ModelResponse) and result.sent:
            result.at_end(lambda ended: self._correct(key, tokens, ended, runtime.loop.time()))
        return result

    def _take(self, key: Hashable, tokens: float, now: float) -> float:
        if len(self._buckets) >= FORGET_EVERY and key not in self._buckets:
            self._buckets = {k: b for k, b in self._buckets.items() if max(b[0].free_at, b[1].free_at) > now}
        requests, sizes = self._buckets.setdefault(key, (_Bucket(), _Bucket()))
        wait_s = 0.0
        if self._requests is not None:
            wait_s = requests.take(1, self._requests / 60, self._burst or self._requests, now)
        if self._tokens is not None:
            wait_s = max(wait_s, sizes.take(tokens, self._tokens / 60, self._tokens, now))
        return wait_s

    def _give_back(self, key: Hashable, tokens: float) -> None:
        if key not in self._buckets:
            return
        requests, sizes = self._buckets[key]
        if self._requests is not None:
            requests.give_back(1, self._requests / 60)
        if self._tokens is not None:
            sizes.give_back(tokens, self._tokens / 60)

    def _correct(self, key: Hashable, estimated: float, ended: Ended, now: float) -> None:
        """What was estimated is put right by what was used."""
        used = None if ended.usage is None else ended.usage.total_tokens
        if used is not None and self._tokens is not None and key in self._buckets:
            self._buckets[key][1].take(used - estimated, self._tokens / 60, self._tokens, now)


def _tokens_of(request: Any) -> int:
    if isinstance(request, ModelRequest):
        messages: Iterable[Message] = request.messages
        size = sum([weigh(message).text_bytes for message in messages]) + len(request.instructions) + len(request.tail)
    elif isinstance(request, EmbedRequest):
        size = sum(map(len, request.texts)) + len(request.query or "")
    else:
        return 1
    return max(1, size // BYTES_PER_TOKEN)


def _refused(wait_s: float) -> ProviderError:
    return ProviderError(
        ErrorInfo(
            "provider",
            "rate_limit_wait",
            f"A rate limit of this program would have held the request back for {wait_s:.3g} s.",
            "Raise rate_limit(…) or its max_wait_s, or ask less often.",
            retryable=True,
            retry_after_s=wait_s,
        )
    )


def rate_limit(
    requests_per_minute: float | None = None,
    *,
    tokens_per_minute: float | None = None,
    burst: float | None = None,
    max_wait_s: float | None = None,
    per: Per = "key",
    of: Kind | Iterable[Kind] = "model",
) -> RateLimit:
    """So many requests, or tokens, in a minute; what is more waits its turn.

    `burst` is how many may go at once after a pause (default: a minute's worth). Who would wait longer than `max_wait_s` is refused
    (`rate_limit_wait`), and the machine decides: it tries again later, or asks another model. Tokens are estimated at four bytes each
    and put right by what was used.
    """
    return RateLimit(requests_per_minute, tokens_per_minute, burst, max_wait_s, per, kinds(of))
