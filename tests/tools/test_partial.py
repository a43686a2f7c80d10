"""JSON that is still arriving: whatever is shown is a beginning of what it will be, however the text is cut."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec import UNSET
from tests.examples import examples

from turnwise.tools.partial import MAX_DEPTH, PartialJson

RELIABLY = examples(100, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
TEXTS = st.builds(
    lambda value, escaped, indent: json.dumps(value, ensure_ascii=escaped, indent=indent),
    VALUES,
    st.booleans(),
    st.sampled_from([None, 0, 2]),
)


def is_beginning(part: Any, whole: Any) -> bool:
    """True if more text could turn `part` into `whole`."""
    if part is UNSET:
        return True
    if type(part) is not type(whole):
        return False
    if isinstance(part, str):
        return whole.startswith(part)
    if isinstance(part, dict):
        names = list(part)
        same = names == list(whole)[: len(names)] and all(part[n] == whole[n] for n in names[:-1])
        return same and (not names or is_beginning(part[names[-1]], whole[names[-1]]))
    if isinstance(part, list):
        done = part[:-1] == whole[: len(part) - 1] if part else True
        return len(part) <= len(whole) and done and (not part or is_beginning(part[-1], whole[len(part) - 1]))
    return part == whole


def read(*pieces: str) -> PartialJson:
    made = PartialJson()
    for piece in pieces:
        made.feed(piece)
    return made


@RELIABLY
@given(TEXTS)
def test_every_prefix_shows_a_beginning_and_the_whole_is_what_a_parser_makes_of_it(text: str) -> None:
    whole, made = json.loads(text), PartialJson()
    last: Any = UNSET
    for char in text:
        grown = made.feed(char)
        value = made.value()
        assert is_beginning(value, whole)
        assert is_beginning(last, value)
        assert grown or value == last
        last = value
    made.close()
    assert not made.broken
    assert made.complete
    assert made.value() == whole
    assert repr(made.value()) == repr(whole)  # true is not 1, nor 1 1.0


@RELIABLY
@given(TEXTS, st.lists(st.integers(1, 9), max_size=30))
def test_it_does_not_matter_how_the_text_is_cut(text: str, sizes: list[int]) -> None:
    made, at = PartialJson(), 0
    for size in sizes:
        made.feed(text[at : at + size])
        at += size
    made.feed(text[at:])
    made.close()
    once = read(text)
    once.close()
    assert made.value() == once.value() == json.loads(text)


@RELIABLY
@given(st.text(alphabet='{}[]",:\\u0dD8tfnaeE1.-+ \n', max_size=60))
def test_no_text_raises_and_a_broken_one_stays_as_it_is(text: str) -> None:
    made = PartialJson()
    for char in text:
        before, was_broken = made.value(), made.broken
        grown = made.feed(char)
        if was_broken:
            assert made.broken and not grown
            assert made.value() == before
        elif not grown:
            assert made.value() == before
    made.close()
    try:
        whole = json.loads(text)
    except ValueError:
        return
    assert made.value() == whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", UNSET),
        ("  ", UNSET),
        ("{", {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name":', {}),
        ('{"name": "', {"name": ""}),
        ('{"name": "Ann', {"name": "Ann"}),
        ('{"name": "Ann", "age": 3', {"name": "Ann"}),
        ('{"name": "Ann", "age": 36,', {"name": "Ann", "age": 36}),
        ('{"ok": tru', {}),
        ('{"ok": true}', {"ok": True}),
        ("[1, 2", [1]),
        ("[[], {", [[], {}]),
        ('["a\\', ["a"]),
        ('["a\\u00', ["a"]),
        ('["a\\ud83d', ["a"]),
        ('["a\\ud83d\\ude0', ["a"]),
        ('["a\\ud83d\\ude00', ["a😀"]),
        ('["\\ud83dx"]', ["\ud83dx"]),
        ("12", UNSET),
        ("12 ", 12),
    ],
)
def test_what_is_shown(text: str, shown: Any) -> None:
    assert read(text).value() == shown


@pytest.mark.parametrize(
    "text",
    ['{"a": 01,', '{"a": nul,', '{"a" 1', "[1 2", "{1:", '["\\x', '["\\u12g4', "]", "[NaN,", "[" + "9" * 5000 + ","],
)
def test_what_is_no_json_ends_the_growth(text: str) -> None:
    made = read(text)
    assert made.broken
    before = made.value()
    assert not made.feed('"more"]}')
    assert made.value() == before


def test_what_follows_the_value_is_ignored() -> None:
    made = read('{"a": 1} and that is all {')
    assert made.complete
    assert made.value() == {"a": 1}


def test_endless_nesting_is_cut_off_without_recursion() -> None:
    made = read("[" * 100_000)
    assert made.broken
    assert made.value() is not UNSET
    assert not read("[" * MAX_DEPTH).broken


def test_earlier_values_stay_as_they_were_and_what_is_complete_is_shared() -> None:
    """A growing list costs its open end, not its content."""
    made = read('{"done": [{"big": [1, 2, 3]}], "open": ["a')
    first = made.value()
    made.feed('b", "c')
    second = made.value()
    assert first == {"done": [{"big": [1, 2, 3]}], "open": ["a"]}
    assert second == {"done": [{"big": [1, 2, 3]}], "open": ["ab", "c"]}
    assert first["done"] is second["done"]


def test_each_character_is_looked_at_once() -> None:
    """A long text in many pieces is read in the same number of steps as in one, and never joined again."""

    class Counted(str):
        looks = 0

        def __getitem__(self, at: Any) -> str:
            Counted.looks += 1
            return str.__getitem__(self, at)

    text = json.dumps({"items": [{"name": f"n{i}"} for i in range(300)]})
    for size in (1, 7, len(text)):
        Counted.looks = 0
        made = PartialJson()
        for at in range(0, len(text), size):
            made.feed(Counted(text[at : at + size]))
        assert made.complete
        assert Counted.looks <= 2 * len(text)
