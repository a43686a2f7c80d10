"""The OpenAI Responses codec, for OpenAI, Azure and the other hosts that speak it: the parts put together.

Requests are written in `head` (settings) and `messages` (history), responses are read by
`fold`. The conversation is always sent whole; `previous_response_id` and what it stands for are not used.
Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.messages import Message
from ...core.request import Extra, RequestHead
from ..base import Blobs, Codec, Decoder, EncodedHead, Tail
from ..extras import ResponsesExtra
from ..history import message_behind
from ..reader import ResponseReader, sse_or_document
from .fold import ResponsesFold
from .head import encode_head
from .messages import encode_messages

ORIGIN = "openai.responses"


class ResponsesCodec(msgspec.Struct, frozen=True):
    """Responses as one family of hosts speaks it. `name` is what errors call the provider."""

    origin: str = ORIGIN
    name: str = "OpenAI Responses"
    api: str = "openai.responses"
    extras: tuple[type[Extra], ...] = (ResponsesExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as it is: the API does not demand that earlier steps carry their reasoning."""
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head, self.name)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs, self.origin, self.name)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return message_behind(self, messages, text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """Nothing: the provider caches by itself."""
        return ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        return ResponseReader(status, headers, ResponsesFold(step, attempt, self.origin, headers), sse_or_document)


def responses_codec(origin: str, name: str) -> Codec:
    """The codec for hosts whose sealed reasoning OpenAI cannot read, nor they OpenAI's. Equal arguments give equal codecs."""
    return ResponsesCodec(origin, name)


CODEC = ResponsesCodec()
