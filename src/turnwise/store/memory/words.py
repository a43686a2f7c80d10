"""Looking for words in texts, without an index: enough for what fits into memory.

A word is a run of letters, digits and underscores, in any case. A piece of a query between spaces is looked for as the words that it is made of, one
right after the other: `src/main.py` as `src main py`. So are words in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from .. import words

_WORD = re.compile(r"\w+")
Term = tuple[str, ...]
"""Words that stand together."""


class Found(msgspec.Struct, frozen=True):
    """What a text has of a query. `weight`: the more often, and the shorter the text, the better."""

    weight: float
    excerpt: str


def terms_of(query: str) -> list[Term]:
    """What is looked for; nothing if the query has no words."""
    return words.terms_of(query, _words)


def find(terms: Sequence[Term], text: str) -> Found | None:
    """None if the text lacks one of the terms."""
    spans = [match.span() for match in _WORD.finditer(text)]
    cut = [text[start:end].casefold() for start, end in spans]
    places: set[int] = set()
    weight = 0.0
    for term in terms:
        starts = _places(term, cut)
        if not starts:
            return None
        weight += len(starts) / (len(starts) + 1 + len(cut) / 100)
        places.update(start + offset for start in starts for offset in range(len(term)))
    return Found(weight, words.excerpt(text, [spans[place] for place in sorted(places)]))


def _words(text: str) -> Term:
    return tuple([word.casefold() for word in _WORD.findall(text)])


def _places(term: Term, words: Sequence[str]) -> list[int]:
    size = len(term)
    first = term[0]
    return [at for at, word in enumerate(words) if word == first and tuple(words[at : at + size]) == term]
