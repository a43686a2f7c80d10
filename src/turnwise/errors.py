"""The errors that Turnwise raises, and `ErrorInfo`, the same as data. docs/errors.md lists the codes."""

from .core.errors import (
    BudgetError,
    ConfigError,
    ErrorInfo,
    HookError,
    ProviderError,
    SessionBusy,
    SessionClosed,
    SessionError,
    SessionForked,
    StateError,
    ToolError,
    TurnwiseError,
)

__all__ = [
    "BudgetError",
    "ConfigError",
    "ErrorInfo",
    "HookError",
    "ProviderError",
    "SessionBusy",
    "SessionClosed",
    "SessionError",
    "SessionForked",
    "StateError",
    "ToolError",
    "TurnwiseError",
]
