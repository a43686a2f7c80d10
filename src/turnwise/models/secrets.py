"""Values that were read as secrets, and how they are covered wherever something is printed (rule P6).

Whatever Turnwise reads as a credential (an API key, a token, the password of an address or of a DSN) is noted here when it is read. Logs,
errors, spans and the program's notes go through `mask`; what is stored is stored as it was given. The registry is one for the process, in
memory, and bounded: lasting values and passing ones (tokens that are renewed) have a room each, and in a full one the value that was
noted longest ago is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock

import msgspec

from ..core.errors import ErrorInfo

COVER = "***"
"""What stands in place of a secret."""
SHORTEST = 8
"""Shorter values are not looked for: they would be found inside of words."""
SHORTEST_WORD = 16
"""Nor are values of small letters and dashes alone that are shorter than this: `postgres`, `not-needed` and the like are words."""
MOST_LASTING = 1024
MOST_PASSING = 64

_WORD = re.compile(r"[a-z_.\- ]*\Z")
_IN_URL = re.compile(r"(?<=://)([^/?#\s:@\"'<>]*):[^/?#\s@\"'<>]+(?=@)")
_BASIC = re.compile(r"\bBasic\s+[A-Za-z0-9+/]{8,}={0,2}")


class Secrets:
    """The registry. `learn` may be called from any thread."""

    __slots__ = ("_lasting", "_lock", "_passing", "_pattern", "_stale")

    def __init__(self) -> None:
        self._lasting: dict[str, None] = {}
        self._passing: dict[str, None] = {}
        self._lock = Lock()
        self._pattern: re.Pattern[str] | None = None
        self._stale = False

    def __len__(self) -> int:
        return len(self._lasting) + len(self._passing)

    def learn(self, secret: str | None, *, passing: bool = False) -> None:
        """Note a value that was read as a secret. Nothing happens for what is too short to be one."""
        if not secret or len(secret) < SHORTEST or (len(secret) < SHORTEST_WORD and _WORD.match(secret)):
            return
        room, most = (self._passing, MOST_PASSING) if passing else (self._lasting, MOST_LASTING)
        with self._lock:
            if secret in room:
                room[secret] = room.pop(secret)
                return
            room[secret] = None
            if len(room) > most:
                del room[next(iter(room))]
            self._stale = True

    def mask(self, text: str) -> str:
        """The text with every secret covered, and with every password that stands in an address, known or not."""
        if "://" in text:
            text = _IN_URL.sub(lambda found: f"{found[1]}:{COVER}", text)
        if "Basic " in text:
            text = _BASIC.sub(f"Basic {COVER}", text)
        pattern = self._compiled() if self._stale else self._pattern
        return text if pattern is None else pattern.sub(COVER, text)

    def _compiled(self) -> re.Pattern[str] | None:
        """One pattern for all of them, the longest first, each in the forms in which it may come along."""
        from urllib.parse import quote  # here, so that an agent is made without it

        with self._lock:
            forms: set[str] = set()
            for secret in (*self._lasting, *self._passing):
                said = msgspec.json.encode(secret.encode("utf-8", "replace").decode()).decode()[1:-1]
                forms |= {secret, quote(secret, safe="", errors="replace"), said}
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None
            self._stale = False
            return self._pattern


_known = Secrets()
learn, mask = _known.learn, _known.mask
"""Of the process."""


def hide(*secrets: str) -> None:
    """Have values of your own covered like those that Turnwise has read itself: whatever a tool or a plugin uses as a credential."""
    for secret in secrets:
        learn(secret)


def learn_from_url(url: str) -> None:
    """Note the password of an address that has one."""
    if "@" not in url:
        return
    from urllib.parse import urlsplit

    try:
        learn(urlsplit(url).password)
    except ValueError:
        return


def masked(error: ErrorInfo) -> ErrorInfo:
    """The error without secrets; itself if it has none."""
    message, hint, detail = mask(error.message), mask(error.hint), mask(error.detail)
    if message == error.message and hint == error.hint and detail == error.detail:
        return error
    return msgspec.structs.replace(error, message=message, hint=hint, detail=detail)


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they may be printed: what is secret is covered, whatever the name; an unknown signature or token, too."""
    return {n: COVER if n.lower() in _SECRET_HEADERS else mask(v) for n, v in headers.items()}


_SECRET_HEADERS = frozenset(
    ("authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token", "cookie")
)
