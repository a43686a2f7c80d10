"""A runtime's turns as spans and metrics, by the OpenTelemetry API.

A span is made with times and a parent of its own, never as "the current one" of code that yields: the turn's span is put into the turn's
own context and a call's into the call's, where what they start finds it, and neither is ever taken out again. Spans of model calls and
appends are made when those have ended. All of this happens on the session's loop, between its events; whatever goes wrong with it is told by
`Runtime.health` and costs the turn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context as Variables
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from ...core.changes import (
    ApprovalAnswered,
    CallWaiting,
    Compacted,
    CompactionFailed,
    LimitReached,
    LoopFound,
    Parked,
    Recovered,
    Resumed,
    TurnContinued,
)
from ...core.entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    Interrupted,
    StepCommitted,
    TurnEnded,
)
from ...core.errors import config_error
from ...core.events import Event, StepStarted, TurnFinished, TurnParked
from ...core.result import TurnResult
from ...models.secrets import mask
from . import chats, tools
from . import conventions as c
from .instruments import NOWHERE, instruments_of
from .kit import MOST_PARKED, Kit, Traced, add_usage, ns, tag_of

if TYPE_CHECKING:
    from ..actor import Actor
    from ..runtime import Runtime
    from ..turn import Turn

PART = "telemetry"
"""How the runtime's health calls it."""


def instrument(
    runtime: Runtime,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    content: bool = False,
    content_chars: int = 4096,
) -> Telemetry:
    """Tell OpenTelemetry of all turns of a runtime from now on, until `end`.

    Args:
        runtime: The one whose turns are watched; one telemetry each.
        tracer_provider: Who makes spans (default: the global one, as the application has set it up).
        meter_provider: Who makes metrics (default: the global one).
        content: Whether what users, models and tools say is captured in attributes of spans. Off, because it is often personal.
        content_chars: How many characters of it one attribute takes at most.

    Raises `ConfigError`: `already_instrumented`, `invalid_value`.
    """
    if runtime.probe is not None:
        raise config_error(
            "already_instrumented",
            "This runtime is instrumented already.",
            "Keep the object that instrument() returned, and end() it first.",
        )
    if content_chars < 1:
        raise config_error("invalid_value", f"content_chars={content_chars} captures nothing.", "Leave content off.")
    from ... import __version__

    tracers = tracer_provider or trace.get_tracer_provider()
    tracer = tracers.get_tracer("turnwise", __version__, c.SCHEMA_URL)
    made = instruments_of(meter_provider or metrics.get_meter_provider(), __version__)
    return Telemetry(Kit(runtime, tracer, made, content_chars if content else 0))


