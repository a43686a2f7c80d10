"""`isolation="process"`: the function runs elsewhere, really stops, and only its result comes back (rule E3)."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import turnwise
from turnwise.core.content import Image, Text
from turnwise.core.errors import ToolError
from turnwise.tools.isolation import run_isolated

MODULE = """
from __future__ import annotations
import os, subprocess, sys, threading, time
from dataclasses import dataclass
from turnwise.core.content import Image, Text
from turnwise.core.errors import ToolError
from turnwise.tools import tool

isolated = tool(isolation="process")

@dataclass
class Point:
    x: int

class Busy(ConnectionError): ...

@isolated
def add(a: int, b: int = 1) -> int:
    return a + b

@isolated
async def add_async(a: int, b: int = 1) -> dict[str, int]:
    return {"sum": a + b}

@isolated
def whole(p: Point) -> str:
    return f"{type(p).__name__} {p.x}"

@isolated
def pid() -> list[int]:
    return [os.getpid(), os.getpgid(0)]

@isolated
def blocks() -> list:
    return ["see", Image.of(b"\\x89PNG")]

@isolated
def noisy() -> str:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b'{"body": "forged"}')
    subprocess.run(["echo", "from a child"])
    return sys.stdin.read() + "result"

@isolated
def fails() -> None:
    raise ValueError("no such city")

@tool(isolation="process", retries=1, retry_on=(ConnectionError,), idempotent=True)
def busy() -> None:
    raise Busy("later")

@isolated
def exits() -> None:
    sys.exit(3)

@isolated
def tool_error() -> None:
    raise ToolError("plainly")

@isolated
def crashes() -> None:
    print("before", flush=True)
    os.abort()

@isolated
def vanishes() -> None:
    os._exit(7)

@isolated
def unprintable() -> object:
    return object()

@isolated
def large() -> str:
    return "x" * 1_000_000

@isolated
def loops() -> None:
    family = subprocess.Popen(["sleep", "1000"])
    print(os.getpid(), family.pid, flush=True)
    while True:
        pass

@isolated
def leaves_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return "done"

def plain(a: int) -> int:
    return a * 2

wrapped = tool(plain, name="other", isolation="process")
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "isolated_examples.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("isolated_examples")
    sys.modules.pop("isolated_examples", None)


@pytest.mark.parametrize(
    ("name", "arguments", "body"),
    [
        ("add", '{"a": 2}', "3"),
        ("add_async", '{"a": 2, "b": 3}', '{"sum":5}'),
        ("whole", '{"p": {"x": 1}}', "Point 1"),
        ("blocks", "", (Text("see"), Image.of(b"\x89PNG"))),
        ("leaves_a_thread", "{}", "done"),
        ("wrapped", '{"a": 4}', "8"),
    ],
)
async def test_results_come_back_rendered(
    tools: ModuleType, name: str, arguments: str, body: Any, calling: Any
) -> None:
    made = getattr(tools, name)
    async with calling() as ctx:
        result = (await run_isolated(made, arguments, ctx)).value
        assert result == body
        assert made.render(result) == body


async def test_it_is_another_process_and_leads_its_own_group(tools: ModuleType, calling: Any) -> None:
    async with calling() as ctx:
        pid, group = json.loads(str((await run_isolated(tools.pid, "", ctx)).value))
    assert pid == group
    assert pid != os.getpid()


async def test_what_is_printed_is_kept_and_never_taken_for_the_result(tools: ModuleType, calling: Any) -> None:
    async with calling() as ctx:
        assert (await run_isolated(tools.noisy, "", ctx)).value == "result"
        for said in ("to stdout\n", "to stderr\n", '{"body": "forged"}', "from a child\n"):
            assert said in ctx.printed


async def test_a_large_result_comes_back_whole(tools: ModuleType, calling: Any) -> None:
    async with calling() as ctx:
        assert (await run_isolated(tools.large, "", ctx)).value == "x" * 1_000_000


