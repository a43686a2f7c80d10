"""aimock as a child process: installed by npm into pytest's cache, started on a free port, asked what it was sent.

https://github.com/CopilotKit/aimock (MIT). Its command line, fixtures and control routes (`/__aimock/…`) are those of the version in
package.json. What it answers is in fixtures.json; who is asked how is in `providers`.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

import aiohttp

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures.json"
_PACKAGE = json.loads((HERE / "package.json").read_text())
VERSION = _PACKAGE["dependencies"]["@copilotkit/aimock"]
_NODE = tuple(map(int, re.findall(r"\d+", _PACKAGE["engines"]["node"])))
_INSTALL_LIMIT_S, _START_LIMIT_S, _STOP_LIMIT_S = 120.0, 30.0, 5.0
_NPM = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=500")
_OFFLINE = re.compile(
    r"npm error code (ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONN\w+|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET\w*|E[45]\d\d)\b"
)


class Unavailable(Exception):
    """aimock cannot be had on this machine; the message says why."""


def missing() -> str | None:
    """What this machine lacks to run aimock; None if it has Node and npm."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not on this machine"
    said = subprocess.run(["node", "--version"], check=False, capture_output=True, text=True, timeout=30).stdout
    found = tuple(map(int, re.findall(r"\d+", said)))
    return None if found >= _NODE else f"aimock needs Node {'.'.join(map(str, _NODE))} or newer, here is {said.strip()}"


def install(cache: Path) -> Path:
    """aimock's command line, installed below `cache` if it is not there yet. Raises `Unavailable` without Node or npm's registry.

    Made under another name and moved into place when it is whole, so that two runs at once do not meet in it.
    """
    if reason := missing():
        raise Unavailable(reason)
    place = cache / f"aimock-{VERSION}"
    program = place / "node_modules/@copilotkit/aimock/dist/cli.js"
    if program.exists():
        return program
    making = Path(tempfile.mkdtemp(dir=cache))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, making)
        try:
            done = subprocess.run(
                ["npm", "ci", *_NPM], check=False, cwd=making, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm did not install aimock within {_INSTALL_LIMIT_S:g} s") from None
        if done.returncode:
            if found := _OFFLINE.search(done.stderr):
                raise Unavailable(f"npm's registry cannot be reached ({found[1]})")
            raise RuntimeError(f"npm ci failed:\n{done.stderr}")
        try:
            making.rename(place)
        except OSError:
            if not program.exists():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return program


class Aimock:
    """A running aimock. It reads its fixtures once; match counts and journal are told apart by the header `x-test-id`."""

    def __init__(self, program: Path) -> None:
        command = ["node", str(program), "--port", "0", "--host", "127.0.0.1", "--fixtures", str(FIXTURES)]
        # Strict: a request that no fixture is for is answered with 503, and thinking that was changed with 400.
        options = ["--strict", "--validate-on-load", "--journal-max", "0"]
        self._log: deque[str] = deque(maxlen=200)
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env={name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            url = self._ready.get(timeout=_START_LIMIT_S)
        except queue.Empty:
            url = None
        if url is None:
            self.stop()
            raise RuntimeError(f"aimock did not start:\n{self.log}")
        self.url = url

    def _read(self) -> None:
        """Everything that it prints, so that it never waits for a reader."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._log.append(line)
                if found := re.search(r"listening on (http://\S+)", line):
                    self._ready.put(found[1])
        self._ready.put(None)

    @property
    def log(self) -> str:
        """The last lines that it printed."""
        return "".join(self._log)

    def stop(self) -> None:
        """End it and whatever it started. Connections that clients keep alive do not hold it up."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_STOP_LIMIT_S if number == signal.SIGTERM else None)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._reader.join()

    async def journal(self, test: str) -> list[dict[str, Any]]:
        """The requests of one test as aimock understood them: `method`, `path`, `headers`, `body` (whatever the API, in the form of
        Chat Completions), `response`."""
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{self.url}/__aimock/journal", params={"testId": test}) as response,
        ):
            assert response.status == 200, await response.text()
            return await response.json()
