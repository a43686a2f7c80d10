"""Server-sent events, by hazard: splits, forms of lines and ends, sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnwise.wire.framing.limits import MAX_EVENT_BYTES, FramingError
from turnwise.wire.framing.sse import SseFramer


def payloads(chunks: Sequence[bytes], max_event_bytes: int = MAX_EVENT_BYTES) -> list[bytes | type[FramingError]]:
    """What a framer gives for these chunks; `FramingError` in the last place if it refuses them."""
    framer = SseFramer(max_event_bytes)
    out: list[bytes | type[FramingError]] = []
    try:
        for chunk in chunks:
            out += framer.feed(chunk)
        out += framer.finish()
    except FramingError:
        out.append(FramingError)
    return out


def cut(body: bytes, at: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(min(p, len(body)) for p in at), len(body)]
    return [body[a:b] for a, b in pairwise(places)]


# --- S2: every legal form of a stream ---


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data: one\r\n\ndata: two\n\r\n", [b"one", b"two"]),
        (b"data:one\n\ndata:  two\n\n", [b"one", b" two"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
        (b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"]),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b"\n\n\ndata: one\n\n\n\n", [b"one"]),
        (b": keep-alive\n\ndata: one\n\n: bye\n\n", [b"one"]),
        (b": in front\ndata: one\n: behind\n\n", [b"one"]),
        (b"event: message\nid: 7\nretry: 10\ndata: one\n\n", [b"one"]),
        (b"event: ping\n\n", []),
        (b"data: one\n\ndata: \n\ndata:\n\ndata\n\ndata:   \n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\n\ndata: two\n", [b"one", b"two"]),
        (b"data: one\n\ndata: two", [b"one", b"two"]),
        (b"database: no\ndatas\n data: no\ndata: yes\n\n", [b"yes"]),
        ("data: Grüße 🇳🇴\n\n".encode(), ["Grüße 🇳🇴".encode()]),
        (b'data: {"a": "data: \\n\\n"}\n\n', [b'{"a": "data: \\n\\n"}']),
        (b"data: a\ndata: b\n\ndata: c\n\n", [b"a\nb", b"c"]),
        (b"data: one\n\nevent: x\ndata: two\n\n", [b"one", b"two"]),
        (b"data: \xff\x00\n\n", [b"\xff\x00"]),
        (b"", []),
    ],
)
def test_forms(body: bytes, expected: list[bytes]) -> None:
    """S2, and S1: the same cut in two anywhere, and byte by byte."""
    assert payloads([body]) == expected
    assert payloads([bytes([b]) for b in body]) == expected
    for place in range(len(body) + 1):
        assert payloads([body[:place], body[place:]]) == expected, f"cut at {place}"


# --- S1: the same however the bytes are split ---

PIECES = st.sampled_from(
    [
        b"data: ", b"data:", b"data", b"{}", b'{"a":"\xc3\xbc"}', b"[DONE]", b" ", b": c", b"event: e", b"id: 1", b"x",
        b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"\xef\xbb\xbf", b"data: {}\n\n", b"data: {}\n\ndata: {}\n\n",
    ]
)  # fmt: skip
STREAMS = st.lists(PIECES, max_size=20).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 120), max_size=6))
@example(b"data: {}\n\ndata: \n\n", [])
@example(b"\xef\xbb\xbfdata: {}\n\n", [1, 2])
@example(b"data: {}\r\n\r\n", [9, 10, 11])
def test_splits_change_nothing(body: bytes, at: list[int]) -> None:
    """S1, against byte-by-byte feeding, which never takes the short way for regular reads."""
    expected = payloads([bytes([b]) for b in body])
    assert payloads([body]) == expected
    assert payloads(cut(body, at)) == expected


@given(STREAMS, st.lists(st.integers(0, 120), max_size=4), st.integers(1, 20))
def test_splits_change_nothing_at_the_bound(body: bytes, at: list[int], max_event_bytes: int) -> None:
    """S1, S8: what is refused, and what was given before that, does not depend on the split either."""
    expected = payloads([bytes([b]) for b in body], max_event_bytes)
    assert payloads([body], max_event_bytes) == expected
    assert payloads(cut(body, at), max_event_bytes) == expected


# --- S8: bounds ---


@pytest.mark.parametrize("form", [b"data: %s\n\n", b": %s\n\n", b"%s\n\n", b"data: %s", b"data: a\ndata: %s\n\n"])
def test_lines_are_bounded(form: bytes) -> None:
    """S8."""
    assert payloads([b"data: ok\n\n" + form % (b"x" * 101)], 100) == [b"ok", FramingError]
    assert payloads([b"data: ok\n\n", form % (b"x" * 101)], 100) == [b"ok", FramingError]


def test_events_of_many_lines_are_bounded() -> None:
    """S8."""
    assert payloads([b"data: ok\n\n" + b"data: 0123456789\n" * 10 + b"\n"], 100) == [b"ok", FramingError]
    assert payloads([b"data: 0123456789\n" * 9 + b"\n"], 100) == [b"\n".join([b"0123456789"] * 9)]


def test_what_precedes_a_refusal_is_given_first() -> None:
    framer = SseFramer(100)
    assert framer.feed(b"data: ok\n\ndata: " + b"x" * 200) == [b"ok"]
    with pytest.raises(FramingError):
        framer.feed(b"data: late\n\n")
    with pytest.raises(FramingError):
        framer.finish()


def test_an_endless_line_is_refused_at_the_bound() -> None:
    """S8: memory stays within `MAX_EVENT_BYTES`."""
    framer, fed = SseFramer(), 0
    with pytest.raises(FramingError):
        while True:
            framer.feed(b"x" * 65536)
            fed += 65536
    assert fed == MAX_EVENT_BYTES


def test_long_bursts_of_short_events_are_not_refused() -> None:
    body = b"data: {}\n\n" * 50
    assert payloads([body], 100) == [b"{}"] * 50


def test_bytes_are_not_scanned_again() -> None:
    """S8: feeding one long line in small pieces costs time in proportion to its length."""

    def seconds(size: int) -> float:
        framer = SseFramer()
        start = time.process_time()
        for _ in range(size // 4):
            framer.feed(b"xxxx")
        return time.process_time() - start

    small = min(seconds(20_000) for _ in range(3))
    large = min(seconds(320_000) for _ in range(3))
    assert large < small * 16 * 4, f"{small:.4f} s for 20 kB, {large:.4f} s for 320 kB"
