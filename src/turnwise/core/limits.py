"""What a turn may spend, how long it may take, and how often a failed model call is tried again."""

from __future__ import annotations

from typing import Literal

import msgspec


class Limits(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Bounds of one turn, checked before the spend; None means no bound (rule E9).

    `steps` counts model calls, `calls` tool calls. A limit of 0 allows none.
    """

    steps: int | None = 50
    calls: int | None = 500

    def __post_init__(self) -> None:
        for name in ("steps", "calls"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"Limits({name}={value}): a limit is 0 or more, or None for no limit")


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
    `attempts` bounds the tries of one step, `per_turn` the retries of a whole turn.
    """

    attempts: int = 4
    per_turn: int = 12
    base_delay_s: float = 0.5
    max_delay_s: float = 60.0
