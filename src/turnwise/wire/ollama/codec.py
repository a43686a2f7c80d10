"""The codec of Ollama's own chat API, local or in Ollama's cloud: the parts put together.

Requests are written in `head` and `messages`, responses are read in `fold`. Ollama speaks Chat
Completions as well (`openai_chat`); only this API takes the context length, keeps models loaded, and has `thinking`
apart. Source: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.messages import Message
from ...core.request import Extra, RequestHead
from ..base import Blobs, Decoder, EncodedHead, Tail
from ..extras import OllamaExtra
from ..framing.json_lines import lines_or_document
from ..history import message_behind
from ..reader import ResponseReader
from .fold import ORIGIN, OllamaFold
from .head import encode_head
from .messages import encode_messages


class OllamaCodec(msgspec.Struct, frozen=True):
    """Ollama's `/api/chat`. Holds nothing; use `CODEC`."""

    api: str = "ollama.chat"
    origin: str = ORIGIN
    extras: tuple[type[Extra], ...] = (OllamaExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as it is: no model demands that earlier steps carry their reasoning."""
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return message_behind(self, messages, text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """Nothing: the server keeps what it has read by itself."""
        return ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        return ResponseReader(status, headers, OllamaFold(step, attempt, headers), lines_or_document, ORIGIN)


CODEC = OllamaCodec()
