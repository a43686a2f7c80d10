"""Loops are found: repeats and cycles of what the model asks for, whatever it is written like (rule E8)."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Loops
from turnwise.core.content import ToolCall
from turnwise.core.loops import Asked, Found, canonical, detect, words


def asks(*steps: str) -> list[Asked]:
    """Steps from short words: "a" calls tool a, "a1" calls it with arguments of its own, "a+b" calls both, "" calls nothing."""
    return [
        tuple([ToolCall(f"t1.s{i}.c{j}", one[0], json.dumps({"x": one[1:]})) for j, one in enumerate(step.split("+"))])
        if step
        else ()
        for i, step in enumerate(steps)
    ]


def look(steps: list[Asked], loops: Loops) -> list[Found | None]:
    """What is found after each step, told each time what was found before."""
    out: list[Found | None] = []
    for end in range(1, len(steps) + 1):
        out.append(detect(steps[:end], loops, out[-1] if out else None))
    return out


# --- what a loop is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [1, 2, 3, 7])
def test_the_nth_time_in_a_row_is_found(repeats: int) -> None:
    """Thresholds of 1 and up behave: with n, the n-th time is found and no time before."""
    found = look(asks(*["a"] * (repeats + 1)), Loops(repeats=repeats))
    assert found[: repeats - 1] == [None] * (repeats - 1)
    assert found[repeats - 1 :] == [
        Found(1, repeats, ("a",), repeats),
        Found(1, repeats + 1, ("a",), repeats + 1),
    ]


@pytest.mark.parametrize("period", [2, 3, 4])
def test_cycles_up_to_a_period(period: int) -> None:
    """A-B-A-B, and longer ones as far as asked for."""
    steps = asks(*"abcd"[:period] * 2)
    found = look(steps, Loops(repeats=2, max_period=period))
    assert found == [None] * (2 * period - 1) + [Found(period, 2, tuple("abcd"[:period]), 2 * period)]
    assert look(steps, Loops(repeats=2, max_period=period - 1)) == [None] * 2 * period


def test_a_round_that_is_not_finished_does_not_count() -> None:
    assert [f and f.repeats for f in look(asks(*"abababab"), Loops(repeats=3))] == [None] * 5 + [3, 3, 4]


def test_going_forward_is_no_loop() -> None:
    """The same tool on other things, or in another company, is work."""
    assert not any(look(asks("a1", "a2", "a3", "a1", "a2", "a4", "b", "a5", "b+a", "a+b"), Loops(repeats=2)))


def test_a_step_without_calls_ends_a_loop() -> None:
    assert not any(look(asks("a", "", "a", "", "a", "", ""), Loops(repeats=2)))


# --- what is the same ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": {"d": 1, "c": 2}}', '{"b":{"c":2,"d":1},"a":1}'),
        ("", "{}"),
        (" \n", "{ }"),
        ('{"a": "é"}', '{"a": "\\u00e9"}'),
        ("{not json", "{not json"),
    ],
)
def test_the_same_in_other_letters(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    steps: list[Asked] = [(ToolCall("1", "t", one),), (ToolCall("2", "t", other),)]
    assert detect(steps, Loops(repeats=2)) is not None


@pytest.mark.parametrize(
    ("one", "other"), [("[1, 2]", "[2, 1]"), ('{"a": 1}', '{"a": "1"}'), ("{not json", "{ not json"), ("[" * 9999, "")]
)
def test_not_the_same(one: str, other: str) -> None:
    steps: list[Asked] = [(ToolCall("1", "t", one),), (ToolCall("2", "t", other),)]
    assert detect(steps, Loops(repeats=2)) is None


def test_arguments_are_read_only_where_the_tools_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that goes forward costs comparisons of names; one that repeats itself letter by letter is not read either."""
    read: list[str] = []
    monkeypatch.setattr("turnwise.core.loops.canonical", lambda text: read.append(text) or text)
    look(asks("a1", "b1", "c1", "d1", "e1", "f1", "a2", "b2"), Loops(repeats=2))
    assert any(look(asks("a", "a", "a"), Loops(repeats=3)))
    assert not read


# --- settings and words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"repeats": -1}, {"max_period": 0}, {"action": "shout"}])
def test_nonsense_is_refused_at_construction(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Loops\("):
        Loops(**wrong)


def test_words_say_what_and_how_often() -> None:
    assert "`a` with the same arguments 3 times" in words(Found(1, 3, ("a",), 3))
    assert "same 2 steps (`a`, `b`) 4 times" in words(Found(2, 4, ("a", "b"), 8))


# --- against an oracle --------------------------------------------------------------------------------------------------


def oracle(steps: list[Asked], loops: Loops) -> Found | None:
    """The same by brute force: every cycle, counted round by round from the end."""
    plain = [[(c.name, json.dumps(json.loads(c.arguments), sort_keys=True)) for c in step] for step in steps]
    for period in range(1, loops.max_period + 1):
        cycle = plain[-period:]
        if len(cycle) < period or not all(cycle):
            continue
        rounds = 0
        while plain[len(plain) - period * (rounds + 1) : len(plain) - period * rounds] == cycle:
            rounds += 1
        if rounds >= loops.repeats:
            names = tuple([name for step in cycle for name, _ in step])
            extra = period * rounds
            while extra < len(plain) and plain[-1 - extra] == plain[-1 - extra + period]:
                extra += 1
            return Found(period, rounds, names, extra)
    return None


settings = st.builds(Loops, repeats=st.integers(1, 4), max_period=st.integers(1, 5))
random_steps = st.lists(st.sampled_from(["a", "b", "a1", "a+b", "c", ""]), max_size=20)
circling = st.tuples(random_steps, st.lists(st.sampled_from(["a", "b", "a1", ""]), min_size=1, max_size=5)).map(
    lambda parts: (parts[0][:4] + parts[1] * 5)[:24]
)


@given(steps=random_steps | circling, loops=settings)
def test_as_brute_force_finds_it(steps: list[str], loops: Loops) -> None:
    """Step by step with what was found before, and all at once: both as the oracle says."""
    asked = asks(*steps)
    expected = [oracle(asked[:end], loops) for end in range(1, len(asked) + 1)]
    assert look(asked, loops) == expected
    assert [detect(asked[:end], loops) for end in range(1, len(asked) + 1)] == expected


@given(loops=settings, period=st.integers(1, 5), rounds=st.integers(1, 5))
def test_once_found_a_loop_that_goes_on_is_found_at_every_step(loops: Loops, period: int, rounds: int) -> None:
    found = look(asks(*"abcde"[:period] * rounds), loops)
    assert all(later is not None for earlier, later in pairwise(found) if earlier is not None)
