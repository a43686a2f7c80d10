"""Runs the program as its users do: as a process, with pipes or a real terminal, against a scripted provider."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec
import pytest
from tests.cli.nursery import Nursery

from turnwise.frontends.cli.main import main
from turnwise.store.sqlite import SqliteStore
from turnwise.testing import ScriptedProvider

T = TypeVar("T")

LIMIT_S = 20.0
SRC = Path(__file__).parents[2] / "src"
FOR_PYTHON = {"PYTHONPATH": str(SRC), "PYTHONWARNINGS": "error", "LANG": "C.UTF-8"}
PROGRAM = (sys.executable, "-m", "turnwise.frontends.cli")

# The child gets the signal handling of a program started in a terminal, whatever this process inherited, and, given a
# file descriptor, that terminal as its own.
_LAUNCH = """
import os, signal, sys
fd, *command = sys.argv[1:]
if fd != "-":
    os.login_tty(int(fd))
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(command[0], command)
"""


_KEPT = re.compile(rb"^Kept as session \S+\. To go on with it: turnwise (-c|--session \S+)\r?\n", re.M)


def without_kept(said: bytes) -> bytes:
    """stderr without the line that says what was kept, which test_kept.py is about."""
    return _KEPT.sub(b"", said)


class Cli:
    """Starts the program with a clean environment and sees to it that it ends."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.home = folder / "home"
        self.started: list[subprocess.Popen[bytes]] = []

    def environment(
        self, provider: ScriptedProvider | None = None, api: str = "anthropic", **more: str
    ) -> dict[str, str]:
        """Nothing but what the test gives: a key and an address for one provider, and warnings as errors."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TURNWISE_HOME": str(self.home),
            **FOR_PYTHON,
            "TERM": "xterm",
        }
        if provider is not None:
            url = provider.anthropic_url if api == "anthropic" else provider.openai_url
            env |= {f"{api.upper()}_API_KEY": "test-key", f"{api.upper()}_BASE_URL": url, "TURNWISE_MODEL": f"{api}:m"}
        return env | more

    def run(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, with `stdin` piped in. What is said of the session that is kept is left out."""
        done = self.run_whole(*args, env=env, stdin=stdin, cwd=cwd)
        done.stderr = without_kept(done.stderr)
        return done

    def run_whole(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, with everything that it says."""
        env, cwd = env or self.environment(), cwd or self.folder
        if self.nursery.can_run(env):
            return self.nursery.run(args, stdin, env, cwd, LIMIT_S)
        return subprocess.run(
            (*PROGRAM, *args), input=stdin, capture_output=True, timeout=LIMIT_S, env=env, cwd=cwd, check=False
        )

    def start(
        self,
        *args: str,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start it with its output piped to us and nothing on standard input, unless told otherwise."""
        process = subprocess.Popen(
            (sys.executable, "-c", _LAUNCH, "-", *PROGRAM, *args),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=env,
            cwd=self.folder,
        )
        self.started.append(process)
        return process

    def terminal(self, *args: str, env: Mapping[str, str], cwd: Path | None = None) -> Terminal:
        """Start it in a terminal of its own."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = subprocess.Popen(
            (sys.executable, "-c", _LAUNCH, str(theirs), *PROGRAM, *args),
            pass_fds=(theirs,),
            env=env,
            cwd=cwd or self.folder,
        )
        os.close(theirs)
        self.started.append(process)
        return Terminal(process, ours)

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


class Terminal:
    """The person's side of a terminal: what is on the screen, and the keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self.fd = fd
        self.seen = b""

    def read_until(self, mark: bytes) -> None:
        while mark not in self.seen:
            assert self._read(), f"the terminal was closed before {mark!r} was seen: {self.seen!r}"

    def read_to_end(self) -> str:
        """Everything that was shown, once the program has ended."""
        while self._read():
            pass
        self.process.wait(LIMIT_S)
        os.close(self.fd)
        return self.seen.decode().replace("\r\n", "\n")

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def _read(self) -> bool:
        assert select.select([self.fd], [], [], LIMIT_S)[0], f"nothing came; seen so far: {self.seen!r}"
        try:
            more = os.read(self.fd, 1 << 16)
        except OSError as error:  # Linux says so when the last process has left the terminal
            assert error.errno == errno.EIO
            return False
        self.seen += more
        return bool(more)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """What all runs of the program to its end are forked from."""
    made = Nursery(FOR_PYTHON)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def cli(tmp_path: Path, nursery: Nursery) -> Iterator[Cli]:
    made = Cli(tmp_path, nursery)
    try:
        yield made
    finally:
        made.close()


class Done(NamedTuple):
    """How a run of the program in this process ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    @property
    def documents(self) -> list[Any]:
        """Standard output, as JSON lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """Standard error, as the JSON of an error."""
        return msgspec.json.decode(self.err)["error"]


class Inside:
    """Runs the program in this process, which takes a tenth of the time; what a process is needed for is tested with `cli`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        self.home = folder / "home"
        self._patch, self._capture = patch, capture
        for name in [n for n in os.environ if n.endswith(("_API_KEY", "_BASE_URL")) or n.startswith("TURNWISE_")]:
            patch.delenv(name)
        patch.setenv("TURNWISE_HOME", str(self.home))
        patch.chdir(self.folder)

    def use(self, provider: ScriptedProvider) -> None:
        self._patch.setenv("ANTHROPIC_API_KEY", "test-key")
        self._patch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_url)
        self._patch.setenv("TURNWISE_MODEL", "anthropic:m")

    def run(self, *args: str, stdin: bytes = b"") -> Done:
        given = self.home.parent / "stdin"
        given.write_bytes(stdin)
        self._capture.readouterr()
        with open(given) as source:
            self._patch.setattr(sys, "stdin", source)
            code = main(args)
        out, err = self._capture.readouterr()
        return Done(code, out, err.decode())

    def store(self, work: Callable[[SqliteStore], Coroutine[Any, Any, T]]) -> T:
        """What can be done with the program's store from outside."""

        async def run() -> T:
            store = SqliteStore(self.home / "turnwise.db")
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Inside:
    return Inside(tmp_path, monkeypatch, capsysbinary)
