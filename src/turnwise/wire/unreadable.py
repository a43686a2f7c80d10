"""Bytes that are not what an API promises: what reading them raises, and the error that says so. For `Fold`s."""

from __future__ import annotations

from .errors import PROTOCOL, TRUNCATED, broken, excerpt
from .reader import UNREADABLE, Failed

__all__ = ["UNREADABLE", "unreadable", "unreadable_document"]


def unreadable(what: str, problem: object, body: bytes) -> Failed:
    """The failure for a part of an answer (`what`) that is not as the API promises."""
    message = f"{what} cannot be read: {problem}. It begins: {excerpt(body, 120)!r}"
    return Failed(broken(PROTOCOL, message))


def unreadable_document(problem: Exception, body: bytes) -> Failed:
    """The same for a whole document, which has no other terminator than its last brace: one that lacks it was cut off."""
    if body[:1] == b"{" and "truncated" in str(problem):
        return Failed(broken(TRUNCATED, "The answer ended before it was complete."))
    return unreadable("The answer", problem, body)
