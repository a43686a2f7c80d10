"""What is known about a model: limits, capabilities, prices. Nothing here goes to the network; see `listing` for what does.

Facts come in layers: the caller's overrides, the data of the package `genai-prices` if it is installed (extra `prices`), our own
`catalogue_table`. A model that none of them knows is none the less a model: everything about it is None.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypedDict, cast

import msgspec

from . import catalogue_genai as genai
from .catalogue_names import LISTED_AS, names_of, price_provider
from .catalogue_table import TABLE, Capabilities, Row
from .connection import Model
from .handle import parts_of
from .hosts import HOSTS, Host, is_here
from .known import row_of
from .prices_rows import FREE, Price, Prices, invalid_override, prices_from

Source = Literal["override", "provider", "genai-prices", "turnwise", "unknown"]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about a model; None: not known.

    `source` is the first layer that knows it: `override` (the caller), `provider` (its own list of models), `genai-prices`,
    `turnwise` (our table), or `unknown`. `entry` is what it is called where its prices come from, if another name: look here
    if a price surprises.
    """

    provider: str
    model: str
    label: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: Capabilities = Capabilities()
    prices: Prices | None = None
    deprecated: bool | None = None
    entry: str = ""
    source: Source = "unknown"

    @property
    def name(self) -> str:
        """`provider:model`."""
        return f"{self.provider}:{self.model}" if self.provider else self.model


Dollars = Decimal | int | float | str


class PricesOverride(TypedDict, total=False):
    """See `Prices`. Numbers are US dollars per million tokens, `request` for each call."""

    input_mtok: Dollars | Price
    output_mtok: Dollars | Price
    cache_read_mtok: Dollars | Price
    cache_write_mtok: Dollars | Price
    reasoning_mtok: Dollars | Price
    request: Dollars


class CapabilitiesOverride(TypedDict, total=False):
    """See `Capabilities`."""

    tools: bool | None
    images: bool | None
    audio: bool | None
    documents: bool | None
    reasoning: bool | None
    structured_output: bool | None
    caching: bool | None
    structured_output_with_tools: bool | None


class Override(TypedDict, total=False):
    """What a caller knows better. `like` names a model (`provider:model`) whose facts hold here, too: what an Azure deployment or an
    inference profile is made of. `prices` replaces the whole row; `capabilities` only those named."""

    like: str
    label: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: CapabilitiesOverride | Capabilities
    prices: PricesOverride | Prices | None
    deprecated: bool | None


Overrides = Mapping[str, Override]
"""By `provider:model`, by model, or by a glob of either (`openai:ft:*`). All that match count, globs first and in their order."""


def model_info(name: str | Model, *, overrides: Overrides | None = None, at: datetime | None = None) -> ModelInfo:
    """What is known about a model. Never an error for one that is not known.

    Args:
        name: `provider:model`, or a `Model`.
        overrides: See `Overrides`.
        at: When, for prices that depend on it (default: now). Without a time zone: UTC.

    Raises `ConfigError` (`invalid_override`) for an override that cannot be used.
    """
    provider, model, connection = parts_of(name)
    said = name.name if isinstance(name, Model) else name
    if not model:
        provider, model = "", said
    place = _Place(HOSTS.get(provider), connection.get("base_url"), "@http" in said)
    known = _known(provider, model, place, at or now())
    return _overridden(known, overrides, at) if overrides else known


def capabilities_of(name: str, overrides: Overrides | None = None) -> Capabilities:
    """What a model takes and does, from our own table: what is asked before a request must not wait for the data of a package."""
    if overrides:
        return model_info(name, overrides=overrides).capabilities
    provider, model, _ = parts_of(name)
    row = row_of(provider, model) if model else None
    return row.capabilities if row is not None else Capabilities()


def known_models(*providers: str, at: datetime | None = None) -> Iterator[ModelInfo]:
    """The models of these providers (default: of all) that the catalogue has prices for. There are more: any name is accepted."""
    when = at or now()
    for provider in providers or HOSTS:
        host = HOSTS.get(provider)
        if host is None or not host.api or _is_server_here(host):
            continue
        entries = [found.entry for found in genai.entries(price_provider(provider, ""), when) if _is_chat(found)]
        # The data's rows for the regional profiles of Bedrock stand for several regions: one of them serves as a name.
        names = [f"us.{entry[9:]}" if entry.startswith("regional.") else entry for entry in entries]
        if not names:
            names = [row.patterns[0].replace("[.-]", "-") for row in TABLE if provider in row.priced_at]
        form = LISTED_AS.get(provider)
        for name in names:
            if form is not None and not form.match(name):
                continue
            info = model_info(f"{provider}:{name}", at=when)
            if info.prices is not None:  # else the row's own name is no model's: a prefix, a pattern
                yield info


def _is_chat(found: genai.Found) -> bool:
    """Rows without a price for output are of models that embed, or are priced by the minute."""
    return found.prices is not None and found.prices.output_mtok is not None


def merged(first: ModelInfo, then: ModelInfo) -> ModelInfo:
    """The first, with what it does not know taken from the other."""
    own, other = first.capabilities, then.capabilities
    both = {f: getattr(other if getattr(own, f) is None else own, f) for f in Capabilities.__struct_fields__}
    rest = ("label", "context_window", "max_output_tokens", "prices", "deprecated", "entry")
    facts = {f: getattr(then, f) for f in rest if getattr(first, f) in (None, "")}
    return msgspec.structs.replace(first, capabilities=Capabilities(**both), **facts)


