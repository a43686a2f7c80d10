"""Runs nested in one another spend from the limits of all that are above them (rule E9)."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Limits, Usage
from turnwise.core.budget import Estimate, Remaining, Spent
from turnwise.errors import BudgetError
from turnwise.runtime.budget import Budget, Nested

NO_BOUNDS = Limits(steps=None, calls=None, depth=None)


def bounded(**bounds: int | float | None) -> Limits:
    return Limits(**{"steps": None, "calls": None, "depth": None, **bounds})


def spend(budget: Budget, tokens: int) -> str:
    """One model call of so many tokens from beginning to end."""
    cause = budget.hold(Estimate(tokens))
    if not cause:
        budget.settle(Usage(tokens, 0), committed=True)
    return cause


def test_a_child_spends_from_those_above_it() -> None:
    """The child is refused by the bound of its grandparent, though its own and its parent's allow more."""
    top = Budget(bounded(tokens=100))
    child = Budget(bounded(tokens=1000), Budget(NO_BOUNDS, top))
    assert spend(child, 60) == "" and spend(child, 41) == "tokens" and spend(child, 40) == ""
    assert spend(top, 1) == "tokens"


def test_what_is_on_its_way_counts() -> None:
    """Two children at the same time cannot spend the same tokens twice; what was held and not used comes back."""
    top = Budget(bounded(tokens=100))
    one, other = Budget(NO_BOUNDS, top), Budget(NO_BOUNDS, top)
    assert one.hold(Estimate(70)) == "" and other.hold(Estimate(40)) == "tokens"
    one.settle(Usage(20, 5), committed=True)
    assert other.hold(Estimate(40)) == "" and top.remaining().tokens == 35


def test_a_failed_call_costs_tokens_and_is_no_step() -> None:
    budget = Budget(bounded(steps=1, tokens=100, cost=1.0))
    assert budget.hold(Estimate(10, 0.1)) == ""
    budget.settle(Usage(30, cost_usd=0.5), committed=False)
    assert budget.remaining() == Remaining(1, None, 70, 0.5)
    budget.hold(Estimate(10, 0.1))
    budget.settle(None, committed=False)
    assert budget.remaining() == Remaining(1, None, 70, 0.5)


def test_steps_of_a_child_are_steps_of_those_above_it() -> None:
    top = Budget(bounded(steps=2))
    child = Budget(NO_BOUNDS, top)
    assert [spend(child, 1), spend(top, 1), spend(child, 1)] == ["", "", "steps"]


def test_a_concluding_step_is_beyond_its_own_limit_and_not_beyond_those_above() -> None:
    top = Budget(bounded(steps=1))
    child = Budget(bounded(steps=0), top)
    assert child.hold(Estimate()) == "steps"
    assert child.hold(Estimate(), concluding=True) == ""
    assert child.hold(Estimate(), concluding=True) == "steps"


def test_calls_of_a_child_are_denied_by_those_above_it() -> None:
    top = Budget(bounded(calls=2))
    child = Budget(bounded(calls=0), top)
    assert child.take_call("look") == "" and top.take_call("ask") == ""
    assert "limit of 2 tool calls" in child.take_call("look")
    assert top.take_call("ask") == "", "a turn's own limit is the machine's to keep"


def test_what_is_left_is_the_least_of_all() -> None:
    top = Budget(bounded(steps=9, tokens=100, wall_time_s=10.0))
    child = Budget(Limits(steps=5, calls=7, cost=1.0, wall_time_s=60.0, per_tool={"look": 2}), top)
    spend(top, 30)
    child.take_call("look")
    assert child.remaining(20.0) == Remaining(5, 6, 70, 1.0, 40.0, {"look": 1})


# --- depth --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_no_deeper_than_any_turn_above_allows(bound: int) -> None:
    """Counted from the turn whose limit it is: 0 allows no nested run at all."""
    budget = Budget(bounded(depth=bound), Budget(NO_BOUNDS))
    for _ in range(bound):
        budget = Budget(NO_BOUNDS, budget)
        budget.may_nest()
    with pytest.raises(BudgetError) as raised:
        Budget(NO_BOUNDS, budget).may_nest()
    assert raised.value.code == "depth_limit" and raised.value.hint


# --- the end ------------------------------------------------------------------------------------------------------------


def test_what_a_run_came_to_is_told_once_to_the_turn_above() -> None:
    """With what was nested in it: the one above that is told the sum by its own child, not twice."""
    told: list[tuple[str, Nested]] = []
    top = Budget(NO_BOUNDS, nested=lambda n: told.append(("top", n)))
    middle = Budget(NO_BOUNDS, top, nested=lambda n: told.append(("middle", n)))
    child = Budget(NO_BOUNDS, middle)
    spend(child, 10)
    child.take_call("look")
    child.add(Usage(5))
    child.close()
    child.close()
    spend(middle, 30)
    middle.close()
    assert told == [("middle", Nested(Usage(15, 0), 1, 1)), ("top", Nested(Usage(45, 0), 2, 1))]


def test_what_a_resumed_turn_had_used_is_not_told_again() -> None:
    """It was told when the turn was parked; it still counts against the turn's own limits."""
    told: list[Nested] = []
    child = Budget(bounded(tokens=100), Budget(NO_BOUNDS, nested=told.append), spent=Spent(3, 1, 70))
    assert spend(child, 31) == "tokens" and spend(child, 30) == ""
    child.close()
    assert told == [Nested(Usage(30, 0), 1, 0)]


def test_what_was_held_for_a_call_that_never_ended_is_let_go() -> None:
    top = Budget(bounded(tokens=100))
    child = Budget(NO_BOUNDS, top)
    child.hold(Estimate(80))
    child.close()
    assert top.remaining() == Remaining(tokens=100)


def test_a_run_that_outlives_its_turn_is_bounded_by_the_next_one_above() -> None:
    """A tool may leave something running: it spends from what is still going on, and is told there."""
    told: list[Nested] = []
    top = Budget(bounded(tokens=100), nested=told.append)
    middle = Budget(bounded(tokens=10), top)
    child = Budget(NO_BOUNDS, middle)
    assert spend(child, 50) == "tokens"
    middle.close()
    assert spend(child, 50) == "" and spend(child, 51) == "tokens"
    child.close()
    assert [n.steps for n in told] == [0, 1]


# --- laws ---------------------------------------------------------------------------------------------------------------


@given(bound=st.integers(0, 60), sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=30))
def test_no_limit_is_ever_passed(bound: int, sizes: list[tuple[int, int]]) -> None:
    """Whoever asks in whatever order: estimates that hold add up to no more than the limit, and what fits is never refused."""
    top = Budget(bounded(tokens=bound))
    runs = [top, Budget(NO_BOUNDS, top), Budget(NO_BOUNDS, top)]
    runs.append(Budget(NO_BOUNDS, runs[1]))
    spent = 0
    for who, size in sizes:
        fits = spent + size <= bound
        assert (spend(runs[who], size) == "") == fits
        spent += size * fits
    assert spent <= bound and top.remaining().tokens == bound - spent


def test_threads_do_not_lose_count() -> None:
    top = Budget(bounded(tokens=10_000_000))

    def work() -> None:
        child = Budget(NO_BOUNDS, top)
        for _ in range(500):
            spend(child, 3)
            child.take_call("look")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert top.remaining().tokens == 10_000_000 - 4 * 500 * 3
