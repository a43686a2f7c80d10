"""What the tests of the scripted provider share: both APIs, and a plain HTTP client for each."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest

from turnwise.testing import ScriptedProvider


class Asker(msgspec.Struct, frozen=True):
    """Speaks one API without any of our own client code."""

    api: str

    @property
    def path(self) -> str:
        return "/v1/messages" if self.api == "anthropic.messages" else "/v1/chat/completions"

    def headers(self, key: str = "test") -> dict[str, str]:
        if self.api == "anthropic.messages":
            return {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
        return {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def body(self, *, stream: bool = False, **more: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"model": "a-model", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        if self.api == "anthropic.messages":
            body["max_tokens"] = 100
        return body | more

    def call(self, call_id: str) -> dict[str, Any]:
        """An assistant message that calls one tool."""
        if self.api == "anthropic.messages":
            block = {"type": "tool_use", "id": call_id, "name": "weather", "input": {}}
            return {"role": "assistant", "content": [block]}
        made = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        return {"role": "assistant", "content": None, "tool_calls": [made]}

    async def ask(
        self, provider: ScriptedProvider, body: dict[str, Any] | None = None, *, key: str = "test"
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on its own connection: status, headers (lower-case), body."""
        async with (
            aiohttp.ClientSession() as client,
            client.post(provider.url + self.path, json=body or self.body(), headers=self.headers(key)) as response,
        ):
            return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()

    @property
    def terminator(self) -> bytes:
        """What a stream ends with."""
        return b'data: {"type":"message_stop"}\n\n' if self.api == "anthropic.messages" else b"data: [DONE]\n\n"

    @staticmethod
    def chunks(encoded: bytes) -> list[bytes]:
        """The HTTP chunks of a body."""
        chunks: list[bytes] = []
        while True:
            size, _, encoded = encoded.partition(b"\r\n")
            if not int(size, 16):
                return chunks
            chunks.append(encoded[: int(size, 16)])
            encoded = encoded[int(size, 16) + 2 :]

    def raw(self, *, stream: bool = True) -> bytes:
        """A request as its bytes."""
        body = json.dumps(self.body(stream=stream)).encode()
        head = "".join([f"{k}: {v}\r\n" for k, v in {**self.headers(), "content-length": len(body)}.items()])
        return f"POST {self.path} HTTP/1.1\r\nhost: test\r\n{head}\r\n".encode() + body

    async def connect(
        self, provider: ScriptedProvider, *, stream: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The request written to a raw socket; its response is for the test to read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(provider.url.rpartition(":")[2]))
        writer.write(self.raw(stream=stream))
        await writer.drain()
        return reader, writer


@pytest.fixture(params=["openai.chat", "anthropic.messages"])
def asker(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)
