"""A turn machine with the journal it wrote, and what a driver would owe it: what the tests of the machine share."""

from __future__ import annotations

import msgspec

from turnwise.core.content import Text, ToolCall
from turnwise.core.entries import CallOutcome, Entry, SessionCreated
from turnwise.core.errors import ErrorInfo
from turnwise.core.events import Event, TurnFinished
from turnwise.core.evolve import fold
from turnwise.core.inputs import (
    CallModel,
    Effect,
    Finish,
    Halt,
    Input,
    ModelReplied,
    Park,
    RunTool,
    SkipCalls,
    UserInput,
)
from turnwise.core.inputs_rare import Recover
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo
from turnwise.core.outcomes import Unknown
from turnwise.core.principal import LOCAL
from turnwise.core.repair import repair
from turnwise.core.replay import replay
from turnwise.core.state import SessionState
from turnwise.core.turn import Folded, Machine, Policy
from turnwise.core.usage import Usage

OVERLOADED = ErrorInfo("provider", "overloaded", "busy", retryable=True)
REFUSED = ErrorInfo("provider", "invalid_request", "no", retryable=False)


class World:
    """A machine, the journal it wrote, and what a driver would owe it. `fold_every` so many inputs the journal is folded anew."""

    def __init__(self, policy: Policy | None = None, *, fold_every: int = 1) -> None:
        self.fold_every = fold_every
        self.fed = 0
        self.journal: list[Entry] = [SessionCreated("s", LOCAL, 0.0)]
        self.machine = Machine(fold(self.journal), policy or Policy())
        self.events: list[Event] = []
        self.calling: CallModel | None = None
        self.due: dict[str, ToolCall] = {}
        self.begun: dict[str, ToolCall] = {}
        self.ended: set[str] = set()
        self.halting = False
        self.finished = 0
        self.parked = 0
        self.now = 0.0

    @property
    def state(self) -> SessionState:
        return self.machine.state

    def feed(self, given: Input) -> Folded:
        self.now += 1.0
        folded = self.machine.feed(given, self.now)
        self.journal += folded.entries
        self.events += folded.events
        self.take(folded.effects)
        self.check()
        return folded

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case CallModel():
                    turn = self.state.turn
                    assert turn is not None and not turn.awaited, "T1: a request while calls are open"
                    assert self.calling is None, "two model calls at once"
                    self.calling = effect
                case RunTool(call=call, allowed=allowed):
                    assert allowed or (call.id not in self.due and call.id not in self.begun), (
                        "E1: a call is asked for twice"
                    )
                    self.due[call.id] = call
                case Halt():
                    self.halting, self.calling = True, None
                case SkipCalls(call_ids=call_ids):
                    for call_id in call_ids:
                        self.due.pop(call_id, None)
                case Park():
                    assert not self.due and not self.begun, "a turn parks while calls run"
                    self.parked += 1
                case Finish():
                    self.finished += 1
                    self.calling = None

    def check(self) -> None:
        transcript = self.state.transcript
        assert repair(transcript) is transcript, "T1, T6: the transcript is not valid"
        calls = [c.id for m in transcript if isinstance(m, AssistantMessage) for c in m.tool_calls]
        assert len(set(calls)) == len(calls), "T4: an id is used twice"
        self.fed += 1
        if self.fed % self.fold_every == 0:
            self.check_folded()

    def check_folded(self) -> None:
        """The journal folded again, and run through the machine again, comes to the same (long journals: not after each input)."""
        again = fold(list(self.journal))
        assert msgspec.json.encode(again) == msgspec.json.encode(self.state), "live and resumed state differ"
        played = replay(self.journal)
        assert msgspec.json.encode(played.state) == msgspec.json.encode(self.state), "live and replayed state differ"
        assert played.events == self.events, "live and replayed events differ"

    def recover(self, budget: int) -> None:
        """The process is gone; another one folds the journal and takes the turn on (rule D2)."""
        turn = self.state.turn
        open_calls = [c for c in (turn.awaited if turn is not None else ()) if c.result is None]
        lost = {c.call.id for c in open_calls if c.started and not c.idempotent}
        self.machine = Machine(fold(list(self.journal)), self.machine.policy)
        self.calling, self.halting = None, False
        self.due.clear()
        self.begun.clear()
        running, parked = self.state.running, turn is not None and turn.phase == "parked"
        ending, number = turn is not None and turn.phase == "ending", 0 if turn is None else turn.recovered + 1
        folded = self.feed(Recover(budget))
        assert bool(folded.entries) is (running and not parked)
        if not folded.entries:
            return
        outcomes = {e.result.call_id: e.result.outcome for e in folded.entries if type(e) is CallOutcome}
        assert {c for c, o in outcomes.items() if type(o) is Unknown} >= lost, "D2: what became of a call is made up"
        if ending or number > budget:
            assert not self.state.running and not self.due
            assert ending or last_result(self).cause == "crash_loop"
            return
        assert set(outcomes) == lost, "D2: a call was closed that can still run"
        waiting = {c.call.id for c in open_calls if c.waits is not None}
        assert set(self.due) == {c.call.id for c in open_calls} - lost - waiting, "D2: not what was open is due"
        assert self.calling is not None or self.due or waiting or not self.state.running, "D2: nothing goes on"

    def resume(self) -> None:
        """The process is gone; another one folds the journal, without a word."""
        self.machine = Machine(fold(list(self.journal)), self.machine.policy)
        self.calling, self.halting = None, False
        self.due.clear()
        lost = [c for c in self.begun.values() if c.id not in self.ended]
        self.begun.clear()
        self.take(self.machine.wants())
        for call in lost:
            self.begun[call.id] = call


def reply(world: World, calls: int, stop: str = "stop", text: str = "hm") -> ModelReplied:
    asked = world.calling
    assert asked is not None
    world.calling = None
    blocks = [Text(text)] if text else []
    blocks += [ToolCall(f"t{asked.turn}.s{asked.step}.c{i}", "tool", "{}") for i in range(calls)]
    info = ResponseInfo("p", "m", stop_reason=stop, raw_stop_reason=stop, usage=Usage(10, 5))
    return ModelReplied(AssistantMessage(tuple(blocks), asked.turn, asked.step, world.now, False, info))


def begin(limits: Limits | None = None, policy: Policy | None = None) -> World:
    world = World(policy)
    world.feed(UserInput("go", limits or Limits()))
    return world


def last_result(world: World):
    event = world.events[-1]
    assert type(event) is TurnFinished
    return event.result
