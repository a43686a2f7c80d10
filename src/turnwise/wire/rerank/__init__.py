"""Rerank APIs, pure: one request holds the query and all documents, one answer their scores."""

from __future__ import annotations

from .forms import Ranked, RerankCodec, rerank_codec

__all__ = ["Ranked", "RerankCodec", "rerank_codec"]
