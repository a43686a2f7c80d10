"""A transport that answers from a recording, byte for byte and chunk by chunk, without a network.

A request gets the first recorded exchange not yet played that it matches. One that matches none fails with an error that names the nearest
and what differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from ..core.errors import ErrorInfo
from ..core.protocols import Chunk as Part
from . import recording as file
from .recording import Exchange, Request
from .scrub import Scrubber

Matcher = Callable[[Request, Request], Sequence[str]]
"""(recorded, asked) to what differs, in words for people; nothing if they match."""

_SHOWN = 5
_EXCERPT = 80


class ReplayError(AssertionError):
    """The program did not do what was recorded: it sent another request, or left some of the recording unplayed."""


class _Unmatched(Exception):
    """Raised to the driver, which has it explained."""


class _Recorded(Exception):
    """A failure that was recorded."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info.message)
        self.info = info


class _Aborted(Exception):
    """We dropped the exchange ourselves."""


class Replay:
    """Plays the recording at `path`. Raises `ConfigError` (`bad_cassette`) if it cannot be read.

    Args:
        timing: True waits between chunks as the provider did; a number waits that many times as long; False does not wait.
        matcher: What makes a request the recorded one (default: `same_request`).
        repeat: Whether exchanges may be played again when all that match were.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        timing: bool | float = False,
        matcher: Matcher | None = None,
        repeat: bool = False,
    ) -> None:
        self._path = path
        self._left = file.read(path)
        self._played: list[Exchange] = []
        self._matcher = matcher or same_request
        self._pace = float(timing)
        self._repeat = repeat
        self._scrubber = Scrubber()
        self._faults: list[str] = []
        self._running: set[_Replayed] = set()

    def assert_played(self) -> None:
        """Raise `ReplayError` unless every exchange was asked for and every request was found."""
        left = [f"{e.number} ({e.request.method} {e.request.path})" for e in self._left]
        faults = [*self._faults, *([f"Not asked for: exchange {', '.join(left)}."] if left else [])]
        if faults:
            raise ReplayError(f"The recording {self._path} was not played as it is. {' '.join(faults)}")

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Part],
        connect_s: float | None = None,
    ) -> _Replayed:
        scrub = self._scrubber
        scrub.learn(url, headers)
        asked = Request(method, scrub.url(url), scrub.sent(headers), file.packed(scrub.bytes(b"".join(body))))
        replayed = _Replayed(self._found(asked), self._pace)
        self._running.add(replayed)
        await replayed.opened()
        return replayed

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        if isinstance(error, _Recorded):
            return error.info
        if isinstance(error, _Aborted):
            return ErrorInfo("provider", "aborted", f"The replayed connection was dropped: {error}.", retryable=True)
        hint = "Record it again if the program has changed, or give Replay a matcher that passes over the difference."
        return ErrorInfo("provider", "unmatched_request", str(error), hint)

    async def close(self) -> None:
        for replayed in self._running:
            replayed.abort("the replay was closed")

    def _found(self, asked: Request) -> Exchange:
        for exchange in self._left:
            if not self._matcher(exchange.request, asked):
                self._left.remove(exchange)
                self._played.append(exchange)
                return exchange
        if self._repeat:
            for exchange in reversed(self._played):
                if not self._matcher(exchange.request, asked):
                    return exchange
        fault = self._nearest(asked)
        self._faults.append(fault)
        raise _Unmatched(fault)

    def _nearest(self, asked: Request) -> str:
        """Which recorded exchange the request is most like, and what differs."""
        what = f"{asked.method} {asked.path} is not in the recording {self._path}"
        candidates = self._left or self._played
        if not candidates:
            return f"{what}, which is empty."
        ranked = [(self._matcher(e.request, asked), e) for e in candidates]
        differences, nearest = min(ranked, key=lambda pair: (pair[1].request.path != asked.path, len(pair[0])))
        if not differences:
            return f"{what} once more: exchange {nearest.number} was played already."
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        played = "" if self._left else ", which was played already,"
        return f"{what}. From exchange {nearest.number}{played} it differs in {'; '.join(differences[:_SHOWN])}{more}."


class _Replayed:
    """A recorded response. With recorded times it waits for them; where the recording was left it waits to be left again."""

    status: int
    headers: Mapping[str, str]
    ended = False

    def __init__(self, exchange: Exchange, pace: float) -> None:
        self._exchange = exchange
        self._pace = pace
        self._next = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._aborted: asyncio.Future[str] = self._loop.create_future()

    async def opened(self) -> None:
        """Fail as the recorded attempt did, if it did."""
        if self._exchange.answer is None and self._exchange.end == "broke":
            await self._end()

    async def head(self) -> None:
        answer = self._exchange.answer
        if answer is None:
            await self._end()
            return
        await self._until(answer.at)
        self.status, self.headers = answer.status, answer.headers

    async def read(self) -> bytes:
        answer = self._exchange.answer
        assert answer is not None, "read() comes after head()"
        if self._next == len(answer.chunks):
            await self._end()
            return b""
        chunk = answer.chunks[self._next]
        await self._until(chunk.at)
        self._next += 1
        return chunk.data

    def abort(self, reason: str) -> None:
        if not self._aborted.done():
            self._aborted.set_result(reason)

    def close(self) -> None:
        self.abort("it was closed")

    async def _end(self) -> None:
        exchange = self._exchange
        if exchange.end == "left":
            await asyncio.wait((self._aborted,))
            raise _Aborted(self._aborted.result())
        await self._until(exchange.ended_at)
        if exchange.error is not None:
            raise _Recorded(exchange.error)

    async def _until(self, at: float) -> None:
        """Wait for that time of the recording. Raises if the exchange is aborted before."""
        left = self._began + at * self._pace - self._loop.time()
        if self._pace and left > 0 and not self._aborted.done():
            await asyncio.wait((self._aborted,), timeout=left)
        if self._aborted.done():
            raise _Aborted(self._aborted.result())


def same_request(recorded: Request, asked: Request) -> Sequence[str]:
    """What differs in method, path and body; JSON bodies are compared as values. Host, query and headers do not matter."""
    out: list[str] = []
    for name in ("method", "path"):
        was, now = getattr(recorded, name), getattr(asked, name)
        if was != now:
            out.append(f"{name}: recorded {was}, now {now}")
    if recorded.body == asked.body:
        return out
    try:
        was, now = msgspec.json.decode(recorded.body.data), msgspec.json.decode(asked.body.data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return [*out, f"body: recorded {_excerpt(recorded.body.data)}, now {_excerpt(asked.body.data)}"]
    return [*out, *_differences(was, now, "body")]


def _differences(was: Any, now: Any, where: str) -> list[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        old, new = cast("dict[str, Any]", was), cast("dict[str, Any]", now)
        out = [f"{where}.{n}: recorded {_excerpt(old[n])}, now missing" for n in old if n not in new]
        out += [f"{where}.{n}: not recorded, now {_excerpt(new[n])}" for n in new if n not in old]
        return out + [d for n in old if n in new for d in _differences(old[n], new[n], f"{where}.{n}")]
    if isinstance(was, list) and isinstance(now, list):
        olds, news = cast("list[Any]", was), cast("list[Any]", now)
        both = range(min(len(olds), len(news)))
        out = [d for i in both for d in _differences(olds[i], news[i], f"{where}[{i}]")]
        return out if len(olds) == len(news) else [*out, f"{where}: recorded {len(olds)} items, now {len(news)}"]
    same = bool(was == now) and isinstance(was, bool) == isinstance(now, bool)
    return [] if same else [f"{where}: recorded {_excerpt(was)}, now {_excerpt(now)}"]


def _excerpt(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes) else msgspec.json.encode(value).decode()
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
