"""A real HTTP server on loopback for tools made from documents: it says back what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class Echo:
    """What was asked for, request by request. `release` ends answers that wait."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        self.left = asyncio.Event()
        self.failures = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        said = {
            "method": request.method,
            "path": request.raw_path,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "body": body,
        }
        self.seen.append(said)
        name = request.path.rsplit("/", 1)[-1]
        match name:
            case "missing":
                return web.Response(status=404, text="no such pet")
            case "busy":
                self.failures += 1
                if self.failures < 3:
                    return web.Response(status=503, headers={"Retry-After": "7"}, text="later")
                return web.json_response({"tries": self.failures})
            case "moved":
                return web.Response(status=302, headers={"Location": "http://elsewhere.test/"})
            case "nothing":
                return web.Response(status=204)
            case "picture":
                return web.Response(body=PNG, content_type="image/png")
            case "binary":
                return web.Response(body=b"\0\1\2", content_type="application/octet-stream")
            case "latin":
                return web.Response(
                    body="größe".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}
                )
            case "large":
                return web.Response(text="x" * 1_500_000)
            case "slow":
                self.reached.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.left.set()
                    raise
                return web.Response(text="late")
            case "stall":
                answer = web.StreamResponse()
                await answer.prepare(request)
                await answer.write(b"half")
                self.reached.set()
                await self.release.wait()
                return answer
            case _:
                return web.json_response(said)


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[tuple[str, Echo]]:
    """Its address, and what it has seen."""
    echo = Echo()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # pyright: ignore
    try:
        yield f"http://127.0.0.1:{port}", echo
    finally:
        echo.release.set()
        await runner.cleanup()


# --- for docs/tool-registry.md ------------------------------------------------------------------------------------------------


def documented_shop() -> dict[str, Any]:
    """The document of the examples."""
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    listing = [
        {"name": "status", "in": "query", "schema": {"type": "string", "enum": ["open", "sent"]}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
    ]
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "https://shop.test/v1"}],
        "paths": {
            "/orders": {"get": {"operationId": "listOrders", "parameters": listing}},
            "/orders/{id}": {"get": {"parameters": [id]}, "delete": {"parameters": [id]}},
        },
    }


def script_of_the_docs() -> None:
    """The script of the examples, for machines without jq."""
    folder = Path("scripts")
    folder.mkdir()
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    about = json.dumps({"name": "count_words", "description": "Count the words of a text.", "parameters": schema})
    (folder / "count_words").write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"print({about!r} if '--schema' in sys.argv else len(json.load(sys.stdin)['text'].split()))\n"
    )
    (folder / "count_words").chmod(0o755)
