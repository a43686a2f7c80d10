"""Does a request keep an API's rules? One validator per API, written from its documents; pure functions.

They check what types alone cannot: that calls and results pair up, that ids are unique and well formed, order, sizes. Use them
without a server on any request body: `check("anthropic.messages", body)`. An empty list means that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import anthropic, openai_chat
from .shape import Problem

__all__ = ["Problem", "check"]


def check(api: str, body: dict[str, Any], *, betas: Iterable[str] = ()) -> list[Problem]:
    """The problems of a request body, in order of appearance.

    `betas` are the values of Anthropic's `anthropic-beta` header. Raises `ValueError` for an API without a validator.
    """
    match api:
        case "anthropic.messages":
            return anthropic.check(body, betas=betas)
        case "openai.chat":
            return openai_chat.check(body)
        case _:
            raise ValueError(f"No validator for {api!r}; there are anthropic.messages and openai.chat.")
