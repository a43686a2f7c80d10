"""Two processes, one session (rule D3): one proceeds and the other is told; who was silent past its lease has lost the session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.kill_child import open_plain
from tests.store.test_kill import STORES, place_of

from turnwise.core.entries import CallOutcome, Entry, InputAccepted, TurnEnded
from turnwise.core.outcomes import Unknown
from turnwise.core.replay import replay
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, repeat, reply

ROOT = Path(__file__).parent.parent.parent
LEASE_S = 1.0


def model(request: RecordedRequest) -> Reply:
    last = request.body["messages"][-1]
    if last["role"] == "user" and last["content"] == "Go":
        return reply(call("hold"))
    return reply("Done.")


class Other:
    """A process beside this one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    async def said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(await self._process.stdout.readline())

    async def ask(self, word: str) -> dict[str, Any]:
        self.tell(word)
        return await self.said()

    def stop(self, signal_: signal.Signals) -> None:
        os.kill(self.pid, signal_)


@contextlib.asynccontextmanager
async def processes(kind: str, place: str, folder: Path, url: str, count: int) -> AsyncIterator[list[Other]]:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    given = [kind, place, "s", url, str(folder / "held"), str(LEASE_S)]
    pipe = asyncio.subprocess.PIPE
    made = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "tests/store/lease_child.py"), *given, stdin=pipe, stdout=pipe, env=paths
        )
        for _ in range(count)
    ]
    try:
        yield [Other(process) for process in made]
    finally:
        for process in made:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            assert process.stdin is not None
            process.stdin.close()
        for process in made:
            await process.wait()


async def seen(holds: Callable[[], bool]) -> None:
    """What another process writes is nothing that announces itself."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def journal_of(kind: str, place: str) -> list[Entry]:
    store = await open_plain(kind, place)
    journal = list(await store.read("s"))
    await store.close()
    return journal


@pytest.mark.parametrize("kind", STORES)
async def test_one_of_two_processes_proceeds(kind: str, tmp_path: Path) -> None:
    """Asked at the same moment; the other is told who has it, and until when. When it is free again, anyone may have it."""
    held = tmp_path / "held"
    async with (
        ScriptedProvider([repeat(model)]) as provider,
        place_of(kind, tmp_path) as place,
        processes(kind, place, tmp_path, provider.openai_url, 2) as (first, second),
    ):
        assert (await first.ask("create"))["reason"] == "completed"
        first.tell("run")
        second.tell("run")
        asked = [asyncio.ensure_future(other.said()) for other in (first, second)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        refused = [task for task in asked if task.done()]
        assert len(refused) == 1
        said = refused[0].result()
        assert said["busy"] == "session_busy" and said["owner"] and said["until"]
        await seen(held.exists)
        assert len(held.read_text().split()) == 1
        held.with_suffix(".go").touch()
        results = [await task for task in asked]
        assert sorted(r.get("reason", "busy") for r in results) == ["busy", "completed"]
        assert (await second.ask("run"))["reason"] == (await first.ask("run"))["reason"] == "completed"
        journal = await journal_of(kind, place)
    assert sum(isinstance(e, InputAccepted) for e in journal) == sum(isinstance(e, TurnEnded) for e in journal) == 4
    replay(journal)


@pytest.mark.parametrize("kind", STORES)
async def test_who_was_stopped_past_its_lease_has_lost_the_session(kind: str, tmp_path: Path) -> None:
    """SIGSTOP, takeover, SIGCONT: the append of the one that wakes is refused, and its turn ends with that error."""
    held = tmp_path / "held"
    async with (
        ScriptedProvider([repeat(model)]) as provider,
        place_of(kind, tmp_path) as place,
        processes(kind, place, tmp_path, provider.openai_url, 2) as (first, second),
    ):
        assert (await first.ask("create"))["reason"] == "completed"
        first.tell("run")
        await seen(held.exists)
        assert (await second.ask("recover"))["reason"] == "", "a living process was robbed of its turn"
        first.stop(signal.SIGSTOP)
        while (said := await second.ask("recover"))["reason"] == "":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert said["reason"] == "completed"
        journal = await journal_of(kind, place)
        held.with_suffix(".go").touch()
        first.stop(signal.SIGCONT)
        assert await first.said() == {"error": "lease_lost"}
        assert await journal_of(kind, place) == journal, "who had lost the session wrote to it"
        assert [type(e.result.outcome) for e in journal if isinstance(e, CallOutcome)] == [Unknown]
        assert (await first.ask("run"))["reason"] == "completed"
        replay(await journal_of(kind, place))
