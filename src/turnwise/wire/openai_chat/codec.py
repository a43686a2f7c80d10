"""The OpenAI Chat Completions codec, for OpenAI and for the many hosts that speak its language: the parts put together.

Requests are written in `head` and `messages`, guided by a host's `Profile`; responses are read by
`fold`, which needs none. Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.messages import Message
from ...core.request import Extra, RequestHead
from ..base import Blobs, Codec, Decoder, EncodedHead, Tail
from ..extras import OpenAIExtra
from ..reader import ResponseReader, sse_or_document
from .fold import ChatFold
from .head import encode_head
from .messages import encode_messages, tail
from .profile import OPENAI, Profile


class ChatCodec(msgspec.Struct, frozen=True):
    """Chat Completions as one kind of host speaks it."""

    profile: Profile
    api: str = "openai.chat"

    @property
    def origin(self) -> str:
        return self.profile.origin

    @property
    def extras(self) -> tuple[type[Extra], ...]:
        return (OpenAIExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as it is: no host demands that earlier steps carry their reasoning."""
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head, self.profile)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs, self.profile)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return tail(self, messages, text, self.profile)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """Nothing: hosts of this API cache by themselves."""
        return ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        fold = ChatFold(step, attempt, self.profile.origin, headers)
        return ResponseReader(status, headers, fold, sse_or_document)


def chat_codec(profile: Profile) -> Codec:
    """The codec for hosts of this profile. Equal profiles give equal codecs; keep one per model handle."""
    return ChatCodec(profile)


CODEC = ChatCodec(OPENAI)
