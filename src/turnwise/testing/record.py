"""Recording real traffic, and playing it again: `Recorder`, `Replay` and `cassette`, each a transport for `Runtime(transport=…)`.

`Recorder` passes everything on to a real transport and writes what went over the wire; `replay.Replay` answers from the file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import ErrorInfo
from ..core.protocols import Chunk as Part
from ..core.protocols import Clock, Response, Transport
from ..models.transport import HttpTransport
from ..runtime.seams import SystemClock
from . import recording as file
from .recording import End
from .replay import Matcher, Replay, same_request
from .scrub import Scrubber

__all__ = ["Recorder", "Replay", "cassette", "same_request"]

RECORD_VARIABLE = "TURNWISE_RECORD"


@contextmanager
def cassette(
    path: str | Path,
    *,
    timing: bool | float = False,
    matcher: Matcher = same_request,
    secrets: Iterable[str] = (),
) -> Generator[Recorder | Replay]:
    """A transport that plays the recording at `path`, or makes it anew if the variable `TURNWISE_RECORD` is 1.

    Leaving the block raises `ReplayError` if some of the recording was not played, unless another exception is on its way. Raises
    `ConfigError` (`bad_cassette`) if there is no recording. `timing` and `matcher` are for playing, see `Replay`; `secrets` for recording, see
    `Recorder`.
    """
    if os.environ.get(RECORD_VARIABLE) == "1":
        recorder = Recorder(path, secrets=secrets)
        try:
            yield recorder
        finally:
            recorder.finish()
        return
    if not Path(path).exists():
        raise file.bad(path, "does not exist", f"Make it with {RECORD_VARIABLE}=1 in the environment and a real key.")
    replay = Replay(path, timing=timing, matcher=matcher)
    yield replay
    replay.assert_played()


class Recorder:
    """Passes requests on to `transport` (default: real HTTP) and writes each exchange to `path` when it is over.

    The file is begun anew. Credentials are not written: of headers and query parameters only those that are known to be
    harmless, and the values of the others are covered wherever they occur in URLs, headers and bodies. `secrets` are further strings to cover.
    What users and models wrote is written as it is.

    Closing it closes the transport. What is under way then is written as left.
    """

    def __init__(
        self,
        path: str | Path,
        transport: Transport | None = None,
        *,
        secrets: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._inner: Transport = transport or HttpTransport()
        self._writer = file.Writer(path)
        self._scrubber = Scrubber(secrets)
        self._clock: Clock = clock or SystemClock()
        self._count = 0
        self._running: dict[int, _Recording] = {}

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Part],
        connect_s: float | None = None,
    ) -> Response:
        self._count += 1
        self._scrubber.learn(url, headers)
        scrub = self._scrubber
        request = file.Request(method, scrub.url(url), scrub.sent(headers), file.packed(scrub.bytes(b"".join(body))))
        recording = self._running[self._count] = _Recording(self, self._count, url, request)
        try:
            response = await self._inner.open(method, url, headers, body, connect_s)
        except asyncio.CancelledError:
            recording.over("left")
            raise
        except Exception as error:
            recording.over("broke", error)
            raise
        recording.inner = response
        return recording

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        return self._inner.explain(error, url)

    async def close(self) -> None:
        self.finish()
        await self._inner.close()

    def finish(self) -> None:
        """Write what is still under way, as left."""
        for recording in list(self._running.values()):
            recording.over("left")

    # --- for recordings

    def now(self) -> float:
        return self._clock.monotonic()

    def write(self, recording: _Recording, end: End, error: ErrorInfo | None) -> None:
        del self._running[recording.number]
        scrub, ended = self._scrubber, self.now() - recording.began
        answer = None
        if recording.answered_at is not None:
            pieces = scrub.chunks([data for data, _ in recording.chunks])
            chunks = [file.chunk(d, at) for d, (_, at) in zip(pieces, recording.chunks, strict=True)]
            said = scrub.received(recording.headers)
            answer = file.Answer(recording.status, said, round(recording.answered_at, 6), chunks)
        if error is not None:
            error = ErrorInfo(
                error.branch, error.code, scrub.text(error.message), scrub.text(error.hint), error.retryable
            )
        self._writer.write(file.Exchange(recording.number, recording.request, answer, end, round(ended, 6), error))


class _Recording:
    """A response that is written down while it is read."""

    status: int
    headers: Mapping[str, str]
    inner: Response
    ended = False  # it is read to b"", and so is the inner one

    def __init__(self, recorder: Recorder, number: int, url: str, request: file.Request) -> None:
        self.number = number
        self.request = request
        self.began = recorder.now()
        self.answered_at: float | None = None
        self.chunks: list[tuple[bytes, float]] = []
        self._recorder = recorder
        self._url = url
        self._is_over = False

    async def head(self) -> None:
        try:
            await self.inner.head()
        except Exception as error:
            self.over("broke", error)
            raise
        self.status, self.headers = self.inner.status, self.inner.headers
        self.answered_at = self._now()

    async def read(self) -> bytes:
        try:
            data = await self.inner.read()
        except Exception as error:
            self.over("broke", error)
            raise
        if data:
            self.chunks.append((bytes(data), self._now()))
        else:
            self.over("whole")
        return data

    def abort(self, reason: str) -> None:
        self.over("left")
        self.inner.abort(reason)

    def close(self) -> None:
        self.over("left")
        self.inner.close()

    def over(self, end: End, error: Exception | None = None) -> None:
        """The exchange has ended, for the first reason that is given."""
        if not self._is_over:
            self._is_over = True
            self._recorder.write(self, end, None if error is None else self._recorder.explain(error, self._url))

    def _now(self) -> float:
        return self._recorder.now() - self.began
