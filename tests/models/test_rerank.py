"""Reranking: each API's documented bytes over real HTTP, the order of the answer, refusals and errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.json_server import Answer, Server, error, served

from turnwise import Retry, Runtime
from turnwise.embeddings import Ranked, rerank
from turnwise.errors import ConfigError, ProviderError
from turnwise.wire.rerank import rerank_codec

KEY = "sk-test-0123456789abcdef"
DOCUMENTS = ["Oslo is in Norway.", "Bergen has rain.", "Rain falls in Bergen, day by day."]
RANKED = [Ranked(2, 0.9375), Ranked(1, 0.5), Ranked(0, 0.125)]
"""What every answer below means."""


def results(body: dict[str, Any]) -> Any:
    """https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc"""
    top = body.get("top_n", 3)
    return {
        "id": "1",
        "results": [{"index": r.index, "relevance_score": r.score} for r in RANKED[:top]],
        "meta": {"billed_units": {"search_units": 1}},
    }


def data(body: dict[str, Any]) -> Any:
    """https://docs.voyageai.com/reference/reranker-api"""
    top = body.get("top_k") or 3
    return {
        "object": "list",
        "data": [{"relevance_score": r.score, "index": r.index} for r in RANKED[:top]],
        "model": "rerank-2.5",
        "usage": {"total_tokens": 26},
    }


def unsorted(body: dict[str, Any]) -> Any:
    """A local server that does not sort, and gives all documents back with their text."""
    rows = [{"index": r.index, "score": r.score, "document": {"text": body["documents"][r.index]}} for r in RANKED]
    return {"model": "m", "results": sorted(rows, key=lambda r: r["index"]), "usage": {"total_tokens": 3}}


class Api(msgspec.Struct, frozen=True):
    model: str
    answer: Answer
    path: str
    sent: dict[str, Any]
    base: str = ""


ASKED = {"query": "Where does it rain?", "documents": DOCUMENTS}
APIS = [
    Api("cohere:rerank-v3.5", results, "/v2/rerank", {"model": "rerank-v3.5", **ASKED, "top_n": 2}),
    Api(
        "jina:jina-reranker-v3",
        results,
        "/v1/rerank",
        {"model": "jina-reranker-v3", **ASKED, "top_n": 2, "return_documents": False},
        "/v1",
    ),
    Api("voyage:rerank-2.5", data, "/v1/rerank", {"model": "rerank-2.5", **ASKED, "top_k": 2}, "/v1"),
    Api("vllm:bge-reranker", unsorted, "/v1/rerank", {"model": "bge-reranker", **ASKED, "top_n": 2}, "/v1"),
    Api(
        "bedrock:cohere.rerank-v3-5:0",
        results,
        "/model/cohere.rerank-v3-5:0/invoke",
        {**ASKED, "top_n": 2, "api_version": 2},
    ),
    Api("bedrock:amazon.rerank-v1:0", results, "/model/amazon.rerank-v1:0/invoke", {**ASKED, "top_n": 2}),
]


def connection_of(api: Api, server: Server) -> dict[str, Any]:
    url = server.url + api.base
    if not api.model.startswith("bedrock"):
        return {"base_url": url, "api_key": KEY}
    keys = {"bedrock_access_key_id": "AKIAEXAMPLE", "bedrock_secret_access_key": KEY}
    return {"base_url": url, "bedrock_region": "us-east-1", **keys}


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.model)
async def test_each_api(api: Api) -> None:
    """The request is the documented one; the best document comes first, and no more than were asked for."""
    async with served(api.answer) as server, Runtime(environ={}) as runtime:
        connection = connection_of(api, server)
        found = await rerank(
            ASKED["query"],
            DOCUMENTS,
            api.model,
            top_n=2,
            runtime=runtime,
            **connection,  # pyright: ignore[reportArgumentType]
        )
        everything = await rerank(str(ASKED["query"]), DOCUMENTS, api.model, runtime=runtime, **connection)
    assert found == RANKED[:2] and everything == RANKED
    sent, unbounded = server.requests
    assert sent.path == api.path and sent.body == api.sent
    assert {"top_n", "top_k"}.isdisjoint(unbounded.body)
    assert KEY in str(sent.headers) or "Credential=AKIAEXAMPLE" in sent.headers["Authorization"]


