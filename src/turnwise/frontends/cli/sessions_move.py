"""`turnwise sessions export | import | fork`: sessions on their way out, in, and on."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, cast

import msgspec
from click import UsageError

from ...core.errors import ConfigError, config_error
from ...core.store import Store
from ...runtime.rows import all_or_nothing
from ...runtime.transfer.export import ExportFormat, export_session
from ...runtime.transfer.fork import fork_stored
from ...runtime.transfer.importing import import_session
from .exits import COMPLETED
from .kept import Kept, by_name, here, keep, kept_of, label
from .screen import Screen
from .sessions import as_line, meant, with_store

_BY_SUFFIX: dict[str, ExportFormat] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".txt": "text",
}
_PIECE_BYTES = 1 << 18


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    session: str | None
    form: str | None
    output: Path | None
    salvage: bool
    as_json: bool


def export_one(export: Export) -> int:
    form = cast(
        "ExportFormat", export.form or _BY_SUFFIX.get(export.output.suffix.lower() if export.output else "", "jsonl")
    )

    async def work(store: Store, screen: Screen) -> int:
        row = await meant(store, export.session)
        async with aclosing(export_session(store, row.id, format=form, salvage=export.salvage)) as pieces:
            if export.output is None:
                async for piece in pieces:
                    screen.data(piece)
                return COMPLETED
            size = await write_file(export.output, pieces)
        said = {"session": row.id, "format": form, "file": str(export.output), "bytes": size}
        if export.as_json:
            screen.data(as_line(said))
        else:
            screen.note(f"Session {label(row)} is in {export.output}: {form}, {size} bytes.")
        return COMPLETED

    if export.as_json and export.output is None and form != "jsonl":
        raise UsageError(f"--json says in JSON what was written to a file (-o): {form} itself is no JSON.")
    return with_store(export.as_json, work)


def import_one(file: Path, name: str | None, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        with _opened(file) as source:
            row = await import_session(store, _read(source), name=name, folder=here())
        if as_json:
            screen.data(as_line(row))
            return COMPLETED
        screen.answer(f"{row.id}\n")
        screen.flush()
        unfinished = "" if row.status == "idle" else f" Its last turn is {row.status}."
        screen.note(f"{row.last} entries were imported.{unfinished} To go on with it: turnwise {by_name(row)}")
        return COMPLETED

    return with_store(as_json, work)


def fork_one(ref: str | None, at: int | None, name: str | None, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        row = await meant(store, ref)
        kept = await kept_of(store, row.id)
        made = await fork_stored(store, row, at, name=name, folder=here())
        if kept != Kept():
            async with all_or_nothing(store, made.id):
                await keep(store, made.id, kept)
        if as_json:
            screen.data(as_line(made))
        else:
            screen.answer(f"{made.id}\n")
            screen.flush()
            screen.note(f"Forked from {label(row)}. To go on with it: turnwise {by_name(made)}")
        return COMPLETED

    return with_store(as_json, work)


# --- files ------------------------------------------------------------------------------------------------------------


async def write_file(path: Path, pieces: AsyncGenerator[bytes, None]) -> int:
    """Write into a file, which has its name only once all of it is there; what is no plain file (`/dev/stdout`) is written to at once. How many
    bytes that were. Raises `ConfigError` (`unwritable_file`)."""
    size = 0
    with _written(path) as target:
        async for piece in pieces:
            _put(target, piece, path)
            size += len(piece)
    return size


@contextmanager
def _written(path: Path) -> Generator[IO[bytes], None, None]:
    straight = path.exists() and not path.is_file()
    part = path if straight else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _created(part, path, straight) as target:
            yield target
            _put(target, b"", path, flush=True)
        if not straight:
            os.replace(part, path)
    finally:
        if not straight:
            part.unlink(missing_ok=True)


def _created(part: Path, path: Path, straight: bool) -> IO[bytes]:
    try:
        return open(part, "wb" if straight else "xb")
    except OSError as error:
        raise _unwritable(path, error) from error


def _put(target: IO[bytes], data: bytes, path: Path, *, flush: bool = False) -> None:
    try:
        target.write(data)
        if flush:
            target.flush()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return config_error(
        "unwritable_file",
        f"{path} cannot be written: {error.strerror or error}.",
        "Name another file, or check its folder.",
    )


@contextmanager
def _opened(file: Path) -> Generator[IO[bytes], None, None]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with open(file, "rb") as source:  # click has seen to it that it is there and may be read
        yield source


def _read(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(_PIECE_BYTES):
        yield piece
