"""Provider APIs from the provider's side: what a model says becomes the bytes that its provider would send. Pure.

`serve_codec` finds the codec of an API, by the same names as `turnwise.wire.codec`. Scripted providers speak with it.
"""

from __future__ import annotations

from importlib import import_module

from ...core.errors import config_error
from .response import (
    ApiError,
    CallPart,
    ErrorPart,
    Exchange,
    Missing,
    Part,
    Response,
    ServeCodec,
    TextPart,
    ThinkingPart,
)

__all__ = [
    "SERVED_APIS",
    "ApiError",
    "CallPart",
    "ErrorPart",
    "Exchange",
    "Missing",
    "Part",
    "Response",
    "ServeCodec",
    "TextPart",
    "ThinkingPart",
    "serve_codec",
]

_CODECS = {"anthropic.messages": "anthropic", "openai.chat": "openai_chat"}
SERVED_APIS = tuple(_CODECS)


def serve_codec(api: str) -> ServeCodec:
    """The serving codec of an API. Raises `ConfigError` (`unknown_api`) listing the names there are."""
    if api not in _CODECS:
        raise config_error("unknown_api", f"{api!r} cannot be served.", f"Known APIs: {', '.join(SERVED_APIS)}.")
    return import_module(f".{_CODECS[api]}", __name__).CODEC
