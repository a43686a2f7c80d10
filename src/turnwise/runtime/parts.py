"""What a store that was handed in keeps beside journals. `append` and `read` are enough to run turns; whoever needs more looks here, and here alone.

The contract (`core.store`) comes in parts. A store has a part or has it not, so one method of it tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeGuard

from . import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..core.entries import Entry
    from ..core.store import Claim, Journals, Records, Store, StoredBlobs

    AppendNow = Callable[[str, int, Sequence[Entry]], int]
    AppendAtOnce = Callable[[str, int, Sequence[Entry], Claim], int | None]


class Keeping(Protocol):
    """Keeps bytes."""

    def blobs(self, tenant: str) -> StoredBlobs: ...


def append_now_of(store: Journals) -> AppendNow | None:
    """Its `append` that need not be waited for, as memory has it."""
    return getattr(store, "append_now", None)


def append_at_once_of(store: Store) -> AppendAtOnce | None:
    """Its `append` that is done before it returns, or gives None and does nothing: for stores that can do so now and then, as SQLite."""
    return getattr(store, "append_at_once", None)


def has_leases(store: object) -> TypeGuard[Store]:
    """Whether processes that share it claim sessions in it."""
    return hasattr(store, "heartbeat")


def has_rows(store: object) -> TypeGuard[Store]:
    """Whether sessions are found and listed in it."""
    return hasattr(store, "create")


def has_blobs(store: object) -> TypeGuard[Keeping]:
    """Whether it keeps bytes."""
    return hasattr(store, "blobs")


def has_records(store: object) -> TypeGuard[Records]:
    """Whether it keeps scoped state."""
    return hasattr(store, "put_record")


def with_rows(store: object, what: str) -> Store:
    """A store that has rows of sessions as well as journals. Raises `ConfigError` (`no_store`)."""
    if not has_rows(store):
        raise refusals.no_store(what)
    return store
