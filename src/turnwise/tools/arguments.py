"""What is wrong with a call's arguments, in words for the model (rule E2).

Decoding itself is in `schema.py` (typed tools) and `plain.py` (tools with a hand-written JSON Schema); both raise the one
error below and nothing else, whatever text they are given.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..core.errors import ErrorInfo, ToolError

QUOTE_CHARS = 300
PROBLEM_CHARS = 1000


class ArgumentsError(ToolError):
    """The arguments are not JSON, not an object, or do not fit the tool's parameters. The tool was not run."""

    def __init__(self, problem: str) -> None:
        super().__init__(ErrorInfo("tool", "invalid_arguments", problem))

    @property
    def problem(self) -> str:
        """What is wrong and what was received; safe to encode and bounded in length."""
        return self.info.message


def is_blank(arguments: str) -> bool:
    """True for text that stands for `{}`: models send nothing at all for tools without parameters."""
    return not arguments or arguments.isspace()


def problem_of(error: Exception, arguments: str, parameters: Sequence[str], what: str = "The parameters") -> str:
    """The problem in one or two sentences, ending with the text that was received. `what` are the parameters, to the model."""
    match error:
        case msgspec.ValidationError():
            said = f"{error}."
        case msgspec.DecodeError():
            said = f"This is not valid JSON: {error}."
        case UnicodeEncodeError():
            said = "This is not valid JSON: it contains half of a surrogate pair."
        case RecursionError():
            said = "This is nested too deeply."
        case _:
            said = f"{type(error).__name__}: {error}."
    if isinstance(error, msgspec.ValidationError) and " - at `" not in said:
        said += f" {what} are: {', '.join(parameters) or 'none'}."
    return f"{bounded(said, PROBLEM_CHARS)} Received: {quoted(arguments)}"


def bounded(text: str, limit: int) -> str:
    """At most `limit` characters of `text`; what cannot be encoded as UTF-8 is escaped."""
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def quoted(arguments: str) -> str:
    """The received text, shortened, with whatever does not print escaped."""
    shown = repr(arguments[:QUOTE_CHARS])
    return shown if len(arguments) <= QUOTE_CHARS else f"{shown}… ({len(arguments)} characters)"
