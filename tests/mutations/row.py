"""What a planted bug is: one row of the table. The rows themselves are in `rows_*.py`, by kind of rule."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One bug: the rule that it breaks, in words, as a change of text, and the tests that must catch it."""

    rule: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


R, W, C, T, M = "tests/runtime/", "tests/wire/", "tests/core/", "tests/tools/", "tests/models/"
