"""The connections, a bounded number: lent one at a time, checked, replaced when they break or get old. It starts no task.

Who waits gets what is given back in the order of asking. A broken connection is noticed at once if the server closed it, and before
its next use if it has been idle for long.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque

from . import errors
from .errors import Address, Lost, Refused
from .link import Link, connect

CHECK_AFTER_S = 30.0
"""A connection that was idle for longer is asked whether it is still there."""
CHECK_LIMIT_S = 5.0


class Pool:
    """`connected` is how many connections there are; `met` whether there has ever been one."""

    def __init__(self, address: Address, size: int, max_lifetime_s: float) -> None:
        self._address = address
        self._size = size
        self._max_lifetime_s = max_lifetime_s
        self._idle: list[Link] = []
        self._lent: set[Link] = set()
        self._waiters: deque[asyncio.Future[Link | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._closing = False
        self.connected = 0
        self.met = False

    def bind(self) -> bool:
        """Tie the pool to the running loop; whether it was another one before. Raises `StateError` (`store_in_use`) if that still runs."""
        loop = asyncio.get_running_loop()
        if loop is self._loop and self._process == os.getpid():
            return False
        if self._process == os.getpid() and self._loop is not None and self._loop.is_running():
            raise errors.other_loop()
        for link in (*self._idle, *self._lent):
            if self._process == os.getpid():
                link.close()
            else:
                link.forget()
        self._idle, self._lent, self._waiters = [], set(), deque()
        self.connected = 0
        self._loop, self._process = loop, os.getpid()
        return True

    async def take(self) -> Link:
        """A connection that works, to be given back. Raises `Lost`, and `StateError` if none can be made."""
        link: Link | None = None
        if self._idle:
            link = self._idle.pop()
        elif self.connected < self._size:
            self.connected += 1
        else:
            link = await self._queue()
        # From here on a place is ours, with or without a connection in it.
        try:
            if link is None or not await self._works(link):
                link = await connect(self._address)
        except BaseException:
            self._vacate()
            raise
        self.met = True
        self._lent.add(link)
        return link

    def give(self, link: Link) -> None:
        """Give a connection back, even one that still works on a statement which nobody waits for any more."""
        if link not in self._lent:
            return  # of a loop or process that is gone
        if not link.free and not link.broken:
            link.when_free(lambda: self.give(link))
            return
        self._lent.discard(link)
        if self._closing or not self._is_fit(link):
            link.close()
            self._vacate()
        elif waiter := self._next():
            waiter.set_result(link)
        else:
            self._idle.append(link)

    def close(self) -> None:
        """Close what is idle now, and the rest as it is given back."""
        self._closing = True
        for link in self._idle:
            link.close()
            self._vacate()
        self._idle = []

    def abandon(self) -> None:
        """Close what is lent, too."""
        for link in tuple(self._lent):
            link.close()
            self.give(link)

    async def _queue(self) -> Link | None:
        """Wait for what is given back: a connection, or the place of one."""
        waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                link = waiter.result()
                if link is None:
                    self._vacate()
                else:
                    self._lent.add(link)
                    self.give(link)
            raise

    async def _works(self, link: Link) -> bool:
        loop = asyncio.get_running_loop()
        if self._is_fit(link):
            if loop.time() - link.used_at < CHECK_AFTER_S:
                return True
            try:
                await link.ask(b"SELECT 1", [], [], CHECK_LIMIT_S)
                return True
            except (Lost, Refused):
                pass
            except BaseException:
                link.close()
                raise
        link.close()
        return False

    def _is_fit(self, link: Link) -> bool:
        return not link.broken and asyncio.get_running_loop().time() - link.made_at < self._max_lifetime_s

    def _vacate(self) -> None:
        """A place is free: it goes to the first who waits."""
        if waiter := self._next():
            waiter.set_result(None)
        else:
            self.connected -= 1

    def _next(self) -> asyncio.Future[Link | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None
