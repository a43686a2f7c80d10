"""What the tests of the SQLite store share: processes of their own, and what is left of threads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import turnwise

CHILD = Path(__file__).with_name("sqlite_child.py")


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of `sqlite_child.py`, killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": str(Path(turnwise.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("turnwise-sqlite")]


def names_in(folder: Path) -> list[str]:
    return sorted([path.name for path in folder.iterdir()])


def join_closing() -> None:
    """A close that nobody waited for is over."""
    for thread in threading.enumerate():
        if thread.name == "turnwise-sqlite-close":
            thread.join(10)


async def until(holds: Callable[[], object], limit_s: float = 10.0) -> None:
    """Let the loop run until something holds, at most so long."""
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 (what is waited for is a plain fact, which nothing announces)
            await asyncio.sleep(0.001)
