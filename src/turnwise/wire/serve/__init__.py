"""Provider APIs from the provider's side: what a model says becomes the bytes that its provider would send. Pure.

`serve_codec` finds the codec of an API, by the same names as `turnwise.wire.codec`. Scripted providers speak with it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

import msgspec

from ...core.errors import config_error
from ..percent import decoded
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
    "Route",
    "ServeCodec",
    "TextPart",
    "ThinkingPart",
    "route",
    "serve_codec",
]

_CODECS = {
    "anthropic.messages": "anthropic",
    "openai.chat": "openai_chat",
    "openai.responses": "openai_responses",
    "cohere.v2.chat": "cohere",
    "ollama.chat": "ollama",
    "bedrock.converse": "bedrock",
    "gemini.generateContent": "gemini",
    "vertex.generateContent": "vertex",
}
SERVED_APIS = tuple(_CODECS)


def serve_codec(api: str) -> ServeCodec:
    """The serving codec of an API. Raises `ConfigError` (`unknown_api`) listing the names there are."""
    if api not in _CODECS:
        raise config_error("unknown_api", f"{api!r} cannot be served.", f"Known APIs: {', '.join(SERVED_APIS)}.")
    return import_module(f".{_CODECS[api]}", __name__).CODEC


class Route(msgspec.Struct, frozen=True):
    """Which API a path belongs to, and what it says of the request: the model's name ("" if the body names it), and whether
    the answer is streamed (None if the body says so)."""

    codec: ServeCodec
    model: str = ""
    streamed: bool | None = None


def route(path: str) -> Route | None:
    """Where a request's path (without its query) leads; None if no API answers there."""
    for pattern, codec, streamed in _routes():
        if found := pattern.fullmatch(path):
            return Route(codec, decoded(found.groupdict().get("model", "")), streamed)
    return None


@cache
def _routes() -> list[tuple[re.Pattern[str], ServeCodec, bool | None]]:
    made: list[tuple[re.Pattern[str], ServeCodec, bool | None]] = []
    for api in SERVED_APIS:
        codec = serve_codec(api)
        plain: bool | None = False if codec.stream_paths else None
        made += [(_pattern(p), codec, plain) for p in codec.paths]
        made += [(_pattern(p), codec, True) for p in codec.stream_paths]
    return made


def _pattern(path: str) -> re.Pattern[str]:
    before, found, after = path.partition("{model}")
    return re.compile(re.escape(before) + ("(?P<model>[^/]+?)" if found else "") + re.escape(after))