class Telemetry:
    """What watches a runtime, until `end`. Also a context manager."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._running: set[Traced] = set()
        self._unobserve: Callable[[], None] | None = kit.runtime.observe(self)
        kit.runtime.probe = self
        kit.metrics.runtimes.add(kit.runtime)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Watch no further; the spans of turns that run end now. Sending what was made is the providers' business. Idempotent."""
        if self._unobserve is None:
            return
        self._unobserve()
        self._unobserve = None
        runtime = self._kit.runtime
        runtime.probe = None
        self._kit.metrics.runtimes.discard(runtime)
        for traced in list(self._running):
            self._guarded(traced, lambda traced=traced: self._close(traced, runtime.clock.wall()))
        self._kit.metrics.settle()

    # --- the seams (`Probe`, `Observer`) ------------------------------------------------------------------------------

    def turn_begins(self, context: Variables) -> Traced:
        return Traced(context)

    def appended(self, session: Actor[Any], turn: Turn | None, entries: Sequence[Entry]) -> None:
        if turn is None or (traced := turn.probed) is None:
            return
        kit = self._kit
        try:
            for entry in entries:
                kind = type(entry)
                if (note := _NOTED.get(kind)) is not None:
                    note(kit, session, turn, traced, entry)
                elif kind in _BEGIN:
                    self._begin(session, turn, traced, entry)
                elif (fields := _TOLD.get(kind)) is not None:
                    _add_event(traced, entry, fields)
        except Exception as error:
            self._trouble(traced, error)

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event]) -> None:
        if turn is None or (traced := turn.probed) is None:
            return
        try:
            for event in events:
                if type(event) is StepStarted:
                    traced.attempt = turn.attempt
                elif isinstance(event, (TurnFinished, TurnParked)):
                    self._over(session, traced, event.result)
        except Exception as error:
            self._trouble(traced, error)

    def call_begins(self, probed: Any, call_id: str, context: Variables) -> None:
        traced: Traced | None = probed
        if traced is not None and (running := traced.calls.get(call_id)) is not None:
            within = trace.set_span_in_context(running, traced.within)
            self._guarded(traced, lambda: context.run(otel.attach, within))

    def stored(self, session: Actor[Any], entries: int, began: float, error: Exception | None) -> None:
        turn = session.turn
        traced: Traced | None = None if turn is None else turn.probed
        self._guarded(traced, lambda: _append_over(self._kit, session, traced, entries, began, error))

    def dropped(self, queue: str, events: int) -> None:
        self._guarded(None, lambda: self._kit.metrics.dropped.add(events, {c.QUEUE: queue}, NOWHERE))

    def _guarded(self, traced: Traced | None, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._trouble(traced, error)

    def _trouble(self, traced: Traced | None, error: Exception) -> None:
        """Whatever a provider or an exporter raises is theirs: the turn goes on."""
        if traced is not None:
            traced.troubled = True
        what = f"Spans or metrics were lost: {type(error).__name__}: {error}"
        self._kit.runtime.health.degrade(PART, "telemetry_failed", what)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin(self, session: Actor[Any], turn: Turn, traced: Traced, entry: Any) -> None:
        if traced.span is not None:
            return
        kit, number, agent = self._kit, session.state.turns, session.agent.name
        asked = kit.targets.of(turn.plan.target(0))
        at = (entry.message.created_at or kit.runtime.clock.wall()) if type(entry) is InputAccepted else entry.at
        attributes: dict[str, Any] = {
            c.OPERATION: c.INVOKE_AGENT,
            c.PROVIDER: asked.provider,
            c.AGENT_NAME: agent,
            c.CONVERSATION: session.id,
            c.REQUEST_MODEL: asked.model,
            c.TURN: number,
        }
        before = kit.parked.pop((session.id, number), None)
        parent = traced.variables.run(otel.get_current)
        span = kit.tracer.start_span(
            f"{c.INVOKE_AGENT} {agent}",
            parent,
            SpanKind.INTERNAL,
            attributes,
            () if before is None else (Link(before),),
            start_time=ns(at),
        )
        traced.span = span
        traced.within = trace.set_span_in_context(span, parent)
        self._running.add(traced)
        traced.variables.run(otel.attach, traced.within)
        for name, said, from_, to in traced.appends:
            kit.whole_span(name, traced, said, from_, to)

    def _over(self, session: Actor[Any], traced: Traced, result: TurnResult) -> None:
        span, kit = traced.span, self._kit
        if span is None:
            return
        at = kit.runtime.clock.wall() if traced.ended_at is None else traced.ended_at
        chats.left(kit, session, traced, result.reason, at)
        if span.is_recording():
            attributes: dict[str, Any] = {c.REASON: result.reason, c.STEPS: result.steps, c.CALLS: result.calls}
            if result.cause:
                attributes[c.CAUSE] = result.cause
            if result.stop_reason != "unknown":
                attributes[c.FINISH_REASONS] = (result.stop_reason,)
            add_usage(attributes, result.usage)
            if result.error is not None or result.reason == "timeout":
                attributes[c.ERROR_TYPE] = "timeout" if result.error is None else result.error.code
                span.set_status(Status(StatusCode.ERROR, result.error.message if result.error is not None else None))
            span.set_attributes(attributes)
        if result.reason == "parked":
            if len(kit.parked) >= MOST_PARKED:
                del kit.parked[next(iter(kit.parked))]
            kit.parked[session.id, result.turn] = span.get_span_context()
        self._close(traced, at)
        agent = session.agent.name
        kit.metrics.add(c.TURN_METRIC, 1, (agent, result.reason), {c.AGENT_NAME: agent, c.REASON: result.reason})
        if (failed := kit.metrics.take_failed()) is not None:
            self._trouble(traced, failed)
        elif not traced.troubled:
            kit.runtime.health.restore(PART)

    def _close(self, traced: Traced, at: float) -> None:
        """End what is still open of a turn, the turn last."""
        self._running.discard(traced)
        calls, traced.calls = traced.calls, {}
        span, traced.span, traced.attempt = traced.span, None, None
        for call in calls.values():
            call.set_status(Status(StatusCode.ERROR, "The turn was over before this call was."))
            call.end(ns(at))
        if span is not None:
            span.end(ns(at))


# --- what else is noted -----------------------------------------------------------------------------------------------


def _ended(kit: Kit, session: Actor[Any], turn: Turn, traced: Traced, entry: TurnEnded | Parked) -> None:
    traced.ended_at = entry.at
    if type(entry) is TurnEnded:
        traced.spent = entry.usage


_BEGIN = frozenset((InputAccepted, TurnContinued, Resumed, Recovered))
_NOTED: dict[type, Callable[..., None]] = {
    StepCommitted: chats.answered,
    AttemptFailed: chats.failed,
    CallStarted: tools.started,
    CallOutcome: tools.over,
    TurnEnded: _ended,
    Parked: _ended,
}
_TOLD: dict[type, tuple[str, ...]] = {
    Interrupted: ("cause",),
    LimitReached: ("cause",),
    LoopFound: ("period", "repeats", "action"),
    Compacted: ("trigger", "before_tokens", "after_tokens"),
    CompactionFailed: ("trigger",),
    CallWaiting: ("call_id", "name", "kind"),
    ApprovalAnswered: ("call_id", "allowed"),
}
"""Entries that become events of the turn's span, with these of their fields."""


def _add_event(traced: Traced, entry: Any, fields: tuple[str, ...]) -> None:
    if traced.span is not None:
        said = {f"turnwise.{name}": getattr(entry, name) for name in fields}
        traced.span.add_event(f"turnwise.{tag_of(entry)}", said, ns(entry.at))


_SYSTEMS = {"SqliteStore": "sqlite", "PostgresStore": "postgresql"}


def _append_over(
    kit: Kit, session: Actor[Any], traced: Traced | None, entries: int, began: float, error: Exception | None
) -> None:
    """A store that takes its time has taken so much."""
    kind = type(session.store).__name__
    system = _SYSTEMS.get(kind, kind)
    ended_at, took = kit.runtime.clock.wall(), kit.runtime.loop.time() - began
    measured: dict[str, Any] = {c.DB_SYSTEM: system, c.DB_OPERATION: "append"}
    if error is not None:
        measured[c.ERROR_TYPE] = str(getattr(error, "code", "") or type(error).__name__)
    if traced is not None:
        name, began_at = f"append {system}", ended_at - took
        attributes = {**measured, c.ENTRIES: entries, c.CONVERSATION: session.id}
        if traced.within is not None:
            problem = None if error is None else mask(str(error))
            kit.whole_span(name, traced, attributes, began_at, ended_at, problem)
        elif error is None:  # the turn begins with these very entries
            traced.appends = [*traced.appends, (name, attributes, began_at, ended_at)]
    kit.metrics.measure(((kit.metrics.append, took, measured),))
