"""The program without its start: a process that has imported all of Turnwise and forks a child for each run of the program.

Importing is nine tenths of what a run costs. The child is a process of its own, with its own pipes, environment and folder, which ends as
any Python does; only what happens before `main` is not in it. That is in the tests which start the program themselves (`Cli.start`,
`Cli.terminal`, the manual's examples, tests/test_imports.py).

Spoken to by `Nursery` over a socket: `{"args", "env", "cwd"}` with three file descriptors, answered by the child's process id and, once it
has ended, by its exit status, a line each.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

# --- on the side of the tests -----------------------------------------------------------------------------------------


class Nursery:
    """Started when the first program is to be run. `env` is what it is started with: what Python itself reads of it holds for all runs."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self._process: subprocess.Popen[bytes] | None = None

    def can_run(self, env: Mapping[str, str]) -> bool:
        """Whether Python would have started alike in this environment."""
        names = {name for name in (*env, *self.env) if name.startswith(("PYTHON", "LANG", "LC_"))}
        return all(env.get(name) == self.env.get(name) for name in names)

    def run(
        self, args: tuple[str, ...], stdin: bytes, env: Mapping[str, str], cwd: Path, limit_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program to its end. Raises `subprocess.TimeoutExpired` if it has none in time; it is killed then."""
        if self._process is None:
            self._start()
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        asked = json.dumps({"args": args, "env": dict(env), "cwd": str(cwd)}).encode()
        socket.send_fds(self._socket, [asked + b"\n"], theirs)
        for fd in theirs:
            os.close(fd)
        child = int(self._answers.readline())
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write, pipes[0][1], stdin)
            said = [pool.submit(_read, pipe[0]) for pipe in pipes[1:]]
            try:
                stdout, stderr = [each.result(limit_s) for each in said]
                status = int(self._answers.readline())
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._answers.readline()
                raise subprocess.TimeoutExpired(args, limit_s) from None
        return subprocess.CompletedProcess(args, status, stdout, stderr)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(60)
        self._answers = self._socket.makefile("rb")
        command = (sys.executable, __file__, str(theirs.fileno()))
        pipe = subprocess.PIPE  # as in the runs: what Python makes of its standard streams depends on what they are
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=None, pass_fds=(theirs.fileno(),), env=dict(self.env)
        )
        theirs.close()

    def close(self) -> None:
        if self._process is None:
            return
        self._answers.close()
        self._socket.close()
        self._process.communicate()
        self._process = None


def _write(fd: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(fd, "wb") as pipe:
        pipe.write(data)


def _read(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read()


# --- in the process that forks ----------------------------------------------------------------------------------------


def serve(asking: socket.socket) -> dict[str, Any] | None:
    """Forks a child for every run that is asked for. Returns what was asked in the child; None, in the parent, when all is done."""
    while True:
        asked, fds = b"", []
        while not asked.endswith(b"\n"):
            more, some, _, _ = socket.recv_fds(asking, 1 << 16, 3)
            if not more:
                return None
            asked, fds = asked + more, [*fds, *some]
        child = os.fork()
        if not child:
            for place, fd in enumerate(fds):
                os.dup2(fd, place)
                os.close(fd)
            asking.close()
            return json.loads(asked)
        for fd in fds:
            os.close(fd)
        asking.sendall(b"%d\n" % child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asking.sendall(b"%d\n" % status)


def import_everything() -> None:
    import turnwise

    for module in pkgutil.walk_packages(turnwise.__path__, "turnwise."):
        if not module.name.endswith("__main__"):
            with suppress(ModuleNotFoundError):  # an extra that is not installed
                importlib.import_module(module.name)
    for name in ("aiohttp", "genai_prices.data_snapshot"):  # what is imported late, and costs most
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def begin() -> int:
    import_everything()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is None:
        return 0
    from turnwise.frontends.cli.main import main

    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv[1:], sys.path[0] = asked["args"], asked["cwd"]  # as `-m` has it
    return main()


if __name__ == "__main__":
    sys.exit(begin())
