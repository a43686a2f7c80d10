"""What is kept of a session, and where; and how one that was in memory only is made to last after all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..core.errors import config_error
from ..core.store import Journals, NewSession, Records, Scope, Store
from ..store.facts import blobs_of
from . import refusals
from .parts import with_rows

if TYPE_CHECKING:
    from .actor import Actor
    from .surface import Surface

Persist = Literal["auto", "never"]
"""Whether a session is journalled in its agent's store, if that has one, or in memory whatever it has."""


class Kept(msgspec.Struct, frozen=True):
    """What there is of a session once it is left: `entries` of its journal are durable in `where`. `lasting` is false if that is the
    memory of this process. `str()` says it in a sentence."""

    id: str
    name: str | None
    entries: int
    where: str
    lasting: bool

    def __str__(self) -> str:
        what = f"session {self.name!r} ({self.id})" if self.name else f"session {self.id}"
        if not self.entries:
            return f"Nothing was kept of {what}: nothing was said."
        if not self.lasting:
            return f"Nothing is kept of {what}: it was in memory only ({self.entries} entries)."
        return f"Kept {what}: {self.entries} entries in {self.where}."


def kept_of(session: Actor[Any]) -> Kept:
    """What is kept at this moment."""
    store = session.store
    lasting = is_lasting(store)
    return Kept(session.id, session.name, session.told, where_of(store), lasting)


def is_lasting(store: Journals | None) -> bool:
    """Whether what is in the store outlives the process. Stores in memory say of themselves that they do not."""
    return store is not None and getattr(store, "lasting", True)


def where_of(store: Journals | None) -> str:
    """A store for people: the place that it names, or its kind."""
    if not is_lasting(store):
        return "memory"
    return str(getattr(store, "where", None) or getattr(store, "path", None) or type(store).__name__)


async def make_last(
    session: Surface[Any], name: str | None, store: Store | None, title: str, tags: Iterable[str], folder: str
) -> Kept:
    """See `Session.persist`."""
    target = with_rows(store or session.agent.store, "Session.persist")
    if session.store is target:
        raise config_error(
            "already_kept",
            f"Session {session.id} is in that store already.",
            "Its name is changed by Store.edit, or Sessions.edit.",
        )
    new = NewSession(
        id=session.id,
        principal=session.state.principal,
        name=name,
        title=title,
        agent=session.agent.name,
        folder=folder,
        tags=tuple(tags),
    )
    return await session.on_its_loop(lambda: _persist(session, target, new))


async def _persist(session: Surface[Any], target: Store, new: NewSession) -> Kept:
    """Copy the journal, and whatever is added to it meanwhile; in the moment in which nothing is left to copy, go on there."""
    _refuse_while_running(session)
    await target.create(new)
    try:
        copied = 0
        await _copy_records(await session.records("session"), target, Scope("session", new.id, new.principal.tenant))
        while not (session.settled and session.told == copied):
            await session.until_durable()
            copied += await _copy(session, target, copied)
            _refuse_while_running(session)
        session.move_to(target, target.blobs(new.principal.tenant))
    except BaseException:
        await target.delete(new.id)
        raise
    session.name = new.name
    await session.write_down()
    return kept_of(session)


async def _copy(session: Surface[Any], target: Store, after: int) -> int:
    """Copy the entries behind that one, with the bytes that they refer to first; how many there were."""
    entries = await session.journal(after)
    blobs = target.blobs(session.state.principal.tenant)
    for sha256 in sorted({sha256 for entry in entries for sha256 in blobs_of(entry)}):
        await blobs.put(await session.blobs.get(sha256))
    if entries:
        await target.append(session.id, after, entries)
    return len(entries)


async def _copy_records(source: Records, target: Store, scope: Scope) -> None:
    """Copy what tools remember of the session."""
    after = ""
    while page := await source.records(scope, after=after):
        for record in page:
            ttl_s = None if record.expires_at is None else max(0.001, record.expires_at - record.updated_at)
            await target.put_record(
                scope, record.key, record.value, schema=record.schema, writer=record.writer, ttl_s=ttl_s
            )
        after = page[-1].key


def _refuse_while_running(session: Surface[Any]) -> None:
    if session.turn is not None:
        raise refusals.busy(session.id)
