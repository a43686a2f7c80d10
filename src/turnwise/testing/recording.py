"""The file of recorded HTTP exchanges: JSON lines, one exchange each, the first line says what it is.

A line is written when its exchange is over, in one piece, so that a crash leaves whole lines. Bodies are text where they are UTF-8, else
base64. Recording is in `record`, playing in `replay`, what may not be written in `scrub`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ..core.errors import ConfigError, ErrorInfo, config_error

VERSION = 1

End = Literal["whole", "left", "broke"]
"""How an exchange ended: the body was read to its end; we went first; the connection, or the attempt to get one, failed."""


class Bytes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes of a body, as text or as base64."""

    text: str | None = None
    base64: str | None = None

    @property
    def data(self) -> bytes:
        return self.text.encode() if self.text is not None else b64decode(self.base64 or "")


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one read gave, `at` seconds after the request was sent."""

    at: float
    text: str | None = None
    base64: str | None = None

    @property
    def data(self) -> bytes:
        return self.text.encode() if self.text is not None else b64decode(self.base64 or "")


class Request(msgspec.Struct, frozen=True):
    """A request as far as it is recorded and compared. Header names are lower-case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Bytes

    @property
    def path(self) -> str:
        """The URL's path, without host and query: where a provider is may differ from run to run."""
        return "/" + self.url.partition("://")[2].partition("/")[2].partition("?")[0]


class Answer(msgspec.Struct, frozen=True):
    """Status and headers, `at` seconds after the request was sent, and the body as it was read."""

    status: int
    headers: Mapping[str, str]
    at: float
    chunks: Sequence[Chunk]


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request and what came of it. `number` counts requests from 1 in the order they were sent; `answer` is None if no
    headers arrived; `error` is why it broke."""

    number: int
    request: Request
    answer: Answer | None = None
    end: End = "whole"
    ended_at: float = 0.0
    error: ErrorInfo | None = None


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    turnwise_cassette: int


def packed(data: bytes) -> Bytes:
    """`data` for the file."""
    try:
        return Bytes(data.decode())
    except UnicodeDecodeError:
        return Bytes(None, b64encode(data).decode())


def chunk(data: bytes, at: float) -> Chunk:
    """`data` read at that time, for the file."""
    held = packed(data)
    return Chunk(round(at, 6), held.text, held.base64)


class Writer:
    """Writes a new file, line by line. The file is made, or emptied, at the first line."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._begun = False

    def write(self, exchange: Exchange) -> None:
        """Append one line; the operating system has it when this returns."""
        mode, line = "ab", msgspec.json.encode(exchange) + b"\n"
        if not self._begun:
            self._begun = True
            mode, line = "wb", msgspec.json.encode(Header(VERSION)) + b"\n" + line
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open(mode, buffering=0) as file:
            file.write(line)


def read(path: str | Path) -> list[Exchange]:
    """The exchanges of a file in the order they began. Raises `ConfigError` (`bad_cassette`) for what is not whole."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise bad(path, f"cannot be read: {error.strerror}") from None
    if lines.pop():
        raise bad(path, f"ends in the middle of line {len(lines) + 1}", "Delete that line, or record again.")
    try:
        version = msgspec.json.decode(lines[0], type=Header).turnwise_cassette if lines else 0
    except msgspec.MsgspecError:
        version = 0
    if version != VERSION:
        raise bad(path, "is no recording of this version of Turnwise")
    out: list[Exchange] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            out.append(msgspec.json.decode(line, type=Exchange))
        except msgspec.MsgspecError as error:
            raise bad(path, f"has an unreadable line {number}: {error}") from None
    return sorted(out, key=lambda e: e.number)


def bad(path: str | Path, problem: str, hint: str = "Record it again.") -> ConfigError:
    """The error for a file that cannot be played."""
    return config_error("bad_cassette", f"The recording {path} {problem}.", hint)
