"""Time, as this store needs it: the wall clock of the machine for leases and dates, and short waits for a file that others hold locked.

All processes that share a file run on one machine, so its clock is one clock to all of them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORTEST_PAUSE_S = 0.0002
LONGEST_PAUSE_S = 0.01
"""Between two tries to get the lock. SQLite's own waits grow to 0.1 s, which starves a process among many that write little."""


monotonic, wall = time.monotonic, time.time


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection had the file locked."""
    return code_of(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's own (extended) number; 0 for what Python's module raised by itself."""
    return getattr(error, "sqlite_errorcode", 0)


def patiently(attempt: Callable[[], T], limit_s: float) -> T:
    """What `attempt()` gives, tried again while others have the file locked, for at most `limit_s` seconds."""
    pause_s, give_up_at = SHORTEST_PAUSE_S, time.monotonic() + limit_s
    while True:
        try:
            return attempt()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > give_up_at:
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
