"""JSON lines: any split gives the same lines, odd line ends and blank lines say nothing, memory is bounded (S1, S2, S8)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.wire.framing.json_lines import JsonLinesFramer, lines_or_document
from turnwise.wire.framing.limits import FramingError


def lines_of(chunks: Sequence[bytes], limit: int = 1000) -> list[bytes]:
    """The lines of all chunks, without their ends."""
    framer = JsonLinesFramer(limit)
    lines = [line for c in chunks for line in framer.feed(c)] + framer.finish()
    assert all(line and not line.isspace() for line in lines)
    return [line.rstrip(b"\r") for line in lines]


BODIES = {
    "plain": (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
    "no last line end": (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
    "CRLF": (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
    "blank lines": (b'\n \n{"a":1}\n\n\r\n{"b":2}\n\n', [b'{"a":1}', b'{"b":2}']),
    "byte order mark": (b'\xef\xbb\xbf{"a":1}\n', [b'{"a":1}']),
    "split characters": ('{"ö":"🇳🇴 "}\n'.encode(), ['{"ö":"🇳🇴 "}'.encode()]),
    "nothing": (b"", []),
    "blank": (b" \n\n", []),
}


@pytest.mark.parametrize("name", BODIES)
def test_lines_at_every_split(name: str) -> None:
    """S1, S2: U+2028 ends no line, nor does a byte of a character that looks like an end."""
    body, expected = BODIES[name]
    assert lines_of([body]) == expected
    assert lines_of([bytes([b]) for b in body]) == expected
    for cut in range(len(body)):
        assert lines_of([body[:cut], body[cut:]]) == expected


@given(
    lines=st.lists(st.binary(min_size=1, max_size=20).map(lambda b: b"x" + b.replace(b"\n", b"").strip())),
    data=st.data(),
)
def test_any_lines_at_any_split(lines: list[bytes], data: st.DataObject) -> None:
    """S1."""
    body = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert lines_of(chunks) == [line.rstrip(b"\r") for line in lines]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_line_that_is_too_long_is_refused_after_those_before_it(size: int) -> None:
    """S8: not more than one line is held, and what came before it is not lost."""
    body = b'{"a":1}\n' + b"x" * 31 + b'\n{"b":2}\n'
    framer, got = JsonLinesFramer(30), list[bytes]()
    with pytest.raises(FramingError, match="30 bytes"):
        for at in range(0, len(body), size):
            got += framer.feed(body[at : at + size])
        framer.finish()
    assert got == [b'{"a":1}']


def test_a_line_without_end_is_not_held_without_bound() -> None:
    framer = JsonLinesFramer(30)
    with pytest.raises(FramingError):
        for _ in range(10):
            framer.feed(b"x" * 10)
    with pytest.raises(FramingError):
        framer.finish()


def test_a_line_at_the_limit_is_taken() -> None:
    assert lines_of([b"x" * 30 + b"\n", b"y" * 30], limit=30) == [b"x" * 30, b"y" * 30]


@pytest.mark.parametrize(
    ("head", "kind", "found"),
    [
        (b'{"a":1}\n', "", "stream"),
        (b'{"a":1}\n{"b', "application/json", "stream"),
        (b'{"a":1}\r\n', "text/plain", "stream"),
        (b'{"a', "application/x-ndjson", "stream"),
        (b'{"a', "", "unknown"),
        (b'{"a":1}', "application/json", "unknown"),
        (b'{\n  "a": 1\n}', "application/json", "document"),
        (b"<html>\n", "application/x-ndjson", "document"),
        (b"[1]", "", "document"),
        (b"{" + b"x" * 70_000, "", "document"),
    ],
)
def test_the_first_line_tells_a_stream_from_a_document(head: bytes, kind: str, found: str) -> None:
    """Content types are often wrong, so they decide only where the bytes do not."""
    said = lines_or_document(bytearray(head), kind)
    assert (said if isinstance(said, str) else "stream") == found
