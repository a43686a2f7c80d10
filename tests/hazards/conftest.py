"""Every provider, streamed and not."""

from __future__ import annotations

import msgspec
import pytest
from tests.providers import PROVIDERS, Provider

from turnwise import Agent
from turnwise.testing import ScriptedProvider
from turnwise.wire.serve import Exchange, Response, serve_codec


class Way(msgspec.Struct, frozen=True):
    """One provider, asked for a stream or not."""

    provider: Provider
    streamed: bool

    def agent(self, at: ScriptedProvider | str, *tools: object, **options: object) -> Agent[None]:
        return self.provider.agent(at, *tools, stream=self.streamed, **options)  # pyright: ignore

    def body(self, response: Response, number: int = 1) -> bytes:
        """What the provider sends for a response."""
        served = serve_codec(self.provider.api)
        exchange = Exchange(number, "a-model", 1_750_000_000, 400, True, "alt=sse")
        return b"".join(served.stream(response, exchange)) if self.streamed else served.body(response, exchange)

    @property
    def content_type(self) -> str:
        return serve_codec(self.provider.api).stream_type if self.streamed else "application/json"


@pytest.fixture(params=PROVIDERS.values(), ids=lambda p: p.name)
def provider(request: pytest.FixtureRequest) -> Provider:
    return request.param


@pytest.fixture(
    params=[Way(p, streamed) for p in PROVIDERS.values() for streamed in (True, False)],
    ids=lambda w: f"{w.provider.name}-{'streamed' if w.streamed else 'whole'}",
)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param
