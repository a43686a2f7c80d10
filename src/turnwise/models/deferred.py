"""An aiohttp response that is handed over as soon as its request is sent, and read without a detour per HTTP chunk.

aiohttp's client returns a response when its headers have arrived. The one who waits for them is then the task that sent the
request; a consumer that pulls would have to be woken by that task, one turn of the event loop later, for every model call. With
aiohttp's own hook for response classes the wait moves to whoever reads the response.

Its `readany` asks the connection to resume after every single HTTP chunk, which costs more than everything else in a burst of
small events. `read_burst` takes all chunks at hand and asks once. It looks at attributes of aiohttp's `StreamReader` that are not
public; where they are not what they were, `readany` is used.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_READER = (
    "_buffer",
    "_buffer_offset",
    "_size",
    "_cursor",
    "_http_chunk_splits",
    "_exception",
    "_eof",
    "_wait",
    "_protocol",
)


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

    @property
    def has_reader(self) -> bool:
        """Whether there is a body to be read: where there can be none (204), aiohttp puts a reader of another kind."""
        return type(self.content) is StreamReader

    async def read_burst(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end of the body. The same as `content.readany()`."""
        content = self.content
        buffer = content._buffer
        while not buffer and not content._eof and content._exception is None:
            await content._wait("readany")
        if len(buffer) < 2 or content._exception is not None or content._buffer_offset:
            return await content.readany()
        data = b"".join(buffer)
        buffer.clear()
        content._size -= len(data)
        content._cursor += len(data)
        splits = content._http_chunk_splits
        if splits:
            last = splits[-1]
            splits.clear()
            splits.append(last)
        protocol = content._protocol
        if protocol._reading_paused:
            protocol.resume_reading()
        return data

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


def _is_known() -> bool:
    """Whether this aiohttp keeps what it has read the way `read_burst` expects."""
    slots = {name for kind in StreamReader.__mro__ for name in getattr(kind, "__slots__", ())}
    named = all(name in slots or hasattr(StreamReader, name) for name in _READER)
    return named and any("_reading_paused" in getattr(kind, "__slots__", ()) for kind in ResponseHandler.__mro__)


READS_BURSTS = _is_known()
