"""`metrics()`: counts, times and tokens of what it is around, to be looked at in the program. `turnwise.telemetry` sends them elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from ....core.errors import TurnwiseError
from ....core.outcomes import ToolResult
from ....core.result import TurnResult
from ....core.usage import NO_USAGE, Usage
from ..compose import KINDS, Kind
from ..requests import EmbedRequest, ModelRequest, ToolRequest
from ..response import Ended, ModelResponse
from .keys import Around, kinds

REMEMBERED = 1024
"""Times that percentiles are made of: those of the last so many."""


class Figures(msgspec.Struct, frozen=True):
    """What one kind of call came to. `under_way` have begun and not ended; `failed` are by error code, or outcome of a tool; `aborted` were
    given up from outside; `unsent` were answered by a middleware. Times are seconds, None if there are none; the first events are of
    model calls alone, and so are tokens, but for embeddings' input."""

    calls: int = 0
    under_way: int = 0
    succeeded: int = 0
    aborted: int = 0
    unsent: int = 0
    failed: dict[str, int] = {}
    usage: Usage = NO_USAGE
    p50_s: float | None = None
    p95_s: float | None = None
    first_event_p50_s: float | None = None
    first_event_p95_s: float | None = None


class _Counts:
    __slots__ = ("aborted", "calls", "failed", "firsts", "succeeded", "times", "under_way", "unsent", "usage")

    def __init__(self) -> None:
        self.calls = self.under_way = self.succeeded = self.aborted = self.unsent = 0
        self.failed: dict[str, int] = {}
        self.usage = NO_USAGE
        self.times: deque[float] = deque(maxlen=REMEMBERED)
        self.firsts: deque[float] = deque(maxlen=REMEMBERED)

    def fail(self, code: str) -> None:
        self.failed[code] = self.failed.get(code, 0) + 1

    def use(self, usage: Usage) -> None:
        self.usage = usage if self.usage is NO_USAGE else self.usage + usage


class Metrics(Around):
    """See `metrics`."""

    name = "metrics"

    def __init__(self, of: Iterable[Kind]) -> None:
        super().__init__(of)
        self._counts: dict[tuple[str, str], _Counts] = {}

    async def around(self, request: Any, next: Any) -> Any:
        kind, label = _label(request)
        counts = self._counts.setdefault((kind, label), _Counts())
        loop = request.runtime.loop
        counts.calls += 1
        counts.under_way += 1
        began = loop.time()
        try:
            result = await next(request)
        except BaseException as error:
            counts.under_way -= 1
            counts.times.append(loop.time() - began)
            if isinstance(error, asyncio.CancelledError):
                counts.aborted += 1
            else:
                counts.fail(error.code if isinstance(error, TurnwiseError) else type(error).__name__)
            raise
        if isinstance(result, ModelResponse) and result.sent:
            return result.at_end(lambda ended: _ended(counts, ended))
        counts.under_way -= 1
        counts.times.append(loop.time() - began)
        _count(counts, result)
        return result

    def of(self, kind: Kind, label: str | None = None) -> Figures:
        """The figures of one kind: of all, or of one model, tool or agent by its name."""
        found = [c for (k, name), c in self._counts.items() if k == kind and label in (None, name)]
        failed: dict[str, int] = {}
        usage, times, firsts = NO_USAGE, list[float](), list[float]()
        for counts in found:
            for code, number in counts.failed.items():
                failed[code] = failed.get(code, 0) + number
            if counts.usage is not NO_USAGE:
                usage = counts.usage if usage is NO_USAGE else usage + counts.usage
            times += counts.times
            firsts += counts.firsts
        return Figures(
            sum([c.calls for c in found]),
            sum([c.under_way for c in found]),
            sum([c.succeeded for c in found]),
            sum([c.aborted for c in found]),
            sum([c.unsent for c in found]),
            failed,
            usage,
            _percentile(times, 0.5),
            _percentile(times, 0.95),
            _percentile(firsts, 0.5),
            _percentile(firsts, 0.95),
        )

    def labels(self, kind: Kind) -> tuple[str, ...]:
        """The models, tools or agents of which there are figures."""
        return tuple(sorted([name for k, name in self._counts if k == kind]))


def _label(request: Any) -> tuple[Kind, str]:
    if isinstance(request, ModelRequest):
        return "model", request.model
    if isinstance(request, ToolRequest):
        return "tool", request.name
    if isinstance(request, EmbedRequest):
        return "embed", request.model
    return "turn", request.agent


def _ended(counts: _Counts, ended: Ended) -> None:
    counts.under_way -= 1
    counts.times.append(ended.seconds)
    if ended.first_event_s is not None:
        counts.firsts.append(ended.first_event_s)
    if ended.usage is not None:
        counts.use(ended.usage)
    if ended.error is not None:
        counts.fail(ended.error.code)
    elif ended.aborted:
        counts.aborted += 1
    else:
        counts.succeeded += 1


def _count(counts: _Counts, result: Any) -> None:
    if isinstance(result, ModelResponse):
        counts.unsent += 1
    if isinstance(result, ToolResult) and result.is_error:
        counts.fail(str(result.outcome.__struct_config__.tag))
    elif isinstance(result, TurnResult) and result.error is not None:
        counts.fail(result.error.code)
    else:
        counts.succeeded += 1
    if isinstance(result, TurnResult):
        counts.use(result.usage)
    elif (tokens := getattr(result, "tokens", None)) is not None:
        counts.use(Usage(tokens, 0))


def _percentile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def metrics(of: Kind | Iterable[Kind] = KINDS) -> Metrics:
    """Count what happens around it: `Metrics.of("model")`, `.of("tool", "weather")` …"""
    return Metrics(kinds(of))
