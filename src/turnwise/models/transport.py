"""HTTP by aiohttp, behind the `Transport` seam: one pooled client per runtime.

aiohttp is imported when the first request is sent. Its own read and total timeouts are off: the driver owns all deadlines
but the one for connecting, and aiohttp's timers would be re-armed for every read.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ..core.errors import ErrorInfo
from ..core.protocols import Chunk, Read

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

    from .deferred import DeferredResponse
    from .parts import PartsPayload

WHOLE_BELOW_BYTES = 32 << 10
READ_BUFFER_BYTES = 64 << 10
"""aiohttp reads a connection ahead of its consumer up to twice this (and one HTTP chunk), then lets the sender wait."""
_LASTING = ("tls", "name_resolution", "content_encoding")
"""Failures that another try will not mend."""
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


class Aborted(Exception):
    """We dropped the connection ourselves; raised by the `read` that was pending."""


class HttpResponse:
    """An aiohttp response as the `Response` seam wants it. `read` is the response's own method: no wrapper per read."""

    __slots__ = ("_bursts", "_response", "headers", "read", "status")
    status: int
    headers: Mapping[str, str]
    read: Read

    def __init__(self, response: DeferredResponse, bursts: bool) -> None:
        self._response = response
        self._bursts = bursts

    async def head(self) -> None:
        response = self._response
        await response.arrive()
        self.status = response.status
        self.headers = response.headers
        self.read = response.read_burst if self._bursts and response.has_reader else response.content.readany

    def abort(self, reason: str) -> None:
        self._response.abort(Aborted(reason))

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        self._response.close()


class HttpTransport:
    """Sends requests over a pool of keep-alive connections. Belongs to one event loop; close it there."""

    def __init__(self) -> None:
        self._bursts = False
        self._clients: dict[bool, aiohttp.ClientSession] = {}
        self._urls: dict[str, tuple[URL, bool]] = {}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Chunk],
        connect_s: float | None = None,
    ) -> HttpResponse:
        """Send a request. Redirects are not followed: keys go nowhere else."""
        place = self._urls.get(url) or self._parse(url)
        client = self._clients.get(place[1]) or self._start(place[1])
        response = await client.request(
            method,
            place[0],
            data=_payload(body),
            headers=headers,
            allow_redirects=False,
            timeout=self._timeouts.get(connect_s) or self._timeout(connect_s),
        )
        return HttpResponse(cast("DeferredResponse", response), self._bursts)

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        """What a failed `open` or `read` means and what to do about it."""
        code, message, hint = _explain(error, _origin(url))
        return ErrorInfo("provider", code, message, hint, retryable=code not in _LASTING)

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def _start(self, proxied: bool) -> aiohttp.ClientSession:
        import aiohttp

        from .deferred import READS_BURSTS, DeferredResponse

        self._bursts = READS_BURSTS
        made = self._clients[proxied] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=proxied,
            response_class=DeferredResponse,
            read_bufsize=READ_BUFFER_BYTES,
        )
        return made

    def _parse(self, url: str) -> tuple[URL, bool]:
        """The URL, and whether the environment's proxies are asked about it: never for this machine itself."""
        from yarl import URL

        # Paths are percent-encoded already, and a signature covers them as they are.
        parsed = URL(url, encoded=url.isascii())
        host = parsed.host or ""
        local = host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
        proxied = not local and any(name.lower() in _PROXY_VARIABLES for name in os.environ)
        made = self._urls[url] = parsed, proxied
        return made

    def _timeout(self, connect_s: float | None) -> aiohttp.ClientTimeout:
        import aiohttp

        made = self._timeouts[connect_s] = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        return made


def _payload(parts: Sequence[Chunk]) -> bytes | PartsPayload:
    """Small bodies are put together, which sends them with the headers in one go."""
    size = sum(map(len, parts))
    if size < WHOLE_BELOW_BYTES:
        return b"".join(parts)
    from .parts import PartsPayload

    return PartsPayload(parts, size)


def _explain(error: BaseException, origin: str) -> tuple[str, str, str]:
    import aiohttp

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
