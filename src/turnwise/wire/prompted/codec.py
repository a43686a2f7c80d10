"""Tool calling for models that have none of their own: tools are described in the instructions, calls are read from the text.

Around any codec: requests lose their tools and gain words about them, earlier calls and results become text, and blocks of
the form below become calls. It is the form that many open models were taught (Hermes, Qwen):

    <tool_call>
    {"name": "weather", "arguments": {"city": "Oslo"}}
    </tool_call>

What is said to the model is in `words`, what it says is read in `text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

import msgspec

from ...core.errors import config_error
from ...core.messages import Message
from ...core.request import Extra, OneTool, RequestHead
from ..base import Blobs, Codec, Decoder, EncodedHead, Tail
from .text import PromptedDecoder
from .words import instructions_with, spoken


class PromptedCodec(msgspec.Struct, frozen=True):
    """`inner`, with tools spoken of in text."""

    inner: Codec

    @property
    def api(self) -> str:
        return self.inner.api

    @property
    def origin(self) -> str:
        return self.inner.origin

    @property
    def extras(self) -> tuple[type[Extra], ...]:
        return self.inner.extras

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        return self.inner.head_for(head, Spoken(messages))

    def encode_head(self, head: RequestHead) -> EncodedHead:
        """The head with its tools in words. Raises `ConfigError` (`conflicting_settings`) for settings that would keep the model
        from calling as it is told to, or that ask for calls without tools."""
        settings = head.settings
        choice = settings.tool_choice
        if head.tools and settings.output is not None:
            raise config_error(
                "conflicting_settings",
                "Structured output leaves no room for the calls of prompted tools.",
                "Leave one of them out, or use a model with tools of its own.",
            )
        if isinstance(choice, OneTool) and choice.name not in [t.name for t in head.tools]:
            message = f"tool_choice names {choice.name!r}, which is not among the tools."
            raise config_error("conflicting_settings", message)
        if choice == "required" and not head.tools:
            message = "The model cannot be made to call a tool: the request has none."
            raise config_error("conflicting_settings", message)
        plain = msgspec.structs.replace(settings, tool_choice=None, parallel_tool_calls=None)
        return self.inner.encode_head(RequestHead(head.model, instructions_with(head), (), plain, head.stream))

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        return self.inner.encode_messages(Spoken(messages), start, blobs)

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        return self.inner.tail(Spoken(messages), text)

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        return self.inner.mark(element, mark)

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        return PromptedDecoder(self.inner.decoder(status, headers, step=step, attempt=attempt), step, attempt)


def prompted_codec(inner: Codec) -> Codec:
    """`inner`, with tools spoken of in text. Equal codecs give equal ones."""
    return PromptedCodec(inner)


class Spoken(Sequence[Message]):
    """Messages as text alone speaks of them, each made when it is asked for: encoding the end of a long conversation does
    not touch its beginning."""

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        if isinstance(index, slice):
            return Spoken(self._messages[index])
        return spoken(self._messages[index])
