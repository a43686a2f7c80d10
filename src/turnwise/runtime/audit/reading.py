"""The audit of one session that is open, and of all that a store has: their journals are read page by page, and nothing is kept.

A journal that cannot be read to its end is audited up to there, and a record says so: a damaged entry hides nothing of other sessions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.audit import Auditor, AuditRecord, Wanted
from ...core.store import Query, SessionInfo, Store
from ..home import at_home
from ..rows import all_sessions
from ..transfer.export import Journal

if TYPE_CHECKING:
    from ..actor import Actor

_line = msgspec.json.Encoder().encode


async def of_session(session: Actor[Any], wanted: Wanted) -> list[AuditRecord]:
    """The records of a session, whatever its store. Raises what the store raises."""

    async def read() -> list[AuditRecord]:
        auditor = Auditor(session.id, session.state.principal)
        found = [auditor.read(number, entry) for number, entry in enumerate(await session.journal(0), 1)]
        return [record for record in found if record is not None and wanted.has(record)]

    return await at_home(session, read)


async def of_row(store: Store, row: SessionInfo, wanted: Wanted) -> AsyncGenerator[AuditRecord, None]:
    """The records of a stored session, in order."""
    auditor, journal = Auditor(row.id, row.principal), Journal(store, row, salvage=True)
    async with aclosing(journal.pages()) as pages:
        async for first, page in pages:
            for number, entry in enumerate(page, first):
                record = auditor.read(number, entry)
                if record is not None and wanted.has(record):
                    yield record
    if journal.trouble is not None:
        yield auditor.unreadable(journal.read + 1, row.updated_at, journal.trouble.message)


async def read_audit(store: Store, query: Query, wanted: Wanted) -> AsyncGenerator[AuditRecord, None]:
    """The records of all sessions that `query` finds: those changed last first, each in order."""
    async with aclosing(all_sessions(store, query)) as rows:
        async for row in rows:
            if wanted.since is not None and row.updated_at < wanted.since:
                return  # and so are all that follow
            async with aclosing(of_row(store, row, wanted)) as records:
                async for record in records:
                    yield record


async def as_jsonl(records: AsyncIterator[AuditRecord]) -> AsyncGenerator[bytes, None]:
    """Records as lines of JSON, as they are exported."""
    async for record in records:
        yield _line(record) + b"\n"
