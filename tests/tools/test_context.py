"""What a running call can do through its context: progress, time, cancellation, commands (rules E3, E4)."""

import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import ToolError
from turnwise.core.outcomes import Timeout, result_of
from turnwise.tools import ToolContext, ToolHost
from turnwise.tools.process import PRINTED_LIMIT_BYTES, Printed


async def test_progress_goes_to_the_runtime_from_any_thread(calling: Any) -> None:
    async with calling() as ctx:
        ctx.progress("half", {"done": 1})
        thread = threading.Thread(target=lambda: ctx.progress("whole"))
        thread.start()
        thread.join()
        assert ctx.told == [("t1.s1.c0", "half", {"done": 1}), ("t1.s1.c0", "whole", None)]


async def test_time_left_counts_down_to_nothing(calling: Any) -> None:
    async with calling(deadline=103.0) as ctx:
        assert ctx.time_left_s() == 3.0
        ctx.host.clock.now = 200.0
        assert ctx.time_left_s() == 0.0
    assert ToolContext(None).time_left_s() is None


async def test_without_a_runtime_a_context_serves_for_tests() -> None:
    ctx = ToolContext({"db": 1})
    ctx.progress("nobody hears")
    assert ctx.context == {"db": 1}
    assert ctx.cancelled is False
    assert ctx.printed == ""
    with pytest.raises(ToolError, match="no runtime"):
        await ctx.run_process(["true"])


async def test_a_command_gives_code_and_output(calling: Any) -> None:
    async with calling() as ctx:
        result = await ctx.run_process(["sh", "-c", "cat; echo größe >&2; exit 4"], stdin="fed")
        assert (result.returncode, result.stdout, result.stderr, result.truncated) == (4, "fed", "größe\n", False)
        assert sorted(ctx.printed) == sorted("fedgröße\n")


async def test_a_command_sees_folder_and_environment(calling: Any, tmp_path: Path) -> None:
    async with calling() as ctx:
        result = await ctx.run_process(["/bin/sh", "-c", "pwd; echo $A"], cwd=str(tmp_path), env={"A": "b"})
        assert result.stdout == f"{tmp_path}\nb\n"


async def test_a_command_that_does_not_exist_is_an_os_error(calling: Any) -> None:
    async with calling() as ctx:
        with pytest.raises(FileNotFoundError):
            await ctx.run_process(["/no/such/command"])


@pytest.mark.parametrize("limit", [0, 1, 5, 1000])
async def test_output_beyond_the_limit_is_dropped_and_said_so(calling: Any, limit: int) -> None:
    async with calling() as ctx:
        result = await ctx.run_process(["sh", "-c", "printf ööööö; printf xx >&2"], limit_bytes=limit)
        assert result.stdout == "ö" * min(5, limit // 2)
        assert result.stderr == "x" * min(2, limit)
        assert result.truncated == (limit < 10)


async def test_a_flood_is_read_to_its_end_within_bounds(calling: Any) -> None:
    async with calling() as ctx:
        result = await ctx.run_process([sys.executable, "-c", "print('x' * 5_000_000)"], limit_bytes=100)
        assert (result.returncode, len(result.stdout), result.truncated) == (0, 100, True)
        assert len(ctx.printed) < PRINTED_LIMIT_BYTES + 100


async def test_a_cancelled_command_dies_with_its_group_and_its_output_is_kept(calling: Any, gone: Any) -> None:  # E3
    async with calling() as ctx:
        task = asyncio.ensure_future(ctx.run_process(["sh", "-c", "sleep 1000 & echo $!; echo last words; wait"]))
        await ctx.until_printed("last words")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await gone(int(ctx.printed.split()[0]))
        said = result_of("c", Timeout(1.0), ctx.printed).text
        assert "did not finish within 1 s" in said
        assert said.endswith("last words\n")


class ScriptedChild:
    """Prints "one", waits until it is killed, and turns out to have printed "two" before that."""

    pid = 1
    returncode: int | None = None

    def __init__(self) -> None:
        self.output = [(1, b"one "), None, (2, b"two"), (0, b"")]
        self.killed = asyncio.Event()

    async def start(self, argv: Any, **options: Any) -> "ScriptedChild":
        return self

    async def read(self) -> tuple[int, bytes]:
        if (said := self.output.pop(0)) is None:
            await self.killed.wait()
        return said or (0, b"")

    async def kill(self) -> None:
        self.killed.set()


async def test_what_was_printed_before_the_kill_but_not_yet_read_is_kept_too(calling: Any) -> None:  # E3
    async with calling() as ctx:
        child = ScriptedChild()
        ctx.host = ToolHost(ctx.host.clock, child, ctx.host.report)  # type: ignore[arg-type]
        task = asyncio.ensure_future(ctx.run_process(["any"]))
        await ctx.until_printed("one ")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert child.killed.is_set()
        assert ctx.printed == "one two"


async def test_a_second_cancellation_does_not_save_the_group(calling: Any, gone: Any) -> None:
    async with calling() as ctx:
        task = asyncio.ensure_future(ctx.run_process(["sh", "-c", "sleep 1000 & echo $!; wait"]))
        await ctx.until_printed("\n")
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await gone(int(ctx.printed))


async def test_a_command_ended_by_a_signal_says_which(calling: Any) -> None:
    async with calling() as ctx:
        assert (await ctx.run_process(["sh", "-c", "kill -TERM $$"])).returncode == -signal.SIGTERM


@given(st.lists(st.text(alphabet="aöß€𝄞", max_size=4000).map(str.encode), max_size=40), st.integers(1, 30))
def test_printed_is_the_end_of_it_and_begins_at_a_character(pieces: list[bytes], repeat: int) -> None:
    printed, whole = Printed(), b"".join(pieces * repeat)
    for piece in pieces * repeat:
        printed.add(piece)
    text = printed.text()
    if len(whole) <= PRINTED_LIMIT_BYTES:
        assert text == whole.decode()
        return
    note, _, kept = text.partition("\n")
    assert whole.endswith(kept.encode())
    assert PRINTED_LIMIT_BYTES - 4 < len(kept.encode()) <= PRINTED_LIMIT_BYTES
    assert note == f"[{len(whole) - len(kept.encode())} bytes before this were dropped]"
    assert printed.text() == text
