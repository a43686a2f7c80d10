"""Rows of sessions in any store: one that must be there, all that a query finds, one that is made whole or not at all. Which one people mean by a
name or an id is in `wanted`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from ..core.store import Query, SessionInfo, Store
from ..store.refusals import unknown_session

PAGE = 200
"""Rows that are read at a time."""


async def row_of(store: Store, session: str) -> SessionInfo:
    """The session's row; raises `StateError` (`unknown_session`)."""
    row = await store.info(session)
    if row is None:
        raise unknown_session(session)
    return row


async def all_sessions(store: Store, query: Query, most: int | None = None) -> AsyncGenerator[SessionInfo, None]:
    """Every session that a query finds, or so many of them, page by page."""
    seen = 0
    while most is None or seen < most:
        size = PAGE if most is None else min(PAGE, most - seen)
        page = await store.sessions(replace(query, limit=size))
        for row in page:
            yield row
        if len(page) < size:
            return
        seen += len(page)
        query = replace(query, after=page[-1].id)


@asynccontextmanager
async def all_or_nothing(store: Store, session: str) -> AsyncGenerator[None, None]:
    """A session that was just created gets what belongs into it; if that fails, or is cancelled, it is gone again."""
    try:
        yield
    except BaseException:
        await store.delete(session)
        raise
