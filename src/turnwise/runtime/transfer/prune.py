"""What is old or too much goes: `prune`. Which sessions those are is decided in `chosen`, which is pure; sessions in use are never touched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import msgspec

from ...core.errors import SessionBusy, StateError, config_error
from ...core.principal import LOCAL
from ...core.store import Collected, Query, SessionInfo, Store
from ...store.codec import encode_entry
from ...store.facts import blobs_of
from ..rows import all_sessions
from ..seams import SystemClock
from .export import Journal

if TYPE_CHECKING:
    from ..runtime import Runtime

Why = Literal["age", "size"]


class Pruned(msgspec.Struct, frozen=True):
    """A session that went, or would go. `bytes` is what its journal and the attachments that no other session uses came to; None if that was not looked at."""

    session: SessionInfo
    why: Why
    bytes: int | None = None


class PruneReport(msgspec.Struct, frozen=True):
    """What a pruning came to. `kept` are sessions that the bounds would have taken but which are in use, or were gone on with just now; `bytes` is what all that are left take,
    None if the size was not bounded; `collected` are attachments that nobody used any more (None in a dry run)."""

    dry_run: bool
    pruned: tuple[Pruned, ...]
    kept: tuple[SessionInfo, ...] = ()
    bytes: int | None = None
    collected: Collected | None = None


class Weighed(msgspec.Struct, frozen=True):
    """A session with what it takes: bytes of its journal, and its attachments with theirs."""

    session: SessionInfo
    journal_bytes: int = 0
    blobs: dict[str, int] = {}


async def prune(
    store: Store,
    *,
    older_than_s: float | None = None,
    max_bytes: int | None = None,
    keep_named: bool = True,
    keep_unfinished: bool = True,
    dry_run: bool = False,
    tenant: str = LOCAL.tenant,
    runtime: Runtime | None = None,
) -> PruneReport:
    """Delete the sessions of a tenant that were last changed more than `older_than_s` seconds ago; then, the oldest first, as many as it takes
    for what is left to fit into `max_bytes` (journals as they are exported, and their attachments once each).

    `keep_named` spares sessions with a name, `keep_unfinished` those whose turn is running or parked; archived ones are not spared. One that
    a living process has claimed is never deleted, and a session whose journal cannot be read is never deleted for its size. With
    `max_bytes` all journals are read. `dry_run` only says what would go. Attachments that nobody refers to go, too, an hour after
    they were last put; what the file then has free is up to the store. Raises `ConfigError` (`invalid_value`) if no bound is given or one is
    negative, and what the store raises. `runtime` gives the clock (default: the machine's).
    """
    _check(older_than_s, max_bytes)
    now = (SystemClock() if runtime is None else runtime.clock).wall()
    weighed = [one async for one in _weighed(store, tenant, weigh=max_bytes is not None)]
    spared = {
        one.session.id
        for one in weighed
        if (keep_named and one.session.name is not None) or (keep_unfinished and one.session.status != "idle")
    }
    before = None if older_than_s is None else now - older_than_s
    going, kept = chosen(weighed, before, max_bytes, spared), list[SessionInfo]()
    gone: list[Pruned] = []
    for one in going:
        if not dry_run and not await _deleted(store, one.session):
            kept.append(one.session)
        else:
            gone.append(one)
    collected = None if dry_run else await store.collect_blobs(tenant)
    names = {one.session.id for one in gone}
    left = None if max_bytes is None else total(one for one in weighed if one.session.id not in names)
    return PruneReport(dry_run, tuple(gone), tuple(kept), left, collected)


def chosen(weighed: list[Weighed], before: float | None, max_bytes: int | None, spared: set[str]) -> list[Pruned]:
    """Those that go, of sessions given newest first: the ones that were last changed before that time; then, of the rest, the oldest until
    what is left fits. The latter are told with what is freed by each."""
    out: list[Pruned] = []
    left = list[Weighed]()
    for one in weighed:
        if before is not None and one.session.updated_at < before and one.session.id not in spared:
            out.append(Pruned(one.session, "age"))
        else:
            left.append(one)
    out.reverse()
    if max_bytes is None:
        return out
    users: dict[str, int] = {}
    for one in left:
        for name in one.blobs:
            users[name] = users.get(name, 0) + 1
    size = total(left)
    for one in reversed(left):
        if size <= max_bytes:
            break
        if one.session.id in spared or not one.journal_bytes:
            continue
        freed = one.journal_bytes
        for name, size_of_blob in one.blobs.items():
            users[name] -= 1
            freed += 0 if users[name] else size_of_blob
        size -= freed
        out.append(Pruned(one.session, "size", freed))
    return out


def total(weighed: Iterable[Weighed]) -> int:
    """What sessions take together; attachments count once."""
    journals, blobs = 0, dict[str, int]()
    for one in weighed:
        journals += one.journal_bytes
        blobs.update(one.blobs)
    return journals + sum(blobs.values())


def _check(older_than_s: float | None, max_bytes: int | None) -> None:
    if older_than_s is None and max_bytes is None:
        raise config_error(
            "invalid_value",
            "prune() was given no bound: it would delete nothing.",
            "Give older_than_s, max_bytes or both.",
        )
    for name, value in (("older_than_s", older_than_s), ("max_bytes", max_bytes)):
        if value is not None and not value >= 0:
            raise config_error("invalid_value", f"prune({name}={value}) means nothing.", "Use 0 or more.")


async def _weighed(store: Store, tenant: str, *, weigh: bool) -> AsyncGenerator[Weighed, None]:
    rows = [row async for row in all_sessions(store, Query(tenant=tenant, archived=None))]
    for row in rows:
        yield await _weigh(store, row) if weigh else Weighed(row)


async def _weigh(store: Store, row: SessionInfo) -> Weighed:
    """Of a session whose journal cannot be read, nothing."""
    size, blobs = 0, dict[str, int]()
    held = store.blobs(row.principal.tenant)
    try:
        async with aclosing(Journal(store, row, salvage=False).pages()) as pages:
            async for _, page in pages:
                for entry in page:
                    size += len(encode_entry(entry))
                    for name in blobs_of(entry):
                        if name not in blobs:
                            blobs[name] = await held.size(name) or 0
    except StateError:
        return Weighed(row)
    return Weighed(row, size, blobs)


async def _deleted(store: Store, session: SessionInfo) -> bool:
    """False if somebody has it, or went on with it since it was chosen."""
    now = await store.info(session.id)
    if now is not None and (now.last, now.updated_at) != (session.last, session.updated_at):
        return False
    try:
        await store.delete(session.id)
    except SessionBusy:
        return False
    return True
