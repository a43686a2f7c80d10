"""Does the model go round in circles? Answered here from what it asked for, step by step; what follows from it is the machine's business.

A step is the same as another if it asks for the same tools, in the same order, with the same arguments: as JSON means them, so
that white space and the order of keys do not matter. They are read only where the names of the tools are the same, so that a
turn which goes forward pays a few comparisons for each step (rule E8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from .content import ToolCall

LoopAction = Literal["warn", "tell", "stop"]
"""`warn`: an event and nothing else. `tell`: the model is told, too. `stop`: the turn ends with the reason `loop`."""


class Loops(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """When a turn counts as going in circles, and what is done then.

    A loop is found when the same thing has been asked for `repeats` times in a row: one step again and again, or a cycle of up to
    `max_period` steps (A-B-A-B has the period 2). With `repeats=3` the third time is found, with 1 already the first call. After that
    the count begins anew, as it does with each turn: a loop that goes on is found once more every so often. Raises `ValueError`
    for numbers below 1.
    """

    repeats: int = 3
    max_period: int = 4
    action: LoopAction = "warn"

    def __post_init__(self) -> None:
        for name in ("repeats", "max_period"):
            if getattr(self, name) < 1:
                raise ValueError(f"Loops({name}={getattr(self, name)}): it is 1 or more")
        if self.action not in get_args(LoopAction):
            raise ValueError(f"Loops(action={self.action!r}): it is one of {', '.join(get_args(LoopAction))}")


DEFAULT_LOOPS = Loops()


class Found(msgspec.Struct, frozen=True, gc=False):
    """A loop: a cycle of `period` steps, which ask for the tools `names`, was seen `repeats` times in a row. `steps` is for how many
    steps it has gone on, a round that is not finished included."""

    period: int
    repeats: int
    names: tuple[str, ...]
    steps: int


Asked = tuple[ToolCall, ...]
"""The calls of one step, in order."""


def detect(asked: Sequence[Asked], loops: Loops, before: Found | None = None) -> Found | None:
    """The loop that these steps of one turn end in, the shortest cycle if there are several; None if there is none.

    `before` is what was found one step earlier, if the caller kept it: a loop that goes on is then not counted again from its
    beginning. A step without calls is never part of a loop.
    """
    repeats = loops.repeats
    for period in range(1, loops.max_period + 1):
        need = period * repeats
        if need > len(asked):
            return None
        if not _repeats(asked, period, need):
            continue
        if before is not None and before.period == period and _same(asked[-1], asked[-1 - period]):
            steps = before.steps + 1
        else:
            steps = _steps(asked, period, need)
        names = tuple([call.name for step in asked[len(asked) - period :] for call in step])
        return Found(period, steps // period, names, steps)
    return None


def words(found: Found) -> str:
    """What the model is told of its loop."""
    names = ", ".join([f"`{name}`" for name in found.names])
    times = "once" if found.repeats == 1 else f"{found.repeats} times in a row"
    what = f"the same {found.period} steps ({names})" if found.period > 1 else f"{names} with the same arguments"
    return f"You have asked for {what} {times}. Asking again in the same way will not get you further: do something else, or say what is in the way."


def _repeats(asked: Sequence[Asked], period: int, need: int) -> bool:
    """Whether the last `need` steps are one cycle of that period over and over. Looked at from the end: a turn that goes forward
    is seen to do so at the first glance."""
    last = len(asked) - 1
    for i in range(last, last - (need - period), -1):
        if not _same(asked[i], asked[i - period]):
            return False
    return all(asked[last + 1 - period :])


def _steps(asked: Sequence[Asked], period: int, known: int) -> int:
    """For how many steps a cycle has gone on that is known to have lasted for `known`."""
    steps = known
    while steps < len(asked) and _same(asked[-1 - steps], asked[-1 - steps + period]):
        steps += 1
    return steps


# --- what is the same ---------------------------------------------------------------------------------------------------


def _same(one: Asked, other: Asked) -> bool:
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if a.name != b.name:
            return False
    for a, b in zip(one, other, strict=True):
        if a.arguments != b.arguments and canonical(a.arguments) != canonical(b.arguments):
            return False
    return True


def canonical(arguments: str) -> str | bytes:
    """A call's arguments, written in the one form that all ways of writing them share: JSON with sorted keys. Blank means `{}`;
    text that is not JSON stands for itself."""
    if not arguments or arguments.isspace():
        return b"{}"
    try:
        return _encode(_decode(arguments))
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        return arguments


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode
