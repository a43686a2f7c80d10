"""Upkeep that only some stores can do: `verify_store` and `backup_store` ask the store itself, and say so if it cannot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .refusals import cannot

if TYPE_CHECKING:
    from ...core.store import Store
    from ...store.sqlite import Verified


@runtime_checkable
class _Verifies(Protocol):
    async def verify(self) -> Verified: ...


@runtime_checkable
class _BacksUp(Protocol):
    async def backup(self, path: str | os.PathLike[str]) -> None: ...


async def verify_store(store: Store) -> Verified:
    """Look at everything that the store keeps: what is damaged, and what is still good (rule D5). Raises `StateError` (`not_supported`) for a
    store that cannot be asked."""
    if not isinstance(store, _Verifies):
        raise cannot(store, "verify itself")
    return await store.verify()


async def backup_store(store: Store, path: str | os.PathLike[str]) -> None:
    """Write everything that the store keeps into one file, while it goes on being used; an older file of that name is replaced. Raises
    `StateError`: `not_supported`, and what the store raises."""
    if not isinstance(store, _BacksUp):
        raise cannot(store, "be backed up to a file")
    await store.backup(path)
