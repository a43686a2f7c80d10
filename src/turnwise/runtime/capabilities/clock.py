"""`Clock`: the model is told the date and the time, anew in each request."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...core.errors import config_error
from ..reminders import ReminderContext, time
from .capability import Capability

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Clock(Capability):
    """Date, time and weekday to the minute, as a reminder at the end of each request: it costs no prompt cache. `zone` is a name such as
    `Europe/Berlin` (default: UTC). Raises `ConfigError` (`invalid_value`) for a zone that this machine does not know."""

    name = "clock"

    def __init__(self, zone: str | None = None) -> None:
        super().__init__(reminders=[time if zone is None else _local(zone)])


def _local(zone: str) -> Reminds:
    try:
        return Reminds(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise config_error(
            "invalid_value", f"Clock(zone={zone!r}): {error}.", "Use a name of the tz database, or install tzdata."
        ) from error


class Reminds:
    """Says the time of one zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def __call__(self, context: ReminderContext) -> str:
        at = datetime.fromtimestamp(context.now, self._zone)
        return f"It is {_WEEKDAYS[at.weekday()]}, {at:%Y-%m-%d %H:%M} ({self._zone.key}, UTC{at:%z})."
