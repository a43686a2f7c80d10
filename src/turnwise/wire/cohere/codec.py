"""The codec of Cohere's chat API, version 2: the parts put together.

Requests are written in `head` and `messages`, responses are read in `fold`. Source:
https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.messages import Message
from ...core.request import Extra, RequestHead
from ..base import Blobs, Decoder, EncodedHead, Tail
from ..extras import CohereExtra
from ..history import message_behind
from ..reader import ResponseReader, sse_or_document
from .fold import ORIGIN, CohereFold
from .head import encode_head
from .messages import encode_messages


class CohereCodec(msgspec.Struct, frozen=True):
    """Cohere's `/v2/chat`. Holds nothing; use `CODEC`."""

    api: str = "cohere.v2.chat"
    origin: str = ORIGIN
    extras: tuple[type[Extra], ...] = (CohereExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as it is: the API does not demand that earlier steps carry their reasoning."""
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return message_behind(self, messages, text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """Nothing: Cohere caches by itself."""
        return ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        return ResponseReader(status, headers, CohereFold(step, attempt, headers), sse_or_document, ORIGIN)


CODEC = CohereCodec()
