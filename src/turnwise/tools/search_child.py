"""Searching a text line by line, in a process of its own: what `read_artifact` starts.

Run as a file by a bare interpreter, so it imports nothing but the standard library, and little of that. A request comes as JSON on
stdin; the answer goes to stdout as text. When the time is up the process is killed by its own alarm, in the middle of a match.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from typing import TypedDict

MAX_MATCHES = 100
LINE_CHARS = 400
"""Lines longer than this are not shown whole; each match in them is shown with what is around it."""
BAD_PATTERN = 3


class Request(TypedDict):
    """What to search for in what; `first_line` and `first_character` say where in the whole text it begins."""

    text: str
    first_line: int
    first_character: int
    pattern: str
    context: int
    limit_chars: int
    seconds: float


def main() -> None:
    request: Request = json.loads(sys.stdin.buffer.read())
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    try:
        answer, code = search(request), 0
    except (re.error, OverflowError, RecursionError) as error:
        answer, code = str(error), BAD_PATTERN
    sys.stdout.buffer.write(answer.encode())
    sys.stdout.buffer.flush()
    sys.exit(code)


def search(request: Request) -> str:
    """The matching lines as grep shows them (`12:` a match, `13-` a line near one), after a line that counts them."""
    pattern = re.compile(request["pattern"])
    lines = request["text"].split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    matches: list[tuple[int, int]] = []
    matching, offset = 0, request["first_character"]
    for index, line in enumerate(lines):
        if pattern.search(line):
            matching += 1
            if matching <= MAX_MATCHES:
                matches.append((index, offset))
        offset += len(line) + 1
    if not matching:
        return "No line matches."
    shown: list[str] = []
    told, room, last = 0, request["limit_chars"], -1
    for (index, offset), following in zip(matches, [*[i for i, _ in matches[1:]], len(lines)], strict=True):
        stop = min(index + request["context"] + 1, following)
        part = list(
            _shown(request, pattern, lines, range(max(0, index - request["context"], last + 1), stop), index, offset)
        )
        if 0 <= last < index - request["context"] - 1:
            part.insert(0, "--")
        room -= sum(map(len, part)) + len(part)
        if room < 0:
            break
        shown += part
        told, last = told + 1, stop - 1
    head = f"{matching:,} lines match" if matching > 1 else "1 line matches"
    return "\n".join([f"[{head}{f', the first {told:,} are shown' if told < matching else ''}]", *shown])


def _shown(
    request: Request, pattern: re.Pattern[str], lines: list[str], span: range, index: int, offset: int
) -> Iterator[str]:
    """The matching line number `index` of the text with those around it."""
    for at in span:
        label, line = request["first_line"] + at, lines[at]
        if at != index:
            yield f"{label}-{line}" if len(line) <= LINE_CHARS else f"{label}-{line[:LINE_CHARS]}…"
        elif len(line) <= LINE_CHARS:
            yield f"{label}:{line}"
        else:
            yield from _in_long_line(pattern, line, label, offset)


def _in_long_line(pattern: re.Pattern[str], line: str, label: int, offset: int) -> Iterator[str]:
    """The matches in a line that is too long to be shown, by the character of the whole text at which they begin."""
    end = -1
    for count, found in enumerate(pattern.finditer(line)):
        if count == MAX_MATCHES // 10:
            yield f"{label}: (more matches in this line)"
            return
        if found.start() < end:
            continue
        start = max(0, found.start() - LINE_CHARS // 4)
        end = start + LINE_CHARS
        yield f"{label}, character {offset + found.start()}: …{line[start:end]}…"


if __name__ == "__main__":
    main()
