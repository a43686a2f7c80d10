"""Who in this process is told of changed records, and who may write one of them next.

A store has one `Board` per process, made when it is first written to through `scopes`. Watchers get what was written, after it was
written, through queues that no writer waits for (rule H4). Writers of one key stand in line, so that they do not take each other's
versions away, and so that watchers are told in the order of the versions; between processes the versions alone decide.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ..core.store import Record, Scope
from .refusals import two_readers

DEFAULT_BUFFER = 256


class Mailbox:
    """What waits for one watcher: the newest change of each key, for `size` keys at most; None says that the record is gone. `dropped`
    counts the changes that it is not told of: replaced by a newer one of their key, too old when there was no room, or perhaps made by a
    write that ended in an error."""

    __slots__ = ("__weakref__", "_lock", "_waiter", "_waiting", "closed", "dropped", "exact", "prefix", "scope", "size")

    def __init__(self, scope: Scope, prefix: str, exact: str | None, size: int) -> None:
        self.scope = scope
        self.prefix = prefix
        self.exact = exact
        self.size = size
        self.dropped = 0
        self.closed = False
        self._waiting: dict[str, Record | None] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._lock = threading.Lock()  # a store in memory may be written to from several loops

    def wants(self, scope: Scope, key: str) -> bool:
        return not self.closed and scope == self.scope and (key.startswith(self.prefix) or key == self.exact)

    def put(self, key: str, record: Record | None) -> None:
        """A change that was made just now. Never waits."""
        with self._lock:
            waiting = self._waiting
            if key in waiting:
                self.dropped += 1  # the newer one takes its place, and its place in the queue
            elif len(waiting) >= self.size:
                del waiting[next(iter(waiting))]
                self.dropped += 1
            waiting[key] = record
        self._wake()

    def miss(self) -> None:
        """Something may have changed that nobody can tell."""
        self.dropped += 1

    def pop(self) -> tuple[str, Record | None] | None:
        with self._lock:
            if not self._waiting:
                return None
            key = next(iter(self._waiting))
            return key, self._waiting.pop(key)

    def close(self) -> None:
        self.closed = True
        with self._lock:
            self._waiting.clear()
        self._wake()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Until there may be something. One task at a time. Cancelling this loses nothing."""
        if self._waiter is not None:
            raise two_readers()
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            if not self._waiting and not self.closed:
                await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        loop = waiter.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Board:
    """The watchers of one store's records, and the lines of their writers."""

    __slots__ = ("_lines", "_mailboxes")

    def __init__(self) -> None:
        self._mailboxes: weakref.WeakSet[Mailbox] = weakref.WeakSet()
        self._lines: dict[tuple[asyncio.AbstractEventLoop, Scope, str], _Line] = {}

    def join(self, mailbox: Mailbox) -> None:
        self._mailboxes.add(mailbox)

    def tell(self, scope: Scope, key: str, record: Record | None) -> None:
        """A record was written, or is gone."""
        if self._mailboxes:
            for mailbox in list(self._mailboxes):
                if mailbox.wants(scope, key):
                    mailbox.put(key, record)

    def unsure(self, scope: Scope, key: str) -> None:
        """A write ended in an error, or was cancelled: the record may have changed."""
        for mailbox in list(self._mailboxes):
            if mailbox.wants(scope, key):
                mailbox.miss()

    @asynccontextmanager
    async def line(self, scope: Scope, key: str) -> AsyncGenerator[None]:
        """Be the one task of this loop that writes the record. First come, first served; a line is there only while someone stands in it."""
        place = asyncio.get_running_loop(), scope, key
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = _Line()
        line.standing += 1
        try:
            async with line.lock:
                yield
        finally:
            line.standing -= 1
            if not line.standing:
                del self._lines[place]


class _Line:
    __slots__ = ("lock", "standing")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.standing = 0


_boards: weakref.WeakKeyDictionary[Any, Board] = weakref.WeakKeyDictionary()


def board_of(store: object) -> Board:
    """The board of a store in this process."""
    board = _boards.get(store)
    if board is None:
        board = _boards[store] = Board()
    return board
