"""AWS event stream: body bytes in, messages out, and the reverse for the serving side. What a message means is the codec's business.

A message is a prelude (its length, the length of its headers, the CRC of both), headers, a payload, and the CRC of everything
before it; all numbers are big-endian. Source: https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html and the
header types of https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Mapping
from struct import Struct, error

from .limits import MAX_EVENT_BYTES, FramingError

Value = bool | int | bytes | str
"""What a header says. Timestamps are milliseconds since 1970, UUIDs are their 16 bytes."""
Headers = Mapping[str, Value]
Message = tuple[Headers, bytes]
"""Headers and payload."""

MAX_HEADER_BYTES = 128 * 1024
"""The longest headers that the format allows."""

_PRELUDE_BYTES = 12
_AROUND_BYTES = _PRELUDE_BYTES + 4
"""Everything of a message but its headers and payload."""
_MAX_KNOWN = 64
"""How many different headers are remembered. A stream repeats a handful of them, so each is read once."""
_MAX_KNOWN_BYTES = 512
_MAX_PRELUDES = 1024
"""How many different preludes are remembered, by their checksum."""

_prelude = Struct(">III").unpack_from
_lengths = Struct(">II").pack
_u32 = Struct(">I")
_crc_at = _u32.unpack_from
_u16 = Struct(">H")
_NUMBERS = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q")}
"""Header types that are numbers: byte, short, integer, long, timestamp."""
_TRUE, _FALSE, _LONG, _BYTES, _STRING, _UUID = 0, 1, 5, 6, 7, 9


class EventStreamFramer:
    """Cuts a byte stream into messages; they do not depend on how the bytes are split (rule S1).

    Both CRCs are checked. Holds at most one unfinished message, of at most `max_bytes`, whose length is believed only once the
    CRC of its prelude is right; every byte is looked at a bounded number of times, however small the pieces. What is
    wrong raises `FramingError`, but never before the messages in front of it have been returned: it is then raised by the next
    call, and by every one after it. A message that the end of the body cuts short is dropped.
    """

    __slots__ = ("_held", "_known", "_last", "_max_bytes", "_needed", "_preludes", "_wrong")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._needed = _PRELUDE_BYTES
        self._known: dict[bytes, Headers] = {}
        self._preludes: dict[int, tuple[int, int]] = {}
        self._last: tuple[bytes, Headers] = b"", {}
        self._wrong = ""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order."""
        if self._held:
            self._held += data
            if len(self._held) < self._needed or self._wrong:
                return self._or_raise([])
            data = bytes(self._held)
            self._held.clear()
        out: list[Message] = []
        taken = 0 if self._wrong else self._cut(data, out)
        if taken < len(data) and not self._wrong:
            self._held += data[taken:]
        return self._or_raise(out)

    def finish(self) -> list[Message]:
        """Nothing: no message ends with the body. Call once, at the end of it."""
        return self._or_raise([])

    def _cut(self, data: bytes, out: list[Message]) -> int:
        """Append the whole messages of `data`; how far they reach. Sets `_wrong` at what is none.

        Nearly all messages of a stream have the same headers, and many the same length: what was found right once is looked
        up, and the headers of the message before are compared in place.
        """
        preludes = self._preludes
        raw, headers = self._last
        at, end = 0, len(data)
        while end - at >= _PRELUDE_BYTES:
            size, header_bytes, crc = _prelude(data, at)
            if preludes.get(crc) != (size, header_bytes) and not self._is_prelude(size, header_bytes, crc):
                return at
            stop = at + size
            if stop > end:
                self._needed = size
                return at
            # The checksum goes on from that of the prelude, which covers the first 8 bytes.
            if _crc_at(data, stop - 4)[0] != crc32(data[at + 8 : stop - 4], crc):
                self._wrong = "a message has a wrong checksum"
                return at
            begun = at + _PRELUDE_BYTES
            body = begun + header_bytes
            if header_bytes != len(raw) or not data.startswith(raw, begun):
                raw = data[begun:body]
                try:
                    headers = self._known.get(raw) or self._read(raw)
                except FramingError as problem:
                    self._wrong = str(problem)
                    return at
                self._last = raw, headers
            out.append((headers, data[body : stop - 4]))
            at = stop
        self._needed = _PRELUDE_BYTES
        return at

    def _is_prelude(self, size: int, header_bytes: int, crc: int) -> bool:
        if crc32(_lengths(size, header_bytes)) != crc:
            self._wrong = "a message has a wrong checksum in front"
        elif size > self._max_bytes or header_bytes > MAX_HEADER_BYTES or size < header_bytes + _AROUND_BYTES:
            self._wrong = f"a message cannot have {size} bytes, {header_bytes} of them headers"
        elif len(self._preludes) < _MAX_PRELUDES:
            self._preludes[crc] = size, header_bytes
        return not self._wrong

    def _read(self, raw: bytes) -> Headers:
        headers = read_headers(raw)
        if len(self._known) < _MAX_KNOWN and len(raw) <= _MAX_KNOWN_BYTES:
            self._known[raw] = headers
        return headers

    def _or_raise(self, out: list[Message]) -> list[Message]:
        if self._wrong and not out:
            self._held.clear()
            raise FramingError(self._wrong)
        return out


def read_headers(raw: bytes) -> Headers:
    """The headers of a message. Raises `FramingError` for anything else."""
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(raw):
            name_end = at + 1 + raw[at]
            name, kind = raw[at + 1 : name_end].decode(), raw[name_end]
            if not name or name in headers:
                raise FramingError(f"a message has the header {name!r} twice, or one without a name")
            headers[name], at = _value(raw, name_end + 1, kind)
    except (IndexError, UnicodeDecodeError, error):
        raise FramingError("a message has headers that cannot be read") from None
    return headers


def _value(raw: bytes, at: int, kind: int) -> tuple[Value, int]:
    """A header's value and where it ends. Raises `IndexError` or `struct.error` if it is cut short."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if (number := _NUMBERS.get(kind)) is not None:
        return number.unpack_from(raw, at)[0], at + number.size
    if kind in (_BYTES, _STRING):
        at, size = at + 2, _u16.unpack_from(raw, at)[0]
    elif kind == _UUID:
        size = 16
    else:
        raise FramingError(f"a message has a header of the unknown type {kind}")
    found = raw[at : at + size]
    if len(found) < size:
        raise IndexError
    return (found.decode() if kind == _STRING else found), at + size


def write_message(headers: Headers, payload: bytes) -> bytes:
    """A message. Numbers are written as longs."""
    written = b"".join([_header(name, value) for name, value in headers.items()])
    lengths = _lengths(_AROUND_BYTES + len(written) + len(payload), len(written))
    begun = lengths + _u32.pack(crc32(lengths)) + written + payload
    return begun + _u32.pack(crc32(begun))


def _header(name: str, value: Value) -> bytes:
    if isinstance(value, bool):
        kind, written = (_TRUE if value else _FALSE), b""
    elif isinstance(value, int):
        kind, written = _LONG, _NUMBERS[_LONG].pack(value)
    else:
        kind = _STRING if isinstance(value, str) else _BYTES
        data = value.encode() if isinstance(value, str) else value
        written = _u16.pack(len(data)) + data
    named = name.encode()
    return bytes((len(named),)) + named + bytes((kind,)) + written
