"""What is searched for: words, cut out of a text in the same way when it is stored and when it is asked for.

Cutting and folding are done here and not by PostgreSQL, whose ways depend on the locale of the database and take addresses and paths
for one word. To PostgreSQL everything that comes from here is plain words with spaces between: no text is a syntax to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .. import words

PART_CHARS = 40_000
"""Of a longer text several parts are kept: a list of words may have 1 MB in PostgreSQL, and places up to 16,383."""

_GAP = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> str:
    """The words of a text in one case, one space between."""
    return _GAP.sub(" ", text.casefold()).strip()


def parts_of(text: str) -> Iterator[str]:
    """The words of a text, in parts that PostgreSQL can keep; nothing for a text without words."""
    left = words_of(text)
    while len(left) > PART_CHARS:
        end = left.rfind(" ", 0, PART_CHARS)
        end = PART_CHARS if end <= 0 else end
        yield left[:end]
        left = left[end:].lstrip()
    if left:
        yield left


def terms_of(query: str) -> list[str]:
    """What is looked for, a term as its words with spaces between."""
    return words.terms_of(query, words_of)


def excerpt(text: str, terms: Sequence[str]) -> str:
    """What is around the first words found."""
    wanted = {word for term in terms for word in term.split()}
    return words.excerpt(text, [match.span() for match in _WORD.finditer(text) if match[0].casefold() in wanted])
