"""How a record is changed: written and then told, updated as often as it takes, deleted so that its version goes on.

These are the writes of `scopes`, as functions of a place. `Reach` is how the records of a scope are come by.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ..core.errors import StateError, config_error
from ..core.protocols import Random
from ..core.store import Record, Records, Scope, ScopeKind
from . import refusals
from .board import board_of
from .shapes import GONE, StateKey, is_any
from .versions import refuse_other, version_of

T = TypeVar("T")

UPDATE_TRIES = 40
"""How often a change is tried while other processes change the record in between."""
PAUSE_BASE_S = 0.001
PAUSE_CAP_S = 0.1

Pause = Callable[[float], Awaitable[None]]
"""Lets others go first, for a random part of so many seconds."""


class Pauses(Protocol):
    """The seams that waiting needs; a `Runtime` has them."""

    @property
    def random(self) -> Random: ...
    async def sleep(self, seconds: float) -> None: ...


Put = Callable[[bytes], Coroutine[Any, Any, Record]]
"""Writes these bytes, and tells of them."""


class Guard(Protocol):
    """Who has a say in writes, and is told of them: hooks. `fits` makes the bytes of other JSON data for the same record, and raises if they would
    not do; None if the record is taken away."""

    async def around(self, place: Place, data: bytes, fits: Callable[[Any], bytes] | None, put: Put) -> Record: ...


class Reach:
    """How records are come by: of a given store, whatever the scope. Sessions bring their own."""

    @property
    def guard(self) -> Guard | None:
        """Who has a say in writes; None: nobody."""
        return None

    def __init__(self, store: Records, pauses: Pauses | None = None) -> None:
        self._store = store
        self._pauses = pauses

    async def do(self, kind: ScopeKind, work: Callable[[Records], Coroutine[Any, Any, T]]) -> T:
        """Do something with the records of that kind of scope, on the loop that they belong to."""
        return await work(self._store)

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have something done from a thread without a loop, and wait for it."""
        raise config_error(
            "no_loop",
            "This State was made of a store, and does not know the loop that the store belongs to.",
            "Await it there; the State of a tool or a session can be used from threads as well.",
        )

    async def pause(self, most_s: float) -> None:
        """Let others go first, for a random part of that time."""
        if self._pauses is not None:
            await self._pauses.sleep(self._pauses.random.random() * most_s)


class Place(msgspec.Struct, frozen=True):
    """Where a record is, or is to be, who writes it, and who has a say in that."""

    records: Records
    scope: Scope
    key: str
    writer: str
    guard: Guard | None = None

    def line(self) -> AbstractAsyncContextManager[None]:
        """Be the one task of this loop that changes the record."""
        return board_of(self.records).line(self.scope, self.key)

    async def find(self) -> Record | None:
        return await self.records.get_record(self.scope, self.key)


async def write(
    place: Place,
    data: bytes,
    expect: int | None,
    schema: int,
    ttl_s: float | None,
    fits: Callable[[Any], bytes] | None = None,
) -> Record:
    """Write a value, then tell of it. Raises what the store raises, and what the guard of the place raises."""
    if place.guard is None:
        return await _put(place, data, expect, schema, ttl_s)
    return await place.guard.around(place, data, fits, lambda data: _put(place, data, expect, schema, ttl_s))


async def _put(place: Place, data: bytes, expect: int | None, schema: int, ttl_s: float | None) -> Record:
    board = board_of(place.records)
    try:
        record = await place.records.put_record(
            place.scope, place.key, data, expect=expect, schema=schema, writer=place.writer, ttl_s=ttl_s
        )
    except BaseException as error:
        if not is_conflict(error):
            board.unsure(place.scope, place.key)
        raise
    board.tell(place.scope, place.key, None if schema == GONE else record)
    return record


async def updated(
    place: Place,
    shape: StateKey[T],
    change: Callable[[T], T],
    default: bytes | None,
    ttl_s: float | UnsetType | None,
    limit_bytes: int,
    pause: Pause,
) -> T:
    """Make a value from the one that is there. See `ScopedState.update`."""
    async with place.line():
        for tries in range(UPDATE_TRIES):
            if tries:
                await pause(min(PAUSE_CAP_S, PAUSE_BASE_S * 2**tries))
            found = await place.find()
            value = _changed(shape, change, found, default)
            data = shape.write(value, limit_bytes)
            try:
                made = await write(
                    place,
                    data,
                    version_of(found),
                    shape.schema,
                    _lasting(found, ttl_s),
                    lambda other: shape.write(other, limit_bytes),
                )
            except StateError as error:
                if not is_conflict(error):
                    raise
            else:
                return value if made.value == data else shape.read(made)
        raise refusals.contended(place.key, UPDATE_TRIES)


def _changed(shape: StateKey[T], change: Callable[[T], T], found: Record | None, default: bytes | None) -> T:
    """The new value. The old one is decoded anew each time: `change` may do with it what it likes."""
    if found is not None and found.schema != GONE:
        old = shape.read(found)
    elif default is not None:
        old = msgspec.json.decode(default, type=shape.type)
    else:
        raise refusals.missing_record(shape.name)
    new = change(old)
    if inspect.isawaitable(new):
        if inspect.iscoroutine(new):
            new.close()
        raise config_error(
            "invalid_value",
            f"The function given to update({shape.name!r}) is asynchronous.",
            "It must not await: others wait for it, and it may be called again. Await first, then update.",
        )
    if new is None and old is not None and is_any(shape.type):
        raise config_error(
            "invalid_value",
            f"The function given to update({shape.name!r}) returned None.",
            "It must return the new value, also when it has changed the old one in place.",
        )
    return new


def _lasting(found: Record | None, ttl_s: float | UnsetType | None) -> float | None:
    """How long the new value is to live: as long again as the old one was given, if nothing else is said."""
    if ttl_s is not UNSET:
        return ttl_s
    if found is None or found.schema == GONE or found.expires_at is None:
        return None
    return found.expires_at - found.updated_at


async def deleted(place: Place, expected_version: int | None, pause: Pause) -> bool:
    """Put nothing in the place of a value: a record that has expired at once, so that its version goes on. See `ScopedState.delete`."""
    async with place.line():
        for tries in range(UPDATE_TRIES):
            if tries:
                await pause(min(PAUSE_CAP_S, PAUSE_BASE_S * 2**tries))
            found = await place.find()
            refuse_other(place.key, expected_version, found)
            if found is None or found.schema == GONE:
                return False
            try:
                await write(place, b"null", version_of(found), GONE, 0.0)
            except StateError as error:
                if not is_conflict(error) or expected_version is not None:
                    raise
            else:
                return True
        raise refusals.contended(place.key, UPDATE_TRIES)


def is_conflict(error: BaseException) -> bool:
    """Whether a write was refused because of the record's version: then certainly nothing was written."""
    return isinstance(error, StateError) and error.code == "version_conflict"
