"""An aiohttp response that is handed over as soon as its request is sent.

aiohttp's client returns a response when its headers have arrived. The one who waits for them is then the task that sent the
request; a consumer that pulls would have to be woken by that task, one turn of the event loop later, for every model call. With
aiohttp's own hook for response classes the wait moves to whoever reads the response.
"""

from __future__ import annotations

import aiohttp
from aiohttp.connector import Connection


class DeferredResponse(aiohttp.ClientResponse):
    """`start`, which the client calls, only keeps the connection; `arrive` does what `start` does elsewhere."""

    _kept: Connection | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        self._kept = connection
        return self

    async def arrive(self) -> None:
        """Wait for status and headers. Raises what aiohttp's client raises; the connection is closed then. Cancelling the wait
        changes nothing: call it again."""
        connection = self._kept
        if connection is None:
            raise aiohttp.ClientConnectionError("The connection was closed before the answer arrived.")
        try:
            await super().start(connection)
        except Exception:
            connection.close()
            raise
        self._kept = None

    def abort(self, error: Exception) -> None:
        """Drop the connection; a pending `arrive` or read raises."""
        connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()
            return
        self.content.set_exception(error)
        self.close()

    def close(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()
        super().close()
