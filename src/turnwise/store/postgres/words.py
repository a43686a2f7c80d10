"""What is searched for: words, cut out of a text in the same way when it is stored and when it is asked for.

Cutting and lower case are done here and not by PostgreSQL, whose ways depend on the locale of the database and take addresses and paths
for one word. To PostgreSQL everything that comes from here is plain words with spaces between: no text is a syntax to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PART_CHARS = 60_000
"""Of a longer text several parts are kept: a list of the words of a text may have 1 MB in PostgreSQL, and places up to 16,383."""

_NO_WORD = re.compile(r"[^\w]+|_+")


def words_of(text: str) -> str:
    """The words of a text in lower case, one space between."""
    return _NO_WORD.sub(" ", text.lower()).strip()


def parts_of(text: str) -> Iterator[str]:
    """The words of a text, in parts that PostgreSQL can keep; nothing for a text without words."""
    for start in range(0, len(text), PART_CHARS):
        if words := words_of(text[start : start + PART_CHARS]):
            yield words


def wanted(query: str) -> list[tuple[str, bool]]:
    """What a query asks for: words and whether they stand together. What is in double quotes does; all of it is asked for."""
    out: list[tuple[str, bool]] = []
    for number, piece in enumerate(query.split('"')):
        if words := words_of(piece):
            out.append((words, number % 2 == 1))
    return out
