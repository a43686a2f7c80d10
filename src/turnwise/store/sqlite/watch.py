"""Waiting for a journal to grow, whoever appends to it.

What this process appends is told by the writer. For what others append, one thread asks SQLite, at an interval and only while somebody
waits, whether another connection has changed the file (`PRAGMA data_version`), and looks only then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from . import daemon
from .clock import monotonic
from .errors import translated
from .jobs import Awaited
from .schema import pragma

INTERVAL_S = 0.05
"""Between two looks: how late an append of another process may be noticed."""
IDLE_S = 5.0
"""How long the thread stays when nobody waits any more."""


class _Wait(Awaited):
    __slots__ = ("after", "session", "until")

    def __init__(self, session: str, after: int, until: float) -> None:
        super().__init__()
        self.session, self.after, self.until = session, after, until


class Watch:
    """Who waits for which session, and the thread that looks for them."""

    def __init__(self, path: Path, open_db: Callable[[], Connection]) -> None:
        self._path, self._open = path, open_db
        self._changed = threading.Condition()
        self._waits: dict[str, list[_Wait]] = {}
        self._new = False
        self._thread: threading.Thread | None = None
        self._ending = self._paused = False

    @property
    def active(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waits)

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        wait = _Wait(session, after, monotonic() + timeout_s)
        future = wait.awaited_on(asyncio.get_running_loop())
        with self._changed:
            self._waits.setdefault(session, []).append(wait)
            self._new = True
            self._start()
            self._changed.notify()
        try:
            return await future
        finally:
            with self._changed:
                self._forget(wait)

    def appended(self, lasts: Mapping[str, int]) -> None:
        """The writer has made appends durable; the number of the last entry of each session."""
        with self._changed:
            for session, last in lasts.items():
                for wait in list(self._waits.get(session, ())):
                    if last > wait.after:
                        self._tell(wait, last)

    def pause(self, limit_s: float) -> bool:
        """End the thread and let go of the file; who waits, waits on. False if it did not end in time."""
        thread = self._end()
        if thread is not None:
            thread.join(limit_s)
        return thread is None or not thread.is_alive()

    def go_on(self) -> None:
        """After `pause`."""
        with self._changed:
            self._paused = self._ending = False
            if self._waits:
                self._start()

    def close(self, error: Exception) -> None:
        """End the thread; who still waits gets the error. Blocks; not to be called on an event loop."""
        thread = self._end()
        if thread is not None:
            thread.join()
        self._fail(error)

    def forget(self) -> None:
        """Nobody can call anything here any more: the thread ends when it looks next. Takes no lock."""
        self._ending = True

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None and not self._paused:
            self._thread = daemon.start("watch", self._main)

    def _end(self) -> threading.Thread | None:
        with self._changed:
            self._ending = self._paused = True
            self._changed.notify()
            return self._thread

    def _main(self) -> None:
        db: Connection | None = None
        seen = -1
        idle_since = monotonic()
        try:
            while True:
                with self._changed:
                    if self._waits:
                        idle_since = monotonic()
                    if self._ending or monotonic() - idle_since > IDLE_S:
                        return
                    new, self._new = self._new, False
                try:
                    db = db or self._open()
                    version = pragma(db, "data_version")
                    self._look(db, new or version != seen)
                    seen = version
                except Exception as error:
                    self._fail(translated(error, self._path))
                    if db is not None:
                        db.close()
                        db = None
                with self._changed:
                    if not self._new and not self._ending:
                        self._changed.wait(self._pause_s())
        finally:
            if db is not None:
                db.close()
            with self._changed:
                self._thread = None
                if self._waits and not self._ending:
                    self._start()

    def _pause_s(self) -> float:
        """Until the next look, or the end of somebody's patience."""
        if not self._waits:
            return IDLE_S
        first = min(wait.until for waits in self._waits.values() for wait in waits)
        return max(0.0, min(INTERVAL_S, first - monotonic()))

    def _look(self, db: Connection, changed: bool) -> None:
        now = monotonic()
        with self._changed:
            waits = [w for waits in self._waits.values() for w in waits if changed or w.until <= now]
        lasts = {session: last_of(db, session) for session in {w.session for w in waits}}
        with self._changed:
            for wait in waits:
                last = lasts[wait.session]
                if last > wait.after or wait.until <= now:
                    self._tell(wait, last)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            for wait in [w for waits in self._waits.values() for w in waits]:
                wait.error = error
                self._tell(wait, 0)

    def _tell(self, wait: _Wait, last: int) -> None:
        self._forget(wait)
        wait.value = last
        wait.report()

    def _forget(self, wait: _Wait) -> None:
        waits = self._waits.get(wait.session)
        if waits is not None and wait in waits:
            waits.remove(wait)
            if not waits:
                del self._waits[wait.session]


def last_of(db: Connection, session: str) -> int:
    """The number of a journal's last entry; 0 if there is none."""
    row: tuple[Any, ...] | None = db.execute("SELECT last FROM sessions WHERE id = ?", (session,)).fetchone()
    return 0 if row is None else row[0]
