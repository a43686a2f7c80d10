"""A small HTTP/1.1 server on loopback whose every byte is under control: what scripted providers are played on.

It reads requests and writes responses; what to answer is the handler's business. A real server cannot stall, reset or
cut a response at a chosen byte, so this one is written on `asyncio.Protocol`. It is for tests: no TLS, no limits.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import cast

import msgspec

SEND_BUFFER_BYTES = 64 * 1024
"""Asked of the kernel for each connection, so that a client that does not read is felt after kilobytes, not megabytes."""


class HttpReceived(msgspec.Struct, frozen=True):
    """A request as it arrived; header names are lower-case, `path` includes the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ClientLeft(Exception):
    """The client closed or reset the connection."""


Handler = Callable[["Connection", HttpReceived], Awaitable[None]]


class LoopbackServer:
    """Listens on a free port of 127.0.0.1 and gives each request to `handler`, in a task per connection.

    `close` aborts whatever is still open, so it returns even if clients hang, and leaves no task and no socket.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes_of_closed = 0

    async def open(self) -> int:
        """Start to listen; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._opened, self._closed), "127.0.0.1", 0)
        return cast(int, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Abort everything; returns when every task has ended and every socket is closed."""
        if self._server is None:
            return
        # A client accepted in this pass of the loop becomes a connection in one of the next: asyncio would drop its
        # socket unclosed if the server were closed before that. So stop accepting first, and close then.
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()
        gone = [connection.gone for connection in self._open]
        for connection in self._open:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *gone, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    @property
    def bytes_written(self) -> int:
        """Body bytes that the kernel has taken so far, on all connections."""
        return self._bytes_of_closed + sum([c.bytes_written for c in self._open])

    def _opened(self, connection: Connection) -> None:
        self._open.add(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._bytes_of_closed += connection.bytes_written

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.receive()) is not None:
                await self._handler(connection, request)
                if request.headers.get("connection", "").lower() == "close":
                    break
        except ClientLeft:
            pass
        finally:
            connection.close()


class Connection(asyncio.Protocol):
    """One client. Every wait ends with `ClientLeft` when the client leaves, so nothing can hang on a dead connection."""

    def __init__(self, opened: Callable[[Connection], None], closed: Callable[[Connection], None]) -> None:
        self._opened, self._closed = opened, closed
        self.gone: asyncio.Future[None] = self.waiter()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._more: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._waits: set[asyncio.Future[None]] = set()
        self._chunked = False
        self._body_bytes = 0
        self._body_bytes_taken = 0
        self._paused = False
        self.left = False
        self.on_blocked: Callable[[], None] | None = None

    # --- told by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        _wake(self._more)

    def eof_received(self) -> bool:
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._closed(self)
        self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True
        if self.on_blocked is not None:
            self.on_blocked()

    def resume_writing(self) -> None:
        self._paused = False
        _wake(self._writable)

    def _leave(self) -> None:
        self.left = True
        for future in self._waits:
            if not future.done():
                future.set_exception(ClientLeft())

    # --- waiting

    def waiter(self) -> asyncio.Future[None]:
        """A future to be woken by someone else; pass it to `wait`."""
        return asyncio.get_running_loop().create_future()

    async def wait(self, future: asyncio.Future[None]) -> None:
        """Wait until the future is done. Raises `ClientLeft` if the client goes first, or has gone."""
        if self.left and not future.done():
            raise ClientLeft
        self._waits.add(future)
        try:
            await future
        finally:
            self._waits.discard(future)

    async def sleep(self, delay_s: float) -> None:
        """Wait so long, or until the client leaves."""
        future = self.waiter()
        timer = asyncio.get_running_loop().call_later(delay_s, _wake, future)
        try:
            await self.wait(future)
        finally:
            timer.cancel()

    # --- reading

    async def receive(self) -> HttpReceived | None:
        """The next request, whole; None if the connection ends before that or what comes is not HTTP."""
        try:
            return await self._receive()
        except (ClientLeft, ValueError):
            return None

    async def _receive(self) -> HttpReceived:
        head = await self._read_until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path, _, _ = rest.rpartition(" ")
        if not path:
            raise ValueError("no HTTP request line")
        headers = {name.strip().lower(): value.strip() for name, _, value in [line.partition(":") for line in lines]}
        if headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await self._read_chunks()
        else:
            body = await self._read_exactly(int(headers.get("content-length") or 0))
        return HttpReceived(method, path, headers, body)

    async def _read_until(self, mark: bytes) -> bytes:
        searched = 0
        while (at := self._received.find(mark, searched)) < 0:
            searched = max(0, len(self._received) - len(mark) + 1)
            await self._read_more()
        found = bytes(self._received[:at])
        del self._received[: at + len(mark)]
        return found

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            await self._read_more()
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._read_until(b"\r\n")).partition(b";")[0], 16):
            body += await self._read_exactly(size)
            await self._read_exactly(2)
        while await self._read_until(b"\r\n"):
            pass
        return bytes(body)

    async def _read_more(self) -> None:
        self._more = self.waiter()
        await self.wait(self._more)

    # --- writing

    def start(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Status line and headers. `length` is that of the body; None sends it in chunks as it comes."""
        self._chunked = length is None
        framing = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        lines = [f"{name}: {value}" for name, value in {**headers, **framing}.items()]
        self._write("\r\n".join([f"HTTP/1.1 {status} {_phrase(status)}", *lines, "", ""]).encode("latin-1"))

    async def send(self, data: bytes) -> None:
        """A piece of the body. Returns when the kernel has taken it, so a client that does not read holds us up here."""
        if not data:
            return
        self._body_bytes += len(data)
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._paused:
            self._writable = self.waiter()
            await self.wait(self._writable)
        elif self.left:
            raise ClientLeft
        self._body_bytes_taken = self._body_bytes

    def end(self) -> None:
        """The body is complete; the connection may serve another request."""
        if self._chunked:
            self._write(b"0\r\n\r\n")

    def close(self) -> None:
        """Close after what was written has left."""
        self.left = True
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset instead of a farewell."""
        self.left = True
        if self._transport is not None:
            if not self._transport.is_closing():
                self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def abort(self) -> None:
        """Close at once and forget what was not sent."""
        self.left = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def bytes_written(self) -> int:
        """Body bytes that the kernel has taken; of a piece that was cut off by the end of the connection, none."""
        if self.left or not self._paused or self._transport is None:
            return self._body_bytes_taken
        return max(self._body_bytes_taken, self._body_bytes - self._transport.get_write_buffer_size())

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ClientLeft
        self._transport.write(data)

    def _socket(self) -> socket.socket:
        assert self._transport is not None
        return cast(socket.socket, self._transport.get_extra_info("socket"))


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
