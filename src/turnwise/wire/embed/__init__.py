"""Embedding APIs, pure: texts become the bytes of a request, the bytes of an answer become vectors.

`embed_codec` finds the form that a provider and model speak. Sending, batches in flight and retries are the runtime's
(`runtime/embed.py`).
"""

from __future__ import annotations

from .base import Batch, Bounds, EmbedCodec, Embedded, InputType, Wishes, batches, check_texts
from .find import embed_codec

__all__ = [
    "Batch",
    "Bounds",
    "EmbedCodec",
    "Embedded",
    "InputType",
    "Wishes",
    "batches",
    "check_texts",
    "embed_codec",
]
