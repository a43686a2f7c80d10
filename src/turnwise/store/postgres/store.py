"""`PostgresStore`: the door. What it does is in the rooms beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.entries import Entry
from ...core.errors import config_error
from ...core.store import (
    Claim,
    Collected,
    Edit,
    Hit,
    NewSession,
    Owner,
    Query,
    Record,
    Scope,
    SessionInfo,
    Snapshot,
)
from ..refusals import store_closed
from . import leases, records, search, sessions
from .blobs import PostgresBlobs
from .database import Database, Options
from .errors import Address
from .journal import Journal
from .pool import Pool
from .schema import checked_name
from .waiting import Waiting


class PostgresStore:
    """A `Store` in a PostgreSQL database (13 or newer, UTF-8), which any number of processes share.

    `dsn` is a connection string or URL of libpq; it may lead to a pooler in transaction mode. It is used when something is first asked. `schema`
    is where everything is kept; it is made and brought up to date then, unless `migrate` is false: then `migrate()` must have been called by a role that may.

    At most `pool_size` connections are open, each for at most `max_lifetime_s` seconds. A server that restarts or is away is waited for up
    to `patience_s` seconds, then the operation raises `StateError` (`store_unavailable`); a statement gets `timeout_s`. `direct_dsn`, an
    address without a pooler between, lets `wait` be told of appends by the server; without it, it looks every `poll_s` seconds. Blobs
    have at most `max_blob_bytes`.

    It belongs to the event loop that uses it, and is taken over by another when that loop has ended. Its methods raise, beside what `Store`
    says, `StateError`: `store_unavailable`, `store_auth_failed`, `database_missing`, `schema_missing`, `schema_old`, `store_newer`,
    `permission_denied`, `disk_full`, `store_damaged`, `store_failed`, `store_closed`, `store_in_use`; `ConfigError`: `wrong_encoding`,
    `invalid_text`. A cancelled one takes effect wholly or not at all. The constructor raises `ConfigError`: `invalid_dsn`, `invalid_setting`.
    """

    def __init__(
        self,
        dsn: str,
        *,
        direct_dsn: str | None = None,
        schema: str = "turnwise",
        migrate: bool = True,
        pool_size: int = 8,
        max_lifetime_s: float = 1800.0,
        patience_s: float = 30.0,
        timeout_s: float = 30.0,
        poll_s: float = 0.25,
        max_blob_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        _check(
            pool_size=pool_size,
            max_lifetime_s=max_lifetime_s,
            timeout_s=timeout_s,
            poll_s=poll_s,
            max_blob_bytes=max_blob_bytes,
        )
        self._address = Address(dsn)
        options = Options(
            migrate=migrate,
            patience_s=patience_s,
            timeout_s=timeout_s,
            poll_s=poll_s,
            max_blob_bytes=max_blob_bytes,
        )
        pool = Pool(self._address, pool_size, max_lifetime_s)
        self._database = Database(self._address, checked_name(schema), pool, options)
        self._waiting = Waiting(self._database, None if direct_dsn is None else Address(direct_dsn))
        self._journal = Journal(self._database, self._waiting.appended)

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.shown!r}, schema={self._database.schema!r})"

    async def open(self) -> None:
        """Connect, and make or check the schema: what the first use does otherwise."""
        with self._database as database:
            await database.ready()

    async def migrate(self) -> int:
        """Make the schema or bring it up to date, in one transaction; the version that it had, 0 for none. Needs a role that may."""
        with self._database as database:
            return await database.migrate()

    async def close(self) -> None:
        """Finish what was begun and close all connections. Idempotent."""
        await self._waiting.close(store_closed())
        await self._database.close()

    # --- journals -------------------------------------------------------------------------------------------------------

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        """Raises also `StateError` (`append_too_large`): more than 256 MB at once."""
        with self._database:
            return await self._journal.append(session, after, entries, claim)

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        with self._database:
            return await self._journal.read(session, after, limit)

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        return await self._waiting.wait(session, after, timeout_s)

    # --- sessions -------------------------------------------------------------------------------------------------------

    async def create(self, session: NewSession) -> SessionInfo:
        with self._database as database:
            return await sessions.create(database, session)

    async def info(self, session: str) -> SessionInfo | None:
        with self._database as database:
            return await sessions.info(database, session)

    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        with self._database as database:
            return await sessions.listed(database, query)

    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        with self._database as database:
            return await sessions.edit(database, session, edit)

    async def delete(self, session: str) -> bool:
        with self._database as database:
            return await sessions.delete(database, session)

    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        with self._database as database:
            return await search.search(database, tenant, text, user, session, limit)

    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        with self._database as database:
            await sessions.save_snapshot(database, session, snapshot)

    async def snapshot(self, session: str) -> Snapshot | None:
        with self._database as database:
            return await sessions.snapshot(database, session)

    # --- leases ---------------------------------------------------------------------------------------------------------

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        with self._database as database:
            await leases.heartbeat(database, owner, ttl_s)

    async def retire(self, owner: str) -> None:
        with self._database as database:
            await leases.retire(database, owner)

    async def claim(self, session: str, owner: str) -> int:
        with self._database as database:
            return await leases.claim(database, session, owner)

    async def holds(self, session: str, claim: Claim) -> bool:
        with self._database as database:
            return await leases.holds(database, session, claim)

    async def release(self, session: str, claim: Claim) -> None:
        with self._database as database:
            await leases.release(database, session, claim)

    # --- blobs and records ----------------------------------------------------------------------------------------------

    def blobs(self, tenant: str) -> PostgresBlobs:
        return PostgresBlobs(self._database, tenant)

    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        return await self.blobs(tenant).collect(unused_for_s)

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        with self._database as database:
            return await records.get(database, scope, key)

    async def put_record(
        self,
        scope: Scope,
        key: str,
        value: bytes,
        *,
        expect: int | None = None,
        schema: int = 1,
        writer: str = "",
        ttl_s: float | None = None,
    ) -> Record:
        with self._database as database:
            return await records.put(database, scope, key, value, expect, schema, writer, ttl_s)

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        with self._database as database:
            return await records.delete(database, scope, key, expect)

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        with self._database as database:
            return await records.listed(database, scope, prefix, after, limit)

    async def stats(self) -> Mapping[str, int]:
        """Also `blob_bytes` and `records`; `bytes` is what the tables and indexes take on the server's disk."""
        with self._database as database:
            return await sessions.stats(database)


def _check(**settings: float) -> None:
    """Raises `ConfigError`: `invalid_setting`."""
    for name, value in settings.items():
        if value <= 0:
            raise config_error(
                "invalid_setting",
                f"PostgresStore({name}={value}): it must be above 0.",
                "Leave it out for the default.",
            )
