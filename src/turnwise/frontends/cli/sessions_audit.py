"""`turnwise sessions audit`: what was decided in kept sessions, by whom and by which rule."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

import msgspec

from ...core.audit import AuditKind, AuditRecord, Wanted
from ...core.principal import Principal
from ...core.store import Query, Store
from ...runtime.audit.reading import as_jsonl, of_row, read_audit
from ...runtime.seams import SystemClock
from .exits import COMPLETED
from .screen import Screen
from .sessions import as_line, meant, moment, print_rows, shown_id, with_store
from .sessions_move import write_file
from .view import shortened

REASON_CHARS = 60
_HEAD = ("session", "entry", "when", "what", "decision", "who", "tool", "rule", "reason")


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    session: str | None
    everything: bool
    since_s: float | None
    kind: str | None
    tool: str | None
    output: Path | None
    as_json: bool


def audit_sessions(audit: Audit) -> int:
    since = None if audit.since_s is None else SystemClock().wall() - audit.since_s
    wanted = Wanted(since, None, cast("AuditKind | None", audit.kind), audit.tool)

    async def work(store: Store, screen: Screen) -> int:
        if audit.everything:
            found = read_audit(store, Query(archived=None), wanted)
        else:
            found = of_row(store, await meant(store, audit.session), wanted)
        async with aclosing(found) as records:
            if audit.output is not None:
                size = await write_file(audit.output, as_jsonl(records))
                said = {"file": str(audit.output), "bytes": size}
                screen.data(as_line(said)) if audit.as_json else screen.note(f"{audit.output}: {size} bytes of jsonl.")
            elif audit.as_json:
                async for line in as_jsonl(records):
                    screen.data(line)
            else:
                await _show(records, screen)
        return COMPLETED

    return with_store(audit.as_json, work)


async def _show(records: AsyncGenerator[AuditRecord, None], screen: Screen) -> None:
    rows: Sequence[tuple[str, ...]] = [_row(record, screen) async for record in records]
    if rows:
        print_rows(_HEAD, rows, screen)
    else:
        screen.note("Nothing was decided.")


def _row(record: AuditRecord, screen: Screen) -> tuple[str, ...]:
    reason = record.reason or ", ".join([f"{name}={value}" for name, value in record.detail.items()])
    return (
        shown_id(record.session, screen),
        str(record.entry),
        moment(record.at, screen),
        record.kind,
        record.decision,
        _person(record.who),
        f"{record.tool} {record.call}".strip() or "-",
        record.rule or record.point or "-",
        shortened(reason, REASON_CHARS) or "-",
    )


def _person(who: Principal | None) -> str:
    return "-" if who is None else who.user
