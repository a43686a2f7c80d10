"""The options of tools: their types, and the check that refuses those that no run could honour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

from ..core.errors import config_error
from .cap import MIN_RESULT_CHARS
from .extract import Extract
from .resources import Resource
from .summaries import Summary
from .validation import Validate

Isolation = Literal["none", "process"]
Kind = Literal["function", "external", "question"]
"""Who answers a call: the tool's function, the program that runs the session, or the user."""
Permission = Literal["read", "write", "execute", "network"]
"""What a call may do to the world: look at it, change it, run programs, reach other machines. Data, for whoever decides what is allowed."""
DEFAULT_TIMEOUT_S = 60.0
_PERMISSIONS: tuple[str | None, ...] = (None, "read", "write", "execute", "network")


class AboutOptions(TypedDict, total=False):
    """What a tool is, for whoever chooses among many. See `Tool`."""

    validate: Validate | None
    category: str
    tags: Iterable[str]
    permission: Permission | None


class RunOptions(AboutOptions, total=False):
    """How a tool is run. See `Tool` for meanings and defaults."""

    timeout_s: float | None
    idempotent: bool
    read_only: bool
    resource: Resource | None
    retries: int
    retry_on: tuple[type[Exception], ...]
    isolation: Isolation
    concurrency: int | None
    max_result_chars: int | None
    summary: Summary | None
    extract: Extract | None


class ToolOptions(RunOptions, total=False):
    """What `@tool` takes beside the function."""

    name: str | None
    description: str | None


def check_options(
    label: str,
    *,
    timeout_s: float | None,
    concurrency: int | None,
    retries: int,
    repeatable: bool,
    isolation: str,
    max_result_chars: int | None,
    expires_in_s: float | None,
    read_only: bool,
    permission: str | None,
) -> None:
    """Refuse options that no run could honour. Raises `ConfigError` (`bad_tool`)."""
    if timeout_s is not None and not timeout_s > 0:
        problem, hint = f"has timeout_s={timeout_s}", "Use a number above 0, or None for no limit."
    elif concurrency is not None and concurrency < 1:
        problem, hint = f"has concurrency={concurrency}", "Use 1 or more, or None for no bound."
    elif retries < 0 or (retries and not repeatable):
        problem = f"has retries={retries} but is not declared safe to repeat"
        hint = "Say idempotent=True or read_only=True if running it twice does no harm, or leave retries at 0."
    elif isolation not in ("none", "process"):
        problem, hint = f"has isolation={isolation!r}", "Use 'none' or 'process'."
    elif max_result_chars is not None and max_result_chars < MIN_RESULT_CHARS:
        problem = f"has max_result_chars={max_result_chars}"
        hint = f"Use {MIN_RESULT_CHARS} or more, so that something is left of a result, or None for no cap."
    elif expires_in_s is not None and not expires_in_s > 0:
        problem, hint = f"has expires_in_s={expires_in_s}", "Use a number above 0, or None to wait for ever."
    elif permission not in _PERMISSIONS:
        problem, hint = f"has permission={permission!r}", "Use 'read', 'write', 'execute' or 'network'."
    elif read_only and permission == "write":
        problem, hint = "is read_only and has permission='write'", "Leave out one of the two."
    else:
        return
    raise config_error("bad_tool", f"Tool {label} {problem}.", hint)
