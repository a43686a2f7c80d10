"""In which line of a TOML document each key stands: `tomllib` does not say.

The document has been read by tomllib before, so it is known to be valid; here only its outline is followed: headers, keys, inline tables
and lists. Values are skipped.
"""

from __future__ import annotations

import re

from .problems import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_GAP = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|(?!""").)*"{3,5}'  # up to two quotation marks may stand before the closing three
    r"|'''(?:(?!''').)*'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.S,
)
_PLAIN = re.compile(r"[^\n,\]}#\"'\[{]+")


def toml_lines(text: str) -> dict[Path, int]:
    """The line of every key, table and element of a list, by its path; lines count from 1."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    """A place in the text, and what has been found so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at: int = 0
        self.lines: dict[Path, int] = {(): 1}
        self._counted: tuple[int, int] = (0, 1)
        self._elements: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_SPACE)
            if self.at >= len(self.text):
                return
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """`[a.b]`, or `[[a.b]]`, which begins another element."""
        line, many = self._line(), self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self._in_last_elements(self._keys())
        self.at = self.text.index("]", self.at) + (2 if many else 1)
        if many:
            number = self._elements[path] = self._elements.get(path, -1) + 1
            self._note(path, line)
            path = (*path, number)
        self._note(path, line)
        return path

    def _in_last_elements(self, keys: list[str]) -> Path:
        path: Path = ()
        for key in keys[:-1]:
            path = (*path, key)
            if path in self._elements:
                path = (*path, self._elements[path])
        return (*path, keys[-1])

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._note(path, line)
        self.at = self.text.index("=", self.at) + 1
        self._skip(_GAP)
        self._value(path)

    def _keys(self) -> list[str]:
        """A dotted key; what stands after it is next."""
        keys: list[str] = []
        while True:
            self._skip(_GAP)
            if (quoted := _STRING.match(self.text, self.at)) is not None:
                keys.append(_unquoted(quoted[0]))
                self.at = quoted.end()
            else:
                bare = _BARE.match(self.text, self.at)
                assert bare is not None, "tomllib has read this document"
                keys.append(bare[0])
                self.at = bare.end()
            self._skip(_GAP)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _value(self, path: Path) -> None:
        match self.text[self.at : self.at + 1]:
            case "[":
                self._inside(path, "]")
            case "{":
                self._inside(path, "}")
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_PLAIN)

    def _inside(self, path: Path, end: str) -> None:
        """The elements of a list, or the pairs of an inline table."""
        self.at += 1
        number = 0
        while True:
            self._skip(_SPACE)
            if self.text.startswith(end, self.at):
                self.at += 1
                return
            if end == "}":
                self._pair(path)
            else:
                self._note((*path, number), self._line())
                self._value((*path, number))
                number += 1
            self._skip(_SPACE)
            if self.text.startswith(",", self.at):
                self.at += 1

    def _note(self, path: Path, line: int) -> None:
        """The first mention of a table that is only implied by a longer key counts for it."""
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def _line(self) -> int:
        at, line = self._counted
        line += self.text.count("\n", at, self.at)
        self._counted = self.at, line
        return line

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self.text, self.at)
        if found is not None:
            self.at = found.end()


def _unquoted(text: str) -> str:
    """A quoted key as tomllib reads it."""
    import tomllib

    return next(iter(tomllib.loads(f"{text} = 0")))
