"""The schema and its versions: made and brought up to date under a lock in the database, one process at a time.

A migration is SQL that leads from one version to the next; a merged one is never changed. All that are due are one transaction: a
database is of one version or of another, never between.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ...core.errors import config_error
from ..refusals import store_newer
from .errors import Address, Refused, refused, schema_old, wrong_encoding
from .functions import FUNCTIONS
from .link import Link
from .statement import Statement
from .tables import TABLES

MIGRATION_LIMIT_S = 3600.0
"""How long one migration may take, waiting for the lock included."""


class Migration(NamedTuple):
    version: int
    what: str
    sql: str


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "everything", TABLES + FUNCTIONS),)

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")

LOOK = Statement(
    "SELECT current_setting('server_encoding'), EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1), "
    "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = 'versions'), gen_random_uuid()",
    takes="text",
    gives="text bool bool uuid",
)
VERSION = Statement("SELECT coalesce(max(version), 0) FROM {s}.versions", gives="int4")
LOCK = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended('turnwise ' || $1, 0)) IS NULL", takes="text", gives="bool"
)


class Found(NamedTuple):
    """What there is: 0 is no version. `seed` is a new random id that nobody else has got."""

    version: int
    has_schema: bool
    seed: bytes


def checked_name(schema: str) -> str:
    """Raises `ConfigError`: `invalid_setting`."""
    if not _NAME.fullmatch(schema):
        raise config_error(
            "invalid_setting",
            f"schema={schema!r} is no name for a schema here.",
            "Use up to 40 small letters, digits and _, not beginning with a digit.",
        )
    return schema


def known_version() -> int:
    return MIGRATIONS[-1].version


async def look(link: Link, address: Address, schema: str, limit_s: float) -> Found:
    """Which version the schema has. Raises `ConfigError`: `wrong_encoding`; `StateError`: `store_newer`, `permission_denied`."""
    try:
        [row] = await _ask(link, LOOK, schema, schema, limit_s)
        encoding, has_schema, has_versions, seed = row
        if encoding != "UTF8":
            raise wrong_encoding(address, encoding)
        version = 0
        if has_versions:
            [[version]] = await _ask(link, VERSION, schema, None, limit_s)
    except Refused as error:
        raise refused(address, error, schema) from None
    if version > known_version():
        raise store_newer(f"Schema {schema} of {address.shown}", version, known_version())
    return Found(version, has_schema, seed)


def require_current(found: Found, address: Address, schema: str) -> None:
    """Raises `StateError`: `schema_missing`, `schema_old`."""
    if found.version == 0:
        raise refused(address, Refused("3F000", ""), schema)
    if found.version < known_version():
        raise schema_old(address, schema, found.version, known_version())


async def migrate(link: Link, address: Address, schema: str) -> int:
    """Bring the schema to the version of this release, in one transaction; the version it had, 0 for none.

    Raises what `look` raises, `Lost`, and `StateError`: `permission_denied` for a role that may not, having changed nothing.
    """
    limit_s = MIGRATION_LIMIT_S
    await link.script("BEGIN", limit_s)
    try:
        await _ask(link, LOCK, schema, schema, limit_s)
        found = await look(link, address, schema, limit_s)
        if not found.has_schema:
            await link.script(f'CREATE SCHEMA "{schema}"', limit_s)
        for migration in MIGRATIONS:
            if migration.version > found.version:
                await link.script(_rendered(migration, schema), limit_s)
        await link.script("COMMIT", limit_s)
    except Refused as error:
        raise refused(address, error, schema) from None
    finally:
        if not link.broken and not link.idle:
            link.close()
    return found.version


def channel(schema: str) -> str:
    """Where notifications of this schema go."""
    return f"turnwise_{schema}"


def _rendered(migration: Migration, schema: str) -> str:
    note = f"INSERT INTO {{s}}.versions (version, what) VALUES ({migration.version}, '{migration.what}');"
    if migration.version == 1:
        note = (
            "CREATE TABLE {s}.versions (version int PRIMARY KEY, what text NOT NULL, at timestamptz NOT NULL DEFAULT now());"
            + note
        )
    return (migration.sql + note).replace("{s}", f'"{schema}"').replace("{channel}", channel(schema))


async def _ask(link: Link, statement: Statement, schema: str, value: str | None, limit_s: float) -> list[list[Any]]:
    parameters = statement.parameters([] if value is None else [value])
    rows = await link.ask(statement.rendered(f'"{schema}"'), parameters, statement.oids, limit_s)
    return statement.decoded(rows)
