"""Scripts are asked to describe themselves: side by side, each within its time and with a bound on what it may print.

This happens when tools are made, before there is a runtime, so it waits in the caller's thread. Each script has a process group of its own,
which is killed when it has answered, is too slow or says too much: nothing of it is left.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

MAX_BYTES = 256 << 10
"""How much a script may print about itself."""
AT_ONCE = 8
_QUOTED_BYTES = 300


class Answer(NamedTuple):
    """What a script has said; `problem` is why it counts for nothing, if it does."""

    stdout: bytes
    problem: str = ""


class _Asked:
    """A script that is running. `out` is None once its end has been seen."""

    def __init__(self, at: int, process: subprocess.Popen[bytes], until: float) -> None:
        self.at = at
        self.process = process
        self.until = until
        self.out, self.err = bytearray(), bytearray()
        self.open = 2


def ask(paths: Sequence[str], seconds: float, env: Mapping[str, str] | None, cwd: str | None) -> list[Answer]:
    """What each script says to `--schema`, in their order. Never raises for what a script does."""
    answers: dict[int, Answer] = {}
    waiting = list(enumerate(paths))[::-1]
    running: list[_Asked] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    at, path = waiting.pop()
                    try:
                        running.append(_start(at, path, seconds, env, cwd, selector))
                    except OSError as error:
                        answers[at] = Answer(b"", f"cannot be run: {error.strerror or error}")
                for asked in _step(running, selector, seconds, answers):
                    running.remove(asked)
        finally:
            for asked in running:
                _end(asked, selector)
    return [answers[at] for at in range(len(paths))]


def _start(
    at: int, path: str, seconds: float, env: Mapping[str, str] | None, cwd: str | None, selector: selectors.BaseSelector
) -> _Asked:
    process = subprocess.Popen(
        [path, "--schema"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    asked = _Asked(at, process, time.monotonic() + seconds)
    for pipe, kept in ((process.stdout, asked.out), (process.stderr, asked.err)):
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_READ, (asked, kept))
    return asked


def _step(
    running: list[_Asked], selector: selectors.BaseSelector, seconds: float, answers: dict[int, Answer]
) -> list[_Asked]:
    """Read what there is; those that are done, with their answers noted."""
    patience = min([asked.until for asked in running], default=0.0) - time.monotonic()
    for key, _ in selector.select(max(0.0, patience)):
        asked, kept = key.data
        data = os.read(key.fd, 65_536)
        kept += data[: MAX_BYTES + 1 - len(kept)]
        if not data:
            selector.unregister(key.fileobj)
            asked.open -= 1
    done: list[_Asked] = []
    for asked in running:
        answer = _answer(asked, seconds)
        if answer is not None:
            _end(asked, selector)
            answers[asked.at] = answer
            done.append(asked)
    return done


def _answer(asked: _Asked, seconds: float) -> Answer | None:
    """What it has come to by now; None while it may still go on."""
    if len(asked.out) > MAX_BYTES or len(asked.err) > MAX_BYTES:
        return Answer(b"", f"prints more than {MAX_BYTES:,} bytes about itself")
    late = time.monotonic() >= asked.until
    if asked.open and not late:
        return None
    if asked.process.poll() is None and not late:
        with suppress(subprocess.TimeoutExpired):  # its pipes are closed: it is about to end
            asked.process.wait(max(0.0, asked.until - time.monotonic()))
    code = asked.process.poll()
    if code is None or asked.open:
        return Answer(b"", f"does not answer to --schema within {seconds:g} s")
    if code != 0:
        said = bytes(asked.err[-_QUOTED_BYTES:]).decode("utf-8", "replace").strip()
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        return Answer(b"", f"fails when it is run with --schema ({how})" + (f": {said}" if said else ""))
    return Answer(bytes(asked.out))


def _end(asked: _Asked, selector: selectors.BaseSelector) -> None:
    """Kill what is left of its group, and reap it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(asked.process.pid, signal.SIGKILL)
    asked.process.wait()
    for pipe in (asked.process.stdout, asked.process.stderr):
        assert pipe is not None
        with suppress(KeyError, ValueError):
            selector.unregister(pipe)
        pipe.close()
