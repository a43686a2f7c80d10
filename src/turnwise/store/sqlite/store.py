"""`SqliteStore`: the `Store` contract over one SQLite file. What is done is in the other rooms; here is who does it: writes go to the
writer's queue, reads to threads with connections of their own, work on files to threads of its own.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar, get_args

from ...core.entries import Entry
from ...core.errors import StateError, config_error
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
    StoredBlobs,
)
from ..refusals import store_closed
from . import backup, blobs, forks, journal_sql, leases_sql, records, search, sessions_sql, watch
from .clock import wall
from .errors import store_forked
from .front import Front
from .hands import THREADS, Hands
from .jobs import Job, Opening, Task
from .journal_sql import Append, Keys
from .place import place_of
from .schema import Durability, open_to_read, open_to_write
from .threads import Threads
from .transactions import Transactions
from .verify import Verified, verified
from .writer import Writer

T = TypeVar("T")

MAX_READERS = 4
MAX_FILE_THREADS = 3
DEFAULT_BLOB_BYTES = 256 * 1024 * 1024
BUSY_TIMEOUT_S = 30.0


class SqliteStore:
    """Keeps sessions in one SQLite file, and their blobs in a folder beside it; any number of processes of one machine may share it.

    `path`: the file; None for `turnwise.db` in the folder that `TURNWISE_HOME` names, else in the user's data folder. Nothing is touched before
    the store is first used. `durability`: what has been acknowledged survives a killed process in any case; "full" also has it
    survive a power cut, at the price of waiting for the disk with every commit. `busy_timeout_s`: how long to wait for other
    processes to let go of the file (`store_busy`). `max_blob_bytes`: the largest blob. `clock`: gives the times of leases and rows in
    Unix seconds; None for the clock of the machine. `hands`: who does the work that blocks, threads unless there is reason for something else.

    May be used from several event loops. Call `close` when it is not needed any more. After a `fork()` the child's copy opens the file
    anew. Raises `StateError` when the file cannot be used; docs/sqlite.md and docs/errors.md have the codes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        max_blob_bytes: int = DEFAULT_BLOB_BYTES,
        clock: Callable[[], float] | None = None,
        hands: Hands = THREADS,
    ) -> None:
        if durability not in get_args(Durability):
            raise config_error(
                "invalid_value",
                f"SqliteStore(durability={durability!r}): there are 'normal' and 'full'.",
                "See docs/sqlite.md.",
            )
        self._path = place_of(path)
        self._durability: Durability = durability
        self._busy_timeout_s, self._max_blob_bytes = busy_timeout_s, max_blob_bytes
        self._now: Callable[[], float] = clock or wall
        self._hands = hands
        self._closed = False
        self._set_up()
        forks.note(self)

    def _set_up(self) -> None:
        """Fresh queues, without threads yet."""
        path, busy_timeout_s, durability = self._path, self._busy_timeout_s, self._durability
        self._keys = keys = Keys()

        def open_reader() -> Connection:
            _refuse_inherited(path)
            return open_to_read(path, busy_timeout_s)

        def open_writer() -> Connection:
            _refuse_inherited(path)
            return open_to_write(path, durability, busy_timeout_s)

        hands = self._hands
        self._watch = watched = hands.watch(path, open_reader)

        def committed(jobs: Sequence[Job]) -> None:
            if watched.active:
                watched.appended({job.session: job.last for job in jobs if type(job) is Append and job.error is None})

        self._transactions = Transactions(
            path, open_writer, busy_timeout_s, committed, keys.forget, hands.monotonic, hands.upkeep
        )
        self._writer = hands.writer(self._transactions)
        self._front = Front(self._writer, self._transactions, hands.monotonic, on_loop=durability == "normal")
        self._readers: Threads[Connection] = hands.threads("reader", MAX_READERS, path, open_reader, Connection.close)
        self._files: Threads[None] = hands.threads("files", MAX_FILE_THREADS, path, _nothing, _let_it_go)
        self._forgotten = weakref.finalize(self, _let_go, self._watch, self._writer, self._readers, self._files)
        self._forgotten.atexit = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def durability(self) -> Durability:
        """What an acknowledged append survives."""
        return self._durability

    # --- journals -------------------------------------------------------------------------------------------------------

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        return await self._front.do(Append(session, after, entries, claim, self._keys, self._now))

    def append_at_once(
        self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None
    ) -> int | None:
        """`append`, done before this returns; None, and nothing done, if it would have to wait. For callers on an event loop."""
        front = self._front
        if not front.may_do_now():
            return None
        append = Append(session, after, entries, claim, self._keys, self._now)
        if not front.did_now(append):
            return None
        if append.error is not None:
            raise append.error
        return append.value

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        return await self._read(lambda db: journal_sql.entries_of(db, session, after, limit))

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        await self._prepare()
        return await self._watch.wait(session, after, timeout_s)

    # --- sessions -------------------------------------------------------------------------------------------------------

    async def create(self, session: NewSession) -> SessionInfo:
        return await self._write(lambda db: sessions_sql.create(db, session, self._now()), quick=True)

    async def info(self, session: str) -> SessionInfo | None:
        return await self._read(lambda db: sessions_sql.info(db, session))

    async def sessions(self, query: Query) -> Sequence[SessionInfo]:
        return await self._read(lambda db: sessions_sql.listed(db, query, self._now()))

    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        return await self._write(lambda db: sessions_sql.edit(db, session, edit), quick=True)

    async def delete(self, session: str) -> bool:
        return await self._write(lambda db: sessions_sql.delete(db, session, self._now()))

    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        query = search.query_of(text)
        if not query:
            return ()
        try:
            while await self._write(lambda db: search.index_some(db, tenant, session)):
                pass
        except StateError as error:
            if error.code not in ("disk_full", "store_read_only"):
                raise  # else what was indexed before is searched
        return await self._read(lambda db: search.find(db, tenant, query, user, session, limit))

    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        await self._write(lambda db: sessions_sql.save_snapshot(db, session, snapshot))

    async def snapshot(self, session: str) -> Snapshot | None:
        return await self._read(lambda db: sessions_sql.snapshot(db, session))

    # --- leases ---------------------------------------------------------------------------------------------------------

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        await self._write(lambda db: leases_sql.heartbeat(db, owner, self._now() + ttl_s), quick=True)

    async def retire(self, owner: str) -> None:
        await self._write(lambda db: leases_sql.retire(db, owner))

    async def claim(self, session: str, owner: str) -> int:
        return await self._write(lambda db: leases_sql.claim(db, session, owner, self._now()), quick=True)

    async def holds(self, session: str, claim: Claim) -> bool:
        return await self._read(lambda db: leases_sql.holds(db, session, claim))

    async def release(self, session: str, claim: Claim) -> None:
        await self._write(lambda db: leases_sql.release(db, session, claim), quick=True)

    # --- blobs ----------------------------------------------------------------------------------------------------------

    def blobs(self, tenant: str) -> StoredBlobs:
        return blobs.FolderBlobs(
            self._path,
            tenant,
            self._file_threads,
            self._max_blob_bytes,
            self._now,
            sync_names=self._durability == "full",
        )

    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        folder, older_than = blobs.tenant_folder(self._path, tenant), self._now() - unused_for_s
        return await self._read(
            lambda db: blobs.collect(folder, older_than, lambda sha256: _is_used(db, tenant, sha256))
        )

    # --- records --------------------------------------------------------------------------------------------------------

    async def get_record(self, scope: Scope, key: str) -> Record | None:
        return await self._read(lambda db: records.get_record(db, scope, key, self._now()))

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
        return await self._write(
            lambda db: records.put_record(
                db, scope, key, value, self._now(), expect=expect, schema=schema, writer=writer, ttl_s=ttl_s
            ),
            quick=len(value) <= journal_sql.QUICK_BYTES,
        )

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        return await self._write(
            lambda db: records.delete_record(db, scope, key, self._now(), expect=expect), quick=True
        )

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        return await self._read(lambda db: records.records(db, scope, prefix, after, limit, self._now()))

    # --- upkeep ---------------------------------------------------------------------------------------------------------

    async def stats(self) -> Mapping[str, int]:
        """`sessions`, `entries`, `blobs`; `bytes` on the disk, blobs included; of this object since it was made: `commits`, and `writes`,
        which shared them."""
        found = await self._read(lambda db: _counted(db, self._path))
        return {**found, "commits": self._transactions.commits, "writes": self._transactions.jobs}

    async def verify(self, *, thorough: bool = True) -> Verified:
        """Look at everything that is kept: what is damaged, and what is still good. Takes as long as reading all of it. `thorough` also
        compares indexes with their tables."""
        return await self._read(lambda db: verified(db, self._path, thorough=thorough))

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write everything there is, blobs included, into one file, as of one moment, while the store goes on being used. It is checked before it
        takes the place of an older one. Raises `StateError`: `store_damaged`, `disk_full`, `backup_exists`."""
        target = place_of(path)
        await self._read(lambda db: backup.back_up(db, self._path, target))

    @staticmethod
    async def restore(backup_path: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> Verified:
        """Make a store at `path` (default: where `SqliteStore()` has it) of a backup, and verify it. Raises `StateError`: `backup_exists` if
        there is one already, and what is wrong with the backup."""
        source, target = place_of(backup_path), place_of(path)
        files: Threads[None] = Threads("files", 1, source, _nothing)
        try:
            return await files.run(lambda _: backup.restore(source, target, BUSY_TIMEOUT_S))
        finally:
            await THREADS.aside(files.close)

    async def close(self) -> None:
        """Write what is queued, then let go of files, threads and connections. Idempotent. Cancelling stops the waiting only."""
        self._closed = True
        self._front.close()
        await self._hands.aside(self._end)

    def _end(self) -> None:
        self._watch.close(store_closed())
        self._readers.close()
        self._files.close()
        self._writer.close()  # the last one: it may put the log away, readers may not

    # --- who does it ----------------------------------------------------------------------------------------------------

    async def _write(self, function: Callable[[Connection], T], *, quick: bool = False) -> T:
        return await self._front.do(Task(function, quick))

    async def _read(self, function: Callable[[Connection], T]) -> T:
        await self._prepare()
        return await self._readers.run(function)

    async def _prepare(self) -> None:
        """Readers do not make files, nor migrate them."""
        if self._closed:
            raise store_closed()
        if not self._transactions.opened:
            await self._front.do(Opening())

    def _file_threads(self) -> Threads[None]:
        if self._closed:
            raise store_closed()
        return self._files

    # --- forks ----------------------------------------------------------------------------------------------------------

    def pause(self, limit_s: float) -> bool:
        """Let go of all connections, for a `fork()` that is about to be made. False if that took too long."""
        ended = [part.pause(limit_s) for part in (self._watch, self._readers, self._files, self._writer)]
        return all(ended)

    def go_on(self) -> None:
        """After the `fork()`, in the parent."""
        for part in (self._watch, self._writer, self._readers, self._files):
            part.go_on()

    def begin_anew(self) -> None:
        """After the `fork()`, in the child: what was queued is the parent's to do. What is open in its memory stays so, unused."""
        self._forgotten.detach()
        forks.keep(self._watch, self._writer, self._readers, self._files)
        if not self._closed:
            self._set_up()


def _is_used(db: Connection, tenant: str, sha256: str) -> bool:
    row = db.execute(
        "SELECT 1 FROM blob_refs JOIN sessions ON key = session WHERE sha256 = ? AND tenant = ? LIMIT 1",
        (sha256, tenant),
    ).fetchone()
    return row is not None


def _counted(db: Connection, path: Path) -> dict[str, int]:
    sessions, entries = db.execute("SELECT count(*), coalesce(sum(last), 0) FROM sessions").fetchone()
    sizes = [file.stat().st_size for folder in blobs.folders_of(path) for file in blobs.files_in(folder)]
    size = path.stat().st_size + sum(sizes)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        size += log.stat().st_size
    return {"sessions": sessions, "entries": entries, "blobs": len(sizes), "bytes": size}


def _nothing() -> None:
    return None


def _let_it_go(_: None) -> None:
    return None


def _refuse_inherited(path: Path) -> None:
    if forks.is_inherited(path):
        raise store_forked(path)


def _let_go(*parts: watch.Watch | Writer | Threads[Any]) -> None:
    """A store that was forgotten without being closed: its threads end when they have done what is queued. This is called wherever garbage
    is collected, so nothing here takes a lock."""
    for part in parts:
        part.forget()
