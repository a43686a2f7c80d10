"""Middleware for `Agent(middleware=[…])` and `Runtime(middleware=[…])`: what is around whole turns, model calls, tool calls and embedding
requests, and the ones that are built in. See docs/middleware.md."""

from .core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed, ResponseStarted
from .core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .runtime.middleware.compose import Kind, middleware
from .runtime.middleware.refusals import Tripped
from .runtime.middleware.requests import EmbedRequest, EmbedResponse, ModelRequest, ToolRequest, TurnRequest
from .runtime.middleware.response import Ended, ModelResponse

__all__ = [
    "BlockAdded",
    "BlockSealed",
    "DecoderEvent",
    "EmbedRequest",
    "EmbedResponse",
    "Ended",
    "Kind",
    "ModelRequest",
    "ModelResponse",
    "ResponseEnded",
    "ResponseFailed",
    "ResponseStarted",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolCallStarted",
    "ToolRequest",
    "Tripped",
    "TurnRequest",
    "middleware",
]
