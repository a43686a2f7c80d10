"""The Anthropic Messages codec: the parts put together, and what a conversation so far does to the head of a request.

Requests are written in `anthropic_head` (settings) and `anthropic_messages` (history), responses are read by
`anthropic_fold`. Source: Anthropic's API documents, https://platform.claude.com/docs/en/api/messages and the guides
on streaming, tool use, thinking and errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..core.content import Thinking
from ..core.messages import AssistantMessage, Message, UserMessage
from ..core.request import Extra, RequestHead
from .anthropic_fold import AnthropicFold
from .anthropic_head import encode_head, thinking_is_on, thinks_by_budget
from .anthropic_messages import ORIGIN, encode_messages, is_sendable
from .base import Blobs, Decoder, EncodedHead
from .extras import AnthropicExtra
from .reader import ResponseReader, sse_or_document


class AnthropicCodec(msgspec.Struct, frozen=True):
    """Anthropic Messages, version 2023-06-01. Holds nothing; use `CODEC`."""

    api: str = "anthropic.messages"
    origin: str = ORIGIN
    extras: tuple[type[Extra], ...] = (AnthropicExtra,)

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head, without reasoning if this tool loop holds steps that another family reasoned for (rule T5).

        The API wants a turn that goes on with tool results, and thinks by budget, to have begun with a thinking block
        of its own. Where the loop began without one, thinking stays off until the next user message.
        """
        if not thinking_is_on(head.settings) or not _blocks_thinking(head, _tool_loop(messages)):
            return head
        settings = msgspec.structs.replace(head.settings, reasoning=None)
        return msgspec.structs.replace(head, settings=settings)

    def encode_head(self, head: RequestHead) -> EncodedHead:
        return encode_head(head)

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return encode_messages(messages, start, blobs)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """A breakpoint on the message's last block; text that stands alone becomes a block for it."""
        if element.startswith(_USER_TEXT):
            return (len(_USER_TEXT) - 1, b'[{"type":"text","text":'), (len(element) - 1, mark + b"}]")
        return ((len(element) - 3, mark),) if element.startswith(_USER_BLOCKS) else ()

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        fold = AnthropicFold(step, attempt, headers)
        return ResponseReader(status, headers, fold, sse_or_document, ORIGIN)


def _tool_loop(messages: Sequence[Message]) -> list[AssistantMessage]:
    """What the model said since the last user message, oldest first."""
    said: list[AssistantMessage] = []
    for message in reversed(messages):
        if type(message) is UserMessage:
            break
        if type(message) is AssistantMessage:
            said.append(message)
    return said[::-1]


def _blocks_thinking(head: RequestHead, loop: list[AssistantMessage]) -> bool:
    thoughts = [b for m in loop for b in m.content if type(b) is Thinking]
    if any(not is_sendable(b) for b in thoughts):
        return True
    if not loop or not thinks_by_budget(head.model, head.settings):
        return False
    first = loop[0]
    return bool(first.tool_calls) and not any(type(b) is Thinking for b in first.content)


_USER_TEXT = b'{"role":"user","content":"'
_USER_BLOCKS = b'{"role":"user","content":[{'

CODEC = AnthropicCodec()
