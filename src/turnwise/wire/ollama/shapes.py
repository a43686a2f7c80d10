"""What an answer of Ollama's chat API looks like on the wire: typed shapes of its JSON.

One shape fits a line of a stream and a whole answer. What the fields mean is decided in `fold`. Source:
https://docs.ollama.com/api/chat, its OpenAPI document, and api/types.go of the server (ids of calls, `index`).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw


class Function(msgspec.Struct, frozen=True, gc=False):
    """Name and arguments of a call. Ollama writes the arguments as an object; what speaks its API may write text."""

    name: str | None = None
    arguments: Raw = Raw()


class Call(msgspec.Struct, frozen=True, gc=False):
    """A whole call. Older servers send no id."""

    function: Function = Function()
    id: str | None = None


class Said(msgspec.Struct, frozen=True, gc=False):
    """A message, or what a line adds to it."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    images: list[str] | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a stream, or a whole answer. `error` stands alone; the counts come with `done`."""

    message: Said | None = None
    done: bool | None = None
    done_reason: str | None = None
    model: str | None = None
    error: Any = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


decode_line = msgspec.json.Decoder(Line).decode
