"""The database as the rooms of this package see it: a statement is asked, its rows come back. Everything that may be tried again is tried
again here, and only here.

A statement whose answer was lost may have taken effect. It is asked again all the same: each of them is written so that a second time
does no harm (it sets what it set, or finds its own id). So an acknowledged append is there, and none is there twice.
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import Any

from ..refusals import store_closed
from . import errors, schema
from .errors import AGAIN, Address, Lost, Refused
from .link import Link, Rows
from .pool import Pool
from .statement import Statement

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
UNDONE_LIMIT = 20
"""How often a transaction may be undone for the sake of another one."""
PASSING = ("starting up", "shutting down", "too many", "remaining connection slots", "recovery")
"""What a server says that will answer soon."""
_COUNT = Struct(">Q")


class Options:
    """How the database is used: `timeout_s` for one statement; `patience_s` for how long an operation waits for a server that is away."""

    __slots__ = ("max_blob_bytes", "migrate", "patience_s", "poll_s", "timeout_s")

    def __init__(
        self, *, migrate: bool, patience_s: float, timeout_s: float, poll_s: float, max_blob_bytes: int
    ) -> None:
        self.migrate = migrate
        self.patience_s = patience_s
        self.timeout_s = timeout_s
        self.poll_s = poll_s
        self.max_blob_bytes = max_blob_bytes


class Database:
    """Asks statements, many at a time, within an operation: `with database: …`. What was begun so is finished before the database is
    closed; nothing is begun afterwards (`store_closed`). `asked` counts statements, tries included."""

    def __init__(self, address: Address, schema_name: str, pool: Pool, options: Options) -> None:
        self.address = address
        self.schema = schema_name
        self.options = options
        self._quoted = f'"{schema_name}"'
        self._pool = pool
        self._texts: dict[Statement, bytes] = {}
        self._opening: asyncio.Lock | None = None
        self._ready = False
        self._closed = False
        self._under_way = 0
        self._done: asyncio.Future[None] | None = None
        self._seed = b""
        self._ids = 0
        self.asked = 0

    def __enter__(self) -> Database:
        """Begin an operation. Raises `StateError`: `store_closed`, `store_in_use`."""
        if self._closed:
            raise store_closed()
        if self._pool.bind():
            self._ready = False
            self._opening = asyncio.Lock()
            self._under_way = 0
        self._under_way += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1
        if self._done is not None and not self._under_way and not self._done.done():
            self._done.set_result(None)

    async def ask(self, statement: Statement, *values: Any, on: list[Link] | None = None) -> list[list[Any]]:
        """The rows. Raises `ConfigError` (`invalid_text`), `StateError`; `Refused` for what breaks a constraint. Cancelled, the statement
        takes effect wholly or not at all; the connection that it may still be under way on is in `on`."""
        await self.ready()
        sql = self._texts.get(statement)
        if sql is None:
            sql = self._texts[statement] = statement.rendered(self._quoted)
        return statement.decoded(await self._persist(sql, statement.parameters(values), statement.oids, on))

    async def row(self, statement: Statement, *values: Any) -> list[Any] | None:
        """The first row, if there is one. Raises as `ask`."""
        rows = await self.ask(statement, *values)
        return rows[0] if rows else None

    async def ready(self) -> None:
        """See that the schema is there and this release's. Raises `StateError`."""
        if not self._ready:
            await self._open()

    async def migrate(self) -> int:
        """Bring the schema up to date; the version it had. Raises `StateError`."""
        link = await self._link()
        try:
            return await schema.migrate(link, self.address, self.schema)
        except Lost as lost:
            raise errors.unreachable(self.address, lost.message) from None
        finally:
            self._pool.give(link)

    def new_id(self) -> bytes:
        """An id that no other append or change has, 16 bytes. Only after `ready`."""
        self._ids += 1
        return self._seed + _COUNT.pack(self._ids)

    async def close(self) -> None:
        """Let what was begun finish, for as long as it may take (`patience_s`), and close the connections. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._pool.bind():
            return
        if self._under_way:
            self._done = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self.options.patience_s + self.options.timeout_s):
                    await self._done
            except TimeoutError:
                pass
        self._pool.close()
        self._pool.abandon()

    # --- asking again ---------------------------------------------------------------------------------------------------

    async def _persist(
        self, sql: bytes, parameters: list[bytes | None], oids: list[int], on: list[Link] | None
    ) -> Rows:
        """Ask until there is an answer, `patience_s` from the first failure on."""
        loop = asyncio.get_running_loop()
        until = 0.0
        pause_s = 0.0
        undone = 0
        while True:
            try:
                link = await self._pool.take()
                if on is not None:
                    on[:] = [link]
                try:
                    self.asked += 1
                    return await link.ask(sql, parameters, oids, self.options.timeout_s)
                finally:
                    self._pool.give(link)
            except Refused as error:
                undone += 1
                if error.code not in AGAIN or undone == UNDONE_LIMIT:
                    raise self._refusal(error) from None
                pause_s = FIRST_PAUSE_S
            except Lost as lost:
                until = until or loop.time() + self._patience_s(lost)
                if loop.time() >= until:
                    raise errors.unreachable(self.address, lost.message) from None
            await asyncio.sleep(pause_s)
            pause_s = min(max(FIRST_PAUSE_S, pause_s * 2), LONGEST_PAUSE_S)

    def _patience_s(self, lost: Lost) -> float:
        """A server that never answered, and does not say that it will, is more likely misspelt than restarting."""
        if self._pool.met or any(words in lost.message for words in PASSING):
            return self.options.patience_s
        return 0.0

    def _refusal(self, error: Refused) -> Exception:
        if error.code == "23505":
            return error
        return errors.refused(self.address, error, self.schema)

    # --- opening --------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        assert self._opening is not None
        async with self._opening:
            if self._ready:
                return
            link = await self._link()
            try:
                found = await schema.look(link, self.address, self.schema, self.options.timeout_s)
                if self.options.migrate and found.version < schema.known_version():
                    await schema.migrate(link, self.address, self.schema)
                else:
                    schema.require_current(found, self.address, self.schema)
            except Lost as lost:
                raise errors.unreachable(self.address, lost.message) from None
            finally:
                self._pool.give(link)
            self._seed = found.seed[:8]
            self._ids = 0
            self._ready = True

    async def _link(self) -> Link:
        """A connection, once the server answers."""
        loop = asyncio.get_running_loop()
        until = 0.0
        while True:
            try:
                return await self._pool.take()
            except Lost as lost:
                until = until or loop.time() + self._patience_s(lost)
                if loop.time() >= until:
                    raise errors.unreachable(self.address, lost.message) from None
            await asyncio.sleep(0.1)
