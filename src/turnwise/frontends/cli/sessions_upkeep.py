"""`turnwise sessions delete | prune | verify | backup | restore`. What cannot be taken back is asked for on a terminal, and needs `--yes` elsewhere."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from ...core.errors import config_error
from ...core.store import SessionInfo, Store
from ...runtime.transfer.prune import PruneReport, prune
from ...runtime.transfer.upkeep import backup_store, verify_store
from ...runtime.transfer.words import size_of
from ...store.sqlite import SqliteStore, Verified
from .exits import COMPLETED, FAILED
from .kept import found, label
from .screen import Screen
from .sessions import as_line, guarded, in_store, show_rows, with_store


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    older_than_s: float | None
    max_bytes: int | None
    named: bool
    unfinished: bool
    dry_run: bool
    yes: bool
    as_json: bool


def delete_sessions(refs: tuple[str, ...], yes: bool, as_json: bool) -> int:
    async def look(store: Store) -> list[SessionInfo]:
        return list({row.id: row for row in [await found(store, ref) for ref in refs]}.values())

    def command(screen: Screen) -> int:
        rows = in_store(look)
        if not _confirmed(f"delete {_these(rows)}", yes, as_json):
            screen.note("Nothing was deleted.")
            return COMPLETED
        in_store(lambda store: _delete(store, rows, screen, as_json))
        screen.note(f"Deleted: {_these(rows)}.")
        return COMPLETED

    return guarded(as_json, command)


async def _delete(store: Store, rows: list[SessionInfo], screen: Screen, as_json: bool) -> None:
    for row in rows:
        await store.delete(row.id)
        if as_json:
            screen.data(as_line({"deleted": row.id, "name": row.name, "title": row.title}))


def prune_sessions(pruning: Pruning) -> int:
    async def run(store: Store, *, dry: bool) -> PruneReport:
        return await prune(
            store,
            older_than_s=pruning.older_than_s,
            max_bytes=pruning.max_bytes,
            keep_named=not pruning.named,
            keep_unfinished=not pruning.unfinished,
            dry_run=dry,
        )

    def command(screen: Screen) -> int:
        if not pruning.dry_run and not pruning.yes:
            going = [one.session for one in in_store(lambda store: run(store, dry=True)).pruned]
            if going and not pruning.as_json:
                show_rows(going, screen, as_json=False)
                screen.flush()
            if going and not _confirmed(f"delete {_count(len(going))}", pruning.yes, pruning.as_json):
                screen.note("Nothing was deleted.")
                return COMPLETED
        _tell(in_store(lambda store: run(store, dry=pruning.dry_run)), screen, pruning)
        return COMPLETED

    return guarded(pruning.as_json, command)


def _tell(report: PruneReport, screen: Screen, pruning: Pruning) -> None:
    if pruning.as_json:
        screen.data(as_line(report))
        return
    if report.dry_run and report.pruned:
        show_rows([one.session for one in report.pruned], screen, as_json=False)
    left = "" if report.bytes is None else f" What is left takes {size_of(report.bytes)}."
    kept = f" {len(report.kept)} are in use and stay." if report.kept else ""
    verb = "would go" if report.dry_run else "went"
    screen.note(f"{_count(len(report.pruned))} {verb}.{kept}{left}")


def verify_sessions(as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        return _told(await verify_store(store), screen, as_json)

    return with_store(as_json, work)


def backup_sessions(file: Path, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        await backup_store(store, file)
        size = _size(file)
        if as_json:
            screen.data(as_line({"file": str(file), "bytes": size}))
        else:
            screen.note(f"All that is kept is in {file}, {size_of(size)}.")
        return COMPLETED

    return with_store(as_json, work)


def restore_sessions(file: Path, as_json: bool) -> int:
    return guarded(as_json, lambda screen: _told(asyncio.run(SqliteStore.restore(file)), screen, as_json))


def _told(found: Verified, screen: Screen, as_json: bool) -> int:
    """What is there, and what of it is damaged; the exit code."""
    if as_json:
        screen.data(as_line({"ok": found.ok, **msgspec.to_builtins(found)}))
    else:
        counted = f"{_count(found.sessions)}, {found.entries} entries, {found.blobs} attachments in {found.path}"
        lines = [
            f"{one.kind}: {one.what}" + (f" (session {one.session})" if one.session else "") for one in found.damage
        ]
        lines += [f"Session {id}: the first {count} entries are good." for id, count in found.good.items()]
        screen.answer("\n".join([f"{counted}: {'all good' if found.ok else 'damaged'}.", *lines]) + "\n")
    screen.flush()
    return COMPLETED if found.ok else FAILED


def _size(file: Path) -> int:
    return file.stat().st_size


# --- asking -----------------------------------------------------------------------------------------------------------


def _confirmed(what: str, yes: bool, as_json: bool) -> bool:
    """Whether that is what is wanted. Raises `ConfigError` (`not_confirmed`) where nobody can be asked."""
    if yes:
        return True
    asked = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
    if not asked or as_json:
        raise config_error(
            "not_confirmed", f"This would {what} for good.", "There is nobody to ask: add --yes to do it."
        )
    return click.confirm(f"{what[0].upper()}{what[1:]} for good?", err=True)


def _these(rows: list[SessionInfo]) -> str:
    return ", ".join([label(row) for row in rows])


def _count(sessions: int) -> str:
    return f"{sessions} session{'' if sessions == 1 else 's'}"
