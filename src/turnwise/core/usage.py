"""Token counts of model calls, in one normal form for all providers, and what they cost.

`input_tokens` is all input, cached tokens included; `output_tokens` includes reasoning. `None` means that the
provider said nothing: never a silent zero (rule S4).
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

Provenance = Literal["reported", "partial", "estimated", "unsent"]


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens of one model call, or of several added up.

    `cost_usd` is their list price in US dollars, None if a price is not known; of a sum, what is known of it. `provenance` says how far to trust it: `reported` by the provider at the end of the response, `partial` when the
    response broke off before the final count, `estimated` when we counted ourselves, `unsent` when no provider was asked because a
    middleware answered.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    provenance: Provenance = "reported"
    cost_usd: float | None = None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None if neither is known."""
        return _plus(self.input_tokens, self.output_tokens)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            _plus(self.input_tokens, other.input_tokens),
            _plus(self.output_tokens, other.output_tokens),
            _plus(self.cache_read_tokens, other.cache_read_tokens),
            _plus(self.cache_write_tokens, other.cache_write_tokens),
            _plus(self.reasoning_tokens, other.reasoning_tokens),
            _weaker(self.provenance, other.provenance),
            _plus(self.cost_usd, other.cost_usd),
        )


NO_USAGE = Usage()


N = TypeVar("N", int, float)


def _plus(a: N | None, b: N | None) -> N | None:
    if a is None:
        return b
    return a if b is None else a + b


def _weaker(a: Provenance, b: Provenance) -> Provenance:
    if a == b or b == "unsent":
        return a
    if a == "unsent":
        return b
    return "estimated" if "estimated" in (a, b) else "partial"
