"""Exit codes of the program, and which one a turn's end becomes. docs/cli.md promises them to scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from ...core.errors import ErrorInfo, TurnwiseError
    from ...core.result import TurnResult

COMPLETED = 0
FAILED = 1
"""The provider failed, or the turn did, or what is on disk cannot be used."""
USAGE = 2
"""The command line or the configuration is wrong; nothing was sent."""
LIMIT = 3
TIMEOUT = 4
BUSY = 5
"""Another process has the session."""
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read our output has left."""


def exit_code(result: TurnResult, signal_number: int | None = None) -> int:
    """The exit code for a turn's result. `signal_number` is the signal that interrupted it, if one did."""
    match result.reason:
        case "completed" | "stopped" | "parked":
            return COMPLETED
        case "limit" | "loop":
            return LIMIT
        case "timeout":
            return TIMEOUT
        case "interrupted":
            return INTERRUPTED if signal_number is None else 128 + signal_number
        case "error":
            return FAILED if result.error is None else _of(result.error)
        case _:
            assert_never(result.reason)


def exit_code_of_error(error: TurnwiseError) -> int:
    """The exit code for an error that was raised before a turn began, or outside any."""
    return _of(error.info)


def _of(error: ErrorInfo) -> int:
    if error.code == "session_busy":
        return BUSY
    return USAGE if error.branch == "config" else FAILED
