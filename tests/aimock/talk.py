"""Talking to one provider through aimock with our public API, and reading what aimock understood of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from tests.aimock.providers import Provider
from tests.aimock.server import Aimock
from tests.aimock.shims import Corrected, Shim

from turnwise import Agent, Model, ModelSettings, Retry, Runtime
from turnwise.core.protocols import Chunk, Response
from turnwise.models.transport import HttpTransport

AT_ONCE = Retry(attempts=2, base_delay_s=0)
NOT_SOON = Retry(attempts=2, base_delay_s=60)
"""Anybody who does not do as Retry-After says waits half a minute on average."""


class Watched(HttpTransport):
    """The real transport, which also keeps the bytes of every request. Between it and aimock may be a shim, one for each request."""

    def __init__(self, shim: Callable[[], Shim] | None = None) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self._shim = shim

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Chunk],
        connect_s: float | None = None,
    ) -> Response:
        self.sent.append(b"".join(body))
        if self._shim is None:
            return await super().open(method, url, headers, body, connect_s)
        shim, asked = self._shim(), json.loads(self.sent[-1])
        shim.asked(asked)
        response = await super().open(method, url, headers, [json.dumps(asked).encode()], connect_s)
        return Corrected(response, shim)


class Understood(msgspec.Struct, frozen=True):
    """A request as aimock understood it, whatever the API it came by."""

    system: list[str]
    users: list[str]
    answers: list[str]
    calls: list[tuple[str, str, dict[str, Any]]]
    """Id, name, arguments."""
    results: list[tuple[str | None, str]]
    """Id of the call, text."""
    order: list[str]
    """Roles; what stands several times in a row stands here once."""
    tools: list[str]
    status: int


def understood(entry: dict[str, Any], wraps: str = "") -> Understood:
    """A journal entry, read. `wraps` is the field that results stand in where the API wants an object."""
    body = entry["body"]
    messages = body["messages"]

    def said(*roles: str) -> list[str]:
        return [text for m in messages if m["role"] in roles and (text := _text(m.get("content")))]

    def told(content: Any) -> str:
        text = _text(content)
        return json.loads(text)[wraps] if wraps else text

    calls = [c for m in messages for c in m.get("tool_calls") or ()]
    roles = [m["role"] for m in messages]
    return Understood(
        said("system", "developer"),
        said("user"),
        said("assistant"),
        [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
        [(m.get("tool_call_id"), told(m["content"])) for m in messages if m["role"] == "tool"],
        [role for n, role in enumerate(roles) if role != (roles[n - 1] if n else None)],
        sorted(t["function"]["name"] for t in body.get("tools") or ()),
        entry["response"]["status"],
    )


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


class Line:
    """One test's line to one provider: agents and models that reach it, and what came through."""

    def __init__(self, provider: Provider, aimock: Aimock, url: str, streamed: bool, test: str) -> None:
        self.provider = provider
        self.streamed = streamed
        self.transport = Watched(provider.shim)
        self.runtime = Runtime(transport=self.transport, environ={})
        self._aimock = aimock
        self._url = url
        self._test = test

    def model(self, settings: ModelSettings | None = None) -> Model:
        own = msgspec.structs.replace(settings or ModelSettings(), patch={"headers": {"x-test-id": self._test}})
        return Model(self.provider.model, settings=own, base_url=self._url, **self.provider.connection())

    def agent(
        self, *tools: Callable[..., Any], settings: ModelSettings | None = None, retry: Retry = AT_ONCE
    ) -> Agent[Any]:
        return Agent(
            self.model(settings),
            instructions="Be brief.",
            tools=tools,
            stream=self.streamed,
            retry=retry,
            runtime=self.runtime,
        )

    async def journal(self) -> list[dict[str, Any]]:
        return await self._aimock.journal(self._test)

    async def understood(self) -> list[Understood]:
        return [understood(entry, self.provider.wraps) for entry in await self.journal()]


@asynccontextmanager
async def line(provider: Provider, aimock: Aimock, streamed: bool, test: str) -> AsyncIterator[Line]:
    """A line that is open until the block is left."""
    made = Line(provider, aimock, aimock.url + provider.path, streamed, test)
    async with made.runtime:
        yield made


def parallel_tools() -> tuple[Callable[..., Any], ...]:
    """Two tools that give nothing before three calls of them run at once."""
    together = asyncio.Barrier(3)

    async def weather(city: str, days: int = 1) -> str:
        """Forecast for a city."""
        await together.wait()
        return f"{city}: rain for {days} day(s)"

    async def population(city: str) -> str:
        """How many live in a city."""
        await together.wait()
        return f"{city}: 700,000"

    return weather, population
