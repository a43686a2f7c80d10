"""Children die with their owner, whole groups at a time; what they print is read within bounds (rules E3, I3)."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from turnwise.runtime.spawn import UNREAD_LIMIT_BYTES, ProcessChild, ProcessSpawn

# A shell that starts a grandchild, tells its number, and waits.
FAMILY = ["sh", "-c", "sleep 1000 & echo $!; wait"]


@contextlib.asynccontextmanager
async def spawning(term_grace_s: float = 0.0) -> AsyncIterator[ProcessSpawn]:
    spawn = ProcessSpawn(term_grace_s)
    try:
        yield spawn
    finally:
        await spawn.close()


async def read_all(child: ProcessChild) -> dict[int, bytes]:
    out = {1: b"", 2: b""}
    while (read := await child.read())[1]:
        out[read[0]] += read[1]
    return out


async def grandchild_of(child: ProcessChild) -> int:
    fd, data = await child.read()
    assert fd == 1
    return int(data)


async def gone(pid: int) -> bool:
    """Waits until a process has ended, be it our child or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return True


async def test_output_exit_code_and_streams_are_told_apart() -> None:
    async with spawning() as spawn:
        child = await spawn.start(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert await read_all(child) == {1: b"out\n", 2: b"err\n"}
        assert await child.wait() == 3
        assert child.returncode == 3
        await child.kill()  # too late, and harmless


async def test_cwd_and_environment_are_the_childs_own(tmp_path: Path) -> None:
    async with spawning() as spawn:
        child = await spawn.start(["/bin/sh", "-c", "pwd; echo $A-$HOME"], cwd=str(tmp_path), env={"A": "b"})
        assert (await read_all(child))[1].decode() == f"{tmp_path}\nb-\n"


async def test_without_stdin_a_child_reads_nothing_from_ours() -> None:
    async with spawning() as spawn:
        child = await spawn.start(["sh", "-c", "cat; readlink /proc/self/fd/0 || true"])
        assert (await read_all(child))[1] in (b"/dev/null\n", b"")


async def test_feeding_much_to_a_child_that_answers_much_does_not_block() -> None:
    data = os.urandom(3_000_000)
    async with spawning() as spawn:
        child = await spawn.start(["cat"], stdin=True)
        await child.write(data)
        await child.close_stdin()
        assert (await read_all(child))[1] == data
        await child.write(b"too late")  # lost, not an error


async def test_kill_ends_the_whole_group() -> None:  # E3
    async with spawning() as spawn:
        child = await spawn.start(FAMILY)
        grandchild = await grandchild_of(child)
        await child.kill()
        assert child.returncode == -signal.SIGKILL
        assert await gone(grandchild)
        assert await child.read() == (0, b"")


async def test_what_a_child_leaves_behind_in_its_group_dies_with_it() -> None:
    async with spawning() as spawn:
        child = await spawn.start(["sh", "-c", "sleep 1000 & echo $!"])
        grandchild = await grandchild_of(child)
        assert await child.wait() == 0
        assert await gone(grandchild)
        assert await child.read() == (0, b"")


async def test_one_who_left_the_group_cannot_hold_the_pipes() -> None:
    leave = "import os, time\nif os.fork() == 0:\n os.setsid()\n os.write(1, b'%d' % os.getpid())\n time.sleep(60)"
    async with spawning() as spawn:
        child = await spawn.start([sys.executable, "-c", leave])
        escaped = await grandchild_of(child)
        try:
            started = time.monotonic()
            assert await child.read() == (0, b"")
            assert time.monotonic() - started < 10
        finally:
            os.kill(escaped, signal.SIGKILL)


async def test_close_kills_all_and_waits() -> None:  # I3
    spawn = ProcessSpawn()
    family = [await spawn.start(FAMILY) for _ in range(3)]
    grandchildren = [await grandchild_of(c) for c in family]
    await spawn.close()
    assert [c.returncode for c in family] == [-signal.SIGKILL] * 3
    assert all([await gone(g) for g in grandchildren])
    with pytest.raises(RuntimeError, match="closed"):
        await spawn.start(["true"])
    await spawn.close()


async def test_close_does_not_wait_for_output_that_nobody_reads() -> None:
    spawn = ProcessSpawn()
    child = await spawn.start(["sh", "-c", "yes"])
    await child.read()
    await spawn.close()
    assert child.returncode == -signal.SIGKILL


async def test_unread_output_stops_the_child_and_nothing_is_lost() -> None:
    size = 20 * UNREAD_LIMIT_BYTES
    code = f"import sys\nsys.stdout.write('x' * {size})\nsys.stdout.flush()\nsys.stderr.write('end')"
    async with spawning() as spawn:
        child = await spawn.start([sys.executable, "-c", code])
        first = await child.read()
        while not child._paused:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(100):  # if the pipes were still read, this is when the rest would come
            await asyncio.sleep(0.001)
        assert child._unread < 2 * UNREAD_LIMIT_BYTES
        assert child.returncode is None
        rest = await read_all(child)
        assert len(first[1]) + len(rest[1]) == size
        assert rest[2] == b"end"
        assert await child.wait() == 0


@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_start_cancelled_at_any_step_leaves_no_child(steps: int) -> None:
    async with spawning() as spawn:
        starting = asyncio.ensure_future(spawn.start(FAMILY))
        for _ in range(steps):
            await asyncio.sleep(0)
        if starting.done():
            await starting.result().kill()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        while spawn._starting or spawn._children:  # killed without waiting for close()  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_command_that_does_not_exist_is_an_os_error() -> None:
    async with spawning() as spawn:
        with pytest.raises(FileNotFoundError):
            await spawn.start(["/no/such/command"])
        with pytest.raises(ValueError, match="empty"):
            await spawn.start([])


async def test_cancelling_a_wait_does_nothing_to_the_child() -> None:
    async with spawning() as spawn:
        child = await spawn.start(["cat"], stdin=True)
        waiting = asyncio.ensure_future(child.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert child.returncode is None
        await child.close_stdin()
        assert await child.wait() == 0


async def test_with_a_grace_a_child_may_say_goodbye() -> None:
    async with spawning(term_grace_s=20.0) as spawn:
        child = await spawn.start(
            ["sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"]
        )
        assert await child.read() == (1, b"ready\n")
        await child.kill()
        assert child.returncode == 5
        assert (await read_all(child))[1] == b"bye\n"


async def test_a_child_deaf_to_sigterm_is_killed_after_the_grace() -> None:
    async with spawning(term_grace_s=0.1) as spawn:
        child = await spawn.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
        await child.read()
        await child.kill()
        assert child.returncode == -signal.SIGKILL
