"""`read_artifact`: the tool with which a model reads what was left out of a long result, by range or by pattern.

Only results of the same session can be read: which they are is known to the session, which lends `Artifacts`. What this tool gives
is bounded here, so it never becomes an artifact itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any, Literal

import msgspec

from ..core.errors import ErrorInfo, ToolError
from . import search_child
from .cap import end_before
from .context import ToolContext
from .process import run_process
from .tool import tool

READ_CHARS = 20_000
SEARCH_S = 5.0
MAX_CONTEXT_LINES = 10
_CHILD = os.path.abspath(search_child.__file__)

Positive = Annotated[int, msgspec.Meta(ge=1)]


@tool(read_only=True, idempotent=True, timeout_s=30.0, max_result_chars=None, category="session")
async def read_artifact(
    id: str,
    ctx: ToolContext[Any],
    start: Positive = 1,
    end: Positive | None = None,
    unit: Literal["lines", "characters"] = "lines",
    pattern: str | None = None,
    context: Annotated[int, msgspec.Meta(ge=0, le=MAX_CONTEXT_LINES)] = 2,
) -> str:
    """Read what was left out of a long tool result: a range of it, or the lines that match a pattern.

    Args:
        id: The id given where something was left out.
        start: First line (or character) to read, counted from 1.
        end: Last line (or character) to read; as much as fits if left out.
        unit: What start and end count.
        pattern: A regular expression (Python's); only lines that match are given, with their numbers. Searches the range.
        context: With a pattern: how many lines to show around each match.
    """
    if ctx.host is None or ctx.host.artifacts is None:
        raise ToolError(ErrorInfo("tool", "no_runtime", "This ToolContext has no runtime: there are no artifacts."))
    text = await ctx.host.artifacts.text(id)
    if text is None:
        raise ToolError(f"Nothing was left out of a result of this session under the id {id[:80]!r}.")
    begin, stop = _span(text, start, end, unit)
    if pattern is not None:
        return await _search(ctx, text, begin, stop, pattern, context)
    return _read(text, begin, stop, unit)


def _span(text: str, start: int, end: int | None, unit: str) -> tuple[int, int]:
    """The characters that a range covers. Raises `ToolError` if it covers none."""
    if end is not None and end < start:
        raise ToolError(f"The range is empty: end={end} is before start={start}.")
    if unit == "characters":
        begin, stop = start - 1, len(text) if end is None else min(end, len(text))
    else:
        begin = _line_at(text, start)
        stop = len(text) if end is None else _line_at(text[begin:], end - start + 2) + begin
    if begin >= len(text):
        size = f"{len(text):,} characters" if unit == "characters" else f"{_lines(text):,} lines"
        raise ToolError(f"The whole text has {size}: start={start} is past its end.")
    return begin, stop


def _line_at(text: str, number: int) -> int:
    """Where a line begins, counted from 1; the length of the text if it has fewer."""
    at = 0
    for _ in range(number - 1):
        at = text.find("\n", at) + 1
        if at == 0:
            return len(text)
    return at


def _lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def _read(text: str, begin: int, stop: int, unit: str) -> str:
    """A part of the text, as much as is given at once, with a line before it that says what it is and how to go on."""
    last = stop if stop - begin <= READ_CHARS else end_before(text, begin + READ_CHARS, begin)
    first_line = text.count("\n", 0, begin) + 1
    ends_line = last == len(text) or text[last - 1] == "\n"
    if unit == "lines" and ends_line:
        last_line = first_line + _lines(text[begin:last]) - 1
        what, next_start = f"lines {first_line:,} to {last_line:,} of {_lines(text):,}", f"start={last_line + 1}"
    else:
        what = f"characters {begin + 1:,} to {last:,} of {len(text):,}, from line {first_line:,} on"
        next_start = f'unit="characters", start={last + 1}'
    more = f"; go on with {next_start}" if last < stop else ""
    return f"[{what}{more}]\n{text[begin:last]}"


async def _search(ctx: ToolContext[Any], text: str, begin: int, stop: int, pattern: str, context: int) -> str:
    """The lines that match. The search runs in a process of its own: a pattern may take for ever, and neither a thread nor the
    loop could be made to stop it."""
    request = search_child.Request(
        text=text[begin:stop],
        first_line=text.count("\n", 0, begin) + 1,
        first_character=begin + 1,
        pattern=pattern,
        context=context,
        limit_chars=READ_CHARS - 500,
        seconds=SEARCH_S,
    )
    done = await run_process(
        ctx.spawn,
        _keep_nothing,
        [sys.executable, "-I", "-S", _CHILD],
        cwd=None,
        env=None,
        stdin=msgspec.json.encode(request),
        limit_bytes=16 * READ_CHARS,
    )
    if done.returncode == -signal.SIGALRM:
        raise ToolError(f"The search was stopped after {SEARCH_S:g} s: the pattern takes too long. Use a simpler one.")
    if done.returncode == search_child.BAD_PATTERN:
        raise ToolError(f"The pattern is not a regular expression: {done.stdout}")
    if done.returncode:
        raise ToolError(
            f"The search ended without a result (exit code {done.returncode}). {done.stderr[-500:]}".strip()
        )
    return done.stdout


def _keep_nothing(_: bytes) -> None: ...
