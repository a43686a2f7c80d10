"""Looking for words: how a query is taken apart, and what is shown around what was found. What a word is, each store says itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

AROUND_CHARS = 80
"""How much is shown on each side of what was found first."""


def terms_of(query: str, words_of: Callable[[str], T]) -> list[T]:
    """What is looked for: words that stand together, as `words_of` cuts them. What is in double quotes does, and what has no space in
    it (`src/main.py`); nothing if the query has no words."""
    out: list[T] = []
    for number, part in enumerate(query.split('"')):
        out += [words_of(part)] if number % 2 else [words_of(piece) for piece in part.split()]
    return [term for term in dict.fromkeys(out) if term]


def excerpt(text: str, found: Sequence[tuple[int, int]]) -> str:
    """What is around the first of the places found, in one line, with the found ones in brackets; the beginning, if there are none."""
    if not found:
        return " ".join(text[: 2 * AROUND_CHARS].split())
    start, end = max(0, found[0][0] - AROUND_CHARS), found[0][1] + AROUND_CHARS
    out, at = "", start
    for first, last in found:
        if last > end:
            break
        out += f"{text[at:first]}[{text[first:last]}]"
        at = last
    shown = " ".join(f"{out}{text[at:end]}".split())
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"
