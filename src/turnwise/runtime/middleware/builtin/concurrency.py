"""`concurrency(4, per="user")`: so many at once, in the order in which they came.

A model call holds its place until its response has ended or was given up. Waiting is cut short like any other: an interrupt, a deadline or
a caller that leaves takes the place in the line away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from ....core.errors import config_error
from ..compose import Kind
from ..requests import ModelRequest
from ..response import ModelResponse
from .keys import Around, Per, check_per, key_of, kinds


class _Places:
    """The places of one key. `line` are those who wait, first come first served."""

    __slots__ = ("line", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.line: deque[asyncio.Future[None]] = deque()


class Concurrency(Around):
    """See `concurrency`. `running` and `waiting` count over all keys."""

    name = "concurrency"

    def __init__(self, limit: int, per: Per, of: Iterable[Kind]) -> None:
        if limit < 1:
            raise config_error("invalid_value", f"concurrency({limit}) lets nothing through.", "Use 1 or more.")
        check_per("concurrency", per)
        super().__init__(of)
        self.limit = limit
        self._per: Per = per
        self._places: dict[Hashable, _Places] = {}

    @property
    def running(self) -> int:
        return sum([places.taken for places in self._places.values()])

    @property
    def waiting(self) -> int:
        return sum([len(places.line) for places in self._places.values()])

    async def around(self, request: Any, next: Any) -> Any:
        key: Hashable = (request.__class__, key_of(self._per, request))
        await self._enter(key)
        try:
            result = await next(request)
        except BaseException:
            self._leave(key)
            raise
        if isinstance(request, ModelRequest) and isinstance(result, ModelResponse) and result.sent:
            result.at_end(lambda _: self._leave(key))
        else:
            self._leave(key)
        return result

    async def _enter(self, key: Hashable) -> None:
        places = self._places.setdefault(key, _Places())
        if places.taken < self.limit:
            places.taken += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        places.line.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._leave(key)  # it had just been given a place
            else:
                places.line.remove(waiter)
            raise

    def _leave(self, key: Hashable) -> None:
        places = self._places[key]
        while places.line:
            waiter = places.line.popleft()
            if not waiter.done():
                waiter.set_result(None)  # the place goes from hand to hand
                return
        places.taken -= 1
        if not places.taken:
            del self._places[key]


def concurrency(limit: int, *, per: Per = "key", of: Kind | Iterable[Kind] = "model") -> Concurrency:
    """At most `limit` at once, for each key, session, user, tenant, agent, or for `all`; of model calls, or of each kind that `of` names: a
    turn does not take the place of its own calls."""
    return Concurrency(limit, per, kinds(of))
