"""`POST /embeddings` as OpenAI speaks it, and as the hosts that speak it after OpenAI do: one form, one row for each host.

Sources: https://platform.openai.com/docs/api-reference/embeddings/create (2,048 texts and 300,000 tokens a request),
https://learn.microsoft.com/azure/ai-foundry/openai/reference (Azure), https://docs.voyageai.com/reference/embeddings-api (1,000 texts, 120,000
tokens for the models that take least), https://api.jina.ai/redoc, https://docs.mistral.ai/api/endpoint/embeddings,
https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/reference.html.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..base import HttpRequest
from ..heads import JSON_HEADERS, unsupported, written
from .base import Bounds, Embedded, InputType, Wishes, named_type, protocol, read_json, vectors_of


class OpenAiEmbeddings(msgspec.Struct, frozen=True):
    """One kind of host.

    label             as errors call it
    bounds            what it takes in one request
    dimensions_field  where the wanted length goes; "": it has no place for it
    packed            the fields that ask for base64, which is a third of the bytes and decoded twenty times as fast; both forms are read
    type_field        where the input type goes; "": its models make no difference
    types             its words for input types
    always            fields of every request
    """

    label: str
    bounds: Bounds
    dimensions_field: str = "dimensions"
    packed: Mapping[str, str] = {}
    type_field: str = ""
    types: Mapping[InputType, str] = {}
    always: Mapping[str, Any] = {}

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        body: dict[str, Any] = {"model": wishes.model, "input": list(texts), **self.packed, **self.always}
        if wishes.dimensions is not None:
            if not self.dimensions_field:
                raise unsupported(self.label, "dimensions for embeddings")
            body[self.dimensions_field] = wishes.dimensions
        if self.type_field and (name := named_type(wishes, self.types, self.label)) is not None:
            body[self.type_field] = name
        return HttpRequest("POST", "/embeddings", JSON_HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, _Answer)
        counts = answer.usage or _Counts()
        vectors = vectors_of([item.embedding for item in answer.data], count)
        tokens = counts.prompt_tokens if counts.prompt_tokens is not None else counts.total_tokens
        return Embedded(_in_order(answer.data, vectors), tokens, answer.model or "")


OPENAI = OpenAiEmbeddings("OpenAI", Bounds(2048, 300_000), packed={"encoding_format": "base64"})
AZURE = OpenAiEmbeddings("Azure OpenAI", Bounds(2048, 300_000), packed={"encoding_format": "base64"})
COMPATIBLE = OpenAiEmbeddings("The OpenAI-compatible host", Bounds(128, 300_000))
"""A host of which nothing is known: plain numbers, and batches of a size that all hosts take that say how much they take."""
MISTRAL = OpenAiEmbeddings("Mistral", Bounds(256, 16_000), dimensions_field="output_dimension")
VOYAGE = OpenAiEmbeddings(
    "Voyage",
    Bounds(1000, 120_000),
    dimensions_field="output_dimension",
    packed={"encoding_format": "base64"},
    type_field="input_type",
    types={"query": "query", "document": "document"},
    always={"truncation": False},
)
JINA = OpenAiEmbeddings(
    "Jina",
    Bounds(512),
    packed={"embedding_type": "base64"},
    type_field="task",
    types={
        "query": "retrieval.query",
        "document": "retrieval.passage",
        "similarity": "text-matching",
        "classification": "classification",
        "clustering": "separation",
    },
)
NVIDIA = OpenAiEmbeddings(
    "NVIDIA NIM", Bounds(50), type_field="input_type", types={"query": "query", "document": "passage"}
)

BY_HOST: dict[str, OpenAiEmbeddings] = {
    "openai": OPENAI,
    "openai-responses": OPENAI,
    "azure": AZURE,
    "azure-responses": AZURE,
    "mistral": MISTRAL,
    "nvidia": NVIDIA,
    "voyage": VOYAGE,
    "jina": JINA,
}


class _Item(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]
    model: str | None = None
    usage: _Counts | None = None


def _in_order(items: list[_Item], vectors: list[array[float]]) -> list[array[float]]:
    """By `index`, where the host numbers its vectors; hosts that do not, or number them all 0, keep the order."""
    if all(not item.index for item in items):
        return vectors
    placed = {item.index: vector for item, vector in zip(items, vectors, strict=True)}
    if set(placed) != set(range(len(items))):
        raise protocol("The vectors are numbered wrongly, so that they cannot be told apart.")
    return [placed[i] for i in range(len(items))]