def now() -> datetime:
    """The time that prices are asked for."""
    return datetime.now(UTC)


# --- layers -----------------------------------------------------------------------------------------------------------


class _Place:
    """Where a model is, as far as its prices depend on it.

    An address in the name (`openai:MODEL@https://…`) is that of another server that speaks the provider's API, and so is one on this
    machine, unless the provider itself is here; a `base_url` elsewhere is taken for a way to the provider.
    """

    def __init__(self, host: Host | None, url: str | None, named: bool) -> None:
        self.url = url
        self.is_local = url is not None and is_here(url)
        self.is_foreign = named or (self.is_local and not (host is not None and is_here(host.base_url)))


def _known(provider: str, model: str, place: _Place, at: datetime) -> ModelInfo:
    """What the package and our table say."""
    prices_of = _priced_as(provider, model, place)
    found = genai.find(prices_of, names_of(provider, model), at) if prices_of else None
    row = row_of(provider, model)
    prices = (found.prices if found else None) or _own_prices(provider, model, row, place)
    if found is None and row is None and prices is None:
        return ModelInfo(provider=provider, model=model)
    return ModelInfo(
        provider=provider,
        model=model,
        label=found.label if found else "",
        context_window=(found.context_window if found else None) or (row.context_window if row else None),
        max_output_tokens=row.max_output_tokens if row else None,
        capabilities=row.capabilities if row else Capabilities(),
        prices=prices,
        deprecated=found.deprecated if found else None,
        entry=found.entry if found and found.entry != model else "",
        source="genai-prices" if found else "turnwise",
    )


def _priced_as(provider: str, model: str, place: _Place) -> str:
    """The provider of the package's data whose prices hold; "" for none, and then the package need not be loaded."""
    host = HOSTS.get(provider)
    serves_here = host is not None and _is_server_here(host) and (place.url is None or place.is_local)
    if serves_here or (place.is_local and place.is_foreign):
        return ""
    if place.url is not None and not place.is_local and (elsewhere := genai.provider_at(place.url)):
        return elsewhere
    return "" if place.is_foreign else price_provider(provider, model)


def _own_prices(provider: str, model: str, row: Row | None, place: _Place) -> Prices | None:
    host = HOSTS.get(provider)
    if host is not None and _is_server_here(host):
        # What runs on this machine costs nothing by the token; Ollama's cloud models do not run on it.
        is_here = place.url is None or place.is_local
        return FREE if is_here and not model.endswith(("-cloud", ":cloud")) else None
    return row.prices if row is not None and provider in row.priced_at and not place.is_foreign else None


def _is_server_here(host: Host) -> bool:
    """Whether the provider is a server that runs models on this machine. A LiteLLM proxy runs here, and models elsewhere."""
    return is_here(host.base_url) and host.name != "litellm"


def _overridden(info: ModelInfo, overrides: Overrides, at: datetime | None) -> ModelInfo:
    exact = [key for key in (info.model, info.name) if key in overrides]
    globs = [
        key
        for key in overrides
        if key not in exact and (fnmatch.fnmatchcase(info.name, key) or fnmatch.fnmatchcase(info.model, key))
    ]
    for key in dict.fromkeys([*globs, *exact]):
        info = _with(info, key, cast("Mapping[str, Any]", overrides[key]), at)
    return info


_KINDS: dict[str, tuple[type, ...]] = {
    "like": (str,),
    "label": (str,),
    "context_window": (int,),
    "max_output_tokens": (int,),
    "capabilities": (Mapping, Capabilities),
    "prices": (Mapping, Prices),
    "deprecated": (bool,),
}


def _with(info: ModelInfo, key: str, fields: Mapping[str, Any], at: datetime | None) -> ModelInfo:
    for name, value in fields.items():
        kinds = _KINDS.get(name)
        if kinds is None:
            raise invalid_override(key, f"there is no field {name!r}; there are {', '.join(_KINDS)}")
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise invalid_override(key, f"{name} must be {kinds[0].__name__.lower()}, not {value!r}")
    changes = {name: value for name, value in fields.items() if name not in ("like", "capabilities", "prices")}
    if like := fields.get("like"):
        other = model_info(like, at=at)
        info = msgspec.structs.replace(
            other, provider=info.provider, model=info.model, entry=other.entry or other.name, source="override"
        )
    if "prices" in fields:
        changes |= {"prices": prices_from(fields["prices"], key), "entry": ""}
    if given := fields.get("capabilities"):
        changes["capabilities"] = _capabilities(info.capabilities, given, key)
    return msgspec.structs.replace(info, source="override", **changes)


def _capabilities(known: Capabilities, given: Mapping[str, Any] | Capabilities, key: str) -> Capabilities:
    if isinstance(given, Capabilities):
        given = {f: v for f in Capabilities.__struct_fields__ if (v := getattr(given, f)) is not None}
    for name, value in given.items():
        if name not in Capabilities.__struct_fields__ or not isinstance(value, bool | None):
            listed = ", ".join(Capabilities.__struct_fields__)
            raise invalid_override(key, f"capabilities are {listed}, each True, False or None; not {name}={value!r}")
    return msgspec.structs.replace(known, **given)
