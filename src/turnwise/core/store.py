"""What a journal store is: the contract that memory, SQLite and PostgreSQL keep, and the values it deals in.

`turnwise.testing.store_conformance` holds any store against what is written here. Times are Unix seconds by the store's own clock (that of the
database, where there is one). Nothing here is a default implementation.

Three kinds of things are kept. *Journals*, each with a row of what a list of sessions shows; `append` alone changes a journal. *Blobs*: bytes
under their sha256, of one tenant each. *Records*: small values under scope and key, for tools and plugins.

Who may write (rule D3). A process has one *lease*, a row under its owner's name that it renews by `heartbeat` before it runs out. A session is
*claimed* for an owner by the first append of a turn and given back by the last; the claim has a fence, a number that grows whenever the
claim changes hands. A claim whose owner's lease has run out may be taken over; then the old owner's fence is refused for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from .entries import Entry
from .principal import LOCAL, Principal

StoredStatus = Literal["idle", "running", "parked"]
"""No turn; a turn that has begun and not ended; a turn that waits for someone."""

ScopeKind = Literal["global", "user", "agent", "session"]


class Owner(msgspec.Struct, frozen=True):
    """A process that writes: `id` is made anew for each one, and after a fork (never reused); the rest is for people."""

    id: str
    host: str = ""
    pid: int = 0


class Claim(msgspec.Struct, frozen=True):
    """Under whose name an append is made. `fence` 0 takes the claim; else it is the one that was given then. `hold` false gives the claim
    back with this append."""

    owner: str
    fence: int = 0
    hold: bool = True


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to be. `name` is unique among its tenant's sessions that are not deleted; `agent` is the name of the agent that it
    belongs to; `folder` where it was begun."""

    id: str
    principal: Principal = LOCAL
    name: str | None = None
    title: str = ""
    agent: str = ""
    folder: str = ""
    tags: tuple[str, ...] = ()


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list. `last` is the number of its last entry, 0 before the first; `messages` counts what was said by users, models
    and tools, compacted or not. `updated_at` is when entries were appended last, at first when it was created: an edit does not count.
    `owner` has it claimed, until `claimed_until` unless it renews its lease; "" if nobody has."""

    id: str
    principal: Principal
    name: str | None
    title: str
    agent: str
    folder: str
    tags: tuple[str, ...]
    created_at: float
    updated_at: float
    last: int
    turns: int
    messages: int
    status: StoredStatus
    archived: bool
    owner: str
    claimed_until: float | None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions; None does not care. Whoever serves people names a `tenant`; all of them at once are for upkeep. All of `tags` are
    asked for. `orphaned`: a turn runs that no living owner has claimed, so it wants to be recovered. Those changed last come first;
    `after` is the id of the last one of the page before."""

    tenant: str | None = LOCAL.tenant
    user: str | None = None
    name: str | None = None
    agent: str | None = None
    folder: str | None = None
    tags: tuple[str, ...] = ()
    status: StoredStatus | None = None
    archived: bool | None = False
    orphaned: bool = False
    updated_before: float | None = None
    after: str | None = None
    limit: int = 50


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed about a session; UNSET leaves it. `name` None takes its name away."""

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET
    agent: str | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET


class Hit(msgspec.Struct, frozen=True):
    """Where a text was found: the entry, when it was appended, and some words around, the found ones between `[` and `]`."""

    session: str
    name: str | None
    title: str
    entry: int
    at: float
    excerpt: str


class Snapshot(msgspec.Struct, frozen=True):
    """A session's state as of entry `seq`, encoded. `version` is that of the projection: another one than the reader's is of no use."""

    seq: int
    version: int
    data: bytes


class Scope(msgspec.Struct, frozen=True):
    """Whose a record is: all of the tenant's ("global", name ""), a user's, an agent's, a session's."""

    kind: ScopeKind
    name: str = ""
    tenant: str = LOCAL.tenant


class Record(msgspec.Struct, frozen=True):
    """A value under a key. `value` is JSON; `version` counts its changes from 1; `schema` is the writer's own number for its shape;
    `writer` says who wrote it. It is gone at `expires_at`."""

    key: str
    value: bytes
    version: int
    schema: int
    created_at: float
    updated_at: float
    writer: str
    expires_at: float | None = None


class Collected(msgspec.Struct, frozen=True):
    """What a collection of unused blobs came to."""

    blobs: int
    bytes: int


class StoredBlobs(Protocol):
    """Bytes under their sha256, of one tenant. What is put twice is kept once."""

    async def put(self, data: bytes | AsyncIterator[bytes]) -> str:
        """Keep bytes, given whole or piece by piece; their sha256 in hex. Durable when it returns, whole or not at all. Raises `StateError`:
        `blob_too_large`."""
        ...

    async def get(self, sha256: str) -> bytes:
        """All bytes. Raises `StateError`: `missing_blob`; `damaged_blob` if they are not what they were."""
        ...

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes piece by piece, never all at once in memory. Raises as `get`, `damaged_blob` at the end."""
        ...

    async def size(self, sha256: str) -> int | None:
        """How many bytes there are under this name; None if there are none."""
        ...


