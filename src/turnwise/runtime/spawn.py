"""Child processes: the real `Spawn` seam, on the event loop's own subprocess transports.

Every child leads a session and process group of its own, so that it can be killed with everything it started. The group
is killed when the child exits, when it is told to, and when the seam closes. What leaves the group on purpose (`setsid`)
cannot be reached; it is cut off from the pipes `LINGER_S` after the child's exit.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

LINGER_S = 0.5
UNREAD_LIMIT_BYTES = 262_144
PIPES = (1, 2)

_Forget = Callable[["ProcessChild"], None]


class ProcessSpawn:
    """Starts children on the running event loop; `close` kills those that are left and waits for them.

    Killing is SIGKILL at once, or, with `term_grace_s`, SIGTERM first and SIGKILL after that many seconds.
    """

    def __init__(self, term_grace_s: float = 0.0) -> None:
        self._term_grace_s = term_grace_s
        self._children: set[ProcessChild] = set()
        self._starting: set[asyncio.Task[ProcessChild]] = set()
        self._closed = False

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
    ) -> ProcessChild:
        """Start `argv` (no shell). Raises `OSError` if that fails, `RuntimeError` if the seam is closed.

        If the wait is cancelled the child is killed as soon as it exists.
        """
        if self._closed:
            raise RuntimeError("No process can be started: the runtime is closed.")
        if not argv:
            raise ValueError("No process can be started: argv is empty.")
        # A task of our own: the loop cannot take back a child that is half started, so it is finished and then killed.
        task = asyncio.get_running_loop().create_task(self._start(argv, cwd, env, stdin))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_kill_unwanted)
            raise

    async def close(self) -> None:
        """Kill all children and wait until they are reaped. Idempotent."""
        self._closed = True
        if self._starting:
            await asyncio.wait(self._starting)
        for child in list(self._children):
            child.signal_group(signal.SIGKILL)
        for child in list(self._children):
            await child.gone

    async def _start(
        self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None, stdin: bool
    ) -> ProcessChild:
        loop = asyncio.get_running_loop()
        _, child = await loop.subprocess_exec(
            lambda: ProcessChild(loop, self._term_grace_s, self._children.discard),
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        if not child.gone.done():
            self._children.add(child)
        return child


class ProcessChild(asyncio.SubprocessProtocol):
    """A running child. At most about `UNREAD_LIMIT_BYTES` of output wait for `read`; then the pipes are not read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, term_grace_s: float, forget: _Forget) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the child is reaped and its pipes are closed."""
        self._exited: asyncio.Future[int] = loop.create_future()
        self._loop, self._term_grace_s, self._forget = loop, term_grace_s, forget
        self._transport: asyncio.SubprocessTransport | None = None
        self._output: deque[tuple[int, bytes]] = deque()
        self._unread = 0
        self._unread_limit = UNREAD_LIMIT_BYTES
        self._paused = False
        self._open = set(PIPES)
        self._reader: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        return self._exited.result() if self._exited.done() else None

    async def write(self, data: bytes) -> None:
        """Put bytes into the child's stdin, without waiting for it to read them. Lost if it is gone."""
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            cast("asyncio.WriteTransport", pipe).write(data)

    async def close_stdin(self) -> None:
        """End of input, after what was written."""
        pipe = self._pipe(0)
        if pipe is not None:
            pipe.close()

    async def read(self) -> tuple[int, bytes]:
        """What came next: (1 or 2, bytes), or (0, b"") when there is no more. One reader at a time."""
        while not self._output:
            if not self._open:
                return 0, b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        fd, data = self._output.popleft()
        self._unread -= len(data)
        if self._paused and self._unread < UNREAD_LIMIT_BYTES // 2:
            self._pause(False)
        return fd, data

    async def wait(self) -> int:
        """The exit code, negative for a signal. Cancelling the wait does nothing to the child."""
        return await asyncio.shield(self._exited)

    async def kill(self) -> None:
        """Kill the group and wait until the child is reaped. Cancelling the wait cancels only the waiting for SIGTERM."""
        if self._exited.done():
            return
        try:
            if self._term_grace_s > 0:
                self.signal_group(signal.SIGTERM)
                await asyncio.wait([self._exited], timeout=self._term_grace_s)
        finally:
            self.signal_group(signal.SIGKILL)
        await asyncio.shield(self._exited)

    def signal_group(self, number: int) -> None:
        """Send a signal to the child's group, unless the child has been reaped: its number may belong to another now."""
        if not self._exited.done():
            self._signal(number)

    # --- called by the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._output.append((fd, cast("bytes", data)))
        self._unread += len(data)
        if not self._paused and self._unread >= self._unread_limit:
            self._pause(True)
        self._wake()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self._wake()
            self._finish()

    def process_exited(self) -> None:
        assert self._transport is not None
        # What the child left behind in its group dies with it. A group keeps its number as long as it has members; without
        # any, the number is not given out again this soon.
        self._signal(signal.SIGKILL)
        self._exited.set_result(self._transport.get_returncode() or 0)
        if self._open:
            # The last words are no more than the pipes hold: take them in before the pipes are cut off.
            self._unread_limit *= 2
            if self._paused:
                self._pause(False)
            self._linger = self._loop.call_later(LINGER_S, self._cut_off)
        else:
            self._finish()

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone; or (macOS) only zombies are left
            os.killpg(self._pid, number)

    def _cut_off(self) -> None:
        """Someone outside the group still holds the pipes: stop listening."""
        self._open.clear()
        self._wake()
        self._finish()

    def _finish(self) -> None:
        """Reaped and drained: let go of the transport."""
        if not self._exited.done() or self.gone.done():
            return
        if self._linger is not None:
            self._linger.cancel()
        assert self._transport is not None
        self._transport.close()
        self._forget(self)
        self.gone.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        for fd in self._open:
            pipe = cast("asyncio.ReadTransport | None", self._pipe(fd))
            if pipe is not None and not pipe.is_closing():
                pipe.pause_reading() if paused else pipe.resume_reading()

    def _pipe(self, fd: int) -> asyncio.BaseTransport | None:
        return None if self._transport is None else self._transport.get_pipe_transport(fd)


def _kill_unwanted(task: asyncio.Task[ProcessChild]) -> None:
    """Nobody waits for this child any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().signal_group(signal.SIGKILL)
