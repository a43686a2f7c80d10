"""Transactions on the one connection that writes: several jobs, one commit. A job checks before it writes, so what it refuses hurts nobody
else; if SQLite itself fails, everything is rolled back and each job is done again, alone.

Who uses this holds `lock`. Bringing the log into the file is done here, too, by a thread now and then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection, Cursor
from sqlite3 import Error as SqliteError
from typing import Protocol

from ...core.errors import TurnwiseError
from .clock import is_busy, patiently
from .errors import is_fatal, store_moved, translated
from .jobs import Job
from .schema import CHECKPOINT_PAGES, begin_log_anew, checkpoint

LOOK_EVERY_S = 1.0
"""How often it is made sure that the file is still where it was."""
PAGES_PER_COMMIT = 1
"""About how many pages are written by what shares a commit, besides those of each job."""


class Upkeep(Protocol):
    """Work on the log that goes on aside, as a thread does."""

    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class Transactions:
    """The connection, which is opened with the first job. `committed` is called with the jobs of each transaction that has become
    durable, `undone` when one was rolled back."""

    def __init__(
        self,
        path: Path,
        open_db: Callable[[], Connection],
        busy_timeout_s: float,
        committed: Callable[[Sequence[Job]], None],
        undone: Callable[[], None],
        monotonic: Callable[[], float],
        upkeep: Callable[[Callable[[], None]], Upkeep],
    ) -> None:
        self._path, self._open, self._busy_timeout_s = path, open_db, busy_timeout_s
        self._committed, self._undone = committed, undone
        self._monotonic, self._start_upkeep = monotonic, upkeep
        self.lock = threading.Lock()
        self.db: Connection | None = None
        self._cursor: Cursor | None = None  # of `db`
        self.opened = False  # once: the file is there and up to date
        self._inode = 0
        self._look_at = 0.0
        self._pages = 0
        self._keeping = threading.Lock()  # guards `_upkeep` and `_paused`
        self._upkeep: Upkeep | None = None
        self._paused = False
        self.commits = 0
        self.jobs = 0

    def write(self, batch: Sequence[Job]) -> None:
        """Do the jobs and note in each what came of it. Waits for other processes."""
        if not self._transact(batch, patient=True):
            for job in batch:
                self.write([job])

    def attempt(self, batch: Sequence[Job]) -> bool:
        """`write` without waiting for anybody; False, and nothing done, if that cannot be."""
        return self.db is not None and self._transact(batch, patient=False)

    def let_go(self, limit_s: float) -> bool:
        """Close the connection, until it is needed again and `go_on` was called. False if that takes longer (-1: take any time)."""
        with self._keeping:
            self._paused = True
            upkeep = self._upkeep
        if upkeep is not None:
            upkeep.join(None if limit_s < 0 else limit_s)
            if upkeep.is_alive():
                return False
        if not self.lock.acquire(timeout=limit_s):
            return False
        try:
            self._drop_connection()
        finally:
            self.lock.release()
        return True

    def go_on(self) -> None:
        """After `let_go`."""
        self._paused = False

    # --- one transaction ------------------------------------------------------------------------------------------------

    def _transact(self, batch: Sequence[Job], *, patient: bool) -> bool:
        """False if it was undone, and the jobs may fare better alone or with patience. Most appends come this way, each alone, so it is
        written to be short."""
        try:
            db, cursor = self._connection()
            writing = len(batch) > 1 or batch[0].writes
            if writing:
                self._begin(cursor, patient)
            for job in batch:
                job.error = None
                try:
                    job.value = job.run(db, cursor)
                except TurnwiseError as error:
                    job.error = error
            if writing:
                cursor.execute("COMMIT")
        except Exception as error:
            self._undo(error)
            if len(batch) > 1 or (not patient and isinstance(error, SqliteError) and is_busy(error)):
                return False
            batch[0].error = translated(error, self._path)
        else:
            if writing:
                self._count(batch)
                self._committed(batch)
        return True

    def _begin(self, cursor: Cursor, patient: bool) -> None:
        """Take the file's lock for writing; who is not patient is told at once that another process has it."""
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except SqliteError:
            if not patient:
                raise
            patiently(lambda: cursor.execute("BEGIN IMMEDIATE"), self._busy_timeout_s)

    def _undo(self, error: Exception) -> None:
        self._undone()
        if self.db is None:
            return
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except SqliteError:
            self._drop_connection()
        if is_fatal(error):
            self._drop_connection()

    # --- the connection -------------------------------------------------------------------------------------------------

    def _connection(self) -> tuple[Connection, Cursor]:
        now = self._monotonic()
        if self.db is None or self._cursor is None:
            self.db = self._open()
            self._cursor = self.db.cursor()
            self.opened = True
            self._inode = os.stat(self._path).st_ino
            self._look_at = now + LOOK_EVERY_S
        elif now > self._look_at:
            self._refuse_moved(now)
        return self.db, self._cursor

    def _refuse_moved(self, now: float) -> None:
        """Raise if the name does not lead to the file any more: what is written would be lost."""
        try:
            same = os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise store_moved(self._path)
        self._look_at = now + LOOK_EVERY_S

    def _drop_connection(self) -> None:
        db, self.db, self._cursor = self.db, None, None
        if db is not None:
            db.close()

    # --- the log --------------------------------------------------------------------------------------------------------

    def _count(self, batch: Sequence[Job]) -> None:
        self.commits += 1
        self.jobs += len(batch)
        self._pages += PAGES_PER_COMMIT
        for job in batch:
            self._pages += job.pages
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            with self._keeping:
                if self._upkeep is None and not self._paused:
                    with suppress(RuntimeError):  # no thread to be had now: what was written is durable all the same
                        self._upkeep = self._start_upkeep(self._keep_up)

    def _keep_up(self) -> None:
        """Bring the log into the file: most of it while writing goes on; what has come meanwhile, and the log's new beginning, while
        jobs wait. Else the log would grow as long as there is something to write."""
        try:
            with suppress(SqliteError):  # what could not be done now is done the next time
                checkpoint(self._path)
                with self.lock:
                    if self.db is not None:
                        begin_log_anew(self.db)
        finally:
            with self._keeping:
                self._upkeep = None
