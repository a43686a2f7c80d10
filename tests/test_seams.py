"""The seams hold: only the files in `ALLOWED` may ask the world for time, chance, tasks, threads, children and the like.

Everything else is given them (ARCHITECTURE, section 1: one `Runtime` owns every task, thread, client and child). The check walks
the syntax tree of every source file; what it sees, it names as a *power*. It cannot see names that are computed, such
as `getattr(time, "ti" + "me")`. The second half of this file shows that it sees the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import turnwise

SOURCE = Path(turnwise.__file__).parent

POWERS: dict[str, tuple[str, ...]] = {
    "clock": (
        "time",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    ),
    "chance": ("random", "secrets", "uuid", "os.urandom", "os.getrandom"),
    "environment": ("os.environ", "os.environb", "os.getenv", "os.putenv"),
    "tasks": (
        "asyncio.Task",
        "asyncio.TaskGroup",
        "asyncio.as_completed",
        "asyncio.create_task",
        "asyncio.eager_task_factory",
        "asyncio.ensure_future",
        "asyncio.gather",
        "asyncio.shield",
        "asyncio.wait_for",
        ".create_task",
    ),
    "timers": ("asyncio.sleep", "asyncio.timeout", "asyncio.timeout_at", ".call_later", ".call_at"),
    "loops": (
        "asyncio.Runner",
        "asyncio.new_event_loop",
        "asyncio.run",
        "asyncio.run_coroutine_threadsafe",
        ".run_forever",
        ".run_until_complete",
    ),
    "threads": (
        "_thread",
        "asyncio.to_thread",
        "concurrent.futures",
        "multiprocessing",
        "threading.Thread",
        "threading.Timer",
        ".run_in_executor",
    ),
    "children": (
        "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.popen",
        "os.posix_spawn",
        "os.posix_spawnp",
        "os.system",
        "pty",
        "subprocess",
        ".subprocess_exec",
        ".subprocess_shell",
    ),
    "network": (
        "aiohttp",
        "asyncio.open_connection",
        "asyncio.start_server",
        "http",
        "socket",
        "urllib.request",
        ".create_connection",
        ".create_datagram_endpoint",
        ".create_server",
    ),
}
"""A name counts with everything below it; one that begins with a dot is an attribute of whatever object."""

ALLOWED: dict[str, dict[str, str]] = {
    "runtime/seams.py": {
        "clock": "the real clock",
        "chance": "the real random numbers and session ids",
    },
    "runtime/runtime.py": {
        "tasks": "the owner of all tasks starts them",
        "environment": "the default of Runtime(environ=…)",
    },
    "runtime/timers.py": {"timers": "all deadlines share the loop's timer here"},
    "runtime/blocking.py": {"threads": "the real thread pool"},
    "runtime/spawn.py": {
        "children": "the real child processes",
        "tasks": "a child that is being started when its starter is cancelled is still reaped",
        "timers": "the time a dead child's pipes may linger",
    },
    "runtime/facade.py": {
        "loops": "synchronous code needs a loop of its own",
        "threads": "and a thread to run it",
    },
    "models/catalogue.py": {"clock": "prices depend on the day and the hour"},
    "models/google_credentials.py": {"network": "the HTTP client that google-auth asks for, in a thread"},
    "models/listing.py": {
        "clock": "signatures need the time",
        "environment": "the default of list_models(environ=…)",
        "threads": "the default of list_models(blocking=…)",
    },
    "models/response.py": {"network": "part of the real HTTP client"},
    "models/route.py": {
        "network": "part of the real HTTP client",
        "environment": "whether a proxy is configured, as HTTP clients do",
    },
    "models/transport.py": {"network": "the real HTTP client"},
    "store/sqlite/clock.py": {"clock": "leases go by the machine's clock; waits of threads for a file that is locked"},
    "store/sqlite/daemon.py": {"threads": "the writer, readers, and what works on files"},
    "store/sqlite/place.py": {"environment": "TURNWISE_HOME"},
    "tools/isolated.py": {
        "children": "ends its own process group; it is the child",
        "loops": "runs an async tool in the child",
        "threads": "watches whether the parent is alive",
    },
    "tools/scripts_asked.py": {
        "children": "scripts are asked to describe themselves when tools are made, before there is a runtime",
        "clock": "each has its time to answer",
    },
    "store/memory/store.py": {"clock": "the default of MemoryStore(wall=…)"},
    "store/postgres/database.py": {"timers": "pauses between two tries, and bounds what close() waits for"},
    "store/postgres/link.py": {"timers": "a statement has a limit"},
    "store/postgres/waiting.py": {
        "tasks": "one task looks for all who wait, while anybody does",
        "timers": "how often it looks, and how long somebody waits",
    },
    "testing/clock.py": {"loops": "the loop with virtual time"},
    "testing/record.py": {"environment": "TURNWISE_RECORD says whether to record"},
    "testing/scripted.py": {
        "loops": "a provider for synchronous tests has its own loop",
        "threads": "and its own thread",
        "timers": "yields between two writes, and bounds waits of tests",
    },
    "testing/loopback.py": {
        "network": "a real server on loopback",
        "tasks": "one task per connection, all ended when it closes",
        "timers": "scripted delays",
    },
    "testing/simulation/__main__.py": {
        "chance": "a seed if none is given",
        "clock": "how long a run took",
    },
    "testing/simulation/campaign.py": {"threads": "processes that share the turns"},
    "testing/simulation/acts.py": {"chance": "from the plan's seed", "timers": "of the virtual loop"},
    "testing/simulation/around.py": {"timers": "of the virtual loop"},
    "testing/simulation/deeds.py": {"chance": "from the seed"},
    "testing/simulation/extended.py": {"chance": "from the plan's seed"},
    "testing/simulation/extensions.py": {"chance": "from the plan's seed", "timers": "of the virtual loop"},
    "testing/simulation/inline.py": {"timers": "of the virtual loop"},
    "testing/simulation/loop.py": {
        "chance": "the seeded order",
        "tasks": "what makes tasks",
        "timers": "what keeps them",
    },
    "testing/simulation/onlookers.py": {"timers": "of the virtual loop"},
    "testing/simulation/people.py": {
        "chance": "from the plan's seed",
        "tasks": "what people do at once",
        "timers": "of the virtual loop",
    },
    "testing/simulation/planning.py": {"chance": "from the seed"},
    "testing/simulation/process.py": {"tasks": "what lives in a process", "timers": "of the virtual loop"},
    "testing/simulation/provider.py": {
        "chance": "from the seed",
        "network": "the errors that aiohttp would raise",
        "timers": "of the virtual loop",
    },
    "testing/simulation/runner.py": {"clock": "how long a run took"},
    "testing/simulation/store.py": {"timers": "of the virtual loop"},
    "testing/simulation/tools.py": {"chance": "from the seed", "timers": "of the virtual loop"},
    "testing/simulation/world.py": {"chance": "from the seed", "timers": "of the virtual loop"},
    "testing/store_conformance/model.py": {"chance": "the same sequences of operations, from seeds"},
    "testing/store_conformance/kit.py": {
        "tasks": "asks a store for many things at once",
        "timers": "lets time pass for stores whose clock cannot be moved; bounds each check",
    },
    "frontends/cli/ask.py": {
        "environment": "which models have a key",
        "loops": "the program's own loop",
    },
    "frontends/cli/keeping.py": {
        "children": "signal 0: does the process live that has the session?",
        "timers": "the lease of one that does not is waited for",
    },
    "frontends/cli/sessions.py": {"loops": "the program's own loop"},
    "frontends/cli/sessions_upkeep.py": {"loops": "the program's own loop"},
    "frontends/cli/demo/story.py": {"loops": "the program's own loop"},
    "frontends/cli/demo/tools.py": {"timers": "a tool that takes its time, to be interrupted"},
    "frontends/cli/local.py": {
        "network": "asks loopback for local model servers",
        "timers": "for 0.3 s at most",
    },
    "frontends/cli/models.py": {
        "environment": "which providers have a key",
        "loops": "the program's own loop",
        "timers": "a provider has 15 s to answer",
    },
    "frontends/cli/screen.py": {"environment": "NO_COLOR"},
}
"""What each file may use, and why. A row that is no longer needed fails, too."""


# --- the checker ------------------------------------------------------------------------------------------------------


def powers(code: str) -> Iterator[tuple[str, int, str]]:
    """(power, line, name) of every use in this source text. Annotations and `if TYPE_CHECKING:` do not count."""
    tree = ast.parse(code)
    skipped = {id(n) for top in _unevaluated(tree) for n in ast.walk(top)}
    nodes = [n for n in ast.walk(tree) if id(n) not in skipped]
    known = _imported(nodes)
    inner = {id(n.value) for n in nodes if isinstance(n, ast.Attribute)}
    for node in nodes:
        for name in _names(node, known, id(node) in inner):
            if power := _power(name):
                yield power, getattr(node, "lineno", 0), name


def _unevaluated(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from node.body
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def _imported(nodes: list[ast.AST]) -> dict[str, str]:
    """What each imported name stands for. Relative imports are ours and need no check."""
    known: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                known[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return known


def _names(node: ast.AST, known: dict[str, str], is_inner: bool) -> Iterator[str]:
    """The full names that a node uses; for `a.b.c` only the whole of it."""
    if isinstance(node, ast.ImportFrom) and not node.level:
        yield from [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
        yield from [alias.name for alias in node.names if alias.name in POWER_MODULES]
    elif isinstance(node, ast.Attribute):
        dotted = _dotted(node, known)
        if dotted is None or _power(dotted) is None:
            yield f".{node.attr}"
        elif not is_inner:
            yield dotted
    elif isinstance(node, ast.Name) and not is_inner:
        yield known.get(node.id, "")
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "__import__",
        "import_module",
        "importlib.import_module",
    ):
        yield from [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value, known)) is not None:
        return f"{base}.{node.attr}"
    return None


def _power(name: str) -> str | None:
    for power, sources in POWERS.items():
        for source in sources:
            if name == source or (not source.startswith(".") and name.startswith(f"{source}.")):
                return power
    return None


POWER_MODULES = {"multiprocessing", "pty", "subprocess", "_thread", "secrets", "uuid"}
"""Modules with no use but their power: importing one is using it."""


def faults(found: dict[str, list[tuple[str, int, str]]], allowed: dict[str, dict[str, str]]) -> list[str]:
    """What is used and not allowed, and what is allowed and not used."""
    out = [
        f"{file}:{line} uses {name} ({power}): take it from the Runtime, or give a reason in ALLOWED"
        for file, uses in found.items()
        for power, line, name in uses
        if power not in allowed.get(file, {})
    ]
    for file, rows in allowed.items():
        used = {power for power, _, _ in found.get(file, [])}
        out += [
            f"ALLOWED: {file} does not use {power!r} any more: delete the row" for power in rows if power not in used
        ]
    return out


# --- the tests --------------------------------------------------------------------------------------------------------


def test_seams_are_the_only_way_to_the_world() -> None:
    files = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}
    assert len(files) > 40, "the source was not found"
    found = {name: list(powers(path.read_text("utf-8"))) for name, path in files.items()}
    assert not (wrong := faults(found, ALLOWED)), "\n".join(wrong)


def test_the_pure_floors_have_no_row() -> None:
    assert not [file for file in ALLOWED if file.startswith(("core/", "wire/"))]


@pytest.mark.parametrize(
    ("power", "code"),
    [
        ("clock", "import time\nx = time.time()"),
        ("clock", "import time as t\nclass C:\n    now = staticmethod(t.monotonic)"),
        ("clock", "from time import perf_counter as p"),
        ("clock", "import datetime\nx = datetime.datetime.now()"),
        ("clock", "from datetime import datetime\nx = datetime.now(None)"),
        ("clock", "def f():\n    import time\n    return time.sleep(1)"),
        ("clock", "x = __import__('time')"),
        ("clock", "from importlib import import_module\nx = import_module('time')"),
        ("chance", "import random\nx = random.random()"),
        ("chance", "from random import SystemRandom"),
        ("chance", "import uuid\nx = uuid.uuid4()"),
        ("chance", "import secrets"),
        ("chance", "import os\nx = os.urandom(8)"),
        ("environment", "import os\nx = os.environ['KEY']"),
        ("environment", "from os import environ"),
        ("environment", "import os\nx = os.getenv('KEY')"),
        ("tasks", "import asyncio\nx = asyncio.create_task(f())"),
        ("tasks", "from asyncio import ensure_future"),
        ("tasks", "import asyncio\nx = asyncio.Task(f())"),
        ("tasks", "x = loop.create_task(f())"),
        ("tasks", "x = self.runtime.loop.create_task(f())"),
        ("tasks", "async def f():\n    async with __import__('asyncio').TaskGroup() as g:\n        g.create_task(h())"),
        ("tasks", "import asyncio\nasync def f():\n    await asyncio.wait_for(g(), 1)"),
        ("timers", "loop.call_later(1, f)"),
        ("timers", "import asyncio\nasyncio.get_running_loop().call_at(1, f)"),
        ("timers", "import asyncio\nasync def f():\n    await asyncio.sleep(1)"),
        ("loops", "import asyncio\nasyncio.run(f())"),
        ("threads", "import asyncio\nasync def f():\n    await asyncio.to_thread(g)"),
        ("threads", "from threading import Thread"),
        ("threads", "import threading as th\nth.Thread(target=f).start()"),
        ("threads", "loop.run_in_executor(None, f)"),
        ("threads", "import concurrent.futures\nx = concurrent.futures.ThreadPoolExecutor()"),
        ("children", "import subprocess"),
        ("children", "from subprocess import run"),
        ("children", "import os\nos.system('true')"),
        ("children", "import os\nif os.fork() == 0: pass"),
        ("children", "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('true')"),
        ("network", "import socket\nx = socket.socket()"),
        ("network", "from aiohttp import ClientSession"),
        ("network", "loop.create_connection(f, 'host', 80)"),
        ("network", "from urllib.request import urlopen"),
    ],
)
def test_a_planted_use_is_seen(power: str, code: str) -> None:
    found = list(powers(code))
    assert power in {p for p, _, _ in found}
    assert faults({"core/planted.py": found}, {})
    assert not faults({"core/planted.py": found}, {"core/planted.py": {p: "allowed" for p, _, _ in found}})


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\ndef f(task: asyncio.Task[None]) -> asyncio.Task[None]:\n    x: asyncio.Task[int] | None = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import aiohttp\n    from time import monotonic",
        "import asyncio\nnow = asyncio.get_running_loop().time()",
        "delay = runtime.random.random()",
        "from . import process, random",
        "time = 3\nx = time",
        "import threading\nlock = threading.Lock()",
        "import os\nx = os.path.join('a', 'b')",
        "from datetime import datetime\nx = datetime.fromtimestamp(0)",
        "from urllib.parse import urlsplit",
    ],
)
def test_what_is_no_power_is_left_alone(code: str) -> None:
    assert list(powers(code)) == []


def test_stale_rows_fail() -> None:
    assert faults({"a.py": []}, {"a.py": {"clock": "once upon a time"}})
    assert faults({}, {"gone.py": {"clock": "the file is gone"}})
