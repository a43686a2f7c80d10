"""What happened in the demo, noted from the events as they came: for the table at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ....core.events import Event, StepFinished, StepStarted, TextDelta, ToolFinished, ToolStarted, TurnFinished
from ....core.protocols import Clock
from ....core.result import TurnResult


@dataclass
class Step:
    """One model call. Times are readings of the monotonic clock, None for what did not come."""

    turn: int
    number: int
    began: float
    first_text: float | None = None
    ended: float | None = None
    finished: StepFinished | None = None


@dataclass
class Call:
    """One tool call that began."""

    id: str
    name: str
    began: float
    ended: float | None = None
    outcome: str = ""


@dataclass
class Record:
    """Fill it with `note`, in the order of the events."""

    clock: Clock
    kinds: Counter[str] = field(default_factory=Counter[str])
    steps: list[Step] = field(default_factory=list[Step])
    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    results: list[TurnResult] = field(default_factory=list[TurnResult])

    def note(self, event: Event) -> None:
        now = self.clock.monotonic()
        self.kinds[kind(event)] += 1
        match event:
            case StepStarted(turn=turn, step=step):
                self.steps.append(Step(turn, step, now))
            case TextDelta() if self.steps[-1].first_text is None:
                self.steps[-1].first_text = now
            case StepFinished():
                self.steps[-1].ended, self.steps[-1].finished = now, event
            case ToolStarted(call_id=call_id, name=name):
                self.calls[call_id] = Call(call_id, name, now)
            case ToolFinished(call_id=call_id, result=result):
                call = self.calls[call_id]
                call.ended, call.outcome = now, str(result.outcome.__struct_config__.tag)
            case TurnFinished(result=result):
                self.results.append(result)
            case _:
                pass


def kind(event: Event) -> str:
    """The event's dotted name."""
    return str(event.__struct_config__.tag)
