"""Which models a provider says it has: its list, asked for over the network, all pages of it. What is known without asking is in
`catalogue`; how the lists of the providers read is in `listing_shapes`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from ..core.errors import ProviderError, config_error, error_of
from ..core.protocols import Blocking, Transport
from ..wire.errors import MAX_ERROR_BYTES, PROTOCOL, body_error, broken
from .auth import Endpoint, Outgoing
from .catalogue import ModelInfo, merged, model_info
from .connection import Connection, Model
from .handle import parts_of, resolve_host
from .hosts import Host
from .listing_shapes import FIRST_PAGE, HEADERS, Page, read_page

MAX_LIST_BYTES = 32 << 20
MAX_PAGES = 500


async def list_models(
    provider: str | Model,
    *,
    environ: Mapping[str, str] | None = None,
    transport: Transport | None = None,
    blocking: Blocking | None = None,
    fill: bool = True,
) -> list[ModelInfo]:
    """The models that a provider lists, as it describes them.

    Args:
        provider: `openai`, or what names a model of the provider: `Model("openai:any", base_url=…)` asks that address.
        environ: Where key and address are looked up (default: the process's environment).
        transport: What sends the requests (default: a client of its own, closed at the end). Give a `Runtime`'s.
        blocking: Runs what credentials need a thread for (default: asyncio's threads).
        fill: Add what the catalogue knows and the provider does not say, such as prices.

    It has no time limit of its own: use `asyncio.timeout`. Raises `ConfigError` for what `resolve_model` raises it for, and
    `unsupported_feature` for a provider that lists nothing; `ProviderError` for what the provider or the connection does.
    """
    host, endpoint = resolve_host(_listable(provider), os.environ if environ is None else environ)
    url = _first_url(host, endpoint)
    if transport is not None:
        listed = await _all_pages(host, endpoint, url, transport, blocking or _Threads())
    else:
        from .transport import HttpTransport

        own = HttpTransport()
        try:
            listed = await _all_pages(host, endpoint, url, own, blocking or _Threads())
        finally:
            await own.close()
    return [merged(info, model_info(info.name)) for info in listed] if fill else listed


def can_list(host: Host) -> bool:
    """Whether a provider has a list of its models that can be asked for."""
    return bool(host.models_path) or host.endpoint == "azure" or _family(host) == "bedrock"


async def _all_pages(
    host: Host, endpoint: Endpoint, url: str, transport: Transport, blocking: Blocking
) -> list[ModelInfo]:
    out: dict[str, ModelInfo] = {}
    asked: set[str] = set()
    following: str | None = url
    while following is not None:
        if following in asked or len(asked) >= MAX_PAGES:
            raise _unreadable(host, "its pages do not end")
        asked.add(following)
        page = await _page(host, endpoint, following, transport, blocking)
        out |= {info.model: info for info in page.models}
        following = _next_url(host, url, following, page)
    return list(out.values())


async def _page(host: Host, endpoint: Endpoint, url: str, transport: Transport, blocking: Blocking) -> Page:
    headers: dict[str, str] = {"accept": "application/json", **HEADERS.get(_family(host), {}), **endpoint.headers}
    if endpoint.auth is not None:
        headers |= await endpoint.auth.headers(Outgoing("GET", url, headers, ()), blocking, time.time())
    status, answered, body = await _get(url, headers, transport)
    if len(body) > MAX_LIST_BYTES:
        raise _unreadable(host, f"a page is longer than {MAX_LIST_BYTES} bytes")
    if not 200 <= status < 300:
        raise error_of(body_error(status, answered, body[:MAX_ERROR_BYTES], provider=host.name))
    if (page := read_page(host.name, body)) is None:
        raise _unreadable(host, "the answer is no list of models")
    return page


async def _get(url: str, headers: Mapping[str, str], transport: Transport) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body. However it ends, the connection is given back or dropped."""
    try:
        response = await transport.open("GET", url, headers, ())
        try:
            await response.head()
            body = bytearray()
            while len(body) <= MAX_LIST_BYTES and (data := await response.read()):
                body += data
            return response.status, response.headers, bytes(body)
        finally:
            response.close()
    except Exception as error:
        raise ProviderError(transport.explain(error, url)) from error


def _unreadable(host: Host, why: str) -> ProviderError:
    return ProviderError(broken(PROTOCOL, f"The models of {host.label} cannot be listed: {why}.", provider=host.name))


# --- addresses --------------------------------------------------------------------------------------------------------


def _listable(provider: str | Model) -> Model:
    """At Azure the list is the resource's; a deployment is only named because an address there is made with one."""
    asked = Model(provider) if isinstance(provider, str) else provider
    name, _, connection = parts_of(asked)
    if not name.startswith("azure") or "base_url" in connection:
        return asked
    return Model(asked.name, **cast("Connection", {"azure_deployment": "any", **connection}))


def _family(host: Host) -> str:
    return host.api.partition(".")[0]


def _first_url(host: Host, endpoint: Endpoint) -> str:
    if not can_list(host):
        raise config_error(
            "unsupported_feature",
            f"{host.label} has no list of models that can be asked for.",
            "Look on its pages; any name is accepted, listed or not.",
        )
    base = endpoint.base_url.rstrip("/")
    if _family(host) == "bedrock":
        base, path = _bedrock_control_plane(base), "/foundation-models"
    elif "/openai/deployments/" in base:
        base, path = base.partition("/openai/deployments/")[0], "/openai/models"
    else:
        path = host.models_path or "/models"
    query = "&".join([part for part in (FIRST_PAGE.get(_family(host), ""), endpoint.query) if part])
    return f"{base}{path}{'?' if query else ''}{query}"


def _bedrock_control_plane(base: str) -> str:
    """Models are listed by `bedrock.…`, called at `bedrock-runtime.…`.
    https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc.replace('bedrock-runtime', 'bedrock', 1)}"


def _next_url(host: Host, first: str, asked: str, page: Page) -> str | None:
    if page.link:
        url = urljoin(asked, page.link)
        if urlsplit(url)[:2] != urlsplit(asked)[:2]:
            raise _unreadable(host, "its next page is on another server")  # keys go nowhere else
        return url
    return f"{first}{'&' if '?' in first else '?'}{page.more}" if page.more else None


class _Threads:
    """The default `Blocking`: asyncio's own threads."""

    abandoned = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(function)

    async def close(self) -> None:
        """There is nothing to close: the loop owns its threads."""
