"""Python values as PostgreSQL sends and takes them in binary, for the few types that this store uses.

Binary because it needs no quoting and no parsing. A NUL, which PostgreSQL takes in no text, is written as two characters of a private area
that nobody else uses; what was given comes back as it was, and beginnings stay beginnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple

from ...core.errors import config_error

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class ValueType(NamedTuple):
    """A type: its number in PostgreSQL, and the way there and back."""

    oid: int
    encode: Encode
    decode: Decode


_INT4, _INT8, _FLOAT8 = Struct(">i"), Struct(">q"), Struct(">d")
_ARRAY = Struct(
    ">iiIii"
)  # dimensions, whether it has nulls, type of the elements; then per dimension: size, first index
_ESCAPE, _ESCAPED_NUL, _ESCAPED_ESCAPE = "\uf7f0", "\uf7f0\uf7f1", "\uf7f0\uf7f2"


def text(value: str) -> bytes:
    """Raises `ConfigError`: `invalid_text` for what is not Unicode."""
    if "\0" in value or _ESCAPE in value:
        value = value.replace(_ESCAPE, _ESCAPED_ESCAPE).replace("\0", _ESCAPED_NUL)
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise config_error(
            "invalid_text",
            f"The text {value[:40]!r} is not Unicode: it has lone surrogates.",
            "Clean it before it is stored.",
        ) from error


def text_back(data: bytes) -> str:
    value = data.decode()
    if _ESCAPE in value:
        value = value.replace(_ESCAPED_NUL, "\0").replace(_ESCAPED_ESCAPE, _ESCAPE)
    return value


def array_of(oid: int, encode: Encode) -> Encode:
    def array(values: Sequence[Any]) -> bytes:
        if not values:
            return _ARRAY.pack(0, 0, oid, 0, 0)[:12]
        parts = [_ARRAY.pack(1, 0, oid, len(values), 1)]
        for value in values:
            item = encode(value)
            parts += (_INT4.pack(len(item)), item)
        return b"".join(parts)

    return array


def array_back(decode: Decode) -> Decode:
    def array(data: bytes) -> tuple[Any, ...]:
        if _INT4.unpack_from(data)[0] == 0:
            return ()
        out: list[Any] = []
        at = _ARRAY.size
        for _ in range(_INT4.unpack_from(data, 12)[0]):
            (size,) = _INT4.unpack_from(data, at)
            out.append(decode(data[at + 4 : at + 4 + size]))
            at += 4 + size
        return tuple(out)

    return array


def _same(value: bytes) -> bytes:
    return value


def _array(oid: int, encode: Encode, decode: Decode, item: int) -> ValueType:
    return ValueType(oid, array_of(item, encode), array_back(decode))


def _bool(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def _bool_back(data: bytes) -> bool:
    return data == b"\1"


def _int4_back(data: bytes) -> int:
    return _INT4.unpack(data)[0]


def _int8_back(data: bytes) -> int:
    return _INT8.unpack(data)[0]


def _float8_back(data: bytes) -> float:
    return _FLOAT8.unpack(data)[0]


KINDS: dict[str, ValueType] = {
    "bool": ValueType(16, _bool, _bool_back),
    "bytea": ValueType(17, _same, _same),
    "int8": ValueType(20, _INT8.pack, _int8_back),
    "int4": ValueType(23, _INT4.pack, _int4_back),
    "text": ValueType(25, text, text_back),
    "json": ValueType(25, _same, _same),
    "float8": ValueType(701, _FLOAT8.pack, _float8_back),
    "uuid": ValueType(2950, _same, _same),
    "int4[]": _array(1007, _INT4.pack, _int4_back, 23),
    "text[]": _array(1009, text, text_back, 25),
    "json[]": _array(1009, _same, _same, 25),
}
"""By the names that statements use. `json` is text that is bytes on our side and is sent as it is: JSON has neither NUL nor half a character."""
