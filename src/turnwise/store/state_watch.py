"""Watching scoped state: changes that this process makes, as they are made. The queue is in `board`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

import msgspec

from ..core.store import Records
from .board import Mailbox, board_of
from .changing import Reach
from .shapes import StateKey, StateRecord, record_of

T = TypeVar("T")


class StateChange(msgspec.Struct, Generic[T], frozen=True):
    """A record was written; or it was deleted, then `record` is None. One that expires is not told of."""

    key: str
    record: StateRecord[T] | None


class StateWatcher(Generic[T]):
    """The changes under some keys of a scope, made by this process: `async with scope.watch("cart") as changes: async for change in changes:
    …`. One task at a time may iterate; cancelling a pending `__anext__` loses nothing.

    No writer waits for it. At most one change of each key waits, the newest, and at most `buffer` in all; `dropped` counts what was not
    told because of that, or because a write ended in an error and may or may not have been made. If it grows and that matters,
    `list` says what there is. Changes by other processes are not seen. Iterating raises as `ScopedState.record` does for a value that
    cannot be read, and may go on.
    """

    def __init__(self, reach: Reach, mailbox: Mailbox, shape: StateKey[T], prefix: str = "") -> None:
        self._reach = reach
        self._prefix = prefix
        self._mailbox = mailbox
        self._shape = shape

    @property
    def dropped(self) -> int:
        return self._mailbox.dropped

    @property
    def waiting(self) -> int:
        """How many changes wait to be read."""
        return self._mailbox.waiting

    async def __aenter__(self) -> Self:
        async def join(records: Records) -> None:
            board_of(records).join(self._mailbox)

        await self._reach.do(self._mailbox.scope.kind, join)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching; the iteration ends. Idempotent. A watcher that nobody refers to is closed as well."""
        self._mailbox.close()

    def __aiter__(self) -> AsyncIterator[StateChange[T]]:
        return self

    async def __anext__(self) -> StateChange[T]:
        while (item := self._mailbox.pop()) is None:
            if self._mailbox.closed:
                raise StopAsyncIteration
            await self._mailbox.wait()
        key, record = item
        return StateChange(key[len(self._prefix) :], record_of(self._shape, record, self._prefix))
