"""The Anthropic Messages codec: the parts put together, and what a conversation so far does to the head of a request.

Requests are written in `head` (settings) and `messages` (history), responses are read by
`fold`. Source: Anthropic's API documents, https://platform.claude.com/docs/en/api/messages and the guides
on streaming, tool use, thinking and errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ...core.content import Thinking
from ...core.messages import AssistantMessage, Message, UserMessage
from ...core.request import Extra, RequestHead
from ..base import Blobs, Decoder, EncodedHead, Tail
from ..claude_head import thinking_is_on
from ..extras import AnthropicExtra
from ..history import message_behind
from ..reader import ResponseReader, sse_or_document
from .fold import AnthropicFold
from .head import encode_head, thinks_by_budget
from .messages import ORIGIN, encode_messages, is_sendable


class AnthropicCodec(msgspec.Struct, frozen=True):
    """Anthropic Messages, version 2023-06-01. Holds nothing; use `CODEC`."""

    api: str = "anthropic.messages"
    origin: str = ORIGIN
    extras: tuple[type[Extra], ...] = (AnthropicExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head, without reasoning if this tool loop holds steps that another family reasoned for (rule T5).

        The API wants a turn that goes on with tool results, and thinks by budget, to have begun with a thinking block
        of its own. Where the loop began without one, thinking stays off until the next user message that is one on the
        wire as well: what the user says right behind results (of a turn that was interrupted in a tool) is sent along with them.
        """
        if not thinking_is_on(head.settings) or not _blocks_thinking(head, messages):
            return head
        settings = msgspec.structs.replace(head.settings, reasoning=None)
        return msgspec.structs.replace(head, settings=settings)

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return message_behind(self, messages, text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """A breakpoint on the message's last block; text that stands alone becomes a block for it."""
        if element.startswith(_USER_TEXT):
            return (len(_USER_TEXT) - 1, b'[{"type":"text","text":'), (len(element) - 1, mark + b"}]")
        return ((len(element) - 3, mark),) if element.startswith(_USER_BLOCKS) else ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        fold = AnthropicFold(step, attempt, headers)
        return ResponseReader(status, headers, fold, sse_or_document, ORIGIN)


def _blocks_thinking(head: RequestHead, messages: Sequence[Message]) -> bool:
    first: AssistantMessage | None = None
    newer, is_behind_user = None, False
    for message in reversed(messages):
        if type(message) is AssistantMessage:
            if type(newer) is UserMessage:
                break
            first = message
            if not is_behind_user and any(type(b) is Thinking and not is_sendable(b) for b in message.content):
                return True
        is_behind_user = is_behind_user or type(message) is UserMessage
        newer = message
    if first is None or not first.tool_calls or not thinks_by_budget(head.model, head.settings):
        return False
    return not any(type(b) is Thinking and is_sendable(b) for b in first.content)


_USER_TEXT = b'{"role":"user","content":"'
_USER_BLOCKS = b'{"role":"user","content":[{'

CODEC = AnthropicCodec()
