"""The order of starts, and what cannot be put in order (H5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.plugins.conftest import Diary

from turnwise.plugins import Plugins, PluginsConfigError, Use
from turnwise.runtime.plugins.order import circles, in_order, unmet


def test_requirements_come_first_then_priority_then_the_order_of_the_configuration(diary: Diary) -> None:
    """H5"""
    uses = [
        Use(diary.plugin("late", "base"), priority=9),
        Use(diary.plugin("one")),
        Use(diary.plugin("two")),
        Use(diary.plugin("early"), priority=5),
        Use(diary.plugin("base"), priority=-1),
    ]
    assert [use.name for use in in_order(uses)] == ["early", "one", "two", "base", "late"]


names = st.integers(0, 7).map(lambda i: f"p{i}")


@given(st.dictionaries(names, st.tuples(st.lists(names, max_size=3, unique=True), st.integers(-2, 2)), max_size=8))
@examples(100)
def test_what_can_be_ordered_is_and_what_cannot_is_said(wanted: dict[str, tuple[list[str], int]]) -> None:
    """H5: every requirement is there and has started before; or else a circle or a missing plugin is named, and only then."""
    diary = Diary()
    requires = {name: tuple(needs) for name, (needs, _) in wanted.items()}
    uses = [Use(diary.plugin(name, *needs), priority=priority) for name, (needs, priority) in wanted.items()]
    missing = {(name, need) for name, needs in requires.items() for need in needs if need not in requires}
    left = dict(requires)  # what is left when all that can go has gone is in a circle, or waits for one
    while free := [name for name, needs in left.items() if not any(need in left for need in needs)]:
        for name in free:
            del left[name]
    faults = list(unmet(requires, requires, ()))
    assert bool(left) == bool(circles(requires))
    assert {
        (fault.path[1], need)
        for fault in faults
        for need in requires[str(fault.path[1])]
        if f"{need!r}" in fault.message
    } == missing
    if faults:
        with pytest.raises(PluginsConfigError) as raised:
            Plugins(uses)
        assert len(raised.value.problems) == len(faults)
        return
    order = [use.name for use in in_order(Plugins(uses).uses)]
    assert sorted(order) == sorted(requires)
    for name, needs in requires.items():
        assert all(order.index(need) < order.index(name) for need in needs)


def test_a_circle_is_told_once_as_it_goes(diary: Diary) -> None:
    circle = [diary.plugin("a", "c"), diary.plugin("b", "a"), diary.plugin("c", "b"), diary.plugin("d", "a")]
    with pytest.raises(PluginsConfigError) as raised:
        Plugins(circle)
    assert [str(one) for one in raised.value.problems] == ["plugins.a: requires itself: a -> c -> b -> a"]


def test_a_requirement_that_is_missing_or_disabled_is_named(diary: Diary) -> None:
    with pytest.raises(PluginsConfigError) as raised:
        Plugins([diary.plugin("a", "wether", "off"), diary.plugin("weather"), Use(diary.plugin("off"), enabled=False)])
    assert [str(one) for one in raised.value.problems] == [
        "plugins.a: requires 'wether', which is not configured; did you mean 'weather'?",
        "plugins.a: requires 'off', which is disabled: expected it to be enabled",
    ]


def test_what_a_disabled_plugin_requires_does_not_matter(diary: Diary) -> None:
    plugins = Plugins([Use(diary.plugin("a", "nothing"), enabled=False)])
    assert plugins.uses == ()
    assert [one.name for one in plugins.left_out] == ["a"]
