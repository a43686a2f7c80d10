"""Long results are cut in the middle, never inside a character, and say what is missing (rule E7)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Image, ResultBlock, Text
from turnwise.tools.cap import MIN_RESULT_CHARS, NOTE_CHARS, Cut, capped, cut_of, left_out, text_in
from turnwise.tools.results import Body

CLUSTERS = [
    "e\u0301",
    "👩\u200d👩\u200d👧\u200d👦",
    "👍🏽",
    "🇳🇴",
    "\r\n",
    "한",
    "\u1112\u1161\u11ab",
    "❤\ufe0f",
    "x",
    " ",
    "漢",
    "\n",
]


def note(text: str, cut: Cut) -> str:
    return left_out(text, cut, "Read it.")


def bodies() -> st.SearchStrategy[Body]:
    texts = st.builds(
        lambda parts, times: "".join(parts) * times,
        st.lists(st.sampled_from(CLUSTERS), max_size=12),
        st.integers(0, 900),
    )
    block = texts.map(Text) | st.just(Image.of(b"x"))
    return texts | st.lists(block, min_size=1, max_size=6).map(tuple)


@examples(150)
@given(bodies(), st.integers(MIN_RESULT_CHARS, 6_000))
def test_what_stays_is_bounded_and_whole(body: Body, limit: int) -> None:
    """E7: at most `limit` characters, both ends kept as they are, the rest told; pictures stay, in their order."""
    text = text_in(body)
    if len(text) <= limit:
        return
    cut = cut_of(text, limit - NOTE_CHARS)
    assert 0 < cut.head < cut.tail < len(text)
    said = note(text, cut)
    assert len(said) <= NOTE_CHARS - 2
    got = capped(body, text, limit, note)
    shown = text_in(got)
    assert sum(len(b.text) for b in blocks(got) if type(b) is Text) <= limit
    assert said in shown
    if isinstance(body, str):
        head, tail = shown.split(said)
        assert text.startswith(head.rstrip("\n")) and text.endswith(tail.lstrip("\n"))
        assert len(head) + len(tail) > (limit - NOTE_CHARS) * 3 // 4 - 200
    assert [b for b in blocks(got) if type(b) is not Text] == [b for b in blocks(body) if type(b) is not Text]


def blocks(body: Body) -> tuple[ResultBlock, ...]:
    return (Text(body),) if isinstance(body, str) else body


@examples(100)
@given(st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=8), st.integers(0, 40))
@example(["🇳🇴", "x"], 0)
def test_nothing_is_cut_inside_a_character(parts: list[str], shift: int) -> None:
    """E7: the clusters that the text is made of are whole on both sides, wherever the cut falls."""
    line = "".join(parts)
    text = "x" * shift + line * (3_000 // len(line) + 1)
    cut = cut_of(text, 1_000)
    for at in (cut.head, cut.tail):
        before, after = text[at - 1], text[at]
        assert unicodedata.category(after)[0] != "M" and "\u200d" not in (before, after), (before, after)
        assert not "\U0001f3fb" <= after <= "\U0001f3ff"
        assert (before, after) != ("\r", "\n")
        assert not "\u1160" <= after <= "\u11ff"
        flags = len(text[:at]) - len(text[:at].rstrip("🇳🇴"))
        assert after not in "🇳🇴" or flags % 2 == 0 or flags > 60


def test_lines_are_kept_whole_where_they_can_be() -> None:
    text = "\n".join(f"line {n}" for n in range(2_000))
    got = str(capped(text, text, 1_000, note))
    head, tail = got.split("[… left out: ")
    assert all(line in text.splitlines() for line in head.splitlines()), head
    assert all(line in text.splitlines() for line in tail.partition("\n")[2].splitlines()), tail
    first = head.splitlines()[-1].removeprefix("line ")
    said, _, rest = tail.partition(" …]\n")
    last = rest.splitlines()[0].removeprefix("line ")
    assert f"lines {int(first) + 2:,} to {int(last):,}" in said, "counted from 1, and what is left out exactly"


@pytest.mark.parametrize(
    "text", ["x" * 5_000, "e\u0301" * 5_000, "\u0301" * 5_000, "\u200d" * 5_000, "🇳" * 5_000, "\n" * 5_000]
)
def test_text_without_a_good_place_is_cut_all_the_same(text: str) -> None:
    assert len(str(capped(text, text, 1_000, note))) <= 1_000


def test_a_long_line_is_said_to_be_one() -> None:
    text = "a\n" + "x" * 5_000
    assert "in line 2" in str(capped(text, text, 1_000, note))
