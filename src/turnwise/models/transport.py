"""HTTP by aiohttp, behind the `Transport` seam: one pool of connections per runtime.

aiohttp is imported when the first request is sent. What it does well is used as it is: its pool with name resolution, TLS and
proxies, and its parser. Requests are written and responses read without its client (see `response`). The driver owns all
deadlines but the one for connecting.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.errors import ErrorInfo
from ..core.protocols import Chunk

if TYPE_CHECKING:
    import aiohttp

    from .response import HttpResponse
    from .route import Route

WHOLE_BELOW_BYTES = 32 << 10
MAX_ROUTES = 512
"""Addresses that are remembered. Models have a few; tools may call a new one each time."""
_LASTING = ("tls", "name_resolution", "content_encoding")
"""Failures that another try will not mend."""


class HttpTransport:
    """Sends requests over a pool of keep-alive connections. Belongs to one event loop; close it there."""

    def __init__(self) -> None:
        self._pool: aiohttp.TCPConnector | None = None
        self._answer: type[HttpResponse] | None = None
        self._routes: dict[str, Route] = {}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Chunk],
        connect_s: float | None = None,
    ) -> HttpResponse:
        """Send a request. Redirects are not followed: keys go nowhere else. What the socket does not take at once waits in the
        connection's buffer, and the answer may come before all of it is sent."""
        pool, answer = self._pool, self._answer
        if pool is None or answer is None:
            pool, answer = self._start()
        route = self._routes.get(url) or self._route(url)
        size = sum(map(len, body))
        head = route.head(method, headers, size)
        connection = await pool.connect(route.place, [], self._timeouts.get(connect_s) or self._timeout(connect_s))
        response = answer(connection)
        transport = connection.transport
        assert transport is not None, "a response has its connection"
        # With the head in one go either way; large parts are sent from where they are kept.
        if size < WHOLE_BELOW_BYTES:
            transport.write(b"".join((head, *body)))
        else:
            transport.writelines((head, *body))
        return response

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        """What a failed `open` or `read` means and what to do about it."""
        code, message, hint = _explain(error, _origin(url))
        return ErrorInfo("provider", code, message, hint, retryable=code not in _LASTING)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def _start(self) -> tuple[aiohttp.TCPConnector, type[HttpResponse]]:
        import aiohttp

        from .response import HttpResponse

        self._pool, self._answer = aiohttp.TCPConnector(limit=0, keepalive_timeout=30), HttpResponse
        return self._pool, self._answer

    def _route(self, url: str) -> Route:
        from .route import Route

        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        made = self._routes[url] = Route(url, asyncio.get_running_loop())
        return made

    def _timeout(self, connect_s: float | None) -> aiohttp.ClientTimeout:
        import aiohttp

        made = self._timeouts[connect_s] = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        return made


def _explain(error: BaseException, origin: str) -> tuple[str, str, str]:
    import aiohttp

    from .response import Aborted

    if isinstance(error, Aborted):
        return "aborted", f"The connection to {origin} was dropped: {error}.", ""
    if isinstance(error, (aiohttp.ServerTimeoutError, TimeoutError)):
        return "connect_timeout", f"Connecting to {origin} took too long.", "Check the address and the network."
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError)):
        return "tls", f"No secure connection to {origin}: {error}", "Check the address and the machine's certificates."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_resolution", f"The name of {origin} cannot be resolved.", "Check the base URL and the network."
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        said = "refused the connection" if refused else f"cannot be reached ({error.os_error})"
        hint = (
            "Check that the server runs and that the base URL has the right port." if refused else "Check the network."
        )
        return "connection_refused" if refused else "connection_failed", f"{origin} {said}.", hint
    if "content-encoding" in str(error).lower():
        missing = str(error).rpartition("Please install ")[2].strip("`'\", ") if "Please install" in str(error) else ""
        package = missing.partition("'")[0].partition("`")[0]
        if package:
            what = f"{origin} answered in a compression that this machine cannot undo."
            return (
                "content_encoding",
                what,
                f"Install {package}, or have the server or proxy leave the answer as it is.",
            )
        return "connection_lost", f"The answer of {origin} is not compressed as it says.", "Try again."
    if isinstance(error, (aiohttp.ClientError, OSError)):
        said = str(error) or type(error).__name__
        return "connection_lost", f"The connection to {origin} broke: {said}", "Try again."
    return "transport", f"The request to {origin} failed: {type(error).__name__}: {error}", ""


def _origin(url: str) -> str:
    """Scheme, host and port: enough to know who was meant, without paths, queries or credentials."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
