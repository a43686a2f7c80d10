"""Reminders: what the model is told at the end of a request and what no later request repeats, such as the time, or what is left to spend.

They are made anew for each request, stand behind everything that is kept, and are never journalled: so they may say what
changes all the time without costing the provider's prompt cache (rule T7). Public as `turnwise.reminders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..core.budget import Remaining


class ReminderContext(msgspec.Struct, frozen=True):
    """What a reminder may speak of. `now` is in Unix seconds, `remaining` what is left of the turn's limits, `context` the caller's
    own object."""

    turn: int
    step: int
    now: float
    remaining: Remaining
    session: str = ""
    context: Any = None


Reminder = Callable[[ReminderContext], str | None]
"""Says what the model is to be reminded of; None or blank for nothing. Called before each request, on the event loop: it must not wait."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def time(context: ReminderContext) -> str:
    """Date and time, in UTC, to the minute."""
    at = datetime.fromtimestamp(context.now, UTC)
    return f"It is {_WEEKDAYS[at.weekday()]}, {at:%Y-%m-%d %H:%M} UTC."


def budget(context: ReminderContext) -> str | None:
    """What is left of the turn's limits, those of the turns above it considered; nothing if there are none."""
    left = context.remaining
    parts = [
        *_counted(left.steps, "model call"),
        *_counted(left.calls, "tool call"),
        *[
            part
            for name, count in left.per_tool.items()
            for part in _counted(count, f"call of {name}", "calls of " + name)
        ],
        *_counted(left.tokens, "token"),
        *([] if left.cost is None else [f"${left.cost:.2f}"]),
        *([] if left.wall_time_s is None else _counted(int(left.wall_time_s), "second")),
    ]
    return f"Left for this turn: {', '.join(parts)}." if parts else None


def _counted(count: int | None, one: str, many: str = "") -> list[str]:
    return [] if count is None else [f"{count:,} {one if count == 1 else many or one + 's'}"]


def written(said: Sequence[str]) -> str:
    """The message that holds all reminders, marked as being nobody's words."""
    return "<reminder>\n" + "\n".join(said) + "\n</reminder>" if said else ""


def to_conclude(cause: str) -> str:
    """What the model is told in its last step, when a limit is reached."""
    what = cause.replace("_", " ").replace(":", " of ")
    return (
        f"The limit of {what} is reached, and no more tools can be called. This is your last answer: conclude with what you have, and "
        "say what is done and what is not."
    )
