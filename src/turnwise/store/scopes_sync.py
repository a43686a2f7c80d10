"""A scope of state for code that does not await: tools that are plain functions, and other code in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from .changing import Reach
from .shapes import StateKey, StateRecord, key_of

if TYPE_CHECKING:
    from .scopes import ScopedState


class SyncScopedState:
    """Each method does what that of `ScopedState` does, on the loop that the session lives on, and waits for it. Raises `SessionError`
    (`sync_in_loop`) on that loop itself; `ConfigError` (`no_loop`) if the `State` was made of a store."""

    __slots__ = ("_reach", "_scoped")

    def __init__(self, scoped: ScopedState, reach: Reach) -> None:
        self._scoped = scoped
        self._reach = reach

    def get(self, key: str | StateKey[Any], type: Any = Any, /, *, default: Any = None) -> Any:
        return self._reach.wait(lambda: self._scoped.get(key_of(key, type), default=default))

    def record(self, key: str | StateKey[Any], type: Any = Any, /) -> StateRecord[Any] | None:
        return self._reach.wait(lambda: self._scoped.record(key_of(key, type)))

    def list(
        self, prefix: str | StateKey[Any] = "", type: Any = Any, /, *, after: str = "", limit: int = 100
    ) -> Sequence[StateRecord[Any]]:
        if isinstance(prefix, StateKey):
            return self._reach.wait(lambda: self._scoped.list(prefix, after=after, limit=limit))
        return self._reach.wait(lambda: self._scoped.list(prefix, type, after=after, limit=limit))

    def set(self, key: str | StateKey[Any], value: Any, /, *, ttl_s: float | None = None) -> StateRecord[Any]:
        return self._reach.wait(lambda: self._scoped.set(key, value, ttl_s=ttl_s))

    def compare_and_set(
        self, key: str | StateKey[Any], expected_version: int, value: Any, /, *, ttl_s: float | None = None
    ) -> StateRecord[Any]:
        return self._reach.wait(lambda: self._scoped.compare_and_set(key, expected_version, value, ttl_s=ttl_s))

    def update(
        self,
        key: str | StateKey[Any],
        change: Callable[[Any], Any],
        type: Any = Any,
        /,
        *,
        default: Any = UNSET,
        ttl_s: float | UnsetType | None = UNSET,
    ) -> Any:
        return self._reach.wait(lambda: self._scoped.update(key_of(key, type), change, default=default, ttl_s=ttl_s))

    def delete(self, key: str | StateKey[Any], /, *, expected_version: int | None = None) -> bool:
        return self._reach.wait(lambda: self._scoped.delete(key, expected_version=expected_version))
