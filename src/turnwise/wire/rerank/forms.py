"""`POST …/rerank` as Cohere, Jina and Voyage speak it, and Cohere's and Amazon's rerankers on AWS Bedrock (InvokeModel).

All take `query` and `documents` and answer with scores by index; they differ in names of fields: a row each. Documents are sent in one
request, whatever their number: scores of listwise rerankers say nothing across requests. Sources:
https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc, https://docs.voyageai.com/reference/reranker-api,
https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-use.html; vLLM, llama.cpp and others answer in Jina's form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..base import HttpRequest
from ..embed.base import protocol, read_json
from ..embed.bedrock import HEADERS, invoke_path, unknown_model
from ..heads import unsupported, written


class Ranked(msgspec.Struct, frozen=True):
    """Document number `index` (from 0) of those given, and how well it answers the query. Scores of different models cannot be
    compared."""

    index: int
    score: float


class RerankCodec(msgspec.Struct, frozen=True):
    """One form. `path` may hold the model; `always` are fields of every request; `top_field` bounds the answers."""

    label: str
    path: str
    top_field: str = "top_n"
    names_model: bool = True
    always: Mapping[str, Any] = {}

    def encode(self, query: str, documents: Sequence[str], model: str, top_n: int | None) -> HttpRequest:
        """The request. `top_n` is no more than there are documents."""
        body: dict[str, Any] = {"model": model} if self.names_model else {}
        body |= {"query": query, "documents": list(documents), **self.always}
        if top_n is not None:
            body[self.top_field] = top_n
        return HttpRequest("POST", self.path, HEADERS, written(body))

    def decode(self, body: bytes, count: int) -> list[Ranked]:
        """The ranking, best first, of `count` documents. Raises `ProviderError` (`protocol`), and nothing else, whatever the bytes."""
        answer = read_json(body, _Answer)
        rows = answer.results if answer.results is not None else answer.data
        if rows is None:
            raise protocol("The answer holds no ranking.")
        ranked = [Ranked(row.index, _score(row)) for row in rows]
        seen = {r.index for r in ranked}
        if len(seen) != len(ranked) or any(not 0 <= i < count for i in seen):
            raise protocol("The ranking names documents twice, or such as were not sent.")
        return sorted(ranked, key=lambda r: -r.score)


COHERE = RerankCodec("Cohere", "/v2/rerank")
JINA = RerankCodec("Jina", "/rerank", always={"return_documents": False})
VOYAGE = RerankCodec("Voyage", "/rerank", "top_k")
COMPATIBLE = RerankCodec("The OpenAI-compatible host", "/rerank")

_BEDROCK: tuple[tuple[str, Mapping[str, Any]], ...] = (("cohere.rerank", {"api_version": 2}), ("amazon.rerank", {}))
"""By part of the model's name: the fields that its body always has."""
_WITHOUT = frozenset(("openai", "openai-responses", "azure", "azure-responses", "mistral", "nvidia"))
"""Hosts of OpenAI's APIs of which it is known that they rerank nothing."""


def rerank_codec(provider: str, api: str, label: str, model: str) -> RerankCodec:
    """The codec for rerankers of this provider. Raises `ConfigError` (`unsupported_feature`) if it has none, or none for
    that model."""
    if provider == "jina":
        return JINA
    if provider == "voyage":
        return VOYAGE
    family = api.partition(".")[0]
    if family == "cohere":
        return COHERE
    if family == "bedrock":
        for part, always in _BEDROCK:
            if part in model:
                path = invoke_path(model)
                return RerankCodec("Bedrock", path, names_model=False, always=always)
        raise unknown_model(model, "rerank", "cohere.rerank-v3-5 and amazon.rerank-v1")
    if family == "openai" and provider not in _WITHOUT:
        return msgspec.structs.replace(COMPATIBLE, label=label)
    raise unsupported(label, "documents to rerank", "It has no rerankers: use another provider for them.")


class _Row(msgspec.Struct):
    index: int
    relevance_score: float | None = None
    relevanceScore: float | None = None
    score: float | None = None


class _Answer(msgspec.Struct):
    results: list[_Row] | None = None
    data: list[_Row] | None = None


def _score(row: _Row) -> float:
    for score in (row.relevance_score, row.relevanceScore, row.score):
        if score is not None:
            return score
    raise protocol("A document of the ranking has no score.")
