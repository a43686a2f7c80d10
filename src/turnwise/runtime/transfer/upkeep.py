"""Upkeep that only some stores can do: `verify_store` and `backup_store` ask the store itself, and say so if it cannot."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from .refusals import cannot

if TYPE_CHECKING:
    from ...core.store import Store
    from ...store.sqlite import Verified


async def verify_store(store: Store) -> Verified:
    """Look at everything that the store keeps: what is damaged, and what is still good (rule D5). Raises `StateError` (`not_supported`) for a
    store that cannot be asked."""
    verify = cast("Callable[[], Awaitable[Verified]] | None", getattr(store, "verify", None))
    if verify is None:
        raise cannot(store, "verify itself")
    return await verify()


async def backup_store(store: Store, path: str | os.PathLike[str]) -> None:
    """Write everything that the store keeps into one file, while it goes on being used; an older file of that name is replaced. Raises
    `StateError`: `not_supported`, and what the store raises."""
    backup = cast("Callable[[str | os.PathLike[str]], Awaitable[None]] | None", getattr(store, "backup", None))
    if backup is None:
        raise cannot(store, "be backed up to a file")
    await backup(path)
