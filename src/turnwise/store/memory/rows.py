"""What a list of sessions shows, in memory. A row follows its journal when it is looked at, not when entries are appended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from ...core.entries import Entry
from ...core.store import Edit, NewSession, Query, SessionInfo, StoredStatus
from ..facts import facts_of
from .claims import Claims


class Row:
    """Of one session. `number` orders rows that were changed at the same moment; `dates` says when each append was made, by the number of
    its last entry; `folded` entries have been counted."""

    __slots__ = (
        "agent",
        "archived",
        "created_at",
        "dates",
        "folded",
        "folder",
        "id",
        "journal",
        "messages",
        "name",
        "number",
        "principal",
        "status",
        "tags",
        "title",
        "turns",
    )

    def __init__(self, new: NewSession, at: float, number: int) -> None:
        self.id, self.principal, self.name, self.title = new.id, new.principal, new.name, new.title
        self.agent, self.folder, self.tags, self.archived = new.agent, new.folder, new.tags, False
        self.created_at, self.number = at, number
        self.journal: list[Entry] = []
        self.dates: dict[int, float] = {0: at}
        self.folded = self.turns = self.messages = 0
        self.status: StoredStatus = "idle"

    @property
    def updated_at(self) -> float:
        return next(reversed(self.dates.values()))

    def date_of(self, number: int) -> float:
        """When an entry was appended."""
        lasts = list(self.dates)
        return self.dates[lasts[bisect_left(lasts, number)]]

    def fold(self) -> None:
        """Count the entries that have come since."""
        if self.folded == len(self.journal):
            return
        facts = facts_of(self.journal[self.folded :])
        self.folded = len(self.journal)
        self.turns += facts.turns
        self.messages += facts.messages
        self.status = facts.status or self.status

    def edit(self, edit: Edit) -> None:
        for field in edit.__struct_fields__:
            value = getattr(edit, field)
            if value is not msgspec.UNSET:
                setattr(self, field, value)

    def info(self, claims: Claims) -> SessionInfo:
        self.fold()
        held = claims.held.get(self.id)
        return SessionInfo(
            id=self.id,
            principal=self.principal,
            name=self.name,
            title=self.title,
            agent=self.agent,
            folder=self.folder,
            tags=self.tags,
            created_at=self.created_at,
            updated_at=self.updated_at,
            last=len(self.journal),
            turns=self.turns,
            messages=self.messages,
            status=self.status,
            archived=self.archived,
            owner=held.owner if held else "",
            claimed_until=claims.until(held.owner) if held else None,
        )


def listed(rows: Iterable[Row], query: Query, after: Row | None, claims: Claims, now: float) -> list[SessionInfo]:
    """The page of a list, those changed last first. `after` is the last row of the page before."""
    fitting = [row for row in rows if _fits(row, query, claims, now) and (after is None or _place(row) > _place(after))]
    fitting.sort(key=_place)
    return [row.info(claims) for row in fitting[: query.limit]]


def _place(row: Row) -> tuple[float, int]:
    return -row.updated_at, -row.number


def _fits(row: Row, query: Query, claims: Claims, now: float) -> bool:
    row.fold()
    return (
        query.tenant in (None, row.principal.tenant)
        and query.user in (None, row.principal.user)
        and query.name in (None, row.name)
        and query.agent in (None, row.agent)
        and query.folder in (None, row.folder)
        and query.status in (None, row.status)
        and query.archived in (None, row.archived)
        and set(query.tags) <= set(row.tags)
        and (query.updated_before is None or row.updated_at < query.updated_before)
        and (not query.orphaned or (row.status == "running" and not claims.living(row.id, now)))
    )
