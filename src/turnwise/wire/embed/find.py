"""Which embedding API a provider speaks, by the name of its chat API and its own."""

from __future__ import annotations

import msgspec

from ..heads import unsupported
from .base import EmbedCodec
from .bedrock import bedrock_codec
from .cohere import CohereEmbeddings
from .gemini import GeminiEmbeddings, vertex_codec
from .ollama import OllamaEmbeddings
from .openai import BY_HOST, COMPATIBLE


def embed_codec(provider: str, api: str, label: str, model: str) -> EmbedCodec:
    """The codec for embeddings of this provider, whose chat API is `api` ("" if it has none). Raises `ConfigError`
    (`unsupported_feature`) if it has none, or none for that model."""
    if provider == "vertex":
        return vertex_codec(model)
    if provider in BY_HOST:
        return BY_HOST[provider]
    match api.partition(".")[0]:
        case "openai":
            return msgspec.structs.replace(COMPATIBLE, label=label)
        case "gemini":
            return GeminiEmbeddings()
        case "cohere":
            return CohereEmbeddings()
        case "bedrock":
            return bedrock_codec(model)
        case "ollama":
            return OllamaEmbeddings()
        case _:
            raise unsupported(label, "texts to embed", "It has no embedding models: use another provider for them.")
