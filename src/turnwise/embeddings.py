"""Vectors for texts, and documents ranked by a query: `from turnwise.embeddings import embed, rerank`."""

from .runtime.embed import Embeddings, embed, rerank
from .wire.embed import InputType
from .wire.rerank import Ranked

__all__ = ["Embeddings", "InputType", "Ranked", "embed", "rerank"]
