"""A provider on loopback for tests: answers JSON requests with what a function makes of them, and keeps them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

Answer = Callable[[dict[str, Any]], Any]


class Request(msgspec.Struct):
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]


class Server:
    """A provider on loopback: answers with what `answer` makes of the body, unless something else is queued up."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.first: list[web.Response] = []
        self.before: Callable[[Request], Any] | None = None
        self.url = ""
        self.over = asyncio.Event()
        """Set when the server closes: what a request that is never answered waits for."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        received = Request(request.raw_path.partition("?")[0], dict(request.query), dict(request.headers), body)
        self.requests.append(received)
        if self.before is not None:
            await self.before(received)
        if self.first:
            return self.first.pop(0)
        made = self.answer(body)
        return made if isinstance(made, web.Response) else web.json_response(made)


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[Server]:
    server = Server(answer)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{any:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        server.over.set()
        await runner.cleanup()


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error in OpenAI's form."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
