"""Messages: what the transcript is made of.

A message's `body` is plain text or a tuple of blocks: text alone needs no block, which halves the memory of a long
conversation. `content` always gives blocks. Turn, step and times are bookkeeping: none of them enters a request.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .content import AssistantBlock, Text, ToolCall, UserBlock, text_of
from .errors import ErrorInfo
from .outcomes import ToolResult
from .usage import Usage

StopReason = Literal["stop", "length", "tool_calls", "stop_sequence", "content_filter", "refusal", "pause", "unknown"]
"""Why a response ended, in normal form. `pause`: the provider asks to be called again to go on."""


Mark = Literal["", "summary", "reminder", "problem"]
"""Who speaks in a user message: a person (""), a summary of what came before, a reminder, or what was wrong with an answer."""


class UserMessage(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user", omit_defaults=True):
    """What the user said. `order` tells apart several that enter at the same step; `mark` tells what the engine itself said
    in the user's place."""

    body: str | tuple[UserBlock, ...]
    turn: int = 0
    step: int = 0
    order: int = 0
    created_at: float | None = None
    mark: Mark = ""

    @property
    def id(self) -> str:
        return f"t{self.turn}.s{self.step}.u{self.order}"

    @property
    def content(self) -> tuple[UserBlock, ...]:
        """The body as blocks."""
        return (Text(self.body),) if isinstance(self.body, str) else self.body

    @property
    def text(self) -> str:
        return text_of(self.body)


class ResponseInfo(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of the model call that made a message. Times are Unix seconds."""

    provider: str = ""
    model: str = ""
    response_id: str | None = None
    stop_reason: StopReason = "unknown"
    raw_stop_reason: str | None = None
    usage: Usage | None = None
    completed_at: float | None = None
    error: ErrorInfo | None = None


NO_RESPONSE = ResponseInfo()


class AssistantMessage(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="assistant", omit_defaults=True):
    """What the model said. `partial`: the response was cut off and only what can stand alone was kept."""

    body: str | tuple[AssistantBlock, ...]
    turn: int = 0
    step: int = 0
    created_at: float | None = None
    partial: bool = False
    response: ResponseInfo = NO_RESPONSE

    @property
    def id(self) -> str:
        return f"t{self.turn}.s{self.step}.a"

    @property
    def content(self) -> tuple[AssistantBlock, ...]:
        """The body as blocks; empty if the model said nothing."""
        if isinstance(self.body, str):
            return (Text(self.body),) if self.body else ()
        return self.body

    @property
    def text(self) -> str:
        return text_of(self.body)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        if isinstance(self.body, str):
            return ()
        return tuple([b for b in self.body if type(b) is ToolCall])

    @property
    def stop_reason(self) -> StopReason:
        return self.response.stop_reason

    @property
    def raw_stop_reason(self) -> str | None:
        return self.response.raw_stop_reason

    @property
    def usage(self) -> Usage | None:
        return self.response.usage

    @property
    def provider(self) -> str:
        return self.response.provider

    @property
    def model(self) -> str:
        return self.response.model

    @property
    def error(self) -> ErrorInfo | None:
        return self.response.error


class ToolMessage(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="tool", omit_defaults=True):
    """The outcomes of all calls of one step, in call order."""

    results: tuple[ToolResult, ...]
    turn: int = 0
    step: int = 0
    created_at: float | None = None

    @property
    def id(self) -> str:
        return f"t{self.turn}.s{self.step}.r"


Message = UserMessage | AssistantMessage | ToolMessage
