"""Processes that have imported what all tests need, except `turnwise`, and fork a child per run of pytest: a run begins at once.

The first one imports and forks one for each socket that it is given. Those are spoken to by `run.py`, a JSON line each way: `{"copy",
"tests", "keep", "limit_s"}`, answered by `{"status", "said"}`. `status` is the exit status of pytest, or null if it was not done in time
and was killed; `keep` says whether tests are kept compiled for the runs that follow. They have one thread, so forking is safe; every run
has a child of its own, so no bug outlives it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import os
import pkgutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _pytest
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = "10"
"""For each async test, with and without a bug: many a bug makes its test wait for ever."""
_SHARED = (
    *("aiohttp", "hypothesis.strategies", "hypothesis.stateful", "msgspec", "pydantic", "unittest.mock"),
    *("anthropic.types", "cohere.v2.raw_client", "google.genai.types", "ollama", "openai.types.responses"),
    *("botocore.session", "botocore.validate", "genai_prices.data_snapshot"),
)
"""What many tests import and is no part of the project, or takes long to import."""


def main() -> None:
    asyncio.new_event_loop().close()
    for name in (*_SHARED, *[m.name for m in pkgutil.iter_modules(_pytest.__path__, "_pytest.")]):
        importlib.import_module(name)
    inspect.getmodule(
        compile("", "nowhere.py", "exec")
    )  # so that it knows the files of all modules, as a traceback needs
    gc.freeze()  # collections in children leave these pages shared
    children: list[int] = []
    for fd in sys.argv[1:]:
        child = os.fork()
        if not child:
            _serve(socket.socket(fileno=int(fd)))
            return
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _serve(line: socket.socket) -> None:
    with line, line.makefile("rw") as file:
        for said in file:
            asked = json.loads(said)
            with tempfile.TemporaryFile("w+", errors="replace") as output:
                status = _run(asked, output.fileno())
                output.seek(0)
                answer = {"status": status, "said": output.read()}
            file.write(json.dumps(answer) + "\n")
            file.flush()


def _run(asked: dict[str, Any], output: int) -> int | None:
    child = os.fork()
    if not child:
        _be_pytest(asked, output)
    ends = time.monotonic() + asked["limit_s"]
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _be_pytest(asked: dict[str, Any], output: int) -> None:
    """In the child, which does not return: what `python -m pytest` does in a fresh process with that copy on its path."""
    status = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        paths = [asked["copy"], str(HERE)]
        os.environ.update(PYTHONPATH=os.pathsep.join(paths), TURNWISE_MUTANT=asked["copy"])
        os.environ.update(
            PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", TURNWISE_TEST_LIMIT_S=LIMIT_S
        )
        os.environ.pop("CI", None)  # with it, pytest takes its time to show differences in full
        sys.dont_write_bytecode = not asked["keep"]
        sys.path[:1] = [str(ROOT), *paths]
        options = ["-x", "-p", "guard", "-p", "no:cacheprovider", "--tb=short"]
        status = int(pytest.main([*options, *asked["tests"]]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
