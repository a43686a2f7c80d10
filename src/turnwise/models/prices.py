"""What a model call costs. Rows of prices and their arithmetic are in `prices_rows`, where they come from in `catalogue`."""

from __future__ import annotations

import warnings
from datetime import datetime
from decimal import Decimal

from ..core.usage import Usage
from .catalogue import ModelInfo, Overrides, model_info
from .connection import Model
from .prices_rows import amount


class UnpricedModelWarning(UserWarning):
    """A model whose price is not known was used: its cost is None, not zero. Warned of once for each model."""


def cost(
    usage: Usage, model: str | Model | ModelInfo, *, at: datetime | None = None, overrides: Overrides | None = None
) -> Decimal | None:
    """US dollars for one model call, exactly; None if its price or its usage is not known.

    Args:
        usage: Of one call. Price calls one by one: prices may depend on the length of the input and on the hour.
        model: `provider:model`, a `Model`, or what `model_info` said of one.
        at: When the call was made (default: now). Without a time zone: UTC.
        overrides: See `model_info`. Neither this nor `at` changes a `ModelInfo`, which was asked for with its own.

    List prices for standard processing: batches, priority tiers, one-hour cache writes, sound and server tools cost otherwise.
    """
    info = model if isinstance(model, ModelInfo) else model_info(model, overrides=overrides, at=at)
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    if info.prices is None:
        _warn(info.name, "has no known price")
        return None
    prices = info.prices
    if (usage.input_tokens and prices.input_mtok is None) or (usage.output_tokens and prices.output_mtok is None):
        _warn(info.name, "has prices for only a part of its tokens")
    return amount(usage, prices)


_MOST_WARNED = 1000
_warned: set[str] = set()


def _warn(name: str, problem: str) -> None:
    if name in _warned or len(_warned) >= _MOST_WARNED:
        return
    _warned.add(name)
    warnings.warn(
        f"{name} {problem}: its cost is not counted. Give prices with overrides=; the extra turnwise[prices] knows many models.",
        UnpricedModelWarning,
        stacklevel=3,
    )
