"""`turnwise sessions list | show | search | edit`: reading what is kept, and what a list says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from ...core.errors import TurnwiseError
from ...core.principal import LOCAL
from ...core.store import Edit, Hit, Query, SessionInfo, Store
from ...runtime.rows import all_sessions
from ...runtime.transfer.export import export_session
from ...runtime.transfer.words import when
from .demo.table import grid
from .exits import COMPLETED, exit_code_of_error
from .kept import TITLE_CHARS, found, here, last_of, opened_store, short
from .screen import Screen
from .view import shortened, tell_error

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    here: bool
    tags: tuple[str, ...]
    archived: bool
    limit: int
    as_json: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed about a session; None: nothing."""

    session: str
    name: str | None
    title: str | None
    tags: tuple[str, ...]
    untags: tuple[str, ...]
    archived: bool | None
    as_json: bool


def with_store(as_json: bool, work: Callable[[Store, Screen], Coroutine[Any, Any, int]]) -> int:
    """Run a command on the store; the exit code."""
    return guarded(as_json, lambda screen: in_store(lambda store: work(store, screen)))


def guarded(as_json: bool, command: Callable[[Screen], int]) -> int:
    """Run a command, its errors told as they are to be; the exit code."""
    screen = Screen(quiet=as_json)
    try:
        code = command(screen)
        screen.flush()
    except TurnwiseError as error:
        tell_error(error.info, screen, as_json=as_json)
        return exit_code_of_error(error)
    return code


def in_store(work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """What is done with the store, on a loop of its own. People are asked outside of it: a loop takes Ctrl-C for itself."""

    async def run() -> T:
        async with opened_store() as store:
            return await work(store)

    return asyncio.run(run())


async def meant(store: Store, ref: str | None) -> SessionInfo:
    """The session that is named, else the last one of this folder. Raises `ConfigError`: `no_session`, `ambiguous_session`."""
    return await last_of(store, here()) if ref is None else await found(store, ref)


def as_line(value: object) -> bytes:
    """A value as one line of JSON."""
    return _encode(value) + b"\n"


# --- the commands -----------------------------------------------------------------------------------------------------


def list_sessions(listing: Listing) -> int:
    async def work(store: Store, screen: Screen) -> int:
        query = Query(folder=here() if listing.here else None, tags=listing.tags, archived=listing.archived)
        rows = [row async for row in all_sessions(store, query, listing.limit)]
        show_rows(rows, screen, listing.as_json)
        return COMPLETED

    return with_store(listing.as_json, work)


def show_session(ref: str | None, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        row = await meant(store, ref)
        if as_json:
            screen.data(as_line({"session": row, "messages": await _messages(store, row)}))
            return COMPLETED
        async for piece in export_session(store, row.id, format="text"):
            screen.answer(piece.decode())
        return COMPLETED

    return with_store(as_json, work)


def search_sessions(text: str, ref: str | None, limit: int, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        session = None if ref is None else (await found(store, ref)).id
        hits = await store.search(LOCAL.tenant, text, session=session, limit=limit)
        if as_json:
            screen.data(b"".join([as_line(hit) for hit in hits]))
        elif hits:
            print_rows(("session", "entry", "when", "found"), [_hit(hit, screen) for hit in hits], screen)
        else:
            screen.note("Nothing was found.")
        return COMPLETED

    return with_store(as_json, work)


def edit_session(change: Change) -> int:
    async def work(store: Store, screen: Screen) -> int:
        row = await found(store, change.session)
        tags = [tag for tag in dict.fromkeys((*row.tags, *change.tags)) if tag not in change.untags]
        edit = Edit(
            name=msgspec.UNSET if change.name is None else change.name or None,
            title=msgspec.UNSET if change.title is None else change.title,
            tags=tuple(tags),
            archived=msgspec.UNSET if change.archived is None else change.archived,
        )
        show_rows([await store.edit(row.id, edit)], screen, change.as_json)
        return COMPLETED

    return with_store(change.as_json, work)


async def _messages(store: Store, row: SessionInfo) -> Sequence[object]:
    from ...store.projection import read_state

    read = await read_state(store, row.id)
    return () if read is None else list(read[0].history)


# --- what a list looks like -------------------------------------------------------------------------------------------

_HEAD = ("session", "name", "changed", "turns", "status", "title", "folder")


def show_rows(rows: Sequence[SessionInfo], screen: Screen, as_json: bool) -> None:
    """A table on a terminal, tab-separated values with whole ids in a pipe, one object per line as JSON."""
    if as_json:
        screen.data(b"".join([as_line(row) for row in rows]))
    elif rows:
        print_rows(_HEAD, [_row(row, screen) for row in rows], screen)
    else:
        screen.note("There are no such sessions.")


def print_rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], screen: Screen) -> None:
    """A table for a terminal, tab-separated values for a pipe."""
    lines = grid(head, rows) if screen.out_is_terminal else ["\t".join(row) for row in rows]
    screen.answer("\n".join(lines) + "\n")


def _row(row: SessionInfo, screen: Screen) -> tuple[str, ...]:
    return (
        shown_id(row.id, screen),
        _cell(row.name or "-"),
        moment(row.updated_at, screen),
        str(row.turns),
        "archived" if row.archived else row.status,
        shortened(row.title, TITLE_CHARS) or "-",
        _cell(row.folder or "-"),
    )


def _hit(hit: Hit, screen: Screen) -> tuple[str, ...]:
    return (
        _cell(hit.name or shown_id(hit.session, screen)),
        str(hit.entry),
        moment(hit.at, screen),
        shortened(hit.excerpt, 2 * TITLE_CHARS),
    )


def shown_id(id: str, screen: Screen) -> str:
    """An id, short for people."""
    return short(id) if screen.out_is_terminal else id


def _cell(text: str) -> str:
    return " ".join(text.split())


def moment(at: float, screen: Screen) -> str:
    """A time: that of the clock on the wall for people, else in UTC."""
    if not screen.out_is_terminal:
        return when(at)
    try:
        return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "-"