@pytest.mark.parametrize(
    ("query", "documents", "options", "code"),
    [
        ("", ["a"], {}, "empty_text"),
        ("q", ["a", ""], {}, "empty_text"),
        ("q", ["\ud800"], {}, "invalid_text"),
        ("q", "one string", {}, "invalid_value"),
        ("q", ["a"], {"top_n": 0}, "invalid_value"),
        ("q", ["a"], {"model": "openai:gpt-5"}, "unsupported_feature"),
        ("q", ["a"], {"model": "anthropic:claude-sonnet-4-5"}, "unsupported_feature"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_sending(
    query: str, documents: Any, options: dict[str, Any], code: str
) -> None:
    async with served(results) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ConfigError) as raised:
            given = {"model": "cohere:rerank-v3.5", "base_url": server.url, "api_key": KEY, **options}
            await rerank(query, documents, **given, runtime=runtime)
        assert raised.value.code == code and server.requests == []


async def test_an_unknown_reranker_on_bedrock_is_refused() -> None:
    keys: dict[str, Any] = {
        "bedrock_access_key_id": "a",
        "bedrock_secret_access_key": "b",
        "bedrock_region": "eu-west-1",
    }
    async with Runtime(environ={}) as runtime:
        with pytest.raises(ConfigError, match="names none that is known"):
            await rerank("q", ["a"], "bedrock:anthropic.claude-v9", runtime=runtime, **keys)


async def test_nothing_is_sent_for_nothing() -> None:
    async with served(results) as server, Runtime(environ={}) as runtime:
        connection = {"base_url": server.url, "api_key": KEY}
        assert await rerank("q", [], "cohere:rerank-v3.5", runtime=runtime, **connection) == []  # pyright: ignore[reportArgumentType]
        assert server.requests == []


async def test_more_than_there_are_are_not_asked_for() -> None:
    async with served(results) as server, Runtime(environ={}) as runtime:
        await rerank("q", DOCUMENTS, "cohere:m", top_n=50, base_url=server.url, api_key=KEY, runtime=runtime)
    assert server.requests[0].body["top_n"] == 3


async def test_a_rate_limit_is_waited_for_and_other_errors_are_told() -> None:
    async with served(results) as server, Runtime(environ={}) as runtime:
        server.first = [error(429, "slow down"), error(401, "no key like that")]
        with pytest.raises(ProviderError) as raised:
            await rerank(
                "q",
                DOCUMENTS,
                "voyage:rerank-2.5",
                base_url=server.url,
                api_key=KEY,
                runtime=runtime,
                retry=Retry(base_delay_s=0),
            )
        assert len(server.requests) == 2
        info = raised.value.info
        assert (info.code, info.status, info.provider, info.model) == ("auth", 401, "voyage", "rerank-2.5")
        assert KEY not in info.for_log()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"results": [{"index": 3, "relevance_score": 0.5}]}, "were not sent"),
        ({"results": [{"index": 0, "relevance_score": 0.5}] * 2}, "twice"),
        ({"results": [{"index": 0}]}, "no score"),
        ({"rows": []}, "no ranking"),
        ([], "not one of the API"),
    ],
)
async def test_wrong_answers_are_errors(answer: Any, said: str) -> None:
    async with served(lambda _: answer) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ProviderError, match=said) as raised:
            connection: dict[str, Any] = {"base_url": server.url, "api_key": KEY}
            await rerank("q", DOCUMENTS, "jina:m", retry=Retry(attempts=1), runtime=runtime, **connection)
        assert raised.value.code == "protocol"


@given(st.dictionaries(st.integers(0, 40), st.floats(-20, 20, width=32), max_size=40), st.randoms())
def test_the_best_comes_first(scores: dict[int, float], random: Any) -> None:
    """Whatever order the rows come in; equal scores keep the provider's."""
    rows = [{"index": i, "relevance_score": s} for i, s in scores.items()]
    random.shuffle(rows)
    codec = rerank_codec("jina", "", "Jina", "m")
    ranked = codec.decode(json.dumps({"results": rows}).encode(), 41)
    assert {r.index: r.score for r in ranked} == scores
    assert [r.score for r in ranked] == sorted(scores.values(), reverse=True)


@given(st.binary(max_size=80))
def test_no_answer_is_too_strange(body: bytes) -> None:
    """S8."""
    with pytest.raises(ProviderError):
        rerank_codec("cohere", "cohere.v2.chat", "Cohere", "m").decode(body, 3)
