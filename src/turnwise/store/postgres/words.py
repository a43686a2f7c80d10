"""What is searched for: words, cut out of a text in the same way when it is stored and when it is asked for.

Cutting and folding are done here and not by PostgreSQL, whose ways depend on the locale of the database and take addresses and paths
for one word. To PostgreSQL everything that comes from here is plain words with spaces between: no text is a syntax to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

PART_CHARS = 40_000
"""Of a longer text several parts are kept: a list of words may have 1 MB in PostgreSQL, and places up to 16,383."""
AROUND_CHARS = 80
"""How much is shown on each side of what was found."""

_GAP = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> str:
    """The words of a text in one case, one space between."""
    return _GAP.sub(" ", text.casefold()).strip()


def parts_of(text: str) -> Iterator[str]:
    """The words of a text, in parts that PostgreSQL can keep; nothing for a text without words."""
    words = words_of(text)
    while len(words) > PART_CHARS:
        end = words.rfind(" ", 0, PART_CHARS)
        end = PART_CHARS if end <= 0 else end
        yield words[:end]
        words = words[end:].lstrip()
    if words:
        yield words


def terms_of(query: str) -> list[str]:
    """What is looked for: words that stand together. What is in double quotes does, and what has no space in it (`src/main.py`)."""
    out: list[str] = []
    for number, part in enumerate(query.split('"')):
        out += [words_of(part)] if number % 2 else [words_of(piece) for piece in part.split()]
    return [term for term in dict.fromkeys(out) if term]


def excerpt(text: str, terms: Sequence[str]) -> str:
    """What is around the first words found, in one line, with the found ones in brackets."""
    wanted = {word for term in terms for word in term.split()}
    found = [match.span() for match in _WORD.finditer(text) if match[0].casefold() in wanted]
    if not found:
        return " ".join(text[: 2 * AROUND_CHARS].split())
    start = max(0, found[0][0] - AROUND_CHARS)
    end = min(len(text), found[0][1] + AROUND_CHARS)
    out, at = "", start
    for first, last in found:
        if last > end:
            break
        out += f"{text[at:first]}[{text[first:last]}]"
        at = last
    shown = " ".join((out + text[at:end]).split())
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"
