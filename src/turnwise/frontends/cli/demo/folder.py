"""The two files that the demo reads: from the current folder if it has some, else from one made for the occasion."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec

MAX_BYTES = 64_000
MAX_ENTRIES = 2_000
_LIKED = ("readme", "pyproject.toml", "package.json", "cargo.toml", "go.mod", "makefile")
_LIKED_ENDINGS = (".md", ".py", ".txt", ".toml", ".rst")

_MADE = {
    "harbour.txt": "The harbour at six in the morning.\nThree boats are out; the fourth waits for its crew.\n",
    "orders.csv": "day,boat,crates\nmonday,Anna,14\nmonday,Berta,9\ntuesday,Anna,17\n",
}


class Place(msgspec.Struct, frozen=True):
    """A folder, two readable files in it, and whether it was made for the demo."""

    folder: Path
    files: tuple[str, str]
    made: bool


@contextmanager
def a_place(current: Path) -> Generator[Place, None, None]:
    """The current folder if two files in it can be read, else a temporary one that is removed afterwards."""
    found = readable_files(current)
    if len(found) >= 2:
        yield Place(current, (found[0], found[1]), False)
        return
    with tempfile.TemporaryDirectory(prefix="turnwise-demo-") as made:
        for name, text in _MADE.items():
            Path(made, name).write_text(text)
        first, second = _MADE
        yield Place(Path(made), (first, second), True)


def readable_files(folder: Path) -> list[str]:
    """Up to two names of small text files, the most telling ones first. Hidden files are left alone."""
    found: list[str] = []
    for name in sorted(_candidates(folder), key=_rank):
        if _is_text(folder / name):
            found.append(name)
            if len(found) == 2:
                break
    return found


def _candidates(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in islice(entries, MAX_ENTRIES) if _fits(e)]
    except OSError:
        return []


def _fits(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_file() and 0 < entry.stat().st_size <= MAX_BYTES
    except OSError:
        return False


def _rank(name: str) -> tuple[int, str]:
    lower = name.lower()
    if lower.startswith(_LIKED):
        return 0, lower
    return (1 if lower.endswith(_LIKED_ENDINGS) else 2), lower


def _is_text(path: Path) -> bool:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(text.strip()) and "\0" not in text
