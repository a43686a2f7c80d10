"""From what a turn came to, to what its caller gets: the result, or its error."""

from __future__ import annotations

from ..core.errors import error_of
from ..core.result import TurnResult


def checked(result: TurnResult) -> TurnResult:
    """The result, or its error raised with the result attached."""
    if result.error is None:
        return result
    error = error_of(result.error)
    error.result = result
    raise error
