"""Where the program keeps sessions, and which of them is meant: the last one of this folder, a name, an id or its beginning."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from ...core.errors import ConfigError, StateError, config_error, error_of
from ...core.principal import LOCAL
from ...core.store import Query, Scope, SessionInfo, Store
from ...runtime.attachments import Prompt
from ...runtime.rows import all_sessions
from ...store.sqlite import SqliteStore
from . import AGENT
from .kinds import sound
from .view import shortened

SHORT_ID_CHARS = 13
"""The part of an id that is its time: enough to tell apart what people begin."""

TITLE_CHARS = 60
_KEY = "turnwise.cli"
_HEX = re.compile(r"[0-9a-f][0-9a-f-]*\Z")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f-]*)?\Z")


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the program must know of a session to go on with it, beside its journal."""

    model: str = ""
    system: str = ""


@asynccontextmanager
async def opened_store() -> AsyncGenerator[SqliteStore, None]:
    """The store in the data folder, or where `TURNWISE_HOME` says. Closed at the end."""
    store = SqliteStore()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def names_the_way_out() -> Generator[None, None, None]:
    """A store that cannot be used is no reason not to be answered: the error says how."""
    try:
        yield
    except StateError as error:
        if error.code == "name_taken":
            raise
        hint = f"{error.hint}\nTo ask without keeping the session: --ephemeral. To keep sessions elsewhere: TURNWISE_HOME.".strip()
        raise error_of(msgspec.structs.replace(error.info, hint=hint)) from error


def here() -> str:
    """The folder that the program runs in; "" if it has been removed."""
    try:
        return sound(os.getcwd())
    except FileNotFoundError:
        return ""


async def last_of(store: Store, folder: str) -> SessionInfo:
    """The session of a folder that was changed last. Raises `ConfigError` (`no_session`)."""
    found = await store.sessions(Query(folder=folder, limit=1)) if folder else ()
    if not found:
        raise config_error(
            "no_session",
            "No session was begun in this folder.",
            "turnwise sessions list shows those of all folders; --session goes on with one of them.",
        )
    return found[0]


async def find(store: Store, ref: str, *, whole_words: bool = False) -> SessionInfo | None:
    """The session that has this name or id, or whose id alone begins so; None if there is none. With `whole_words` short beginnings do not
    count, which may be names of sessions to be. Raises `ConfigError` (`ambiguous_session`)."""
    if not ref:
        return None
    for row in await store.sessions(Query(name=ref, archived=None, limit=1)):
        return row
    exact = await store.info(ref)
    if exact is not None and exact.principal.tenant == LOCAL.tenant:
        return exact
    start = ref.lower()
    if not (looks_like_an_id(start) if whole_words else _HEX.match(start)):
        return None
    found = [row async for row in all_sessions(store, Query(archived=None)) if row.id.startswith(start)]
    if len(found) > 1:
        lines = [f"{row.id}  {shortened(row.title, TITLE_CHARS)}".rstrip() for row in found[:5]]
        raise config_error(
            "ambiguous_session", f"{len(found)} sessions have an id that begins with {ref!r}.", "\n".join(lines)
        )
    return found[0] if found else None


async def found(store: Store, ref: str) -> SessionInfo:
    """As `find`; raises `ConfigError` (`no_session`) if there is none."""
    row = await find(store, ref)
    if row is None:
        raise no_such_session(ref)
    return row


def no_such_session(ref: str) -> ConfigError:
    return config_error(
        "no_session",
        f"There is no session {ref!r}.",
        "A name, an id or the beginning of one is meant; turnwise sessions list shows them.",
    )


def looks_like_an_id(ref: str) -> bool:
    """Whether nobody would call a session so."""
    return _ID.match(ref) is not None


def short(id: str) -> str:
    return id[:SHORT_ID_CHARS] if looks_like_an_id(id) else id


def label(row: SessionInfo) -> str:
    """What people call it: its name, else the beginning of its id."""
    return row.name or short(row.id)


def by_name(row: SessionInfo) -> str:
    """The option that goes on with it, as it is typed in a shell."""
    return f"--session {shlex.quote(label(row))}"


def title_of(words: str, attachments: Sequence[Path], prompt: Prompt | None) -> str:
    """The first words that were typed; else those of what was piped in; else the names of what was attached."""
    piped = prompt if isinstance(prompt, str) else ""
    return shortened(words, TITLE_CHARS) or shortened(
        piped or ", ".join([path.name for path in attachments]), TITLE_CHARS
    )


async def kept_of(store: Store, session: str) -> Kept:
    """What was kept beside; nothing if another program began the session, or what is there cannot be read."""
    record = await store.get_record(Scope("session", session), _KEY)
    if record is None:
        return Kept()
    try:
        return msgspec.json.decode(record.value, type=Kept)
    except msgspec.DecodeError:
        return Kept()


async def keep(store: Store, session: str, kept: Kept) -> None:
    await store.put_record(Scope("session", session), _KEY, msgspec.json.encode(kept), writer=AGENT)
