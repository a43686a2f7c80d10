"""What it costs to open a stored session, by how long its journal is: `python benchmarks/resume.py [--entries 10000] [--rounds 30]`.

Sessions of 100 and of 10,000 entries (turns of two steps with two calls each) lie in one SQLite file, with the snapshots that Turnwise saves by
itself. Three kinds: never compacted; compacted, so that a request sends the end only; and "at worst", never compacted and closed by
a crash just before the next snapshot was due, so that as many entries as there can be are folded. Printed are the CPU time and the
time of opening one (`open_stored`), the best of all rounds; then of opening one and running a turn in it, against a model that answers at once
and costs nothing; and how the long one compares with the short one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from turnwise import Agent, Runtime, SqliteStore
from turnwise.core.changes import Compacted
from turnwise.core.content import Text, ToolCall
from turnwise.core.entries import (
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    SessionCreated,
    StepCommitted,
    TurnEnded,
)
from turnwise.core.evolve import fold
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.principal import LOCAL
from turnwise.core.protocols import Read
from turnwise.core.usage import Usage
from turnwise.core.view import Change
from turnwise.runtime.opening import open_stored
from turnwise.runtime.snapshots import Saved
from turnwise.store.projection import encode_state

BODY = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant",'
    b'"content":"hi"},"finish_reason":null}]}\n\ndata: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class Response:
    def __init__(self) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.read: Read = self._read
        self.reads = 0
        self.ended = False

    async def head(self) -> None: ...

    async def _read(self) -> bytes:
        self.reads += 1
        return BODY if self.reads == 1 else b""

    def abort(self, reason: str) -> None: ...
    def close(self) -> None: ...


class Transport:
    async def open(self, *_: Any, **__: Any) -> Response:
        return Response()

    def explain(self, error: BaseException, url: str) -> Any:
        raise error

    async def close(self) -> None: ...


# --- journals ---------------------------------------------------------------------------------------------------------


WORDS = ["".join(random.Random(n).choices("etaoinshrdlucmfw", k=2 + n % 9)) for n in range(4000)]


def words(turn: int, count: int) -> str:
    """Text that is no easier to compress than people's is: short words are commoner than long ones."""
    chance = random.Random(turn * 1000 + count)
    return " ".join([WORDS[int(len(WORDS) * chance.random() ** 3)] for _ in range(count)])


def journal_of(id: str, count: int) -> list[Entry]:
    """So many entries of a session that asked for a little and got a little: about 300 bytes of JSON each."""
    entries: list[Entry] = [SessionCreated(id, LOCAL, 1.0)]
    turn = 0
    while len(entries) + 8 <= count:
        turn += 1
        entries += turn_of(turn)
    return entries


def turn_of(turn: int) -> list[Entry]:
    info = ResponseInfo("openai", "gpt-5", None, "tool_calls", "tool_calls", Usage(1200, 80, 1000))
    calls = tuple([ToolCall(f"t{turn}.s1.c{i}", "look", f'{{"what":"thing {turn} {i}"}}') for i in range(2)])
    said = AssistantMessage((Text("Let me look at both of them."), *calls), turn, 1, 2.0, False, info)
    made: list[Entry] = [InputAccepted(UserMessage(words(turn, 25), turn, 1, 0, 1.0), Limits())]
    made.append(StepCommitted(said, 1))
    made += [CallStarted(call.id, "look", "0" * 64, True, 2.0) for call in calls]
    made += [CallOutcome(ToolResult(call.id, words(turn, 60)), "look", True, 3.0) for call in calls]
    ended = AssistantMessage(words(turn, 50), turn, 2, 4.0, False, info)
    return [*made, StepCommitted(ended, 1), TurnEnded(turn, "completed", 4.0)]


async def put(store: SqliteStore, kind: str, count: int) -> str:
    """A session with the snapshot that would be there."""
    id = f"{kind} {count}"
    entries = journal_of(id, count)
    if kind == "compacted":
        state = fold(entries)
        summary = UserMessage(words(0, 200), mark="summary")
        covers = max(0, len(state.history) - 16)
        entries.append(Compacted(Change(covers, summary), "auto", 5.0, 1000, 100))
    snapshot = encode_state(fold(entries))
    if kind == "at worst":
        saved = Saved(snapshot.seq, len(snapshot.data))
        turn = max([e.turn for e in entries if isinstance(e, TurnEnded)])
        while not saved.is_due(len(entries) + 8):
            turn += 1
            entries += turn_of(turn)
    for at in range(0, len(entries), 500):
        await store.append(id, at, entries[at : at + 500])
    await store.save_snapshot(id, snapshot)
    return id


# --- measuring --------------------------------------------------------------------------------------------------------


async def best(run: Callable[[], Awaitable[None]], rounds: int) -> tuple[float, float]:
    """CPU and elapsed milliseconds."""
    cpu = wall = float("inf")
    for _ in range(rounds):
        gc.collect()
        began, began_cpu = time.perf_counter(), time.process_time()
        await run()
        cpu, wall = min(cpu, time.process_time() - began_cpu), min(wall, time.perf_counter() - began)
    return cpu * 1000, wall * 1000


async def main(entries: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "resume.db")
        agent = Agent("openai:m", api_key="k", base_url="http://127.0.0.1:1/v1", compaction=None)
        async with Runtime(transport=Transport()) as runtime:
            print(f"{'':34}{'CPU ms':>9}{'ms':>9}{'CPU x':>9}{'x':>9}")
            for kind in ("never compacted", "compacted", "at worst"):
                ids = [await put(store, kind, count) for count in (100, entries)]
                for what in ("open", "open and a turn"):
                    await measure(store, agent, runtime, kind, what, ids, rounds)
        await store.close()


async def measure(
    store: SqliteStore, agent: Agent[Any], runtime: Runtime, kind: str, what: str, ids: list[str], rounds: int
) -> None:
    first: tuple[float, float] | None = None
    for id in ids:

        async def run(id: str = id) -> None:
            session = await open_stored(agent, id, store=store, runtime=runtime)
            if what != "open":
                await session.run("And now?")

        await run()
        cpu, wall = await best(run, rounds if what == "open" else 8)
        first = first or (cpu, wall)
        ratios = f"{cpu / first[0]:9.2f}{wall / first[1]:9.2f}"
        print(f"{what:17}{id:20}{cpu:6.2f}{wall:9.2f}{ratios}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    asyncio.run(main(given.entries, given.rounds))
