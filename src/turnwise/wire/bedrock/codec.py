"""The AWS Bedrock Converse codec: the parts put together, and what a conversation so far does to the head of a request.

Requests are written in `head` (settings) and `messages` (history), responses are read by `fold`. What
lets a request in (signature, keys) is worked out in `models`. Source:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and API_runtime_ConverseStream.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.content import Opaque, Thinking, ToolCall
from ...core.messages import AssistantMessage, Message, UserMessage
from ...core.request import Extra, RequestHead
from ..base import Blobs, Codec, Decoder, EncodedHead, Tail, elements
from ..claude_head import thinking_is_on
from ..extras import BedrockExtra
from ..history import json_text
from ..reader import ResponseReader
from .fold import ConverseFold, sniff
from .head import encode_head, offers_tools, without_tools
from .messages import GAP_OF_ASSISTANT, GAP_OF_USER, encode_messages, is_sendable
from .models import family_of, origin_of
from .shapes import ORIGIN


class BedrockCodec(msgspec.Struct, frozen=True):
    """Converse and ConverseStream, version 2023-09-30, for models of one signature family."""

    origin: str = ORIGIN
    api: str = "bedrock.converse"
    extras: tuple[type[Extra], ...] = (BedrockExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head, with a tool that does nothing if none is offered and the history holds calls, which the API refuses
        without tools; and without reasoning if this tool loop of a Claude holds steps that it has not reasoned for (rule T5).
        """
        if not offers_tools(head) and _hold_calls(messages, self.origin):
            head = without_tools(head)
        if thinking_is_on(head.settings) and _blocks_thinking(head, messages, self.origin):
            settings = msgspec.structs.replace(head.settings, reasoning=None)
            head = msgspec.structs.replace(head, settings=settings)
        return head

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs, self.origin)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        """A block behind the last one of the user's message: two of them in a row are refused."""
        return Tail(len(_END), b',{"text":"' + json_text(text) + b'"}' + _END)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """A cache point behind the last block of a user's message."""
        said = element.removeprefix(_GAP_OF_USER)
        is_user = said.startswith(_USER) and not said.startswith(_GAP_OF_ASSISTANT)
        return ((len(element) - len(_END), mark),) if is_user else ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        return ResponseReader(status, headers, ConverseFold(step, attempt, headers, self.origin), sniff, ORIGIN)


def bedrock_codec(model: str) -> Codec:
    """The codec for a model: that of its vendor, whose reasoning and own items no other vendor's model may be sent (rule T5).
    Equal models give equal codecs; keep one per model handle."""
    return BedrockCodec(origin_of(model))


def _hold_calls(messages: Sequence[Message], origin: str) -> bool:
    said = [m.body for m in messages if type(m) is AssistantMessage and type(m.body) is tuple]
    return any(type(b) is ToolCall or (type(b) is Opaque and b.native.origin == origin) for body in said for b in body)


def _blocks_thinking(head: RequestHead, messages: Sequence[Message], origin: str) -> bool:
    """Claude wants a turn that goes on with tool results to hold its own reasoning only and, where it thinks by budget, to have
    begun with some."""
    family = family_of(head.model)
    if family.name != "Claude":
        return False
    first: AssistantMessage | None = None
    for message in reversed(messages):
        if type(message) is UserMessage:
            break
        if type(message) is AssistantMessage:
            first = message
            if any(type(b) is Thinking and not is_sendable(b, origin) for b in message.content):
                return True
    by_budget = family.thinks == "budget" or (head.settings.reasoning and head.settings.reasoning.budget_tokens)
    if first is None or not by_budget or not first.tool_calls:
        return False
    return not any(type(b) is Thinking for b in first.content)


_USER = b'{"role":"user"'
_END = b"]}"
_GAP_OF_USER = bytes(elements([GAP_OF_USER])) + b","
_GAP_OF_ASSISTANT = bytes(elements([GAP_OF_ASSISTANT])) + b","

CODEC = BedrockCodec()
"""For models whose vendor is not known."""
