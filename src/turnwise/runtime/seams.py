"""The real clock, chance and ids. The only file above `core` that may ask the machine for them (see tests/test_seams.py)."""

from __future__ import annotations

import os
import time
from random import SystemRandom

_random = SystemRandom()


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class SystemChance:
    """Random numbers that no seed can foresee."""

    __slots__ = ()

    random = staticmethod(_random.random)


class Uuid7:
    """UUIDv7 session ids (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits."""

    __slots__ = ()

    def session_id(self) -> str:
        millis = time.time_ns() // 1_000_000
        value = (millis << 80) | int.from_bytes(os.urandom(10), "big")
        value = (value & ~(0xF << 76)) | (7 << 76)
        value = (value & ~(0x3 << 62)) | (2 << 62)
        digits = f"{value:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
