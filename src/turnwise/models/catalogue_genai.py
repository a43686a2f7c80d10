"""The data of the package `genai-prices`, as rows of ours. The only file that imports it, when it is first asked for.

It brings prices and context windows, and rules by which a model's many names are recognised. It is asked for its snapshot and
nothing else: it goes to the network only if the program itself has started its `UpdatePrices`, and then what that has fetched
is used here, too. https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from .prices_rows import FREE, Price, Prices, Tier

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices


class Found(msgspec.Struct, frozen=True):
    """An entry of the data. `entry` is its name there."""

    provider: str
    entry: str
    label: str
    context_window: int | None
    deprecated: bool | None
    prices: Prices | None


def installed() -> bool:
    """Whether the package is there."""
    return _package() is not None


def find(provider: str, names: tuple[str, ...], at: datetime) -> Found | None:
    """The entry for the first of these names that a provider of the data has, with the prices of that time."""
    if (snapshot := _snapshot()) is None:
        return None
    entry = _look_ups.entry(snapshot, provider, names)
    return None if entry is None else _found(provider, entry, at)


def provider_at(url: str) -> str | None:
    """The provider of the data that is reached at this address."""
    if (snapshot := _snapshot()) is None:
        return None
    try:
        return snapshot.find_provider(None, None, url).id
    except LookupError:
        return None


def entries(provider: str, at: datetime) -> Iterator[Found]:
    """Every entry of a provider of the data."""
    if (snapshot := _snapshot()) is not None:
        for one in snapshot.providers:
            if one.id == provider:
                yield from [_found(provider, model, at) for model in one.models]


# --- looking up -------------------------------------------------------------------------------------------------------


@cache
def _package() -> Any:
    try:
        from genai_prices import data_snapshot
    except ModuleNotFoundError as error:
        if error.name != "genai_prices":  # it is there, and something that it needs is not
            raise
        return None
    return data_snapshot


def _snapshot() -> DataSnapshot | None:
    package = _package()
    return None if package is None else package.get_snapshot()


_MOST_KEPT = 4096
"""Names come from users, too: what is remembered stays bounded."""


class _LookUps:
    """What was looked up in a snapshot: matching goes through every rule of a provider, which is too much for each call."""

    def __init__(self) -> None:
        self._snapshot: DataSnapshot | None = None
        self._found: dict[tuple[str, tuple[str, ...]], ModelInfo | None] = {}

    def entry(self, snapshot: DataSnapshot, provider: str, names: tuple[str, ...]) -> ModelInfo | None:
        if self._snapshot is not snapshot or len(self._found) >= _MOST_KEPT:
            self._snapshot, self._found = snapshot, {}
        key = (provider, names)
        if key not in self._found:
            there = next((one for one in snapshot.providers if one.id == provider), None)
            self._found[key] = None if there is None else _first(there, names, snapshot)
        return self._found[key]


_look_ups = _LookUps()


def _first(provider: Provider, names: tuple[str, ...], snapshot: DataSnapshot) -> ModelInfo | None:
    for name in names:
        if (model := provider.find_model(name, all_providers=snapshot.providers)) is not None:
            return model
    return None


# --- reading ----------------------------------------------------------------------------------------------------------


def _found(provider: str, model: ModelInfo, at: datetime) -> Found:
    row = model.get_prices(at) if model.prices else None
    prices = None if row is None else _prices(row)
    if prices is None and model.id.endswith(":free"):
        prices = FREE  # OpenRouter's name for what it serves for nothing
    return Found(provider, model.id, model.name or "", model.context_window, model.deprecated, prices)


def _prices(row: ModelPrice) -> Prices | None:
    """None for a row without token prices: it may be free, or not known, or priced by the minute. Prices of sound and pictures
    are left out, since usage does not count them apart."""
    made = Prices(
        _price(row.input_mtok),
        _price(row.output_mtok),
        _price(row.cache_read_mtok),
        _price(row.cache_write_mtok),
        _price(row.output_reasoning_mtok),
        None if row.requests_kcount is None else _price_of(row.requests_kcount).usd / 1000,
    )
    return None if made.input_mtok is None and made.output_mtok is None else made


def _price(value: Decimal | TieredPrices | None) -> Price | None:
    return None if value is None else _price_of(value)


def _price_of(value: Decimal | TieredPrices) -> Price:
    if isinstance(value, Decimal):
        return Price(value)
    return Price(value.base, tuple([Tier(tier.start, tier.price) for tier in value.tiers]))
