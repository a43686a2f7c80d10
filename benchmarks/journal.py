"""What a durable append costs through the whole `SqliteStore`, against the bare floor that is measured in turns with it.

    python benchmarks/journal.py [--rounds N] [--appends N] [--full]

The floor is one prepared INSERT and a COMMIT into a journal table with the same pragmas and row size, on the calling thread: once into a table
with the key that anybody would give it (session, number), once into the store's own table of entries, which is the leanest there is.
CPU is that of the process, all threads included. `--full` measures with `synchronous = FULL` on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Literal

from turnwise import SqliteStore
from turnwise.core.entries import CallOutcome, Entry, SessionCreated
from turnwise.core.outcomes import ToolResult
from turnwise.core.principal import LOCAL
from turnwise.core.store import Claim, Owner
from turnwise.store.codec import encode_entry

SESSION = "0198c0de-0000-7000-8000-00000000000{}"
ENTRY: Entry = CallOutcome(ToolResult("t1.s1.c0", "The weather is fine. " * 20), "weather", True, 1795664132.2)
DATA = encode_entry(ENTRY)
TABLES = {
    "keyed": (
        "CREATE TABLE journal (session TEXT, seq INTEGER, crc INTEGER, data BLOB, PRIMARY KEY (session, seq))",
        "INSERT INTO journal VALUES (?, ?, ?, ?)",
        lambda i: (SESSION.format(1), i, 12345, DATA),
    ),
    "lean": (
        "CREATE TABLE journal (id INTEGER PRIMARY KEY, crc INTEGER, data BLOB)",
        "INSERT INTO journal VALUES (?, ?, ?)",
        lambda i: ((1 << 32) + i, 12345, DATA),
    ),
}


class Spent:
    """CPU and wall time per append, in microseconds."""

    def __init__(self, appends: int) -> None:
        self.appends = appends

    def __enter__(self) -> Spent:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_us = (time.process_time() - self._cpu) / self.appends * 1e6
        self.wall_us = (time.perf_counter() - self._wall) / self.appends * 1e6


class Floor:
    """A file, a prepared statement, a commit."""

    def __init__(self, folder: Path, kind: str, synchronous: str) -> None:
        make, self._insert, self._row = TABLES[kind]
        self._db = sqlite3.connect(folder / f"{kind}.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            f"PRAGMA synchronous = {synchronous}",
            "PRAGMA cache_size = -8000",
            make,
        ):
            self._db.execute(statement)
        self._at = 0

    async def run(self, appends: int) -> Spent:
        execute, insert, row = self._db.execute, self._insert, self._row
        with Spent(appends) as spent:
            for i in range(self._at, self._at + appends):
                execute("BEGIN IMMEDIATE")
                execute(insert, row(i))
                execute("COMMIT")
        self._at += appends
        return spent


class Alone:
    """One session that awaits each append, with a claim, as a turn does."""

    def __init__(self, store: SqliteStore) -> None:
        self._store, self._at, self._claim = store, 0, Claim("bench")

    async def run(self, appends: int) -> Spent:
        store, session = self._store, SESSION.format(1)
        if not self._at:
            await store.heartbeat(Owner("bench"), 3600)
            fence = await store.append(session, 0, [SessionCreated(session, LOCAL, 0.0)], self._claim)
            self._at, self._claim = 1, Claim("bench", fence)
        with Spent(appends) as spent:
            for i in range(self._at, self._at + appends):
                await store.append(session, i, (ENTRY,), self._claim)
        self._at += appends
        return spent


class Crowd:
    """A hundred sessions that each await their appends."""

    sessions = 100

    def __init__(self, store: SqliteStore) -> None:
        self._store, self._at = store, 0

    async def run(self, appends: int) -> Spent:
        each = max(appends // self.sessions, 1)
        if not self._at:
            await asyncio.gather(*[self._begin(f"crowd-{n}") for n in range(self.sessions)])
            self._at = 1
        with Spent(each * self.sessions) as spent:
            await asyncio.gather(*[self._go_on(f"crowd-{n}", each) for n in range(self.sessions)])
        self._at += each
        return spent

    async def _begin(self, session: str) -> None:
        await self._store.append(session, 0, [SessionCreated(session, LOCAL, 0.0)])

    async def _go_on(self, session: str, appends: int) -> None:
        for i in range(self._at, self._at + appends):
            await self._store.append(session, i, (ENTRY,))


async def main(rounds: int, appends: int, durability: Literal["normal", "full"]) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as root:
        folder = Path(root)
        store = SqliteStore(folder / "store.db", durability=durability)
        runs: dict[str, Callable[[int], Awaitable[Spent]]] = {
            **{kind: Floor(folder, kind, durability).run for kind in TABLES},
            "alone": Alone(store).run,
            "crowd": Crowd(store).run,
        }
        spent: dict[str, list[Spent]] = {name: [] for name in runs}
        for run in runs.values():
            await run(200)
        for _ in range(rounds):
            for name, run in runs.items():
                spent[name].append(await run(appends * 5 if name == "crowd" else appends))
        await store.close()
    middle = {name: (median(s.cpu_us for s in all_), median(s.wall_us for s in all_)) for name, all_ in spent.items()}
    print(f"durability {durability}, rows of {len(DATA)} bytes, medians of {rounds} rounds of {appends} appends")
    for name, (cpu_us, wall_us) in middle.items():
        print(f"{name:6} {cpu_us:7.1f} us CPU {wall_us:7.1f} us wall")
    for kind in TABLES:
        paired = [a.cpu_us / f.cpu_us for a, f in zip(spent["alone"], spent[kind], strict=True)]
        print(f"alone / {kind} floor: CPU {median(paired):.2f} ({min(paired):.2f} to {max(paired):.2f})")
    for one in (*TABLES, "alone"):
        paired = [o.wall_us / c.wall_us for o, c in zip(spent[one], spent["crowd"], strict=True)]
        print(f"rate of the crowd / {one}: {median(paired):.1f} ({min(paired):.1f} to {max(paired):.1f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--appends", type=int, default=400)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.appends, "full" if given.full else "normal"))
