"""Compact summaries of results, made by the tool's author when the call ends: `@tool(summary=…)`.

A summary is what stays of a result when old results are masked to save context. It is kept beside the result from the beginning, so
masking needs nothing but the journal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import msgspec

from ..core.errors import config_error
from .arguments import bounded
from .results import failure_of

Summary = Callable[[Any], str] | Callable[[Any, Any], str]
"""A function of what the tool returned, or of its decoded arguments and that."""

SUMMARY_CHARS = 2_000


class Returned(msgspec.Struct, frozen=True):
    """What a tool's function gave. `complaint` says why there is no summary although the tool has a function for it."""

    value: Any
    summary: str | None = None
    complaint: str = ""


def summariser(summary: Summary | None, label: str) -> Callable[[Any, Any], str] | None:
    """The function as one of arguments and result. Raises `ConfigError` (`bad_tool`) if it takes neither one nor two."""
    if summary is None:
        return None
    if _takes(summary, 1):
        of_result = cast("Callable[[Any], str]", summary)
        return lambda _, value: of_result(value)
    if _takes(summary, 2):
        return cast("Callable[[Any, Any], str]", summary)
    raise config_error(
        "bad_tool",
        f"Tool {label} has a summary that takes neither the result nor the arguments and the result.",
        "Write summary=lambda result: …, or summary=lambda arguments, result: …",
    )


def _takes(summary: Summary, count: int) -> bool:
    try:
        inspect.signature(summary).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not say what they take
        return count == 1
    return True


def returned(summarise: Callable[[Any, Any], object] | None, arguments: Any, value: Any) -> Returned:
    """A value with its summary. Never raises: a call does not fail because its summary does."""
    if summarise is None:
        return Returned(value)
    try:
        said = summarise(arguments, value)
    except Exception as error:
        return Returned(value, None, failure_of(error).message)
    if not isinstance(said, str):
        return Returned(value, None, f"it gave a {type(said).__name__}, not text")
    return Returned(value, bounded(said, SUMMARY_CHARS) if said.strip() else None)
