"""JSON that is still arriving, as the value that it has come to so far. Pure.

What is shown is always a beginning of what it will be: text grows, a number or a word (true, false, null) is there once it is complete,
a key once its value has begun. Nothing raises: text that is not JSON stops growing where it stops being JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from msgspec import UNSET

_SPACE = re.compile(r"[ \t\n\r]*")
_TEXT = re.compile(r'[^"\\]+')
_SCALAR = re.compile(r"[-+.0-9A-Za-z]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
MAX_DEPTH = 500
"""Deeper nesting is no answer: parsers refuse it, too."""


class PartialJson:
    """A JSON value that grows. `feed` takes the text piece by piece, however it is cut, and looks at each character once.

    `broken`: what came is not JSON, and the value stays as it was before that. `complete`: the value is whole; what follows it is ignored.
    """

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at = _Reading()

    @property
    def broken(self) -> bool:
        return self._at.state is _broken

    @property
    def complete(self) -> bool:
        return self._at.state is _done

    def feed(self, text: str) -> bool:
        """Read on; True if there is more to see than before."""
        json = self._at
        json.grown = False
        at, end = 0, len(text)
        while at < end:
            at = json.state(json, text, at)
        return json.grown

    def close(self) -> bool:
        """Nothing follows: a number that stands alone is complete now. True if there is more to see than before."""
        json = self._at
        json.grown = False
        if json.state is _scalar:
            _end_scalar(json)
        return json.grown

    def value(self) -> Any:
        """What there is so far; `msgspec.UNSET` if nothing is.

        Each value stays as it was when it was asked for, and shares with later ones what was complete by then: it costs what is open,
        the containers around the place that is being read.
        """
        json, inner = self._at, UNSET
        if json.state is _string:
            inner = "".join(json.pieces)
            json.pieces = [inner]
        for container, key in zip(reversed(json.containers), reversed(json.keys), strict=True):
            if isinstance(container, dict):
                inner = dict(container) if inner is UNSET else {**container, key: inner}
            else:
                inner = list(container) if inner is UNSET else [*container, inner]
        return json.root if inner is UNSET else inner


class _Reading:
    """Where the reading is. `containers` are those that are open, outermost first, and `keys` the key of each whose value is being
    read; `pieces` are those of the string or word being read, `escape` and `high` halves of what it is written with."""

    __slots__ = ("containers", "escape", "grown", "high", "keys", "pieces", "root", "state")

    def __init__(self) -> None:
        self.containers: list[dict[str, Any] | list[Any]] = []
        self.keys: list[str] = []
        self.pieces: list[str] = []
        self.escape = ""
        self.high = ""
        self.root: Any = UNSET
        self.grown = False
        self.state: State = _value


State = Callable[[_Reading, str, int], int]


# --- states: each reads on from `at` and returns where it stopped -------------------------------------------------------


def _value(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at == len(text):
        return at
    char = text[at]
    if char == "{":
        return _open(json, {}, _first_key, at)
    if char == "[":
        return _open(json, [], _first_item, at)
    if char == '"':
        json.pieces, json.grown, json.state = [], True, _string
        return at + 1
    if _SCALAR.match(char) is None:
        return _fail(json, text)
    json.pieces, json.state = [], _scalar
    return at


def _open(json: _Reading, made: dict[str, Any] | list[Any], state: State, at: int) -> int:
    json.containers.append(made)
    json.keys.append("")
    json.grown, json.state = True, state if len(json.keys) <= MAX_DEPTH else _broken
    return at + 1


def _first_item(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at < len(text):
        if text[at] == "]":
            return _close(json, at)
        json.state = _value
    return at


def _first_key(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at < len(text) and text[at] == "}":
        return _close(json, at)
    return _next_key(json, text, at)


def _next_key(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at == len(text):
        return at
    if text[at] != '"':
        return _fail(json, text)
    json.pieces, json.state = [], _key
    return at + 1


def _key(json: _Reading, text: str, at: int) -> int:
    grown = json.grown
    at, ended = _read_string(json, text, at)
    json.grown = grown
    if ended:
        json.keys[-1], json.state = "".join(json.pieces), _colon
    return at


def _colon(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at == len(text):
        return at
    if text[at] != ":":
        return _fail(json, text)
    json.state = _value
    return at + 1


def _string(json: _Reading, text: str, at: int) -> int:
    at, ended = _read_string(json, text, at)
    if ended:
        _put(json, "".join(json.pieces))
    return at


def _scalar(json: _Reading, text: str, at: int) -> int:
    found = _SCALAR.match(text, at)
    if found is None:
        _end_scalar(json)
        return at
    json.pieces.append(found[0])
    return found.end()


def _after(json: _Reading, text: str, at: int) -> int:
    at = _skip(text, at)
    if at == len(text):
        return at
    inside_object = isinstance(json.containers[-1], dict)
    if text[at] == ",":
        json.state = _next_key if inside_object else _value
        return at + 1
    if text[at] == ("}" if inside_object else "]"):
        return _close(json, at)
    return _fail(json, text)


def _done(json: _Reading, text: str, at: int) -> int:
    return len(text)


def _broken(json: _Reading, text: str, at: int) -> int:
    return len(text)


# --- what states share --------------------------------------------------------------------------------------------------


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _fail(json: _Reading, text: str) -> int:
    if json.state is _string:  # what was shown of it stays
        grown = json.grown
        _put(json, "".join(json.pieces))
        json.grown = grown
    json.state = _broken
    return len(text)


def _put(json: _Reading, value: Any) -> None:
    """A value is complete."""
    if not json.containers:
        json.root, json.state = value, _done
        return
    container = json.containers[-1]
    if isinstance(container, dict):
        container[json.keys[-1]] = value
    else:
        container.append(value)
    json.state = _after


def _close(json: _Reading, at: int) -> int:
    json.keys.pop()
    _put(json, json.containers.pop())
    return at + 1


def _end_scalar(json: _Reading) -> None:
    said = "".join(json.pieces)
    number = _NUMBER.fullmatch(said)
    try:
        if number is not None:
            _put(json, int(said) if number.lastindex is None else float(said))
        elif said in _WORDS:
            _put(json, _WORDS[said])
        else:
            json.state = _broken
            return
    except ValueError:  # more digits than Python turns into a number
        json.state = _broken
        return
    json.grown = True


def _read_string(json: _Reading, text: str, at: int) -> tuple[int, bool]:
    """The rest of a string as far as it goes: where it stopped, and whether its closing quote was met."""
    while at < len(text):
        if json.escape:
            at = _read_escape(json, text, at)
            continue
        char = text[at]
        if char == '"':
            _flush(json, "")
            return at + 1, True
        if char == "\\":
            json.escape = char
            at += 1
            continue
        found = cast("re.Match[str]", _TEXT.match(text, at))
        _flush(json, found[0])
        at = found.end()
    return at, False


def _read_escape(json: _Reading, text: str, at: int) -> int:
    char = text[at]
    sequence = json.escape = json.escape + char
    if len(sequence) == 2:
        if char in _ESCAPES:
            json.escape = ""
            _flush(json, _ESCAPES[char])
        elif char != "u":
            return _fail(json, text)
    elif len(sequence) == 6:
        if _HEX.fullmatch(sequence, 2) is None:
            return _fail(json, text)
        json.escape = ""
        _unicode(json, int(sequence[2:], 16))
    return at + 1


def _unicode(json: _Reading, code: int) -> None:
    """One escaped code unit; the halves of a pair are put together, and the first one waits for the other."""
    high, json.high = json.high, ""
    if high and 0xDC00 <= code <= 0xDFFF:
        _flush(json, chr(0x10000 + ((ord(high) - 0xD800) << 10) + (code - 0xDC00)))
        return
    if high:
        _flush(json, high)
    if 0xD800 <= code <= 0xDBFF:
        json.high = chr(code)
    else:
        _flush(json, chr(code))


def _flush(json: _Reading, text: str) -> None:
    if json.high:
        text, json.high = json.high + text, ""
    if text:
        json.pieces.append(text)
        json.grown = True
