"""The seams: everything the runtime needs from the world, as protocols it is given.

Real implementations live on higher floors (`models/transport.py`, `runtime/seams.py`, `store/memory.py`); tests and the
simulator hand in their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .errors import ErrorInfo


Chunk = bytes | bytearray | memoryview
"""Part of a request's body."""


class Clock(Protocol):
    """Time. `monotonic` for waiting, `wall` (Unix seconds) for what is written down."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...


class Random(Protocol):
    """Chance, in [0, 1)."""

    def random(self) -> float: ...


class Ids(Protocol):
    """New session ids: UUIDv7 strings, ordered by time."""

    def session_id(self) -> str: ...


class Read(Protocol):
    """Reads what has arrived."""

    async def __call__(self) -> bytes: ...


class Response(Protocol):
    """The response to a request that was sent. `head` waits for status and headers, once, before anything else; `read` then
    gives what has arrived, at least one byte, and b"" at the end. `ended` is true if what was read last is known to end the body; then
    there is nothing more to read.

    `abort` may be called from anywhere, at any time: it drops the connection and wakes a pending `head` or `read`, which
    raises.
    """

    status: int
    headers: Mapping[str, str]
    read: Read
    ended: bool

    async def head(self) -> None: ...
    def abort(self, reason: str) -> None: ...
    def close(self) -> None: ...


class Transport(Protocol):
    """Sends requests. `body` is given in parts, which do not change until the answer has come; `open` returns when the
    request is sent, or on its way, without waiting for the answer. `explain` turns whatever `open` or `read` raised into a provider error."""

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Chunk],
        connect_s: float | None = None,
    ) -> Response: ...
    def explain(self, error: BaseException, url: str) -> ErrorInfo: ...
    async def close(self) -> None: ...


class Blocking(Protocol):
    """Runs blocking functions in threads, a bounded number at a time.

    `run` returns an awaitable of the function's result. Cancelling it abandons the thread if it already runs; the pool
    counts it in `abandoned` until it ends, and refuses work (`RuntimeError`) when too many are.
    """

    @property
    def abandoned(self) -> int: ...
    def run(self, function: Callable[[], Any]) -> Awaitable[Any]: ...
    async def close(self) -> None: ...


class Child(Protocol):
    """A child process in a process group of its own.

    `write` buffers and does not wait for the child to read, so that feeding and reading cannot block each other. `read`
    gives what the child printed next on either stream, as (1 or 2, at least one byte), and (0, b"") once both have ended
    or the child is gone; the runtime stops reading the pipes when too much waits for `read`. When the child exits, what
    is left of its group is killed. `kill` kills the whole group and returns when the child is reaped.
    """

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def read(self) -> tuple[int, bytes]: ...
    async def wait(self) -> int: ...
    async def kill(self) -> None: ...


class Spawn(Protocol):
    """Starts children and ends them all when closed: none outlives its owner.

    `stdin=True` gives the child a pipe to be written to; else it reads from /dev/null.
    """

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
    ) -> Child: ...
    async def close(self) -> None: ...


class Blobs(Protocol):
    """Keeps bytes under their sha256."""

    async def put(self, data: bytes) -> str: ...
    async def get(self, sha256: str) -> bytes: ...


class Artifacts(Protocol):
    """The whole texts of one session's results that were too long for its model, for the tool that reads them."""

    async def text(self, id: str) -> str | None:
        """The text kept for a call, by its id or by its sha256; None if no result of the session has it."""
        ...
