"""Tool calling for models that have none of their own: tools are described in the instructions, calls are read from the text."""

from __future__ import annotations

from .base import Codec


def prompted_codec(inner: Codec) -> Codec:
    """`inner`, with tools spoken of in text."""
    raise NotImplementedError
