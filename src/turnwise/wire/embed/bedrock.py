"""Embedding models on AWS Bedrock by InvokeModel, whose body is the model maker's own: Amazon Titan and Cohere.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html (one text a request),
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-mm.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html, and for the header that counts tokens
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.errors import ConfigError, config_error
from ..base import HttpRequest
from ..heads import unsupported, written
from ..percent import encoded
from .base import Bounds, Embedded, Wishes, read_json, vectors_of
from .cohere import CohereAnswer, cohere_body, cohere_vectors

TOKENS_HEADER = "x-amzn-bedrock-input-token-count"
HEADERS: Mapping[str, str] = {"content-type": "application/json", "accept": "application/json"}


class TitanEmbeddings(msgspec.Struct, frozen=True):
    """Amazon Titan: one text a request, no input types. `dimensions` is the path of the field for the wanted length."""

    dimensions: tuple[str, ...] = ()
    label: str = "Amazon Titan on Bedrock"
    bounds: Bounds = Bounds(1)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        body: dict[str, Any] = {"inputText": texts[0]}
        if wishes.dimensions is not None:
            if not self.dimensions:
                raise unsupported(f"{wishes.model} on Bedrock", "dimensions for embeddings")
            inner: Any = wishes.dimensions
            for name in reversed(self.dimensions):
                inner = {name: inner}
            body |= inner
        return HttpRequest("POST", invoke_path(wishes.model), HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, _Titan)
        return Embedded(vectors_of([answer.embedding], count), answer.inputTextTokenCount)


class CohereOnBedrock(msgspec.Struct, frozen=True):
    """Cohere's models, which on Bedrock know no base64."""

    shortens: bool = True
    label: str = "Cohere on Bedrock"
    bounds: Bounds = Bounds(96)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        if wishes.dimensions is not None and not self.shortens:
            raise unsupported(f"{wishes.model} on Bedrock", "dimensions for embeddings")
        body = cohere_body(texts, wishes, "float", self.label)
        return HttpRequest("POST", invoke_path(wishes.model), HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        said = headers.get(TOKENS_HEADER, "")
        return Embedded(cohere_vectors(read_json(body, CohereAnswer), count), int(said) if said.isdecimal() else None)


_FAMILIES: tuple[tuple[str, TitanEmbeddings | CohereOnBedrock], ...] = (
    ("amazon.titan-embed-text-v2", TitanEmbeddings(("dimensions",))),
    ("amazon.titan-embed-image", TitanEmbeddings(("embeddingConfig", "outputEmbeddingLength"))),
    ("amazon.titan-embed", TitanEmbeddings()),
    ("cohere.embed-english-v3", CohereOnBedrock(shortens=False)),
    ("cohere.embed-multilingual-v3", CohereOnBedrock(shortens=False)),
    ("cohere.embed", CohereOnBedrock()),
)
"""By part of the model's name, which may stand in an inference profile's name or in an ARN. The first that fits."""


def bedrock_codec(model: str) -> TitanEmbeddings | CohereOnBedrock:
    """The form of this model's bodies. Raises `ConfigError` (`unsupported_feature`) if its name does not tell."""
    for part, codec in _FAMILIES:
        if part in model:
            return codec
    raise unknown_model(model, "embedding", "Amazon Titan and Cohere Embed")


def unknown_model(model: str, kind: str, known: str) -> ConfigError:
    """The error for a model whose form of body cannot be known from its name."""
    return config_error(
        "unsupported_feature",
        f"Bedrock has a body of its own for each family of {kind} models, and {model!r} names none that is known.",
        f"Known are {known}: use a model, inference profile or ARN whose name says which it is.",
    )


def invoke_path(model: str) -> str:
    """InvokeModel's path; an ARN is one segment. A colon may stand in a path (RFC 3986, 3.3)."""
    return f"/model/{encoded(model, ':')}/invoke"


class _Titan(msgspec.Struct):
    embedding: list[float]
    inputTextTokenCount: int | None = None
