"""What a turn may spend, how long it may take, and how often a failed model call is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from .errors import ErrorInfo


OnLimit = Literal["stop", "conclude"]
"""What a limit does: end the turn with its last text, or let the model conclude in one last step without tools."""


class Counts(dict[str, int]):
    """Numbers by name, as a value: it is not to be changed, and can be hashed."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(frozenset(self.items()))


NO_COUNTS: Mapping[str, int] = Counts()


class Limits(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Bounds of one turn and of all runs that its tools start, checked before the spend; None means no bound (rule E9).

    `steps` counts model calls, `calls` tool calls, `per_tool` those of the turn's own tools by name, `tokens` input and output of all
    attempts, `cost` US dollars, `wall_time_s` seconds (not while the turn is parked), `depth` how deep runs may be nested within it: a
    tool that runs an agent makes the first. A limit of 0 allows none. Raises `ValueError` for a bound below 0.
    """

    steps: int | None = 50
    calls: int | None = 500
    tokens: int | None = None
    cost: float | None = None
    wall_time_s: float | None = None
    depth: int | None = 8
    per_tool: Mapping[str, int] = NO_COUNTS
    on_limit: OnLimit = "stop"

    def __post_init__(self) -> None:
        for name in ("steps", "calls", "tokens", "cost", "wall_time_s", "depth"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise out_of_bounds("Limits", name, value, "a limit is 0 or more, or None for no limit")
        for name, value in self.per_tool.items():
            if value < 0:
                raise out_of_bounds("Limits", "per_tool", {name: value}, "a limit is 0 or more")
        if self.on_limit not in ("stop", "conclude"):
            raise out_of_bounds("Limits", "on_limit", self.on_limit, "it is 'stop' or 'conclude'")
        if type(self.per_tool) is not Counts:
            msgspec.structs.force_setattr(self, "per_tool", Counts(self.per_tool) if self.per_tool else NO_COUNTS)


def out_of_bounds(kind: str, name: str, value: object, rule: str) -> ValueError:
    """The error for a setting that no run could honour."""
    return ValueError(f"{kind}({name}={value!r}): {rule}")


class Deadlines(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Seconds until a phase is given up; None means never (rule C5).

    `connect_s` bounds opening the connection up to the last byte of the request, `first_byte_s` the wait for the response's headers,
    `idle_s` the silence between two reads (counted only while a read is pending), `turn_s` the whole turn, also when
    nobody reads it. `grace_s` bounds the clean-up of an ended turn: what has not stopped by then is abandoned.
    """

    connect_s: float | None = 15.0
    first_byte_s: float | None = 300.0
    idle_s: float | None = 120.0
    turn_s: float | None = 3600.0
    grace_s: float = 5.0


Restart = Literal["before_output", "before_commit"]


class Retry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How failed model calls are tried again; the turn machine is the only one that does (rule H3).

    The wait before try n+1 is the provider's Retry-After if it gave one, else drawn evenly from
    [0, min(max_delay_s, base_delay_s * 2**(n-1))] ("full jitter": M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015). A Retry-After above `max_delay_s` ends the turn at once with the provider's error.
    `attempts` bounds the tries of one step with one model, `per_turn` the retries of a whole turn. While a fallback model
    is left, an overloaded provider, a longer wait than `patience_s` and the last of these tries lead to that model at once.
    """

    attempts: int = 4
    per_turn: int = 12
    base_delay_s: float = 0.5
    max_delay_s: float = 60.0
    patience_s: float = 5.0


def retry_delay(error: ErrorInfo, retry: Retry, *, tried: int, draw: float) -> float | None:
    """Seconds until a request that failed with `error` is tried again; None if it is not. `tried` counts its tries so far, `draw` is
    a random number in [0, 1). The one rule of retries: the turn machine and single requests both go by it."""
    if not error.retryable or tried >= retry.attempts:
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= retry.max_delay_s else None
    return draw * min(retry.max_delay_s, retry.base_delay_s * 2 ** (tried - 1))


class Again(msgspec.Struct, frozen=True, gc=False):
    """A failed request is sent again: after `delay_s`, to model number `model` of those there are."""

    delay_s: float
    model: int


def next_try(
    error: ErrorInfo, retry: Retry, *, tried: int, draw: float, may_retry: bool, left: int, model: int
) -> Again | None:
    """What follows a failed model call: another try, a fallback model, or nothing. `may_retry` is false when retries with this model
    are spent elsewhere, `left` is how many models there are after this one."""
    if not error.retryable:
        return None
    delay = retry_delay(error, retry, tried=tried, draw=draw) if may_retry else None
    if left and (delay is None or delay > retry.patience_s or error.code == "overloaded"):
        return Again(0.0, model + 1)
    return None if delay is None else Again(delay, model)
