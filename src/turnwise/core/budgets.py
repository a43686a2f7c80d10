"""Budgets that turns share: what all turns of a session, an agent, a user or a tenant may spend together, over a window or for ever.

Values and arithmetic. `Limits` bound one turn, and are the machine's (`core/limits.py`); these stand above, and are kept in
`runtime/budgets`. As with limits a request is weighed before it is sent, by an estimate of it; what it took is counted when it has ended.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from .budget import NO_ESTIMATE, Estimate
from .changes import Compacted, CompactionFailed, NestedSpent, TurnContinued
from .entries import AttemptFailed, Entry, InputAccepted, StepCommitted, TurnEnded
from .errors import ConfigError, config_error
from .usage import Usage

Per = Literal["session", "agent", "user", "tenant"]
"""Whose turns share a budget: those of one session, of an agent (by its name, for all who use it), of a user, of a tenant."""

BoundName = Literal["cost", "tokens", "requests", "turns"]
BOUNDS: tuple[BoundName, ...] = get_args(BoundName)


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all turns `per` session, agent, user or tenant may spend together, runs that their tools start included (rule H3).

    `cost` is in US dollars, `tokens` counts input and output, `requests` model calls that were sent, failed ones too, `turns` turns that
    began; None means no bound, and one bound at least is given. With `window_s` it is what may be spent in that many seconds: windows
    follow one another from midnight UTC of 1 January 1970 on, so 86400 is a day. Without, it is for ever. `name` is what it is called in causes
    and lists, and in the store (default: as `per`): two budgets that are kept apart have different names or windows.

    Raises `ConfigError` (`invalid_value`).
    """

    per: Per
    cost: float | None = None
    tokens: int | None = None
    requests: int | None = None
    turns: int | None = None
    window_s: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.per not in get_args(Per):
            raise _invalid("per", self.per, f"it is one of {', '.join(get_args(Per))}")
        bounds = [(name, getattr(self, name)) for name in BOUNDS]
        for name, bound in bounds:
            if bound is not None and not bound >= 0:
                raise _invalid(name, bound, "a bound is 0 or more, or None")
        if all(bound is None for _, bound in bounds):
            raise config_error(
                "invalid_value", f"Budget(per={self.per!r}) bounds nothing.", f"Give {', '.join(BOUNDS)}."
            )
        if self.window_s is not None and not 0 < self.window_s < float("inf"):
            raise _invalid("window_s", self.window_s, "a window has some seconds, or None for no end")

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.per


class Used(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was spent, or is left, of a budget; `cost` in US dollars."""

    cost: float = 0.0
    tokens: int = 0
    requests: int = 0
    turns: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.cost + other.cost,
            self.tokens + other.tokens,
            self.requests + other.requests,
            self.turns + other.turns,
        )

    def __sub__(self, other: Used) -> Used:
        return Used(
            self.cost - other.cost,
            self.tokens - other.tokens,
            self.requests - other.requests,
            self.turns - other.turns,
        )


class Left(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is left, never below 0; None where nothing bounds it."""

    cost: float | None = None
    tokens: int | None = None
    requests: int | None = None
    turns: int | None = None


NOTHING = Used()
ONE_TURN = Used(turns=1)


def used_by(usage: Usage | None, *, requests: int = 0, turns: int = 0) -> Used:
    """What a model call took. What a provider did not say counts as nothing."""
    if usage is None:
        return Used(0.0, 0, requests, turns)
    return Used(usage.cost_usd or 0.0, usage.total_tokens or 0, requests, turns)


def forbidden(budget: Budget, spent: Used, coming: Estimate = NO_ESTIMATE) -> str:
    """The cause by which a budget forbids the next request, `budget:NAME.BOUND`; "" if it does not. `spent` includes what is held back
    for requests under way."""
    if budget.requests is not None and spent.requests >= budget.requests:
        return _cause(budget, "requests")
    if budget.tokens is not None and spent.tokens + max(1, coming.tokens) > budget.tokens:
        return _cause(budget, "tokens")
    if budget.cost is not None and (spent.cost + coming.cost > budget.cost or 0 < budget.cost <= spent.cost):
        return _cause(budget, "cost")
    return ""


def no_turn(budget: Budget, begun: int) -> str:
    """The same for a turn that begins, after so many."""
    return _cause(budget, "turns") if budget.turns is not None and begun >= budget.turns else ""


def left_of(budget: Budget, spent: Used) -> Left:
    """What is left."""
    return Left(
        None if budget.cost is None else max(0.0, budget.cost - spent.cost),
        None if budget.tokens is None else max(0, budget.tokens - spent.tokens),
        None if budget.requests is None else max(0, budget.requests - spent.requests),
        None if budget.turns is None else max(0, budget.turns - spent.turns),
    )


def window_at(window_s: float | None, at: float) -> int:
    """The number of the window that a time (Unix seconds) is in; 0 if there is but one."""
    return 0 if window_s is None else int(at // window_s)


def spent_in(entry: Entry) -> tuple[float | None, Used] | None:
    """What a journal entry says was spent, and when; None if it says nothing of it. These are the entries that `evolve` counts."""
    match entry:
        case InputAccepted(message=message):
            return message.created_at, ONE_TURN
        case TurnContinued(at=at):
            return at, ONE_TURN
        case StepCommitted(message=message):
            return message.response.completed_at or message.created_at, used_by(message.usage, requests=1)
        case AttemptFailed(at=at, usage=usage):
            return at, used_by(usage, requests=1)
        case NestedSpent(at=at, usage=usage, steps=steps):
            return at, used_by(usage, requests=steps)
        case TurnEnded(at=at, usage=usage) if usage is not None:
            return at, used_by(usage, requests=1)
        case Compacted(at=at, usage=usage) | CompactionFailed(at=at, usage=usage) if usage is not None:
            return at, used_by(usage)
        case _:
            return None


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget stands for somebody: `tenant` and `subject` say for whom (a session's id, an agent's name, a user; the tenant itself has
    no other), `agent` whose budget it is ("": the runtime's). `spent` is what is known of by now, other processes included as of when
    the store was last read; `held` is held back for requests under way. `resets_at` (Unix seconds) is when its window ends."""

    budget: Budget
    agent: str
    tenant: str
    subject: str
    spent: Used
    held: Used
    left: Left
    resets_at: float | None

    @property
    def name(self) -> str:
        return self.budget.label


def _cause(budget: Budget, bound: BoundName) -> str:
    return f"budget:{budget.label}.{bound}"


def _invalid(name: str, value: object, rule: str) -> ConfigError:
    return config_error("invalid_value", f"Budget({name}={value!r}): {rule}.")
