"""Cohere's `POST /v2/embed`, and the same models on AWS Bedrock, where the body is nearly the same.

Sources: https://docs.cohere.com/reference/embed (96 texts a request; an input type is required) and
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html. Texts that are too long are refused (`truncate: NONE`), not
cut without a word as is Cohere's default.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..base import HttpRequest
from ..heads import JSON_HEADERS, written
from .base import Bounds, Embedded, InputType, Wishes, named_type, protocol, read_json, vectors_of

_TYPES: dict[InputType, str] = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}
UNSAID = "search_document"
"""The input type if none was asked for."""


class CohereEmbeddings(msgspec.Struct, frozen=True):
    """Cohere itself."""

    label: str = "Cohere"
    bounds: Bounds = Bounds(96)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        body = {"model": wishes.model, **cohere_body(texts, wishes, "base64", self.label)}
        return HttpRequest("POST", "/v2/embed", JSON_HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, CohereAnswer)
        billed = None if answer.meta is None else answer.meta.billed_units
        tokens = None if billed is None or billed.input_tokens is None else int(billed.input_tokens)
        return Embedded(cohere_vectors(answer, count), tokens)


def cohere_body(texts: Sequence[str], wishes: Wishes, form: str, label: str) -> dict[str, Any]:
    """The fields of a request but the model."""
    body: dict[str, Any] = {
        "texts": list(texts),
        "input_type": named_type(wishes, _TYPES, label) or UNSAID,
        "embedding_types": [form],
        "truncate": "NONE",
    }
    if wishes.dimensions is not None:
        body["output_dimension"] = wishes.dimensions
    return body


class _ByType(msgspec.Struct):
    base64: list[str] | None = None
    float_: list[list[float]] | None = msgspec.field(default=None, name="float")


class _Billed(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class CohereAnswer(msgspec.Struct):
    """Vectors by type; older models on Bedrock send them bare."""

    embeddings: list[list[float]] | _ByType
    meta: _Meta | None = None


def cohere_vectors(answer: CohereAnswer, count: int) -> list[array[float]]:
    """The vectors of an answer, in whichever form they came."""
    found = answer.embeddings
    values = found if isinstance(found, list) else found.base64 if found.base64 is not None else found.float_
    if values is None:
        raise protocol("The answer holds no vectors of the type that was asked for.")
    return vectors_of(values, count)
