"""Where requests of one address go: what aiohttp's pool finds a connection by, and the head of a request in bytes.

Everything that is the same for all requests to an address is made once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import aiohttp
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from .secrets import learn

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


class Route:
    """An address. `place` is a request of aiohttp's that is never sent: it names the connection that is needed, and its own headers
    (`Host`, `User-Agent`, …) are those that a request has unless it brings others of that name."""

    __slots__ = ("_defaults", "_headers", "_kept", "_target", "place")

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        # Paths are percent-encoded already, and a signature covers them as they are.
        parsed = URL(url, encoded=url.isascii())
        proxy, auth = _proxy_for(parsed)
        self.place = aiohttp.ClientRequest("GET", parsed, loop=loop, proxy=proxy, proxy_auth=auth)
        # A proxy forwards plain requests by their whole address; to TLS servers it only opens a tunnel.
        forwarded = proxy is not None and not self.place.is_ssl()
        self._target = str(parsed.with_fragment(None)) if forwarded else parsed.raw_path_qs
        self._defaults = {name.lower(): f"{name}: {value}\r\n" for name, value in self.place.headers.items()}
        if forwarded and auth is not None:
            self._defaults["proxy-authorization"] = f"Proxy-Authorization: {auth.encode()}\r\n"
        self._headers: Mapping[str, str] | None = None
        self._kept = ""

    def head(self, method: str, headers: Mapping[str, str], size: int) -> bytes:
        """Request line and headers. The same mapping as before is taken to hold what it held then. Raises `ValueError` for a header that
        would break out of its line."""
        if headers is not self._headers:
            self._kept, self._headers = self._lines(headers), headers
        length = f"Content-Length: {size}\r\n" if size or method != "GET" else ""
        return f"{method} {self._target} HTTP/1.1\r\n{self._kept}{length}\r\n".encode()

    def _lines(self, headers: Mapping[str, str]) -> str:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
            raise ValueError("A header of the request has a line break or a NUL in it.")
        own = {name.lower() for name in headers}
        return "".join([line for name, line in self._defaults.items() if name not in own]) + lines


def _proxy_for(url: URL) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """The proxy that the environment names for it: never one for this machine itself."""
    host = url.host or ""
    if host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127."):
        return None, None
    if not any(name.lower() in _PROXY_VARIABLES for name in os.environ):
        return None, None
    try:
        proxy, auth = get_env_proxy_for_url(url)
    except LookupError:
        return None, None
    learn(proxy.password if auth is None else str(auth.password))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return proxy, auth
