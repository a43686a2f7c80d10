"""Names that the engine gives. They are deterministic and never reused in a session (rule T4)."""

from __future__ import annotations


def step_id(turn: int, step: int) -> str:
    """`t3.s1`: the first step of the third turn."""
    return f"t{turn}.s{step}"


def call_id(turn: int, step: int, index: int) -> str:
    """`t3.s1.c0`: the first call of that step."""
    return f"t{turn}.s{step}.c{index}"
