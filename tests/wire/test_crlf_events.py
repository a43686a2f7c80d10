"""The short way for events whose lines end in CRLF gives what the careful way gives (rules S1, S2, S8)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.wire.framing.crlf import CrlfSseFramer
from turnwise.wire.framing.limits import FramingError
from turnwise.wire.framing.sse import SseFramer

pieces = st.lists(
    st.sampled_from(
        [b"data: ", b"data:", b'{"a": 1}', b"\r\n", b"\r\n\r\n", b"\n", b"\n\n", b"\r", b": c", b"event: x", b" ", b"\xef\xbb\xbf"]
    )
    | st.binary(max_size=4),
    max_size=24,
).map(b"".join)  # fmt: skip
regular = st.lists(st.binary(min_size=1, max_size=6), max_size=6).map(
    lambda found: b"".join([b"data: " + b"{" + f.replace(b"\n", b"").replace(b"\r", b"") + b"}\r\n\r\n" for f in found])
)


def cut(framer: SseFramer, chunks: list[bytes]) -> list[bytes]:
    return [found for chunk in chunks for found in framer.feed(chunk)] + framer.finish()


@given(data=st.lists(pieces | regular, max_size=3).map(b"".join), split=st.integers(1, 40))
@example(data=b"data: a\r\n\r\ndata: b\r\n\r\ndata: c", split=40)
@example(data=b"\xef\xbb\xbfdata: a\r\n\r\ndata: b\r\n\r\n", split=40)
@example(data=b"data: a\r\ndata: b\r\n\r\n\r\n\r\ndata:  \r\n\r\n", split=40)
@examples(400)
def test_both_ways_give_the_same(data: bytes, split: int) -> None:
    careful = cut(SseFramer(), [data[i : i + 1] for i in range(len(data))])
    assert cut(CrlfSseFramer(), [data]) == careful
    assert cut(CrlfSseFramer(), [data[i : i + split] for i in range(0, len(data), split)]) == careful


def test_what_came_before_an_event_that_is_too_long_is_given_first() -> None:
    framer = CrlfSseFramer(max_event_bytes=16)
    assert framer.feed(b"data: a\r\n\r\ndata: " + b"x" * 20) == [b"a"]
    with pytest.raises(FramingError, match="longer than 16 bytes"):
        framer.feed(b"more")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_an_event_is_bounded_in_either_way(size: int) -> None:
    data = b"data: ok\r\n\r\ndata: " + b"x" * 40 + b"\r\n\r\n"
    framer, found = CrlfSseFramer(max_event_bytes=16), []
    with pytest.raises(FramingError):
        for at in range(0, len(data), size):
            found += framer.feed(data[at : at + size])
        framer.finish()
    assert found == [b"ok"]
