"""What a turn has spent of its limits, and what that allows: arithmetic on values, for whoever has to decide (rule E9).

Limits are named here as in results and events: `steps`, `calls`, `tokens`, `cost`, `wall_time`, `depth`, and `calls:NAME` for the calls of one
tool. A model call is weighed before it is made, by an estimate of its request; what it really cost is counted when it has
ended. The length of an answer is not known before, so `tokens` and `cost` may be passed by what one answer costs, not by more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from .limits import NO_COUNTS, Counts, Limits
from .usage import Usage

LOW_SHARE = 0.2
"""A limit of which no more than this share is left is low."""


class Spent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a turn has used so far, nested runs included. `cost` is in US dollars; `calls` and `per_tool` count what was asked for."""

    steps: int = 0
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    wall_time_s: float = 0.0
    per_tool: Mapping[str, int] = NO_COUNTS

    def __add__(self, other: Spent) -> Spent:
        """A turn and a run nested in it. Its time went by within that of the turn; calls of its tools are not calls of the turn's own."""
        return Spent(
            self.steps + other.steps,
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.cost + other.cost,
            self.wall_time_s,
            self.per_tool,
        )


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What the next model call will take at least: the tokens of its request, and their price in US dollars."""

    tokens: int = 0
    cost: float = 0.0


class Remaining(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is left of a turn's limits, never below 0; None where there is no limit. Units are those of `Limits`."""

    steps: int | None = None
    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    wall_time_s: float | None = None
    per_tool: Mapping[str, int] = NO_COUNTS


class Low(msgspec.Struct, frozen=True, gc=False):
    """A limit that is nearly used up: its name, how much was used, and the limit itself."""

    limit: str
    used: float
    bound: float


NOTHING_SPENT = Spent()
NO_ESTIMATE = Estimate()


def remaining(limits: Limits, spent: Spent) -> Remaining:
    """What is left."""
    return Remaining(
        _left(limits.steps, spent.steps),
        _left(limits.calls, spent.calls),
        _left(limits.tokens, spent.tokens),
        _left(limits.cost, spent.cost),
        _left(limits.wall_time_s, spent.wall_time_s),
        Counts({name: max(0, bound - spent.per_tool.get(name, 0)) for name, bound in limits.per_tool.items()}),
    )


def least(one: Remaining, other: Remaining) -> Remaining:
    """What is left when both hold."""
    names = one.per_tool.keys() | other.per_tool.keys()
    return Remaining(
        _smaller(one.steps, other.steps),
        _smaller(one.calls, other.calls),
        _smaller(one.tokens, other.tokens),
        _smaller(one.cost, other.cost),
        _smaller(one.wall_time_s, other.wall_time_s),
        Counts({name: min(m[name] for m in (one.per_tool, other.per_tool) if name in m) for name in names}),
    )


def reached(limits: Limits, spent: Spent, coming: Estimate = NO_ESTIMATE) -> str:
    """The limit that forbids the next model call; "" if none does. More calls than allowed may have been asked for: those over
    the limit were denied, and then there is nothing more to say to the model."""
    if limits.calls is not None and spent.calls > limits.calls:
        return "calls"
    if limits.steps is not None and spent.steps >= limits.steps:
        return "steps"
    if limits.tokens is not None and spent.tokens + max(1, coming.tokens) > limits.tokens:
        return "tokens"
    if limits.cost is not None and (spent.cost + coming.cost > limits.cost or 0 < limits.cost <= spent.cost):
        return "cost"
    if limits.wall_time_s is not None and spent.wall_time_s >= limits.wall_time_s:
        return "wall_time"
    return ""


def denial(limits: Limits, cause: str) -> str:
    """Why a call was denied, in words for the model."""
    _, _, tool = cause.partition(":")
    if tool:
        return f"the turn's limit of {limits.per_tool.get(tool, 0)} calls of {tool} is reached"
    return f"the turn's limit of {limits.calls} tool calls is reached"


def low(limits: Limits, spent: Spent, share: float = LOW_SHARE) -> tuple[Low, ...]:
    """The limits of which no more than `share` is left. What was spent only grows, so each becomes low once in a turn."""
    found: list[Low] = []
    for name, bound, used in (
        ("steps", limits.steps, spent.steps),
        ("calls", limits.calls, spent.calls),
        ("tokens", limits.tokens, spent.tokens),
        ("cost", limits.cost, spent.cost),
        ("wall_time", limits.wall_time_s, spent.wall_time_s),
    ):
        if bound is not None and 0 < used >= bound * (1 - share):
            found.append(Low(name, used, bound))
    for tool, bound in limits.per_tool.items():
        used = spent.per_tool.get(tool, 0)
        if 0 < used >= bound * (1 - share):
            found.append(Low(f"calls:{tool}", used, bound))
    return tuple(found)


def spent_of(
    usage: Usage,
    *,
    steps: int = 0,
    calls: int = 0,
    wall_time_s: float = 0.0,
    per_tool: Mapping[str, int] = NO_COUNTS,
) -> Spent:
    """What was spent by model calls of this usage. What a provider did not say counts as nothing."""
    return Spent(steps, calls, usage.total_tokens or 0, usage.cost_usd or 0.0, wall_time_s, per_tool)


N = TypeVar("N", int, float)


def _left(bound: N | None, used: N) -> N | None:
    return None if bound is None else max(0, bound - used)


def _smaller(one: N | None, other: N | None) -> N | None:
    if one is None:
        return other
    return one if other is None else min(one, other)
