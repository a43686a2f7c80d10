"""The metrics: one set of instruments for each provider of meters, shared by all runtimes that it measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context, set_value
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation

from . import conventions as c

if TYPE_CHECKING:
    from ..runtime import Runtime

NOWHERE = set_value("turnwise.nowhere", True, Context())
"""Measurements are made without a span: an exemplar for each would cost more than what it tells. Not empty, for the SDK takes an empty context
for none given, and the current one instead."""

Measurement = tuple[Histogram, float, Mapping[str, Any]]

MOST_HELD = 64
"""Fewer measurements than these are held back. A model call makes up to four; made one by one, each after other work, they cost two to three times
of what they do at once."""


_SUMS = (
    (c.COST_METRIC, "USD", "List price of what models were asked, as far as it is known."),
    (c.TURN_METRIC, "{turn}", "Turns that ended, by agent and reason."),
    (c.CALL_METRIC, "{call}", "Tool calls that ended, by tool and outcome."),
)


class Instruments:
    """What is measured. `runtimes` are looked at when metrics are collected."""

    __slots__ = (
        "_failed",
        "_held",
        "_sums",
        "append",
        "dropped",
        "duration",
        "first_chunk",
        "retries",
        "runtimes",
        "tokens",
    )

    def __init__(self, provider: MeterProvider, version: str) -> None:
        meter = provider.get_meter("turnwise", version, c.SCHEMA_URL)
        histogram, counter = meter.create_histogram, meter.create_counter
        self.tokens = histogram(
            c.TOKEN_USAGE_METRIC,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=c.TOKEN_BUCKETS,
        )
        self.duration = histogram(
            c.DURATION_METRIC,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=c.DURATION_BUCKETS,
        )
        self.first_chunk = histogram(
            c.FIRST_CHUNK_METRIC,
            "s",
            "Time from a request to the first chunk of its response.",
            explicit_bucket_boundaries_advisory=c.FIRST_CHUNK_BUCKETS,
        )
        self.append = histogram(
            c.APPEND_METRIC,
            "s",
            "Duration of appends to a store that takes its time.",
            explicit_bucket_boundaries_advisory=c.APPEND_BUCKETS,
        )
        self.retries = counter(c.RETRY_METRIC, "{attempt}", "Model calls that were tried again, by what had failed.")
        self.dropped = counter(
            c.DROPPED_METRIC, "{event}", "Events that were not kept for somebody too slow, by queue."
        )
        self.runtimes: WeakSet[Runtime] = WeakSet()
        self._held: deque[Measurement] = deque()
        self._failed: Exception | None = None
        self._sums: dict[str, dict[tuple[str, str], tuple[float, Mapping[str, Any]]]] = {}
        for name, unit, what in _SUMS:
            self._sums[name] = {}
            meter.create_observable_counter(name, [self._collecting, partial(self._observed, name)], unit, what)
        meter.create_observable_gauge(c.DEPTH_METRIC, [self._depths], "{item}", "How much waits in a queue.")
        meter.create_observable_gauge(c.ACTIVE_METRIC, [self._active], "{turn}", "Turns and single requests under way.")

    def add(self, name: str, amount: float, of: tuple[str, str], attributes: Mapping[str, Any]) -> None:
        """Add to a sum, which is told when metrics are collected: that is cheaper than a measurement each. `of` tells its series from others
        of that name."""
        series = self._sums[name]
        before = series.get(of)
        series[of] = (amount if before is None else before[0] + amount), attributes

    def measure(self, made: Sequence[Measurement]) -> None:
        """Measure, at the latest when metrics are collected: nothing is lost, or told later than by the collection that follows. Never raises."""
        self._held.extend(made)
        if len(self._held) >= MOST_HELD:
            self.settle()

    def settle(self) -> None:
        """Make the measurements that are held back. On any thread, by several at a time if need be: each measurement is made once."""
        held = self._held
        while held:
            try:
                histogram, value, attributes = held.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                histogram.record(value, attributes, NOWHERE)
            except Exception as error:
                self._failed = error

    def take_failed(self) -> Exception | None:
        """Why a measurement could not be made since this was asked last."""
        failed, self._failed = self._failed, None
        return failed

    def _collecting(self, _: CallbackOptions) -> Iterable[Observation]:
        """The SDK calls back for all that is observed before it looks at any histogram, and shows what is recorded meanwhile."""
        self.settle()
        return ()

    def _observed(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(amount, attributes, NOWHERE) for amount, attributes in tuple(self._sums[name].values())]

    def _depths(self, _: CallbackOptions) -> Iterable[Observation]:
        found: dict[str, int] = {}
        for runtime in self._living():
            for name, depth in runtime.waiting().items():
                found[name] = found.get(name, 0) + depth
        return [Observation(depth, {c.QUEUE: name}, NOWHERE) for name, depth in found.items()]

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sum([runtime.active_turns for runtime in self._living()]), context=NOWHERE)]

    def _living(self) -> Iterator[Runtime]:
        """Collected on a thread of the reader's."""
        return iter([runtime for runtime in tuple(self.runtimes) if not runtime.closed])


_made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def instruments_of(provider: MeterProvider, version: str) -> Instruments:
    """Those of a provider, made on first use: the same instrument is not made twice."""
    found = _made.get(provider)
    if found is None:
        found = _made[provider] = Instruments(provider, version)
    return found
