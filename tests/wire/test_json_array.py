"""A stream in the form of one JSON array, cut into its objects (rules S1, S8)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.wire.framing.json_array import JsonArrayFramer
from turnwise.wire.framing.limits import FramingError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],\n\r é\u2028', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]}', max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=4)
separators = st.sampled_from([b",", b", ", b"\n,\r\n", b",\r\n", b" ,\n "])
indents = st.sampled_from([None, 0, 2])


def cut(chunks: list[bytes], framer: JsonArrayFramer | None = None) -> list[bytes]:
    framer = framer or JsonArrayFramer()
    return [found for chunk in chunks for found in framer.feed(chunk)] + framer.finish()


@given(st.lists(objects, max_size=5), separators, indents, st.integers(1, 30), st.booleans())
@examples(150)
def test_the_objects_come_out_however_the_bytes_are_split(
    found: list[dict[str, Any]], separator: bytes, indent: int | None, split: int, is_ascii: bool
) -> None:
    written = [json.dumps(f, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass") for f in found]
    data = b" \n[" + separator.join(written) + b"\n]\n trailing"
    whole = cut([data])
    assert whole == written
    assert cut([data[i : i + split] for i in range(0, len(data), split)]) == whole


def test_every_split_of_googles_own_spelling() -> None:
    data = b'[{\n  "text": "a \\\\\\" } ] \\n,\\r\\n {"\n}\n,\r\n{\n  "b": [\n1\n,\r\n2\n]\n}\n,\r\n{}\n]'
    wanted = [b'{\n  "text": "a \\\\\\" } ] \\n,\\r\\n {"\n}', b'{\n  "b": [\n1\n,\r\n2\n]\n}', b"{}"]
    assert cut([data]) == wanted
    for at in range(1, len(data)):
        assert cut([data[:at], data[at:]]) == wanted, at
    assert cut([data[i : i + 1] for i in range(len(data))]) == wanted


@pytest.mark.parametrize("end", [b"]", b"\n]\n", b" , ]", b']\n,\r\n{"c": 3}', b"] {}", b']\n,\r\n{"c": 3}]'])
def test_nothing_counts_after_the_bracket_that_closes(end: bytes) -> None:
    """Whichever way is taken: the short one for the usual form, or the careful one for bytes one by one."""
    data = b'[{"a": 1}\n,\r\n{"b": [2]}' + end
    assert cut([data]) == cut([data[i : i + 1] for i in range(len(data))]) == [b'{"a": 1}', b'{"b": [2]}']


def test_objects_come_as_soon_as_they_are_whole() -> None:
    framer = JsonArrayFramer()
    assert framer.feed(b'[{"a": 1}') == [b'{"a": 1}']
    assert framer.feed(b',\r\n{"b"') == []
    assert framer.feed(b': "}"}, {') == [b'{"b": "}"}']
    assert framer.finish() == [b"{"], "what was begun is given cut short"


@pytest.mark.parametrize("data", [b"[1]", b'["a"]', b"[[]]", b"{}", b"x", b'[{"a":1} x]'])
def test_what_is_no_array_of_objects_is_an_error_after_what_came_before(data: bytes) -> None:
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        framer, found = JsonArrayFramer(), []
        with pytest.raises(FramingError, match="not an array of objects"):
            for chunk in [*chunks, b" "]:
                found += framer.feed(chunk)
            framer.finish()
        assert found == ([b'{"a":1}'] if b"a" in data and b"{" in data else [])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_memory_is_bounded(size: int) -> None:
    """S8: what is held never exceeds the bound by more than a piece, and the error says so."""
    data = b'[{"a":1},' + b'{"text":"' + b"x" * 200 + b'"}]'
    framer, found = JsonArrayFramer(max_bytes=64), []
    with pytest.raises(FramingError, match="longer than 64 bytes"):
        for at in range(0, len(data), size):
            found += framer.feed(data[at : at + size])
            assert len(framer._held) <= 64 + size
        framer.feed(b"")
    assert found == [b'{"a":1}']


def test_small_pieces_of_a_large_string_cost_no_more_than_their_bytes() -> None:
    """Every byte is looked at a bounded number of times: this would take minutes otherwise."""
    framer = JsonArrayFramer()
    framer.feed(b'[{"text":"')
    for _ in range(40_000):
        assert framer.feed(b"some \\\\ text " * 4) == []
    assert len(framer.feed(b'"}]')) == 1
