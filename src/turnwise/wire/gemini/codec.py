"""The codec of Google's generateContent API, for AI Studio and for Vertex AI: the parts put together.

Requests are written in `head` and `messages`, guided by a `Dialect`; responses are read by `fold`. Streams
come as server-sent events, which is what is asked for, or as one JSON array. Source: https://ai.google.dev/api/generate-content
and https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from ...core.messages import Message
from ...core.request import Extra, RequestHead
from ..base import Blobs, Decoder, EncodedHead, Tail
from ..extras import GeminiExtra
from ..framing.crlf import CrlfSseFramer
from ..framing.json_array import JsonArrayFramer
from ..history import message_behind
from ..reader import ResponseReader, sse_or_document
from .dialect import AI_STUDIO, VERTEX, Dialect
from .fold import GeminiFold
from .head import encode_head
from .messages import encode_messages


class GeminiCodec(msgspec.Struct, frozen=True):
    """generateContent and streamGenerateContent as one platform speaks them."""

    api: str
    dialect: Dialect

    @property
    def origin(self) -> str:
        return self.dialect.origin

    @property
    def extras(self) -> tuple[type[Extra], ...]:
        return (GeminiExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as it is: steps without thoughts of their own are taken, and calls without a signature get one that says so."""
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head, self.dialect)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs, self.dialect)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return message_behind(self, messages, text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """Nothing: the API caches by itself, or what was uploaded before (`GeminiExtra.cached_content`)."""
        return ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        fold = GeminiFold(step, attempt, self.dialect, headers)
        return ResponseReader(status, headers, fold, _sniff, self.dialect.origin)


def _sniff(
    head: bytes | bytearray, content_type: str
) -> CrlfSseFramer | JsonArrayFramer | Literal["unknown", "document"]:
    """An array is a stream: no whole answer is one."""
    if head[0] == 0x5B:
        return JsonArrayFramer()
    found = sse_or_document(head, content_type)
    return found if isinstance(found, str) else CrlfSseFramer()


CODEC = GeminiCodec("gemini.generateContent", AI_STUDIO)
VERTEX_CODEC = GeminiCodec("vertex.generateContent", VERTEX)
