"""The AWS event stream, by hazard: splits, checksums, lengths, headers of every type, garbage.

Messages are built here by hand, from the format's description, and held against botocore's own reader.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.wire.framing.event_stream import MAX_HEADER_BYTES, EventStreamFramer, Message, write_message
from turnwise.wire.framing.limits import FramingError

ID = uuid.UUID(int=7)


def framed(headers: bytes, payload: bytes) -> bytes:
    """A message with right checksums around headers that may be anything."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return begun + struct.pack(">I", zlib.crc32(begun))


def prelude(size: int, header_bytes: int) -> bytes:
    lengths = struct.pack(">II", size, header_bytes)
    return lengths + struct.pack(">I", zlib.crc32(lengths))


def named(name: bytes, kind: int, value: bytes = b"") -> bytes:
    return bytes((len(name),)) + name + bytes((kind,)) + value


def string(name: str, value: str) -> bytes:
    return named(name.encode(), 7, struct.pack(">H", len(value.encode())) + value.encode())


EVERY_TYPE = b"".join(
    [
        named(b"yes", 0),
        named(b"no", 1),
        named(b"byte", 2, struct.pack(">b", -2)),
        named(b"short", 3, struct.pack(">h", -300)),
        named(b"int", 4, struct.pack(">i", -70000)),
        named(b"long", 5, struct.pack(">q", -(2**40))),
        named(b"bytes", 6, struct.pack(">H", 3) + b"\x00\xff\x01"),
        string("text", "Grüße"),
        named(b"time", 8, struct.pack(">q", 1_760_000_000_000)),
        named(b"id", 9, ID.bytes),
    ]
)
A = framed(string(":event-type", "contentBlockDelta") + string(":message-type", "event"), '{"a":"é"}'.encode())
B = framed(EVERY_TYPE, b"")
C = framed(b"", b"no headers")


def read(*chunks: bytes, framer: EventStreamFramer | None = None) -> list[Message]:
    framer = framer or EventStreamFramer()
    out = [m for chunk in chunks for m in framer.feed(chunk)]
    return out + framer.finish()


def until_error(*chunks: bytes) -> tuple[list[Message], str]:
    """What came before an error, and what it says; "" if there was none."""
    framer, out = EventStreamFramer(), list[Message]()
    try:
        for chunk in chunks:
            out += framer.feed(chunk)
        out += framer.finish()
    except FramingError as error:
        return out, str(error)
    return out, ""


def botocore_reads(data: bytes) -> list[Message]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(m.headers, m.payload) for m in buffer]


def test_headers_of_every_type() -> None:
    ((headers, payload),) = read(B)
    assert headers == {
        "yes": True,
        "no": False,
        "byte": -2,
        "short": -300,
        "int": -70000,
        "long": -(2**40),
        "bytes": b"\x00\xff\x01",
        "text": "Grüße",
        "time": 1_760_000_000_000,
        "id": ID.bytes,
    }
    assert payload == b""
    assert botocore_reads(B) == [(headers, payload)]


# --- S1 ---


def test_split_at_every_byte() -> None:
    """S1."""
    data = A + B + A + C
    expected = read(data)
    assert len(expected) == 4
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == expected
    assert read(*[data[i : i + 1] for i in range(len(data))]) == expected


VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20) | st.text(max_size=10)
HEADERS = st.dictionaries(st.text(min_size=1, max_size=10).filter(lambda n: len(n.encode()) < 256), VALUES, max_size=4)


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=6), st.lists(st.floats(0, 1), max_size=6))
@examples(200)
def test_what_is_written_is_read_wherever_it_is_split(
    messages: list[tuple[Mapping[str, Any], bytes]], cuts: list[float]
) -> None:
    """S1; and botocore reads the same."""
    data = b"".join([write_message(h, p) for h, p in messages])
    places = sorted([round(c * len(data)) for c in cuts])
    found = read(*[data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)])
    assert found == messages == botocore_reads(data)


def test_more_kinds_of_messages_than_are_remembered() -> None:
    """S1: nothing depends on what was seen before."""
    data = b"".join([framed(string("n", str(n)), b"x" * n) for n in range(1500)])
    assert [h["n"] for h, _ in read(data)] == [str(n) for n in range(1500)]


# --- S8: what is wrong ---


@pytest.mark.parametrize("second", [A, B], ids=["as before", "other headers"])
def test_any_changed_byte_is_seen(second: bytes) -> None:
    """Both checksums: no message with a wrong byte is ever given out, also when its like was right just before."""
    for at in range(len(second)):
        for bit in (1, 0x80):
            wrong = bytearray(second)
            wrong[at] ^= bit
            found, error = until_error(A + bytes(wrong))
            assert [p for _, p in found] == [read(A)[0][1]]
            assert error, f"byte {at}"


def test_what_came_before_an_error_is_given_out_first() -> None:
    """S1: at every split the same messages, then the error, again and again."""
    data = A + C + A[:-1] + b"\x00"
    expected = until_error(data)
    assert len(expected[0]) == 2 and "checksum" in expected[1]
    for cut in range(len(data) + 1):
        assert until_error(data[:cut], data[cut:]) == expected
    framer = EventStreamFramer()
    framer.feed(data)
    for _ in range(2):
        with pytest.raises(FramingError):
            framer.feed(A)
    with pytest.raises(FramingError):
        framer.finish()


@pytest.mark.parametrize(
    ("size", "header_bytes"),
    [
        (0, 0),
        (15, 0),
        (100, 90),
        (16, 1),
        (2**32 - 1, 0),
        (200 * 1024, MAX_HEADER_BYTES + 1),
        (16 * 1024 * 1024 + 1, 0),
    ],
)
def test_lengths_that_cannot_be(size: int, header_bytes: int) -> None:
    """Refused as soon as they are known: nothing is waited for, and nothing kept."""
    with pytest.raises(FramingError, match="cannot have"):
        EventStreamFramer().feed(prelude(size, header_bytes))


def test_the_longest_message() -> None:
    longest = len(C)
    assert read(C, framer=EventStreamFramer(longest)) == read(C)
    with pytest.raises(FramingError):
        read(C, framer=EventStreamFramer(longest - 1))


@pytest.mark.parametrize(
    "headers",
    [
        string("a", "1") + string("a", "2"),
        named(b"", 0),
        named(b"a", 10),
        named(b"a", 7, struct.pack(">H", 5) + b"four"),
        named(b"a", 7, b"\x00"),
        named(b"a", 4, b"\x00\x00"),
        named(b"a", 9, b"too short"),
        named(b"\xff", 0),
        named(b"a", 7, struct.pack(">H", 1) + b"\xff"),
        b"\x05ab",
        b"\x01a",
    ],
)
def test_headers_that_cannot_be_read(headers: bytes) -> None:
    with pytest.raises(FramingError):
        read(framed(headers, b"x"))


def test_a_message_cut_short_is_dropped() -> None:
    """Whether something is missing, the codec knows: see the decoder's tests."""
    for cut in range(1, len(C)):
        assert [p for _, p in read(A + C[:cut])] == [read(A)[0][1]]


@given(
    st.lists(st.binary(max_size=200) | st.sampled_from([A, B, A[:40], prelude(500, 20), prelude(16, 0)]), max_size=6)
)
@examples(300)
def test_garbage(chunks: list[bytes]) -> None:
    """S8, S1: nothing but a framing error, and the same one however it is split."""
    data = b"".join(chunks)
    expected = until_error(data)
    assert until_error(*chunks) == expected
    assert until_error(*[data[i : i + 1] for i in range(len(data))]) == expected