class Journals(Protocol):
    """The part of a store that a session needs: what is enough to run turns."""

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        """Put `entries` behind entry number `after` (0: the journal is empty). All of them or none; when it returns they are durable. The
        first append of a session that was not created makes its row, by its `SessionCreated` (principal and agent).

        Returns the fence of the claim; 0 without one. Raises, having written nothing and claimed nothing, in this order: `StateError`
        `session_deleted` if there is no such session though `after` is not 0; `SessionBusy` (with who, and until when) if a living
        owner has the session and the claim takes it for another, or there is none; `lease_lost` if the claim's fence is not the valid one;
        `append_conflict` if the journal's last number is another one. Several appends may be under way; those of one session take effect
        in the order of their calls. A cancelled one takes effect wholly or not at all.
        """
        ...

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        """The entries from number `after` + 1 on, at most `limit`; empty if there are none. Raises `StateError`: `unknown_entry` for an
        entry of a type or version that this release does not know (rule D7), `damaged_entry` for one that is not what was written
        (rule D5); both say which number, and an earlier part can be read with `limit`."""
        ...


class Records(Protocol):
    """The part of a store that keeps small values under scope and key; `store.scopes.State` is how tools and plugins meet it."""

    async def get_record(self, scope: Scope, key: str) -> Record | None: ...

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
        """Write a value. `expect` is the version that it must have now (0: there must be none). Raises `StateError` (`version_conflict`),
        having written nothing. A record that had expired counts as none, but its version goes on, for an hour at least; with `ttl_s`
        0 it has expired at once."""
        ...

    async def delete_record(self, scope: Scope, key: str, *, expect: int | None = None) -> bool:
        """False if there was none. Raises as `put_record`."""
        ...

    async def records(self, scope: Scope, prefix: str = "", *, after: str = "", limit: int = 100) -> Sequence[Record]:
        """The records whose keys begin so, by key, from behind the key `after` on."""
        ...


class Store(Journals, Records, Protocol):
    """Keeps everything. Its methods may be called from any task of the loop it was opened on, many at a time. It can be referred to
    weakly, as objects without `__slots__` can."""

    async def close(self) -> None:
        """Finish what was begun and let go of files, threads and connections. Idempotent."""
        ...

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def create(self, session: NewSession) -> SessionInfo:
        """A row for a session whose journal is empty yet. Raises `StateError`: `name_taken`, `session_exists`."""
        ...

    async def info(self, session: str) -> SessionInfo | None: ...

    async def sessions(self, query: Query) -> Sequence[SessionInfo]: ...

    async def edit(self, session: str, edit: Edit) -> SessionInfo:
        """Change what a list shows. Raises `StateError`: `unknown_session`, `name_taken`."""
        ...

    async def delete(self, session: str) -> bool:
        """Journal, snapshot, records of its scope, and the row: gone; False if there was none. Its blobs go by `collect_blobs`. Raises
        `SessionBusy` if a living owner has claimed it."""
        ...

    async def search(
        self, tenant: str, text: str, *, user: str | None = None, session: str | None = None, limit: int = 20
    ) -> Sequence[Hit]:
        """Messages and tool results that have all the words of `text`; words in double quotes stand together. Any text is a valid query.
        The best come first."""
        ...

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        """Wait until the journal has more than `after` entries, whoever appends them; the number of its last one by then."""
        ...

    # --- snapshots --------------------------------------------------------------------------------------------------

    async def save_snapshot(self, session: str, snapshot: Snapshot) -> None:
        """Keep it in place of an older one; an older one than that kept is ignored, and so is one of an unknown session."""
        ...

    async def snapshot(self, session: str) -> Snapshot | None: ...

    # --- leases -----------------------------------------------------------------------------------------------------

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        """Renew the owner's lease, or make it: it runs out `ttl_s` seconds from now. One that has run out can be renewed: what was taken
        over meanwhile is found out by its fence."""
        ...

    async def retire(self, owner: str) -> None:
        """End the lease and all claims of the owner."""
        ...

    async def claim(self, session: str, owner: str) -> int:
        """Claim a session without an append; the fence. Again for the same owner: the same fence. Raises `SessionBusy`; `StateError`
        (`unknown_session`)."""
        ...

    async def holds(self, session: str, claim: Claim) -> bool:
        """Whether the claim is still valid: nobody has taken it over."""
        ...

    async def release(self, session: str, claim: Claim) -> None:
        """Give a claim back; nothing happens if it is no longer held."""
        ...

    # --- blobs ------------------------------------------------------------------------------------------------------

    def blobs(self, tenant: str) -> StoredBlobs: ...

    async def collect_blobs(self, tenant: str, *, unused_for_s: float = 3600.0) -> Collected:
        """Remove blobs that no journal of the tenant refers to and that were put (again) longer ago than that."""
        ...

    # --- upkeep -----------------------------------------------------------------------------------------------------

    async def stats(self) -> Mapping[str, int]:
        """Figures for people and health checks: at least `sessions`, `entries`, `blobs`, `bytes`."""
        ...
