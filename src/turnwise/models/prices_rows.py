"""What a model costs, as a row of prices, and the arithmetic on it. Where the rows come from is in `catalogue`.

Amounts are US dollars as exact decimals; token prices are per million tokens. Our `Usage` counts cached tokens within the
input and reasoning within the output, so each of them is taken out of its whole before the whole is priced: no token is paid
for twice, and one without a price of its own costs what its whole costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any, cast

import msgspec

from ..core.errors import ConfigError, config_error
from ..core.usage import Usage

_EXACT = Context(prec=60)
_PER_MILLION = Decimal("0.000001")


class Tier(msgspec.Struct, frozen=True):
    """A price for long input: it holds for all tokens of a request that has more than `above` input tokens."""

    above: int
    usd: Decimal


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """US dollars per million tokens. `tiers` are sorted; the highest one that the input exceeds holds."""

    usd: Decimal
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """The price for a request with so much input."""
        return next((tier.usd for tier in reversed(self.tiers) if input_tokens > tier.above), self.usd)


class Prices(msgspec.Struct, frozen=True, omit_defaults=True):
    """The prices of one model; None: it has no price of its own.

    `input_mtok` and `output_mtok` are for the tokens that none of the others is for; without `cache_read_mtok` a cached token
    costs what any input costs. `request` is US dollars for each call.
    """

    input_mtok: Price | None = None
    output_mtok: Price | None = None
    cache_read_mtok: Price | None = None
    cache_write_mtok: Price | None = None
    reasoning_mtok: Price | None = None
    request: Decimal | None = None


FREE = Prices(Price(Decimal(0)), Price(Decimal(0)))


def amount(usage: Usage, prices: Prices) -> Decimal | None:
    """US dollars for the usage of one call, exactly; None if it cannot be told.

    That is: a count is missing that the row has a price for, or tokens were counted that it has none for. Tiers depend on the
    input of one call, so price calls one by one rather than their sum. One-hour cache writes cost more than the row says:
    usage does not tell them from five-minute ones.
    """
    given, said = usage.input_tokens, usage.output_tokens
    if (given is None and said is None) or not (
        _covered(given, prices.input_mtok) and _covered(said, prices.output_mtok)
    ):
        return None
    size = given or 0
    read, write, thought = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0, usage.reasoning_tokens or 0
    plain_input, plain_output = size, said or 0
    lines: list[tuple[int, Price | None]] = []
    for count, price in ((read, prices.cache_read_mtok), (write, prices.cache_write_mtok)):
        if price is not None:
            # Some servers count cached tokens beside the input: what was counted is paid, but never less than nothing.
            plain_input = max(0, plain_input - count)
            lines.append((count, price))
    if prices.reasoning_mtok is not None:
        plain_output = max(0, plain_output - thought)
        lines.append((thought, prices.reasoning_mtok))
    lines += [(plain_input, prices.input_mtok), (plain_output, prices.output_mtok)]
    with localcontext(_EXACT):
        total = sum([price.at(size) * count for count, price in lines if price is not None], Decimal(0)) * _PER_MILLION
        return total + (prices.request or 0)


class Rates(msgspec.Struct, frozen=True, gc=False):
    """A row as floats, in US dollars per token, for what is priced at every step; `amount` is the exact way. `longer` are the rates
    for requests with more input tokens than so many, the longest first."""

    input: float | None
    output: float | None
    cache_read: float | None
    cache_write: float | None
    reasoning: float | None
    request: float
    longer: tuple[tuple[int, Rates], ...] = ()

    def cost(self, usage: Usage) -> float | None:
        """What `amount` says, to fifteen digits."""
        given, said = usage.input_tokens, usage.output_tokens
        for above, rates in self.longer:
            if given is not None and given > above:
                return rates.cost(usage)
        plain_input, plain_output, total = given or 0, said or 0, self.request
        if (given is None and (said is None or self.input is not None)) or (said is None and self.output is not None):
            return None
        if (plain_input and self.input is None) or (plain_output and self.output is None):
            return None
        if self.cache_read is not None and (count := usage.cache_read_tokens):
            plain_input, total = max(0, plain_input - count), total + count * self.cache_read
        if self.cache_write is not None and (count := usage.cache_write_tokens):
            plain_input, total = max(0, plain_input - count), total + count * self.cache_write
        if self.reasoning is not None and (count := usage.reasoning_tokens):
            plain_output, total = max(0, plain_output - count), total + count * self.reasoning
        return total + plain_input * (self.input or 0.0) + plain_output * (self.output or 0.0)


def rates_of(prices: Prices) -> Rates:
    """The row as floats."""
    rows = (
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_read_mtok,
        prices.cache_write_mtok,
        prices.reasoning_mtok,
    )
    request = float(prices.request or 0)
    steps = sorted({tier.above for row in rows if row is not None for tier in row.tiers}, reverse=True)

    def at(input_tokens: int, longer: tuple[tuple[int, Rates], ...] = ()) -> Rates:
        perhaps = [None if row is None else float(row.at(input_tokens)) / 1e6 for row in rows]
        return Rates(*perhaps, request=request, longer=longer)

    return at(0, tuple([(above, at(above + 1)) for above in steps]))


def _covered(count: int | None, price: Price | None) -> bool:
    return count is not None if price is not None else not count


def prices_from(given: object, where: str) -> Prices | None:
    """The row that a caller wrote down: a `Prices`, or a mapping with the same names whose values are numbers or `Price`s.

    Floats are taken as they are written (`0.1` is a tenth). Raises `ConfigError` (`invalid_override`).
    """
    if given is None or isinstance(given, Prices):
        return given
    if not isinstance(given, Mapping):
        raise invalid_override(where, f"prices must be a mapping, not {type(given).__name__}")
    fields = cast("Mapping[str, Any]", given)
    if wrong := sorted(set(fields) - set(Prices.__struct_fields__)):
        raise invalid_override(
            where, f"there is no price {wrong[0]!r}; there are {', '.join(Prices.__struct_fields__)}"
        )
    rows = {name: value for name, value in fields.items() if value is not None}
    request = rows.pop("request", None)
    return Prices(
        **{name: value if isinstance(value, Price) else Price(_dollars(value, where)) for name, value in rows.items()},
        request=None if request is None else _dollars(request, where),
    )


def _dollars(value: object, where: str) -> Decimal:
    try:
        made = Decimal(str(value)) if isinstance(value, int | float | str | Decimal) else None
    except InvalidOperation:
        made = None
    if made is None or isinstance(value, bool) or not made.is_finite() or made < 0:
        raise invalid_override(where, f"{value!r} is no price: it must be a number of US dollars, 0 or more")
    return made


def invalid_override(where: str, problem: str) -> ConfigError:
    """The error for an override that cannot be used."""
    return config_error(
        "invalid_override", f"The override of {where!r} cannot be used: {problem}.", "Correct it where it is set."
    )
