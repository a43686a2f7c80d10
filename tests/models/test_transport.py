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


@pytest.mark.parametrize("value", ["a\r\nx-more: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_break_out_of_its_line(value: str) -> None:
    """P6: such a key is sent nowhere, and the error does not show it."""
    transport = HttpTransport()
    with pytest.raises(ValueError) as raised:
        await transport.open("POST", "http://127.0.0.1:9/v1", {"authorization": f"Bearer secret{value}"}, (b"{}",))
    info = transport.explain(raised.value, "http://127.0.0.1:9/v1")
    await transport.close()
    assert info.branch == "provider" and "secret" not in info.for_log() + str(raised.value)


async def test_a_header_of_the_caller_stands_for_ours() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            await reader.readexactly(2)
            writer.write(chunked([b"ok"]))

    async with served(serve) as (transport, url):
        for headers in ({"User-Agent": "mine", "accept-encoding": "identity"}, {}):
            response = await transport.open("POST", url, headers, (b"{}",), 5.0)
            await response.head()
            while await response.read():
                pass
            response.close()
    first, second = (head.decode().lower() for head in heads)
    assert (
        first.count("user-agent:") == 1 and "user-agent: mine\r\n" in first and "accept-encoding: identity\r\n" in first
    )
    assert second.count("user-agent:") == 1 and "mine" not in second and second.count("\r\nhost: 127.0.0.1:") == 1


async def test_interim_answers_are_passed_over() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + chunked([b"ok"]))

    async with served(serve) as (transport, url):
        assert await read_all(transport, url) == b"ok"


async def test_an_answer_before_the_request_is_sent_ends_the_connection() -> None:
    """A server that refuses a body without reading it: its answer is read, and no further request goes over that connection, which the
    rest of the body would corrupt."""
    connections, body = 0, bytearray(b"x" * 30_000_000)
    last = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: 2\r\n" in head.lower():
            writer.write(chunked([b"ok"]))
            return
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nmuch")
        await last.wait()

    async with served(serve) as (transport, url):
        response = await send(transport, url, (b"{", body, b"}"))
        await response.head()
        assert response.status == 413 and await response.read() == b"much"
        response.close()
        body += b"it can be changed again"  # nothing holds it any more
        last.set()
        assert await read_all(transport, url) == b"ok"
    assert connections == 2


async def test_a_plain_request_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its whole address, with the proxy's own credentials, which the server never sees in the address."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(2)
        writer.write(chunked([b"ok"]))

    async with served(serve) as (transport, url):
        proxy = url.removesuffix("/v1").replace("://", "://user:word@")
        monkeypatch.setenv("http_proxy", proxy)
        assert await read_all(transport, "http://api.example/v1/chat?a=%2F") == b"ok"
    head = heads[0].decode()
    assert head.startswith("POST http://api.example/v1/chat?a=%2F HTTP/1.1\r\n")
    assert "\r\nHost: api.example\r\n" in head and "\r\nProxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in head


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
