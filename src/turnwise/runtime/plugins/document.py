"""A configuration file as data, with a line for each of its places. TOML or YAML, by the file's name."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path as FilePath

from .problems import Path, Problem, invalid, path_text
from .settings import Fault
from .toml_lines import toml_lines
from .yaml_lines import YamlError, read_yaml

_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_MOST_BYTES = 1 << 20


class Document:
    """What a file says, and where. `file` is its name as it was given; "" for what comes from a program."""

    def __init__(self, file: str = "", data: object = None, lines: dict[Path, int] | None = None) -> None:
        self.file = file
        self.data: object = {} if data is None else data
        self.lines = lines or {}
        self.problems: list[Problem] = []

    def problem(self, fault: Fault, line: int = 0) -> Problem:
        """A mistake with its place in the file: that of the nearest table around it if it has none of its own."""
        return Problem(fault.message, path_text(fault.path), self.file, line or self.line(fault.path), fault.expected)

    def line(self, path: Path) -> int:
        """The line of a place, or of what is around it; 0 if there is no file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_document(file: str | os.PathLike[str]) -> Document:
    """Read a file. Raises `PluginsConfigError` if it cannot be read as what it is to be."""
    name = os.fspath(file)
    kind = FilePath(name).suffix.lower()
    if kind not in (".toml", ".yaml", ".yml"):
        raise invalid([Problem("is neither TOML nor YAML by its name: expected .toml, .yaml or .yml", file=name)])
    try:
        raw = FilePath(name).expanduser().read_bytes()
    except OSError as error:
        raise invalid([Problem(f"cannot be read: {error.strerror or error}", file=name)]) from error
    if len(raw) > _MOST_BYTES:
        raise invalid([Problem("is larger than any configuration: expected at most 1 MB", file=name)])
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise invalid([Problem("is not UTF-8 text", file=name, line=line)]) from error
    return _toml(name, text) if kind == ".toml" else _yaml(name, text)


def _toml(name: str, text: str) -> Document:
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = str(error)
        place = _LINE.search(said)
        line = int(place[1]) if place is not None else text.rstrip("\n").count("\n") + 1
        problem = Problem(f"is not TOML: {_LINE.sub('', said).strip()}", file=name, line=line)
        raise invalid([problem]) from error
    return Document(name, data, toml_lines(text))


def _yaml(name: str, text: str) -> Document:
    try:
        data, lines, twice = read_yaml(text)
    except YamlError as error:
        raise invalid([Problem(str(error), file=name, line=error.line)]) from error
    except RecursionError as error:
        raise invalid([Problem("is nested too deeply", file=name)]) from error
    document = Document(name, data, lines)
    document.problems = [document.problem(fault, line) for line, fault in twice]
    return document
