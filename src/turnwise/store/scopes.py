"""Scoped state: what tools and plugins remember outside the transcript, for a session, an agent, a user, or all of a tenant.

`State` has the scopes, `ScopedState` is one of them: reading, writing, watching. It is a facade of a store's records
(`core.store.Records`); what values look like is in `shapes`, who is told of changes in `board`. A value is durable when `await`
returns, and only then told. Nothing here is taken back by `undo` or `rewind`, and nothing is encrypted: no place for secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from msgspec import UNSET, UnsetType

from ..core.errors import config_error
from ..core.principal import LOCAL, Principal
from ..core.store import Record, Records, Scope, ScopeKind
from .board import DEFAULT_BUFFER, Mailbox
from .changing import Pauses, Place, Reach, deleted, updated, write
from .shapes import StateKey, StateRecord, check_key, check_text, key_of, record_of
from .state_watch import StateWatcher

if TYPE_CHECKING:
    from .scopes_sync import SyncScopedState

T = TypeVar("T")
D = TypeVar("D")

MAX_VALUE_BYTES = 1 << 20
"""How large a value may be, as JSON, unless `State` is told otherwise."""


class State:
    """The scopes that somebody can reach: `context.state` in a tool, `session.scopes`, or made of a store:
    `State(store, Principal("acme", "ann"), agent="shop")`.

    `session`, `user` and `agent` are the scopes of one session, user and agent (by its name) of the tenant, `global_` is that of
    the whole tenant. Raises `ConfigError` (`no_scope`) for a scope that it was not made for. `writer` is noted with what is written. A
    value has at most `max_value_bytes` as JSON. `prefix` is put before all keys, unseen (`within`). With a `runtime`, an update that another process got in the way of waits a little
    before it is tried again. A store is used on the loop that it belongs to.
    """

    __slots__ = ("_agent", "_prefix", "_principal", "_reach", "_session", "max_value_bytes", "writer")

    def __init__(
        self,
        store: Records | Reach,
        principal: Principal = LOCAL,
        *,
        agent: str = "",
        session: str = "",
        writer: str = "",
        max_value_bytes: int = MAX_VALUE_BYTES,
        runtime: Pauses | None = None,
        prefix: str = "",
    ) -> None:
        self._reach = store if isinstance(store, Reach) else Reach(store, runtime)
        self._principal = principal
        self._agent = agent
        self._session = session
        self._prefix = prefix
        self.writer: Final = writer
        self.max_value_bytes: Final = max_value_bytes

    @property
    def session(self) -> ScopedState:
        """What belongs to this session, and is deleted with it. A fork begins with nothing."""
        return self.scope("session")

    @property
    def agent(self) -> ScopedState:
        """What belongs to all sessions of the agent, by its name."""
        return self.scope("agent")

    @property
    def user(self) -> ScopedState:
        """What belongs to the user, whatever the agent."""
        return self.scope("user")

    @property
    def global_(self) -> ScopedState:
        """What belongs to all of the tenant."""
        return self.scope("global")

    def scope(self, kind: ScopeKind) -> ScopedState:
        """The scope of that kind."""
        return ScopedState(self._reach, self._scope(kind), self.writer, self.max_value_bytes, self._prefix)

    def within(self, namespace: str) -> State:
        """The same scopes, of which only what is under `namespace/` is seen and written, by keys without it: for capabilities and plugins, which
        then share no key. Raises `ConfigError` (`invalid_value`) for a namespace that is no key."""
        check_key(namespace)
        return State(
            self._reach,
            self._principal,
            agent=self._agent,
            session=self._session,
            writer=self.writer,
            max_value_bytes=self.max_value_bytes,
            prefix=f"{self._prefix}{namespace}/",
        )

    def _scope(self, kind: ScopeKind) -> Scope:
        tenant = check_text("tenant", self._principal.tenant)
        if kind == "global":
            return Scope("global", "", tenant)
        name = {"user": self._principal.user, "agent": self._agent, "session": self._session}[kind]
        if not name:
            raise config_error(
                "no_scope",
                f"This State does not know which {kind} is meant.",
                f"Make it with one: State(store, …, {kind}=…); tools and sessions have all scopes.",
            )
        return Scope(kind, check_text(f"name of a scope ({kind})", name), tenant)


class ScopedState:
    """The records of one scope. All methods may be called from any task, many at a time, and wait for the store; a cancelled write has
    taken effect wholly or not at all. Keys are text, or a `StateKey` that brings the shape of the value with it; without a type,
    values are plain JSON data. Raises `ConfigError` (`invalid_value`, `not_json`) before anything is written, and what the store
    raises."""

    __slots__ = ("_limit", "_prefix", "_reach", "scope", "writer")

    def __init__(self, reach: Reach, scope: Scope, writer: str, max_value_bytes: int, prefix: str = "") -> None:
        self._reach = reach
        self._prefix = prefix
        self._limit = max_value_bytes
        self.scope: Final = scope
        self.writer: Final = writer

    def __repr__(self) -> str:
        return f"ScopedState({self.scope.kind}:{self.scope.name})"

    # --- reading ------------------------------------------------------------------------------------------------------

    @overload
    async def get(self, key: StateKey[T], /, *, default: D = None) -> T | D: ...
    @overload
    async def get(self, key: str, type: type[T], /, *, default: D = None) -> T | D: ...
    @overload
    async def get(self, key: str, /, *, default: Any = None) -> Any: ...
    async def get(self, key: str | StateKey[Any], type: Any = Any, /, *, default: Any = None) -> Any:
        """The value; `default` if there is no record, or it has expired. Each call gives a copy of its own. Raises `StateError` as
        `record` does."""
        found = await self.record(key_of(key, type))
        return default if found is None else found.value

    @overload
    async def record(self, key: StateKey[T], /) -> StateRecord[T] | None: ...
    @overload
    async def record(self, key: str, type: type[T], /) -> StateRecord[T] | None: ...
    @overload
    async def record(self, key: str, /) -> StateRecord[Any] | None: ...
    async def record(self, key: str | StateKey[Any], type: Any = Any, /) -> StateRecord[Any] | None:
        """The value with version, times and writer. Raises `StateError`: `damaged_record` if it is not of the type, `newer_schema`,
        `no_migration`, `migration_failed`."""
        shape = key_of(key, type)
        name = self._name(shape)
        found = await self._reach.do(self.scope.kind, lambda r: r.get_record(self.scope, name))
        return record_of(shape, found, self._prefix)

    @overload
    async def list(self, prefix: StateKey[T], /, *, after: str = "", limit: int = 100) -> Sequence[StateRecord[T]]: ...
    @overload
    async def list(
        self, prefix: str, type: type[T], /, *, after: str = "", limit: int = 100
    ) -> Sequence[StateRecord[T]]: ...
    @overload
    async def list(self, prefix: str = "", /, *, after: str = "", limit: int = 100) -> Sequence[StateRecord[Any]]: ...
    async def list(
        self, prefix: str | StateKey[Any] = "", type: Any = Any, /, *, after: str = "", limit: int = 100
    ) -> Sequence[StateRecord[Any]]:
        """The records whose keys begin with `prefix`, by key, at most `limit`; the next page is that `after` the last key of this one. Of a
        `StateKey`: those that its `of` has made. Raises as `record`."""
        begins = self._prefix + (prefix.prefix if isinstance(prefix, StateKey) else prefix)
        after = self._prefix + after if after else after
        shape = prefix if isinstance(prefix, StateKey) else StateKey(prefix or "*", type)
        found = await self._reach.do(self.scope.kind, lambda r: r.records(self.scope, begins, after=after, limit=limit))
        return [record for one in found if (record := record_of(shape, one, self._prefix)) is not None]

    # --- writing ------------------------------------------------------------------------------------------------------

    @overload
    async def set(self, key: StateKey[T], value: T, /, *, ttl_s: float | None = None) -> StateRecord[T]: ...
    @overload
    async def set(self, key: str, value: T, /, *, ttl_s: float | None = None) -> StateRecord[T]: ...
    async def set(self, key: str | StateKey[Any], value: Any, /, *, ttl_s: float | None = None) -> StateRecord[Any]:
        """Write a value, whatever was there; the record that it made. It is gone after `ttl_s` seconds, if given. Raises `StateError`
        (`value_too_large`)."""
        return await self._put(key_of(key, Any), value, None, ttl_s)

    @overload
    async def compare_and_set(
        self, key: StateKey[T], expected_version: int, value: T, /, *, ttl_s: float | None = None
    ) -> StateRecord[T]: ...
    @overload
    async def compare_and_set(
        self, key: str, expected_version: int, value: T, /, *, ttl_s: float | None = None
    ) -> StateRecord[T]: ...
    async def compare_and_set(
        self, key: str | StateKey[Any], expected_version: int, value: Any, /, *, ttl_s: float | None = None
    ) -> StateRecord[Any]:
        """Write a value if the record has this version (0: if there is none). Raises `StateError`: `version_conflict`, then nothing was
        written; `value_too_large`."""
        if expected_version < 0:
            raise config_error("invalid_value", f"There is no version {expected_version}.", "0 stands for no record.")
        return await self._put(key_of(key, Any), value, expected_version, ttl_s)

    @overload
    async def update(
        self,
        key: StateKey[T],
        change: Callable[[T], T],
        /,
        *,
        default: T | UnsetType = UNSET,
        ttl_s: float | UnsetType | None = UNSET,
    ) -> T: ...
    @overload
    async def update(
        self,
        key: str,
        change: Callable[[T], T],
        type: type[T],
        /,
        *,
        default: T | UnsetType = UNSET,
        ttl_s: float | UnsetType | None = UNSET,
    ) -> T: ...
    @overload
    async def update(
        self,
        key: str,
        change: Callable[[Any], Any],
        /,
        *,
        default: Any = UNSET,
        ttl_s: float | UnsetType | None = UNSET,
    ) -> Any: ...
    async def update(
        self,
        key: str | StateKey[Any],
        change: Callable[[Any], Any],
        type: Any = Any,
        /,
        *,
        default: Any = UNSET,
        ttl_s: float | UnsetType | None = UNSET,
    ) -> Any:
        """Make a value from the one that is there: `await scope.update("visits", lambda n: n + 1, default=0)`; the new value. Nobody's change
        in between is lost.

        `change` gets a copy, and returns the new value. It is called again if another process was quicker, so it must be pure: no
        effects, and no awaiting, since others wait for it. Without a record it gets `default`; without that,
        `StateError` (`missing_record`) is raised. A record that expires lives as long again as it was given, unless `ttl_s` says
        otherwise (None: for ever). Whatever `change` raises is raised, and nothing written. Raises what `record` raises, and
        `StateError`: `value_too_large`; `record_contended` after `UPDATE_TRIES` tries.
        """
        shape = key_of(key, type)
        name = self._name(shape)
        first = None if default is UNSET else shape.write(default, self._limit)

        async def done(records: Records) -> Any:
            place = self._place(records, name)
            return await updated(place, shape, change, first, ttl_s, self._limit, self._reach.pause)

        return await self._reach.do(self.scope.kind, done)

    async def delete(self, key: str | StateKey[Any], /, *, expected_version: int | None = None) -> bool:
        """Take the record away; False if there was none. Its version goes on if it is written again soon: who has seen the old one
        does not take the new one for it. Raises `StateError`: `version_conflict` if it has another version than the expected."""
        name = self._name(key_of(key, Any))

        async def done(records: Records) -> bool:
            return await deleted(self._place(records, name), expected_version, self._reach.pause)

        return await self._reach.do(self.scope.kind, done)

    # --- watching -----------------------------------------------------------------------------------------------------

    @overload
    def watch(self, prefix: StateKey[T], /, *, buffer: int = DEFAULT_BUFFER) -> StateWatcher[T]: ...
    @overload
    def watch(self, prefix: str, type: type[T], /, *, buffer: int = DEFAULT_BUFFER) -> StateWatcher[T]: ...
    @overload
    def watch(self, prefix: str = "", /, *, buffer: int = DEFAULT_BUFFER) -> StateWatcher[Any]: ...
    def watch(
        self, prefix: str | StateKey[Any] = "", type: Any = Any, /, *, buffer: int = DEFAULT_BUFFER
    ) -> StateWatcher[Any]:
        """Changes that this process makes, under keys that begin so, from the entering of `async with` on: `async with
        scope.watch("cart") as changes: async for change in changes: …`. Of a `StateKey`: it, and those that its `of` has made. See
        `StateWatcher`. Raises `ConfigError` (`invalid_value`) for a buffer below 1."""
        if buffer < 1:
            raise config_error("invalid_value", f"buffer={buffer} leaves no room for a change.", "Use 1 or more.")
        if isinstance(prefix, StateKey):
            mailbox = Mailbox(self.scope, self._prefix + prefix.prefix, self._prefix + prefix.name, buffer)
            return StateWatcher(self._reach, mailbox, prefix, self._prefix)
        mailbox = Mailbox(self.scope, self._prefix + prefix, None, buffer)
        return StateWatcher(self._reach, mailbox, StateKey(prefix or "*", type), self._prefix)

    @property
    def sync(self) -> SyncScopedState:
        """This scope for code in threads, such as tools that are plain functions: `context.state.user.sync.get("lang")`."""
        from .scopes_sync import SyncScopedState

        return SyncScopedState(self, self._reach)

    def _name(self, shape: StateKey[Any]) -> str:
        """The key as the store has it."""
        return check_key(self._prefix + shape.name) if self._prefix else shape.name

    async def _put(self, shape: StateKey[Any], value: Any, expect: int | None, ttl_s: float | None) -> StateRecord[Any]:
        data, name = shape.write(value, self._limit), self._name(shape)

        async def done(records: Records) -> Record:
            place = self._place(records, name)
            async with place.line():
                return await write(
                    place, data, expect, shape.schema, ttl_s, lambda other: shape.write(other, self._limit)
                )

        made = record_of(shape, await self._reach.do(self.scope.kind, done), self._prefix)
        assert made is not None, "a record that was written is there"
        return made

    def _place(self, records: Records, key: str) -> Place:
        return Place(records, self.scope, key, self.writer, self._reach.guard)
