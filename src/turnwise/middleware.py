"""Middleware for `Agent(middleware=[…])` and `Runtime(middleware=[…])`: what is around whole turns, model calls, tool calls and embedding
requests, and the ones that are built in. See docs/middleware.md."""

from .core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed, ResponseStarted
from .core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from .runtime.middleware.builtin.cache import Cache, CacheStats, cache
from .runtime.middleware.builtin.circuit_breaker import CircuitBreaker, circuit_breaker
from .runtime.middleware.builtin.concurrency import Concurrency, concurrency
from .runtime.middleware.builtin.guardrail import Guardrail, guardrail
from .runtime.middleware.builtin.log import Log, log
from .runtime.middleware.builtin.metrics import Figures, Metrics, metrics
from .runtime.middleware.builtin.rate_limit import RateLimit, rate_limit
from .runtime.middleware.builtin.redact import Redact, redact
from .runtime.middleware.builtin.validate import Validate, validate
from .runtime.middleware.compose import Kind, middleware
from .runtime.middleware.refusals import Tripped
from .runtime.middleware.requests import EmbedRequest, EmbedResponse, ModelRequest, ToolRequest, TurnRequest
from .runtime.middleware.response import Ended, ModelResponse

__all__ = [
    "BlockAdded",
    "BlockSealed",
    "Cache",
    "CacheStats",
    "CircuitBreaker",
    "Concurrency",
    "DecoderEvent",
    "EmbedRequest",
    "EmbedResponse",
    "Ended",
    "Figures",
    "Guardrail",
    "Kind",
    "Log",
    "Metrics",
    "ModelRequest",
    "ModelResponse",
    "RateLimit",
    "Redact",
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
    "Validate",
    "cache",
    "circuit_breaker",
    "concurrency",
    "guardrail",
    "log",
    "metrics",
    "middleware",
    "rate_limit",
    "redact",
    "validate",
]
