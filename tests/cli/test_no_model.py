"""No model, no key: what is said, and which local servers are named."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from turnwise import Runtime
from turnwise.frontends.cli.local import PROBE_S, find_local_servers
from turnwise.models.hosts import HOSTS, Host

if TYPE_CHECKING:
    from .conftest import Cli


@contextmanager
def server(body: bytes, status: int = 200, port: int = 0) -> Generator[tuple[int, list[dict[str, str]]], None, None]:
    """A server that answers every GET so; its port, and the headers of the requests it got."""
    got: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append({name.lower(): value for name, value in self.headers.items()} | {":path": self.path})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listening.server_address[1], got
        finally:
            listening.shutdown()
            thread.join()


def local(port: int, name: str = "near") -> Host:
    return Host(name, "openai.chat", f"http://127.0.0.1:{port}/v1", needs_key=False, local=True, label=name.title())


def ollama(port: int) -> Host:
    return msgspec.structs.replace(HOSTS["ollama"], base_url=f"http://127.0.0.1:{port}")


MODELS = json.dumps({"object": "list", "data": [{"id": "a:1b"}, {"id": "b:2b"}]}).encode()
TAGS = json.dumps({"models": [{"name": "a:1b", "size": 1, "details": {"family": "a"}}, {"name": "b:2b"}]}).encode()


async def test_local_servers_are_found_and_asked_without_a_key() -> None:
    """P6: no credentials go to a server that merely happens to listen."""
    with server(MODELS) as (port, got), server(b'{"data":null}') as (empty, _):
        async with Runtime(environ={"OPENAI_API_KEY": "secret"}) as runtime:
            hosts = [local(port), local(empty, "bare"), Host("far", "openai.chat", "http://192.0.2.1/v1")]
            found = await find_local_servers(runtime, hosts)
    assert [(f.host.name, f.models) for f in found] == [("near", ("a:1b", "b:2b")), ("bare", ())]
    assert [request[":path"] for request in got] == ["/v1/models"]
    assert "secret" not in str(got)


async def test_ollama_is_asked_by_its_own_api() -> None:
    with server(TAGS) as (port, got), server(b'{"models":null}') as (empty, _), server(MODELS) as (other, _):
        async with Runtime(environ={"OLLAMA_API_KEY": "secret"}) as runtime:
            found = await find_local_servers(runtime, [ollama(port), ollama(empty), ollama(other)])
    assert [f.models for f in found] == [("a:1b", "b:2b"), ()], "a list in another form is another server"
    assert [request[":path"] for request in got] == ["/api/tags"]
    assert "secret" not in str(got)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b'{"data":[{"name":"x"}]}', b"[1]", b""])
async def test_what_is_no_model_server_is_not_named(body: bytes) -> None:
    with server(body) as (port, _), server(MODELS, status=404) as (refusing, _):
        async with Runtime() as runtime:
            assert await find_local_servers(runtime, [local(port), local(refusing)]) == []


async def test_a_server_that_is_silent_or_absent_costs_little_time() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            ports = [listening.getsockname()[1] for listening in (silent, gone)]
        async with Runtime() as runtime:
            began = loop.time()
            assert await find_local_servers(runtime, [local(port) for port in (*ports, *ports, *ports, *ports)]) == []
            assert loop.time() - began < 3 * PROBE_S, "the probes must run at the same time"


def test_without_any_key_the_variables_are_named(cli: Cli) -> None:
    done = cli.run("hi")
    assert (done.returncode, done.stdout) == (2, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "Error: No model is configured."
    assert "ANTHROPIC_API_KEY" in lines[1] and "OPENAI_API_KEY" in lines[1] and "-m" in lines[1]


def test_without_the_models_key_its_variable_is_named(cli: Cli) -> None:
    done = cli.run("-m", "openai:gpt-5", "hi", env=cli.environment(ANTHROPIC_API_KEY="x"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[:2] == [
        "Error: There is no API key for OpenAI.",
        "  Set OPENAI_API_KEY in the environment.",
    ]


@pytest.mark.parametrize("name", [host.name for host in HOSTS.values() if host.local])
def test_a_local_server_is_offered_with_a_command_that_works(cli: Cli, name: str) -> None:
    """On the server's real port, where that is free on this machine."""
    host = HOSTS[name]
    port = int(host.base_url.rpartition(":")[2].removesuffix("/v1"))
    try:
        with server(TAGS if name == "ollama" else MODELS, port=port):
            done = cli.run("hi")
    except OSError:
        pytest.skip(f"port {port} is taken on this machine")
    assert done.returncode == 2
    assert f'{host.label} runs on this machine (a:1b, b:2b): turnwise -m {name}:a:1b "…"' in done.stderr.decode()
