"""What the tests of the SQLite store have done by processes of their own: `python sqlite_child.py WHAT PATH …`. Each prints lines for its parent."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from turnwise import SqliteStore
from turnwise.core.entries import Entry, InputAccepted, SessionCreated
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.principal import LOCAL
from turnwise.errors import TurnwiseError


def entry(session: str, number: int, size: int = 100) -> Entry:
    if number == 0:
        return SessionCreated(session, LOCAL, 1.0)
    return InputAccepted(UserMessage(f"{session} {number} {'x' * size}", turn=number), Limits())


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def append(path: str, session: str, count: str) -> None:
    """Await so many appends, after the parent has said to begin."""
    store = SqliteStore(path)
    say("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for number in range(int(count)):
        await store.append(session, number, [entry(session, number)])
    await store.close()
    say("done")


async def count(path: str, session: str, durability: Any) -> None:
    """Append for ever, and say each number that was acknowledged."""
    store = SqliteStore(path, durability=durability)
    number = 0
    while True:
        await store.append(session, number, [entry(session, number)])
        number += 1
        say(number)


async def fill(path: str) -> None:
    """Append until there is no room, make room, and go on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = SqliteStore(path)
    acknowledged, refused, session = 0, "", "full"
    await store.append("other", 0, [entry("other", 0)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for number in range(2000):
        try:
            await store.append(session, number, [entry(session, number, 2000)])
        except TurnwiseError as error:
            refused = error.code
            break
        acknowledged = number + 1
    blob = "kept"
    try:
        await store.blobs("local").put(b"x" * 400_000)
    except TurnwiseError as error:
        blob = error.code
    read = len(await store.read(session))
    others = len(await store.read("other"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.append(session, acknowledged, [entry(session, 1)])
    after = len(await store.read(session))
    ok = (await store.verify()).ok
    await store.close()
    say(
        {
            "acknowledged": acknowledged,
            "refused": refused,
            "read": read,
            "others": others,
            "after": after,
            "ok": ok,
            "blob": blob,
        }
    )


async def read_only(path: str) -> None:
    """Use a file that may only be read, as a user who may not do more."""
    with tempfile.TemporaryDirectory() as other:  # loads everything there is to load, before the rights are gone
        warm = SqliteStore(Path(other) / "warm.db")
        await warm.append("a", 0, [entry("a", 0)])
        await warm.search("local", "nothing")
        await warm.close()
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    store = SqliteStore(path)
    read = len(await store.read("s"))
    hits = len(await store.search("local", "anything"))
    try:
        await store.append("s", read, [entry("s", 1)])
        code = ""
    except TurnwiseError as error:
        code = error.code
    again = len(await store.read("s"))
    await store.close()
    say({"read": read, "code": code, "again": again, "hits": hits})


if __name__ == "__main__":
    asyncio.run({"append": append, "count": count, "fill": fill, "read_only": read_only}[sys.argv[1]](*sys.argv[2:]))
