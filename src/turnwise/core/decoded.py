"""What decoders tell the reducer: the deltas that watchers see, and these, which are never shown to them."""

from __future__ import annotations

import msgspec

from .content import AssistantBlock, Native
from .errors import ErrorInfo
from .events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .messages import StopReason
from .usage import Usage


class ResponseStarted(msgspec.Struct, frozen=True, gc=False, tag="response.started", tag_field="type"):
    """Who answers. Optional, at most once, first."""

    model: str = ""
    response_id: str | None = None


class BlockSealed(msgspec.Struct, frozen=True, gc=False, tag="block.sealed", tag_field="type"):
    """What belongs to a block beside its text: a signature, a provider's extra. Fields that are None change nothing."""

    block: int
    signature: str | None = None
    origin: str | None = None
    native: Native | None = None


class BlockAdded(msgspec.Struct, frozen=True, gc=False, tag="block.added", tag_field="type"):
    """A whole block that does not arrive in pieces: redacted thinking, an image, an opaque item."""

    block: int
    content: AssistantBlock


class ResponseEnded(msgspec.Struct, frozen=True, gc=False, tag="response.ended", tag_field="type"):
    """The response is whole. Exactly one of this and `ResponseFailed` is the last event of every decoder."""

    stop_reason: StopReason
    raw_stop_reason: str | None = None
    usage: Usage | None = None


class ResponseFailed(msgspec.Struct, frozen=True, gc=False, tag="response.failed", tag_field="type"):
    """The response is an error, broke off, or is not what the API promises; `usage` is what was said before that."""

    error: ErrorInfo
    usage: Usage | None = None


DecoderEvent = (
    ResponseStarted
    | TextDelta
    | ThinkingDelta
    | ToolCallStarted
    | ToolCallDelta
    | BlockSealed
    | BlockAdded
    | ResponseEnded
    | ResponseFailed
)
