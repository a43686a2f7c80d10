"""A response read straight from aiohttp's connection: its parser and its pool, without its client around them.

aiohttp's `ClientSession` makes a request and a response object per exchange, with cookies, redirects, timers and traces, which costs more
than sending and parsing do. Here the connection is told what kind of answer to expect, and the parser's messages are read as they come.

`readany` of aiohttp's `StreamReader` asks the connection to resume after every single HTTP chunk, which costs more than everything
else in a burst of small events. `_read_burst` takes all chunks at hand and asks once. It looks at attributes that are not public;
where they are not what they were, `readany` is used.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from ..core.protocols import Read

if TYPE_CHECKING:
    from aiohttp.connector import Connection

READ_BUFFER_BYTES = 64 << 10
"""aiohttp reads a connection ahead of its consumer up to twice this (and one HTTP chunk), then lets the sender wait."""

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


class Aborted(Exception):
    """We dropped the connection ourselves; raised by the `read` that was pending."""


class HttpResponse:
    """What is on its way back over a connection: a `Response`. The connection goes back to the pool at the end of the body."""

    __slots__ = ("_body", "_connection", "_protocol", "ended", "headers", "read", "status")
    status: int
    headers: Mapping[str, str]
    read: Read

    def __init__(self, connection: Connection) -> None:
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            connection.close()
            raise aiohttp.ClientConnectionError("The connection was lost before the request was sent.")
        self._connection: Connection | None = connection
        self._protocol = protocol
        self._body: StreamReader | None = None
        self.ended = False
        protocol.set_response_params(read_until_eof=True, read_bufsize=READ_BUFFER_BYTES)

    async def head(self) -> None:
        """Raises what aiohttp raises when an answer is broken or none comes; the connection is closed then. Cancelling the wait
        changes nothing: call it again."""
        if self._connection is None:
            raise aiohttp.ClientConnectionError("The connection was closed before the answer arrived.")
        try:
            message, body = await self._protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # interim answers
                message, body = await self._protocol.read()
        except HttpProcessingError as error:
            self._drop()
            raise aiohttp.ClientPayloadError(error.message) from error
        except Exception:
            self._drop()
            raise
        self.status = message.code
        self.headers = message.headers
        self._body = body
        self.read = self._read_burst if READS_BURSTS and type(body) is StreamReader else body.readany
        body.on_eof(self._release)

    async def _read_burst(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end of the body. The same as `readany()`."""
        body = self._body
        assert body is not None
        buffer = body._buffer
        while not buffer and not body._eof and body._exception is None:
            await body._wait("readany")
        if body._exception is not None or body._buffer_offset:
            return await body.readany()
        data = b"".join(buffer)
        buffer.clear()
        self.ended = body._eof
        body._size -= len(data)
        body._cursor += len(data)
        splits = body._http_chunk_splits
        if splits:
            last = splits[-1]
            splits.clear()
            splits.append(last)
        protocol = body._protocol
        if protocol._reading_paused:
            protocol.resume_reading()
        return data

    def abort(self, reason: str) -> None:
        self._end(Aborted(reason))

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""
        self._end(aiohttp.ClientConnectionError("The response was closed."))

    def _end(self, error: Exception) -> None:
        if self._connection is not None:
            if self._body is not None:
                self._body.set_exception(error)
            self._drop()

    def _release(self) -> None:
        """The whole answer is here. A server that answered before it had the request has not read the rest of it: no further one can
        follow on that connection."""
        connection = self._connection
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():
            self._drop()
            return
        self._connection = None
        connection.release()

    def _drop(self) -> None:
        """Close the connection, and at once if the request is not sent yet: nobody waits for the rest of it to be read."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()
        connection.close()


def _is_known() -> bool:
    """Whether this aiohttp keeps what it has read the way `_read_burst` expects."""
    slots = {name for kind in StreamReader.__mro__ for name in getattr(kind, "__slots__", ())}
    named = all(name in slots or hasattr(StreamReader, name) for name in _READER)
    return named and any("_reading_paused" in getattr(kind, "__slots__", ()) for kind in ResponseHandler.__mro__)


READS_BURSTS = _is_known()
