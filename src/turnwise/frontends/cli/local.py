"""Model servers on this machine: asked quickly, all at once, by plain sockets, and never with a key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from ...models.hosts import HOSTS, Host
from ...runtime.runtime import Runtime

PROBE_S = 0.3
_MAX_ANSWER_BYTES = 1 << 20


class LocalServer(msgspec.Struct, frozen=True):
    """A server that answered, and the models it said it has."""

    host: Host
    models: tuple[str, ...]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    """What servers of OpenAI's API list. https://platform.openai.com/docs/api-reference/models/list"""

    data: list[_Model] | None


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    """What Ollama's own API lists. https://docs.ollama.com/api/tags"""

    models: list[_Tag] | None


async def find_local_servers(runtime: Runtime, hosts: Iterable[Host] | None = None) -> list[LocalServer]:
    """Which of `hosts` (default: all that are marked local) list their models within `PROBE_S` seconds.

    Never raises for a server that is absent, slow, or something else: it is left out.
    """
    local = [host for host in (HOSTS.values() if hosts is None else hosts) if host.local]
    probes = [runtime.start(_probe(host)) for host in local]
    return [found for probe in probes if (found := await probe) is not None]


async def _probe(host: Host) -> LocalServer | None:
    try:
        async with asyncio.timeout(PROBE_S):
            body = await _get(host.base_url + host.models_path)
        return LocalServer(host, _names(host, body))
    except (OSError, TimeoutError, ValueError, msgspec.MsgspecError):
        return None


def _names(host: Host, body: bytes) -> tuple[str, ...]:
    if host.api == "ollama.chat":
        return tuple([tag.name for tag in msgspec.json.decode(body, type=_Tags).models or []])
    return tuple([model.id for model in msgspec.json.decode(body, type=_Models).data or []])


async def _get(url: str) -> bytes:
    """The body of a 200 response. HTTP/1.0, so that it ends with the connection and is not sent in chunks."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_MAX_ANSWER_BYTES)
    try:
        writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode())
        answer = b""
        while len(answer) < _MAX_ANSWER_BYTES and (more := await reader.read(1 << 16)):
            answer += more
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError("no list of models")
    return body
