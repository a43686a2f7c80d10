"""Credentials that have to be worked out for each request: signatures, tokens that expire. Static keys are plain headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from ..core.protocols import Blocking, Chunk
from .secrets import mask


class Outgoing(msgspec.Struct, frozen=True):
    """A request about to be sent, as far as a signature covers it. `body` is in parts."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Sequence[Chunk]

    def __repr__(self) -> str:
        return f"Outgoing({self.method} {mask(self.url)})"


class Auth(Protocol):
    """Lets a request in.

    `headers` returns the headers to add to this request; it may wait (for a token to be renewed, in a thread of
    `blocking` where a library knows no other way). `now` is Unix seconds. Raises `ConfigError` for credentials that
    cannot be had. Cancelling it changes nothing. Its `repr` shows no secret.
    """

    async def headers(self, request: Outgoing, blocking: Blocking, now: float) -> Mapping[str, str]: ...


class Endpoint(msgspec.Struct, frozen=True):
    """Where a model is reached and with what. `query` is added to every URL (`api-version=…`); `headers` are static
    credentials; `identity` tells keys apart without telling them; `model` is what the host calls the model, where that is another
    name than the caller's (a deployment)."""

    base_url: str
    headers: Mapping[str, str] = {}
    query: str = ""
    auth: Auth | None = None
    identity: int = 0
    model: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({mask(self.base_url)})"
