"""A collector: the SDK of OpenTelemetry with its exporters in memory, and ways to read what came there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from turnwise import Runtime
from turnwise.telemetry import Telemetry, instrument


class Collector:
    """Spans by name, metrics by name and attributes."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def watch(self, runtime: Runtime, **options: Any) -> Telemetry:
        return instrument(runtime, tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, start: str) -> list[ReadableSpan]:
        """The spans whose name begins so, in the order of their ends."""
        return [span for span in self.spans if span.name.startswith(start)]

    def one(self, start: str) -> ReadableSpan:
        found = self.named(start)
        assert len(found) == 1, [span.name for span in self.spans]
        return found[0]

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """The data points of all metrics: attributes, and the sum or value."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = [
                        (dict(p.attributes or {}), p.sum if hasattr(p, "sum") else p.value)  # type: ignore[union-attr]
                        for p in metric.data.data_points
                    ]
                    found.setdefault(metric.name, []).extend(points)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture(autouse=True)
def otel_is_quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry logs what was used in a wrong way, such as a context token that is given back elsewhere; no test may bring that about."""
    yield
    said = [r.getMessage() for r in caplog.get_records("call") if r.name.startswith("opentelemetry")]
    assert not [text for text in said if "exporting" not in text], said
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
