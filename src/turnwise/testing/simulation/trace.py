"""The trace of a run: everything that happened, in order, as a hash, and as lines if somebody wants to read it."""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TextIO

import msgspec

from ...core.entries import Entry

_encode = msgspec.json.encode
WIDTH = 200


class Trace:
    """`out` gets each line as it comes; `last` are the last ones, if `keep` is set."""

    def __init__(self, out: TextIO | None = None, keep: int = 0) -> None:
        self._hash = sha256()
        self._out = out
        self._shows = out is not None or keep > 0
        self.last: deque[str] = deque(maxlen=keep)
        self.lines = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def note(self, now: float, who: str, what: str) -> None:
        line = f"{now:12.6f} {who} {what}"
        self.lines += 1
        self._hash.update(line.encode())
        if self._shows:
            self._show(line)

    def entry(self, now: float, session: str, entry: Entry) -> None:
        data = _encode(entry)
        self.lines += 1
        self._hash.update(b"%.6f %s " % (now, session.encode()))
        self._hash.update(data)
        if self._shows:
            self._show(f"{now:12.6f} {session[-4:]} {data.decode()}")

    def asked(self, now: float, session: str, api: str, body: bytes) -> None:
        self.lines += 1
        self._hash.update(b"%.6f %s %s " % (now, session.encode(), api.encode()))
        self._hash.update(body)
        if self._shows:
            self._show(f"{now:12.6f} {session} asks {api}, {len(body)} bytes")

    def _show(self, line: str) -> None:
        line = line if len(line) <= WIDTH else f"{line[:WIDTH]}…"
        self.last.append(line)
        if self._out is not None:
            self._out.write(line + "\n")
