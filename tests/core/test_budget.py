"""Limits as arithmetic: what is left, what is forbidden, what is nearly used up (rule E9)."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Limits, Usage
from turnwise.core.budget import (
    Estimate,
    Low,
    Remaining,
    Spent,
    denial,
    least,
    low,
    reached,
    remaining,
    spent_of,
)
from turnwise.core.entries import InputAccepted
from turnwise.core.messages import UserMessage

NO_BOUNDS = Limits(steps=None, calls=None, depth=None)


def only(**bounds: Any) -> Limits:
    return msgspec.structs.replace(NO_BOUNDS, **bounds)


# --- settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"calls": -1},
        {"tokens": -1},
        {"cost": -0.01},
        {"cost": math.nan},
        {"wall_time_s": -1.0},
        {"depth": -1},
        {"per_tool": {"look": -1}},
        {"on_limit": "panic"},
    ],
)
def test_nonsense_is_refused_at_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Limits\("):
        Limits(**wrong)


def test_limits_are_a_value_that_can_be_journalled() -> None:
    """They are hashable, equal by value, and come back from a journal as they were; defaults are not written."""
    limits = Limits(tokens=5, cost=0.5, per_tool={"look": 2}, on_limit="conclude")
    assert {limits, msgspec.structs.replace(limits)} == {limits}
    entry = InputAccepted(UserMessage("Hi", 1), limits)
    again = msgspec.json.decode(msgspec.json.encode(entry), type=InputAccepted)
    assert again == entry and hash(again.limits) == hash(limits)
    assert msgspec.json.encode(Limits()) == b"{}"


def test_a_mapping_that_is_changed_later_changes_no_limit() -> None:
    mine = {"look": 2}
    limits = Limits(per_tool=mine)
    mine["look"] = 99
    assert limits.per_tool == {"look": 2}


# --- before the spend ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0, 1, 3])
@pytest.mark.parametrize(
    ("limit", "spend"),
    [
        ("steps", lambda n: Spent(steps=n)),
        ("tokens", lambda n: Spent(tokens=n)),
        ("wall_time", lambda n: Spent(wall_time_s=n)),
    ],
)
def test_exactly_so_much_is_allowed(limit: str, spend: Any, bound: int) -> None:
    """What was used up forbids the next model call; what is just enough does not. 0 forbids the first."""
    limits = only(**{"wall_time_s" if limit == "wall_time" else limit: bound})
    assert reached(limits, spend(bound)) == limit
    if bound:
        assert reached(limits, spend(bound - 1)) == ""
    assert reached(NO_BOUNDS, spend(10**9)) == ""


@pytest.mark.parametrize(
    ("spent", "coming", "cause"),
    [
        (Spent(tokens=60), Estimate(tokens=40), ""),
        (Spent(tokens=60), Estimate(tokens=41), "tokens"),
        (Spent(cost=0.6), Estimate(cost=0.5), "cost"),
        (Spent(cost=0.6), Estimate(cost=0.1), ""),
        (Spent(cost=1.0), Estimate(), "cost"),
    ],
)
def test_a_request_is_weighed_before_it_is_sent(spent: Spent, coming: Estimate, cause: str) -> None:
    assert reached(only(tokens=100, cost=1.0), spent, coming) == cause


def test_a_model_that_costs_nothing_may_be_asked_for_nothing() -> None:
    assert reached(only(cost=0.0), Spent(), Estimate(tokens=5)) == ""
    assert reached(only(cost=0.0), Spent(), Estimate(cost=1e-9)) == "cost"


def test_calls_that_were_asked_for_beyond_the_limit_end_the_turn() -> None:
    """As many as allowed do not: the model still reads their results."""
    assert reached(only(calls=2), Spent(calls=2)) == ""
    assert reached(only(calls=2), Spent(calls=3)) == "calls"


def test_a_denial_names_the_limit() -> None:
    limits = only(calls=3, per_tool={"look": 1})
    assert denial(limits, "calls:look") == "the turn's limit of 1 calls of look is reached"
    assert denial(limits, "calls") == "the turn's limit of 3 tool calls is reached"


# --- what is left -------------------------------------------------------------------------------------------------------


def test_what_is_left() -> None:
    limits = Limits(steps=5, tokens=100, cost=1.0, per_tool={"look": 2})
    left = remaining(limits, Spent(steps=2, calls=7, tokens=130, cost=0.25, per_tool={"look": 1}))
    assert left == Remaining(3, 493, 0, 0.75, None, {"look": 1})


def test_the_least_of_two_holds() -> None:
    one = Remaining(steps=3, tokens=None, cost=1.0, per_tool={"a": 1, "b": 5})
    other = Remaining(steps=None, tokens=9, cost=0.5, per_tool={"b": 2})
    assert least(one, other) == Remaining(3, None, 9, 0.5, None, {"a": 1, "b": 2})


def test_low_from_a_fifth_on() -> None:
    limits = only(steps=10, tokens=100, cost=2.0, wall_time_s=60.0, per_tool={"look": 5})
    assert low(limits, Spent(7, 0, 79, 1.5, 47.0, {"look": 3})) == ()
    assert low(limits, Spent(8, 0, 80, 1.6, 48.0, {"look": 4})) == (
        Low("steps", 8, 10),
        Low("tokens", 80, 100),
        Low("cost", 1.6, 2.0),
        Low("wall_time", 48.0, 60.0),
        Low("calls:look", 4, 5),
    )
    assert low(only(steps=0), Spent()) == ()


def test_usage_becomes_spending() -> None:
    """A count that the provider did not give is no tokens here, and no price is no dollars."""
    assert spent_of(Usage(100, 20, cost_usd=0.5), steps=1) == Spent(1, 0, 120, 0.5)
    assert spent_of(Usage()) == Spent()


# --- laws ---------------------------------------------------------------------------------------------------------------

amounts = st.integers(0, 30)
bounds = st.none() | amounts
spendings = st.builds(Spent, steps=amounts, calls=amounts, tokens=amounts, cost=amounts.map(float))


@given(
    limits=st.builds(Limits, steps=bounds, calls=bounds, tokens=bounds, cost=bounds.map(lambda n: n and float(n))),
    spent=spendings,
)
def test_nothing_left_of_a_limit_is_when_it_is_reached(limits: Limits, spent: Spent) -> None:
    """A model call is forbidden exactly if some limit has nothing left for it (calls over the limit aside)."""
    left = remaining(limits, spent)
    cause = reached(limits, spent)
    spent_up = [n for n in ("steps", "tokens") if getattr(left, n) == 0]
    if limits.cost and left.cost == 0:
        spent_up.append("cost")
    over = limits.calls is not None and spent.calls > limits.calls
    over_cost = limits.cost == 0 and spent.cost > 0
    assert bool(cause) == bool(spent_up or over or over_cost)


@given(limits=st.builds(Limits, steps=bounds, calls=bounds, tokens=bounds), spent=spendings, more=spendings)
def test_low_stays_low(limits: Limits, spent: Spent, more: Spent) -> None:
    """So that it can be told once: what is low before is low after."""
    before, after = ({one.limit for one in low(limits, s)} for s in (spent, spent + more))
    assert before <= after
