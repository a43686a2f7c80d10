"""What the values of scoped state look like: `StateKey`, and how a value becomes a record's JSON and comes back, from an older shape if it must.

State on disk is data (rule P7): nothing here looks up a type by a name that was stored. What a record is decoded into is said by the
reader, and how an older shape becomes today's by functions that the reader brings. Where records are kept is in `scopes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from ..core.errors import config_error
from ..core.store import Record
from . import refusals

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")


class StateRecord(msgspec.Struct, Generic[T], frozen=True):
    """A value with what is known of it. `version` counts its changes from 1; times are Unix seconds by the store's clock; `schema` is what
    it was written with; `writer` is who wrote it: `session/call` for a tool's call. It is gone at `expires_at`."""

    key: str
    value: T
    version: int
    schema: int
    created_at: float
    updated_at: float
    writer: str
    expires_at: float | None


MAX_KEY_CHARS = 512
GONE = 0
"""The schema of a record that was deleted and is kept a while for its version. Those of values begin at 1."""

Migration = Callable[[Any], Any]
"""Makes plain JSON data (dicts, lists, strings, numbers) of one schema into that of the next one. Must be pure."""


class StateKey(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """A key of scoped state with the shape of its value: `CART = StateKey("cart", Cart, schema=2, migrations={1: with_currency})`.

    `type` is anything that msgspec can decode from JSON: a dataclass, a Struct, a TypedDict, a builtin, a union of these. `schema` is
    the number of its shape, raised when the shape changes so that older values do not fit any more; `migrations[n]` makes data of
    schema n into data of schema n + 1. An older value is migrated whenever it is read, and written back by the next write. One of a
    newer schema raises. `of` gives keys of the same shape below this one. Raises `ConfigError` (`invalid_value`) for a key or schema
    that makes no sense.
    """

    name: str
    type: type[T] = Any  # type: ignore[assignment]
    schema: int = 1
    migrations: Mapping[int, Migration] = {}

    def __post_init__(self) -> None:
        check_key(self.name)
        if self.schema < 1:
            raise config_error("invalid_value", f"StateKey({self.name!r}, schema={self.schema}): schemas begin at 1.")
        if wrong := sorted([n for n in self.migrations if not 1 <= n < self.schema]):
            raise config_error(
                "invalid_value",
                f"StateKey({self.name!r}) migrates from schema {wrong[0]}, and its own is {self.schema}.",
                "migrations[n] leads from schema n to n + 1; raise schema with each one.",
            )

        if not is_any(self.type):
            try:
                msgspec.json.Decoder(self.type)
            except TypeError as error:
                raise config_error(
                    "invalid_value",
                    f"Nothing can be read as {shown(self.type)}, the type of the key {self.name!r}: {error}",
                    "Use dataclasses, msgspec Structs, TypedDicts, builtins, or unions of these.",
                ) from error

    def of(self, part: str) -> StateKey[T]:
        """The key `name/part`, with the same shape."""
        return StateKey(f"{self.name}/{part}", self.type, self.schema, self.migrations)

    @property
    def prefix(self) -> str:
        """What the keys given by `of` begin with."""
        return f"{self.name}/"

    # --- to JSON and back -------------------------------------------------------------------------------------------

    def write(self, value: T, limit_bytes: int) -> bytes:
        """The value as JSON. Raises `ConfigError` (`not_json`) for one that does not become JSON, or would not come back as the key's type;
        `StateError` (`value_too_large`)."""
        data = json_of(self.name, value)
        if len(data) > limit_bytes:
            raise refusals.value_too_large(self.name, len(data), limit_bytes)
        if not is_any(self.type):
            try:
                msgspec.json.decode(data, type=self.type)
            except msgspec.DecodeError as error:
                raise not_json(self.name, value, f"it would not be read as {shown(self.type)}: {error}") from error
        return data

    def read(self, record: Record) -> T:
        """The value of a record. Raises `StateError`: `newer_schema`, `no_migration`, `migration_failed`, `damaged_record`."""
        try:
            if record.schema == self.schema:
                return msgspec.json.decode(record.value, type=self.type)
            return msgspec.json.decode(self._migrated(record), type=self.type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refusals.damaged_record(record.key, shown(self.type), str(error)) from error

    def _migrated(self, record: Record) -> bytes:
        if record.schema > self.schema:
            raise refusals.newer_schema(record.key, record.schema, self.schema)
        data, written = msgspec.json.decode(record.value), record.value
        for schema in range(record.schema, self.schema):
            migrate = self.migrations.get(schema)
            if migrate is None:
                raise refusals.no_migration(record.key, schema, self.schema)
            try:
                data = migrate(data)
                written = msgspec.json.encode(data)
            except Exception as error:
                raise refusals.migration_failed(record.key, schema, error) from error
        return written


def record_of(shape: StateKey[T], found: Record | None, prefix: str = "") -> StateRecord[T] | None:
    """A record as its readers get it, its key without `prefix`; None for one that was deleted. Raises as `StateKey.read`."""
    if found is None or found.schema == GONE:
        return None
    return StateRecord(
        found.key[len(prefix) :],
        shape.read(found),
        found.version,
        found.schema,
        found.created_at,
        found.updated_at,
        found.writer,
        found.expires_at,
    )


def is_any(kind: object) -> bool:
    """Whether a key says nothing of the shape of its value."""
    return kind is Any


def key_of(key: str | StateKey[T], kind: Any) -> StateKey[T]:
    """The key that was meant, with its shape."""
    if isinstance(key, StateKey):
        return key
    return StateKey(key, kind)


def json_of(name: str, value: object) -> bytes:
    """Any value as JSON. Raises `ConfigError` (`not_json`)."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise not_json(name, value, str(error)) from error


def not_json(name: str, value: object, why: str) -> Exception:
    return config_error(
        "not_json",
        f"A {type(value).__name__} cannot be kept under {name!r}: {why}.",
        "Keep JSON data, dataclasses, msgspec Structs or TypedDicts, of the type that the key says.",
    )


def check_key(key: str) -> str:
    """Raises `ConfigError` (`invalid_value`) for a key that a store could not take."""
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise config_error("invalid_value", f"A key of state has 1 to {MAX_KEY_CHARS} characters, not {len(key)}.")
    return check_text("key", key)


def check_text(what: str, text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
        raise config_error("invalid_value", f"{text!r} cannot be a {what}: it has NUL or half characters in it.")
    return text


def shown(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
