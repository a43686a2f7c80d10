"""A transaction pooler, real and small: clients get a connection to the server for one transaction at a time, the next one for the next.

It is as hard on a client's session state as a pooler can be: connections are lent in rotation, and whatever a transaction leaves on one
(prepared statements, settings, locks) is discarded. It can also lose answers: the server has done what it was asked, and nobody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncGenerator

SSL, GSS, CANCEL = 80877103, 80877104, 80877102
_HEAD = struct.Struct(">cI")


class Backend:
    """A connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""

    async def greet(self, user: str, database: str) -> None:
        pairs = f"user\0{user}\0database\0{database}\0client_encoding\0UTF8\0\0".encode()
        self.writer.write(struct.pack(">II", 8 + len(pairs), 196608) + pairs)
        self.greeting = await self.answer()

    async def answer(self) -> bytes:
        """All messages up to the one that says that the server is ready."""
        out = b""
        while True:
            kind, message = await _message(self.reader)
            out += message
            if kind == b"Z":
                return out

    async def discard_all(self) -> None:
        for statement in (b"ROLLBACK", b"DISCARD ALL"):
            self.writer.write(_query(statement))
            await self.answer()


class Pooler:
    """`transactions` counts those that were let through, `backends_used` how many connections they went over. The next answers to
    messages that have `lose` in them are lost, `losses` times."""

    def __init__(self, port: int, size: int) -> None:
        self._server_port, self._size = port, size
        self._idle: deque[Backend] = deque()
        self._free = asyncio.Semaphore(size)
        self._backends: list[Backend] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.transactions = 0
        self.backends_used: set[int] = set()
        self.lose = b""
        self.losses = 0
        self.port = 0

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    async def serve(self) -> asyncio.Server:
        for _ in range(self._size):
            backend = Backend(*await asyncio.open_connection("127.0.0.1", self._server_port))
            await backend.greet("postgres", "postgres")
            self._backends.append(backend)
            self._idle.append(backend)
        listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        return listening

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports of the clients close
        for backend in self._backends:
            backend.writer.close()
            await backend.writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._client(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                if await _welcome(reader, writer, self._backends[0].greeting):
                    while await self._transaction(reader, writer):
                        pass
        finally:
            writer.close()

    async def _transaction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the client stays for another one."""
        kind, message = await _message(reader)
        if kind == b"X":
            return False
        async with self._free:
            backend = self._idle.popleft()
            try:
                while True:
                    state = await self._exchange(kind, message, backend, reader, writer)
                    if state == b"I":
                        break
                    if not state:
                        return False
                    kind, message = await _message(reader)
                self.transactions += 1
                self.backends_used.add(id(backend))
                return True
            finally:
                await backend.discard_all()
                self._idle.append(backend)

    async def _exchange(
        self,
        kind: bytes,
        message: bytes,
        backend: Backend,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bytes:
        """One question up to its Sync, and its answer; the state of the transaction then, or b"" if the answer was lost on purpose."""
        asked = message
        while kind not in (b"S", b"Q"):
            kind, message = await _message(reader)
            asked += message
        backend.writer.write(asked)
        answer = await backend.answer()
        if self.losses and self.lose in asked:
            self.losses -= 1
            return b""
        writer.write(answer)
        await writer.drain()
        return answer[-1:]


@contextlib.asynccontextmanager
async def pooler(port: int, size: int = 3) -> AsyncGenerator[Pooler]:
    """A pooler before the server at this port of loopback, which lets anybody in."""
    made = Pooler(port, size)
    listening = await made.serve()
    try:
        yield made
    finally:
        listening.close()
        await made.close()
        await listening.wait_closed()


async def _welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: bytes) -> bool:
    while True:
        size, code = struct.unpack(">II", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        if code == CANCEL:
            return False
        if code not in (SSL, GSS):
            break
        writer.write(b"N")
    writer.write(greeting)
    return True


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    kind, size = _HEAD.unpack(head)
    return kind, head + await reader.readexactly(size - 4)


def _query(sql: bytes) -> bytes:
    return _HEAD.pack(b"Q", len(sql) + 5) + sql + b"\0"
