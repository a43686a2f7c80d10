"""Middleware around embedding and rerank requests: one attempt each, tried again by `exchange` alone (H3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.models.json_server import error, served
from tests.models.test_embeddings import openai

from turnwise import Retry, Runtime
from turnwise.embeddings import embed, rerank
from turnwise.errors import HookError
from turnwise.middleware import EmbedRequest, EmbedResponse, circuit_breaker, concurrency, metrics, middleware, redact

KEY = "test-key"


def ranked(body: dict[str, Any]) -> Any:
    count = len(body["documents"])
    return {"id": "1", "results": [{"index": i, "relevance_score": 1 / (i + 1)} for i in range(count)], "meta": {}}


async def test_each_attempt_goes_through_it() -> None:
    seen: list[EmbedRequest] = []

    @middleware("embed")
    async def watching(request: EmbedRequest, next: Any) -> EmbedResponse:
        seen.append(request)
        return await next(request)

    counted = metrics("embed")
    async with (
        served(openai) as server,
        Runtime(environ={}, middleware=[watching, counted, concurrency(1, of="embed")]) as r,
    ):
        server.first.append(error(500, "down"))
        done = await embed(
            ["a", "b"],
            "openai:text-embedding-3-small",
            base_url=server.url,
            api_key=KEY,
            runtime=r,
            retry=Retry(base_delay_s=0),
        )
        assert len(done.vectors) == 2 and done.usage.input_tokens == 2
        assert [(s.attempt, list(s.texts), s.query) for s in seen] == [(1, ["a", "b"], None), (2, ["a", "b"], None)]
        figures = counted.of("embed")
        assert (figures.calls, figures.succeeded, sum(figures.failed.values())) == (2, 1, 1)


async def test_texts_may_be_changed_and_answered_in_place() -> None:
    @middleware("embed")
    async def known(request: EmbedRequest, next: Any) -> EmbedResponse:
        answer = await next(request)
        return msgspec.structs.replace(answer, vectors=[list(v) for v in answer.vectors])

    async with served(openai) as server, Runtime(environ={}, middleware=[redact(r"PIN \d+"), known]) as runtime:
        await embed(["my PIN 1234"], "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
        assert server.requests[0].body["input"] == ["my [redacted]"]


async def test_reranking_goes_through_it() -> None:
    seen: list[str | None] = []

    @middleware("embed")
    async def watching(request: EmbedRequest, next: Any) -> EmbedResponse:
        seen.append(request.query)
        return await next(request.replace(query="better"))

    async with served(ranked) as server, Runtime(environ={}, middleware=[watching]) as runtime:
        found = await rerank("q", ["a", "b"], "cohere:rerank-v3.5", base_url=server.url, api_key=KEY, runtime=runtime)
        assert [r.index for r in found] == [0, 1] and seen == ["q"]
        assert server.requests[0].body["query"] == "better"


@pytest.mark.parametrize("what", ["twice", "raises", "short", "nothing"])
async def test_what_goes_wrong_is_a_hook_error(what: str) -> None:
    @middleware("embed")
    async def bad(request: EmbedRequest, next: Any) -> Any:
        if what == "raises":
            raise ValueError("lost")
        answer = await next(request)
        if what == "twice":
            await next(request)
        return msgspec.structs.replace(answer, vectors=answer.vectors[1:]) if what == "short" else None

    async with served(openai) as server, Runtime(environ={}, middleware=[bad]) as runtime:
        with pytest.raises(HookError):
            await embed(["a", "b"], "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
        assert len(server.requests) == (0 if what == "raises" else 1)


async def test_a_circuit_opens_for_embeddings_too() -> None:
    breaker = circuit_breaker(least=2, window=2, failure_share=1.0)
    async with served(openai) as server, Runtime(environ={}, middleware=[breaker]) as runtime:
        for _ in range(2):
            server.first.append(error(500, "down"))
        options: dict[str, Any] = {"base_url": server.url, "api_key": KEY, "runtime": runtime}
        for _ in range(3):
            with pytest.raises(Exception, match=r"."):
                await embed(["a"], "openai:m", retry=Retry(attempts=1), **options)
        assert len(server.requests) == 2 and list(breaker.states.values()) == ["open"]
