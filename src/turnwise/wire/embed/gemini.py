"""Google's embedding methods: `batchEmbedContents` at AI Studio; `predict` and `embedContent` at Vertex AI.

Sources: https://ai.google.dev/api/embeddings (100 requests in a batch),
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api (250 texts and 20,000 tokens a request, but one text
for `gemini-embedding-001`), https://ai.google.dev/gemini-api/docs/embeddings (task types; `gemini-embedding-2` has none and reads the task
from the text itself), and which method takes which model from the google-genai SDK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..base import HttpRequest
from ..heads import JSON_HEADERS, written
from ..percent import encoded
from .base import Bounds, Embedded, InputType, Wishes, named_type, read_json, vectors_of

_TASKS: dict[InputType, str] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
_PROMPTS: dict[InputType, str] = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "similarity": "task: sentence similarity | query: ",
    "classification": "task: classification | query: ",
    "clustering": "task: clustering | query: ",
}
"""What comes before a text for models that have no task types."""
_PROMPTED_MODELS = ("gemini-embedding-2",)


class GeminiEmbeddings(msgspec.Struct, frozen=True):
    """AI Studio."""

    label: str = "Gemini"
    bounds: Bounds = Bounds(100)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        name = _bare(wishes.model)
        task, prompt = _task(wishes, self.label)
        fields: dict[str, Any] = {"model": f"models/{name}"}
        if task is not None:
            fields["taskType"] = task
        if wishes.dimensions is not None:
            fields["outputDimensionality"] = wishes.dimensions
        requests = [{**fields, "content": _content(prompt + text)} for text in texts]
        path = f"/models/{encoded(name)}:batchEmbedContents"
        return HttpRequest("POST", path, JSON_HEADERS, written({"requests": requests}))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, _Batch)
        return Embedded(vectors_of([e.values for e in answer.embeddings], count), _tokens(answer.usageMetadata))


class VertexPredict(msgspec.Struct, frozen=True):
    """Vertex AI, `predict`: the models before Gemini Embedding 2."""

    bounds: Bounds
    label: str = "Vertex AI"

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        task = named_type(wishes, _TASKS, self.label)
        fields = {} if task is None else {"task_type": task}
        parameters: dict[str, Any] = {"autoTruncate": False}
        if wishes.dimensions is not None:
            parameters["outputDimensionality"] = wishes.dimensions
        body = {"instances": [{"content": text, **fields} for text in texts], "parameters": parameters}
        return HttpRequest("POST", f"/models/{encoded(_bare(wishes.model))}:predict", JSON_HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        found = [p.embeddings for p in read_json(body, _Predictions).predictions]
        counts = [int(e.statistics.token_count) for e in found if e.statistics is not None]
        return Embedded(vectors_of([e.values for e in found], count), sum(counts) if len(counts) == count else None)


class VertexContent(msgspec.Struct, frozen=True):
    """Vertex AI, `embedContent`: Gemini Embedding 2 and later, one text a request."""

    label: str = "Vertex AI"
    bounds: Bounds = Bounds(1)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        task, prompt = _task(wishes, self.label)
        config: dict[str, Any] = {"autoTruncate": False}
        if task is not None:
            config["taskType"] = task
        if wishes.dimensions is not None:
            config["outputDimensionality"] = wishes.dimensions
        body = {"content": _content(prompt + texts[0]), "embedContentConfig": config}
        return HttpRequest("POST", f"/models/{encoded(_bare(wishes.model))}:embedContent", JSON_HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, _One)
        return Embedded(vectors_of([answer.embedding.values], count), _tokens(answer.usageMetadata))


def vertex_codec(model: str) -> VertexPredict | VertexContent:
    """Which method of Vertex AI embeds with this model."""
    name = _bare(model)
    if not name.startswith("gemini"):
        return VertexPredict(Bounds(250, 20_000))
    return VertexPredict(Bounds(1)) if name.startswith("gemini-embedding-001") else VertexContent()


class _Values(msgspec.Struct):
    values: list[float]


class _TokenCount(msgspec.Struct):
    promptTokenCount: int | None = None


class _Batch(msgspec.Struct):
    embeddings: list[_Values]
    usageMetadata: _TokenCount | None = None


class _One(msgspec.Struct):
    embedding: _Values
    usageMetadata: _TokenCount | None = None


class _Statistics(msgspec.Struct):
    token_count: float = 0


class _Counted(msgspec.Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Counted


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


def _bare(model: str) -> str:
    return model.removeprefix("models/")


def _task(wishes: Wishes, label: str) -> tuple[str | None, str]:
    """The task type, and what comes before each text: one of the two says what the text is for."""
    if not _bare(wishes.model).startswith(_PROMPTED_MODELS):
        return named_type(wishes, _TASKS, label), ""
    return None, named_type(wishes, _PROMPTS, label) or ""


def _content(text: str) -> dict[str, Any]:
    return {"parts": [{"text": text}]}


def _tokens(counts: _TokenCount | None) -> int | None:
    return None if counts is None else counts.promptTokenCount
