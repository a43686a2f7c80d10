"""A request body in parts: a long conversation is sent from where it is kept, without copying it into one body first."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

from ..core.protocols import Chunk


class PartsPayload(Payload):
    """Byte strings sent one after the other. They must not change until the request is sent."""

    _value: Sequence[Chunk]

    def __init__(self, parts: Sequence[Chunk], size: int) -> None:
        super().__init__(parts, content_type="application/json")
        self._size = size

    async def write(self, writer: AbstractStreamWriter) -> None:
        for part in self._value:
            await writer.write(part)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if content_length is not None and content_length != self._size:
            raise ValueError(f"A body of {self._size} bytes cannot be sent as {content_length}.")
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"".join(self._value)