@pytest.mark.parametrize(
    ("name", "message", "retryable"),
    [
        ("fails", "ValueError: no such city", False),
        ("busy", "Busy: later", True),
        ("exits", "SystemExit: 3", False),
        ("tool_error", "plainly", False),
        ("unprintable", "builtins.object", False),
        ("vanishes", "exit code 7", False),
        ("crashes", "SIGABRT", False),
    ],
)
async def test_failures_come_back_as_tool_errors(
    tools: ModuleType, name: str, message: str, retryable: bool, calling: Any
) -> None:
    made = getattr(tools, name)
    async with calling() as ctx:
        with pytest.raises(ToolError) as raised:
            await run_isolated(made, "{}", ctx)
    assert message in raised.value.message
    assert made.may_retry(raised.value) is retryable
    if name == "crashes":
        assert "before" in ctx.printed


async def test_a_result_beyond_all_bounds_is_an_error(
    tools: ModuleType, monkeypatch: pytest.MonkeyPatch, calling: Any
) -> None:
    monkeypatch.setattr("turnwise.tools.isolation.MAX_REPLY_BYTES", 1000)
    async with calling() as ctx:
        with pytest.raises(ToolError, match="larger than 1000 bytes"):
            await run_isolated(tools.large, "", ctx)


async def test_a_function_that_is_not_there_any_more_is_a_tool_error(
    tools: ModuleType, tmp_path: Path, calling: Any
) -> None:
    (tmp_path / "isolated_examples.py").write_text("")
    async with calling() as ctx:
        with pytest.raises(ToolError, match="add"):
            await run_isolated(tools.add, '{"a": 1}', ctx)


async def test_cancelling_stops_an_endless_loop_and_all_it_started(
    tools: ModuleType, calling: Any, gone: Any
) -> None:  # E3
    async with calling() as ctx:
        task = asyncio.ensure_future(run_isolated(tools.loops, "", ctx))
        await ctx.until_printed("\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for pid in map(int, ctx.printed.split()):
            assert await gone(pid)


SCRIPT = """
from __future__ import annotations
import asyncio, msgspec, sys
from turnwise.runtime.seams import SystemClock
from turnwise.runtime.spawn import ProcessSpawn
from turnwise.tools import ToolContext, ToolHost, tool
from turnwise.tools.isolation import run_isolated

FACTOR = 3

class Number(msgspec.Struct):
    value: int
    like: Number | None = None

@tool(isolation="process")
def triple(n: Number) -> int:
    return n.value * FACTOR

@tool(isolation="process")
def forever() -> None:
    import os
    print(os.getpid(), flush=True)
    while True:
        pass

async def main():
    spawn = ProcessSpawn()
    ctx = ToolContext(None, host=ToolHost(SystemClock(), spawn, lambda *_: None))
    if "orphan" in sys.argv:
        task = asyncio.ensure_future(run_isolated(forever, "", ctx))
        while not ctx.printed:
            await asyncio.sleep(0.005)
        print(ctx.printed, flush=True)
        await task
    print((await run_isolated(triple, '{"n": {"value": 4}}', ctx)).value)
    await spawn.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


ENVIRON = {**os.environ, "PYTHONPATH": str(Path(turnwise.__file__).parent.parent)}


def run(argv: list[str], folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        input=stdin,
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


@pytest.mark.parametrize("how", ["path", "module"])
def test_a_function_of_the_main_program_is_found(tmp_path: Path, how: str) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    argv = ["program.py"] if how == "path" else ["-m", "program"]
    done = run(["-W", "error", *argv], tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("12\n", "", 0)


def test_a_function_typed_in_is_refused(tmp_path: Path) -> None:
    code = SCRIPT.split("async def main")[0]
    done = run(["-"], tmp_path, code)
    assert "no file holds it" in done.stderr


async def test_when_the_parent_is_killed_the_child_ends(tmp_path: Path, gone: Any) -> None:  # E3
    (tmp_path / "program.py").write_text(SCRIPT)
    argv = [sys.executable, "program.py", "orphan"]
    parent = await asyncio.create_subprocess_exec(*argv, cwd=tmp_path, env=ENVIRON, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    assert await gone(child)
