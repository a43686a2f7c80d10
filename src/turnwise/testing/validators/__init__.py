"""Does a request keep an API's rules? One validator per API, written from its documents; pure functions.

They check what types alone cannot: that calls and results pair up, that ids are unique and well formed, order, sizes. Use them
without a server on any request body: `check("anthropic.messages", body)`. An empty list means that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from . import anthropic
from .shape import Problem

__all__ = ["Problem", "check"]


def check(api: str, body: dict[str, Any], *, betas: Iterable[str] = (), path: str = "") -> list[Problem]:
    """The problems of a request body, in order of appearance.

    `betas` are the values of Anthropic's `anthropic-beta` header, `path` is that of the request. Raises `ValueError` for an API without a validator.
    """
    if api == "anthropic.messages":
        return anthropic.check(body, betas=betas)
    if api not in _MODULES:
        raise ValueError(f"No validator for {api!r}; there are {', '.join(['anthropic.messages', *_MODULES])}.")
    module = import_module(f".{_MODULES[api]}", __name__)
    return module.check(body, path=path) if api in _BY_PATH else module.check(body)


_MODULES = {
    "openai.chat": "openai_chat",
    "openai.responses": "openai_responses",
    "cohere.v2.chat": "cohere",
    "ollama.chat": "ollama",
    "bedrock.converse": "bedrock",
    "gemini.generateContent": "gemini",
    "vertex.generateContent": "gemini",
}
_BY_PATH = ("gemini.generateContent", "vertex.generateContent", "bedrock.converse")
"""APIs whose path says what the body of others does: the model, whether the answer is streamed."""
