"""The real transport: nothing is lost, doubled or reordered, whatever the sizes; every way out leaves the connection closed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from turnwise.models.response import READS_BURSTS
from turnwise.models.transport import WHOLE_BELOW_BYTES, HttpTransport

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[tuple[HttpTransport, str]]:
    """A server that does `serve` with each connection, and a transport to it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    transport = HttpTransport()
    try:
        yield transport, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        await transport.close()
        server.close()
        await server.wait_closed()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return await reader.readexactly(length)


def chunked(parts: Sequence[bytes], headers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + headers + b"\r\n" + body


async def send(transport: HttpTransport, url: str, body: Sequence[bytes | bytearray] = (b"{}",)):
    return await transport.open("POST", url, {"content-type": "application/json"}, body, 5.0)


async def read_all(transport: HttpTransport, url: str, body: Sequence[bytes | bytearray] = (b"{}",)) -> bytes:
    response = await send(transport, url, body)
    await response.head()
    out = b""
    while data := await response.read():
        out += data
    response.close()
    return out


def test_this_aiohttp_is_read_in_bursts() -> None:
    """If it fails, aiohttp keeps what it read in another way now: reading still works, at the old price. See models/response.py."""
    assert READS_BURSTS


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (300,) * 500, (1, 70_000, 2, 200_000, 3), (1_000_000,)])
@pytest.mark.parametrize("bursts", [True, False])
@pytest.mark.parametrize("coding", ["plain", "deflate"])
async def test_a_body_arrives_whole(
    sizes: tuple[int, ...], bursts: bool, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: chunks of any size, also more than the client holds before it pauses the socket; again over the same connection."""
    parts = [bytes([65 + i % 26]) * size for i, size in enumerate(sizes)]
    plain = b"".join(parts)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await request_of(reader)
            packed = [zlib.compress(plain)] if coding == "deflate" else parts
            writer.write(chunked(packed, b"content-encoding: deflate\r\n" if coding == "deflate" else b""))
            await writer.drain()

    async with served(serve) as (transport, url):
        assert await read_all(transport, url) == plain
        monkeypatch.setattr("turnwise.models.response.READS_BURSTS", bursts)
        assert await read_all(transport, url) == plain
        assert await read_all(transport, url) == plain
    assert connections == 1


@pytest.mark.parametrize("size", [10, WHOLE_BELOW_BYTES - 1, WHOLE_BELOW_BYTES, 3_000_000])
async def test_a_request_arrives_whole(size: int) -> None:
    """In parts or put together: the same bytes, also when the socket takes them slowly."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(chunked([b"ok"]))

    parts = (b"before", bytearray(b"m" * size), b"after")
    async with served(serve) as (transport, url):
        assert await read_all(transport, url, parts) == b"ok"
    assert seen == [b"".join(parts)]


@pytest.mark.parametrize("place", ["/model/a%3Ab/converse", "/model/arn%3Aaws%2Fx%7Ey/converse?a=%2F", "/m:v1/a+b"])
async def test_an_address_is_sent_as_it_is_written(place: str) -> None:
    """A signature covers the address, so not even another spelling of it may be sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        await request_of(reader)
        writer.write(chunked([b"ok"]))

    async with served(serve) as (transport, url):
        assert await read_all(transport, url + place) == b"ok"
    assert seen == [f"POST /v1{place} HTTP/1.1\r\n".encode()]


async def test_cancelling_the_wait_for_headers_changes_nothing() -> None:
    """C3: whoever waits again gets the answer."""
    waited = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await waited.wait()
        writer.write(chunked([b"ok"]))
        await writer.drain()

    async with served(serve) as (transport, url):
        response = await send(transport, url)
        waiting = asyncio.create_task(response.head())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waited.set()
        await response.head()
        assert response.status == 200 and await response.read() == b"ok"
        response.close()


@pytest.mark.parametrize("when", ["before the headers", "in mid-body"])
async def test_abort_wakes_whoever_waits(when: str) -> None:
    """C1: from anywhere, at once; the server sees the connection go."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        if when == "in mid-body":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        await reader.read()
        left.set()

    async with served(serve) as (transport, url):
        response = await send(transport, url)
        if when == "in mid-body":
            await response.head()
            assert await response.read() == b"ok"
        waiting = asyncio.create_task(response.read() if when == "in mid-body" else response.head())
        await asyncio.sleep(0)
        response.abort("enough")
        with pytest.raises(Exception) as raised:
            await waiting
        assert transport.explain(raised.value, url).branch == "provider"
        await left.wait()


async def test_a_response_that_is_dropped_unread_is_closed() -> None:
    """I3."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await request_of(reader)
            await reader.read()
        left.set()

    async with served(serve) as (transport, url):
        (await send(transport, url)).close()
        await left.wait()


async def test_a_refused_connection_says_what_to_do() -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport, url = HttpTransport(), f"http://127.0.0.1:{port}/v1?key=secret"
    with pytest.raises(OSError) as raised:
        await send(transport, url)
    info = transport.explain(raised.value, url)
    await transport.close()
    assert info.code == "connection_refused" and info.retryable and str(port) in info.message and info.hint
    assert "secret" not in info.for_log()
