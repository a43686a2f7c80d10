"""`turnwise models`: which models there are, what they can do and what they cost; from the catalogue, or asked for live."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from ...core.errors import ErrorInfo, TurnwiseError, config_error
from ...models.catalogue import ModelInfo, known_models
from ...models.catalogue_genai import installed
from ...models.handle import unknown_provider
from ...models.hosts import HOSTS, Host
from ...models.listing import can_list, list_models
from ...models.prices_rows import Price
from ...runtime.runtime import Runtime
from . import exits
from .demo.table import grid
from .screen import Screen

ASK_S = 15.0
_HEAD = ("model", "context", "output", "in $/M", "out $/M", "can")
_SHORT = {"structured_output": "json", "structured_output_with_tools": "json+tools", "documents": "docs"}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    words: tuple[str, ...]
    providers: tuple[str, ...]
    remote: bool
    as_json: bool


def models(query: Query) -> int:
    """Print the models and return the exit code: 0 if anybody could be asked, however many match."""
    screen = Screen()
    try:
        hosts = _hosts(query.providers)
        if query.remote:
            found, code = asyncio.run(_remote(hosts if query.providers else _with_keys(hosts, os.environ), screen))
        else:
            found, code = list(known_models(*[host.name for host in hosts])), exits.COMPLETED
    except TurnwiseError as error:
        screen.error(error.message, error.hint)
        return exits.exit_code_of_error(error)
    if code == exits.COMPLETED:
        _show(_matching(found, query.words), screen, query.as_json)
    if not installed():
        screen.note("Limits and prices of many more models come with the extra: pip install 'turnwise[prices]'.")
    return code


def _hosts(providers: Sequence[str]) -> list[Host]:
    """The providers named, or all; of several that are one service with two APIs only the first."""
    if providers:
        for name in providers:
            if name not in HOSTS:
                raise unknown_provider(name)
        return [HOSTS[name] for name in dict.fromkeys(providers)]
    services: dict[tuple[object, ...], Host] = {}
    for host in HOSTS.values():
        service = (host.base_url, host.key_variables) if host.key_variables else (host.name,)
        if host.api:
            services.setdefault(service, host)
    return list(services.values())


def _with_keys(hosts: Iterable[Host], environ: Mapping[str, str]) -> list[Host]:
    found = [host for host in hosts if can_list(host) and any(environ.get(name) for name in host.key_variables)]
    if not found:
        raise config_error(
            "missing_key",
            "No provider's key is set, so there is nobody to ask.",
            "Set one, or name a provider with -p: a server on this machine needs no key.",
        )
    return found


# --- asking -----------------------------------------------------------------------------------------------------------


async def _remote(hosts: Sequence[Host], screen: Screen) -> tuple[list[ModelInfo], int]:
    """All at the same time. A provider that fails is named; only if all do, that is the exit code."""
    async with Runtime() as runtime:
        asked = [runtime.start(_ask(host, runtime)) for host in hosts]
        answers = [await task for task in asked]
    found: list[ModelInfo] = []
    codes: list[int] = []
    for host, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, TurnwiseError):
            screen.error(f"{host.name}: {answer.message}", answer.hint)
            codes.append(exits.exit_code_of_error(answer))
        else:
            found += sorted(answer, key=lambda info: info.model)
    return found, max(codes) if len(codes) == len(hosts) else exits.COMPLETED


async def _ask(host: Host, runtime: Runtime) -> list[ModelInfo] | TurnwiseError:
    try:
        async with asyncio.timeout(ASK_S):
            return await list_models(
                host.name, environ=runtime.environ, transport=runtime.transport, blocking=runtime.blocking
            )
    except TurnwiseError as error:
        return error
    except TimeoutError:
        return TurnwiseError(
            ErrorInfo("provider", "first_byte_timeout", f"{host.label} has not answered within {ASK_S:g} s.")
        )


# --- showing ----------------------------------------------------------------------------------------------------------


def _matching(found: Iterable[ModelInfo], words: Sequence[str]) -> list[ModelInfo]:
    wanted = [word.casefold() for text in words for word in text.split()]
    return [info for info in found if all(word in f"{info.name} {info.label}".casefold() for word in wanted)]


def _show(found: Sequence[ModelInfo], screen: Screen, as_json: bool) -> None:
    if as_json:
        encode = msgspec.json.Encoder().encode
        screen.data(b"".join([encode({"name": info.name, **msgspec.to_builtins(info)}) + b"\n" for info in found]))
    elif found:
        screen.answer("\n".join(grid(_HEAD, [_row(info) for info in found])) + "\n")
    else:
        screen.note("No model matches.")
    screen.flush()


def _row(info: ModelInfo) -> tuple[str, ...]:
    prices = info.prices
    can = [_SHORT.get(f, f) for f in info.capabilities.__struct_fields__ if getattr(info.capabilities, f)]
    return (
        " ".join(info.name.split()) + (" (deprecated)" if info.deprecated else ""),
        _tokens(info.context_window),
        _tokens(info.max_output_tokens),
        _usd(prices.input_mtok if prices else None),
        _usd(prices.output_mtok if prices else None),
        " ".join(can) or "-",
    )


def _tokens(count: int | None) -> str:
    if count is None:
        return "-"
    if count < 1000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.2f}".rstrip("0").rstrip(".") + "M"


def _usd(price: Price | None) -> str:
    if price is None:
        return "-"
    usd = price.usd.normalize() if price.usd else Decimal(0)
    return f"{usd:f}" + ("+" if price.tiers else "")
