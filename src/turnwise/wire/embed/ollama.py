"""Ollama's `POST /api/embed`. Source: https://docs.ollama.com/api/embed.

It states no bound of texts a request and works through them one by one; batches are kept small enough to be tried again. Texts that are
too long are refused (`truncate: false`), not cut without a word as is its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..base import HttpRequest
from ..heads import JSON_HEADERS, written
from .base import Bounds, Embedded, Wishes, read_json, vectors_of


class OllamaEmbeddings(msgspec.Struct, frozen=True):
    """Ollama's own API. Its models make no difference between input types; prefixes that some want are the caller's."""

    label: str = "Ollama"
    bounds: Bounds = Bounds(128)

    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest:
        body: dict[str, Any] = {"model": wishes.model, "input": list(texts), "truncate": False}
        if wishes.dimensions is not None:
            body["dimensions"] = wishes.dimensions
        return HttpRequest("POST", "/api/embed", JSON_HEADERS, written(body))

    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded:
        answer = read_json(body, _Answer)
        return Embedded(vectors_of(answer.embeddings, count), answer.prompt_eval_count, answer.model)


class _Answer(msgspec.Struct):
    embeddings: list[list[float]]
    model: str = ""
    prompt_eval_count: int | None = None
