"""The turn machine under random interleavings: what must hold whatever the model, the tools and the user do."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnwise.core.content import Text, ToolCall
from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.errors import ErrorInfo, StateError
from turnwise.core.events import Event, ToolFinished, ToolStarted, TurnFinished
from turnwise.core.evolve import evolve, fold
from turnwise.core.inputs import (
    CallBegins,
    CallEnded,
    CallModel,
    Effect,
    Finish,
    Halt,
    Halted,
    Input,
    Interrupt,
    ModelFailed,
    ModelReplied,
    RunTool,
    Steer,
    UserInput,
)
from turnwise.core.limits import Limits, Retry
from turnwise.core.messages import AssistantMessage, ResponseInfo, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Denied, Failed, ToolResult
from turnwise.core.principal import LOCAL
from turnwise.core.repair import repair
from turnwise.core.replay import replay
from turnwise.core.state import SessionState
from turnwise.core.turn import Folded, Machine, Policy
from turnwise.core.usage import Usage

OVERLOADED = ErrorInfo("provider", "overloaded", "busy", retryable=True)
REFUSED = ErrorInfo("provider", "invalid_request", "no", retryable=False)


class World:
    """A machine, the journal it wrote, and what a driver would owe it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.journal: list[Entry] = [SessionCreated("s", LOCAL, 0.0)]
        self.machine = Machine(fold(self.journal), policy or Policy())
        self.events: list[Event] = []
        self.calling: CallModel | None = None
        self.due: dict[str, ToolCall] = {}
        self.begun: dict[str, ToolCall] = {}
        self.ended: set[str] = set()
        self.halting = False
        self.finished = 0
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
                    assert not self.state.turn.awaited, "T1: a request while calls are open"
                    assert self.calling is None, "two model calls at once"
                    self.calling = effect
                case RunTool(call=call):
                    assert call.id not in self.due and call.id not in self.begun, "E1: a call is asked for twice"
                    self.due[call.id] = call
                case Halt():
                    self.halting, self.calling = True, None
                case Finish():
                    self.finished += 1
                    self.calling = None

    def check(self) -> None:
        transcript = self.state.transcript
        assert repair(transcript) is transcript, "T1, T6: the transcript is not valid"
        calls = [c.id for m in transcript if isinstance(m, AssistantMessage) for c in m.tool_calls]
        assert len(set(calls)) == len(calls), "T4: an id is used twice"
        again = fold(list(self.journal))
        assert msgspec.json.encode(again) == msgspec.json.encode(self.state), "live and resumed state differ"
        played = replay(self.journal)
        assert msgspec.json.encode(played.state) == msgspec.json.encode(self.state), "live and replayed state differ"
        assert played.events == self.events, "live and replayed events differ"

    def resume(self) -> None:
        """The process is gone; another one folds the journal."""
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


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_interleavings_keep_every_rule(data: st.DataObject) -> None:
    """T1, T2, T3, T4, E1, E10 and equality of live and resumed state, over whatever can happen in whatever order."""
    limits = Limits(
        steps=data.draw(st.sampled_from([None, 0, 1, 3])), calls=data.draw(st.sampled_from([None, 0, 1, 4]))
    )
    world = World(Policy(Retry(attempts=3, per_turn=4)))
    spent = 0
    for _ in range(data.draw(st.integers(5, 45))):
        choices = ["steer", "interrupt", "stray", "resume"]
        choices += ["input"] * 3 if not world.state.running else []
        choices += ["reply"] * 6 + ["fail"] * 2 if world.calling else []
        choices += ["begin"] * 6 if world.due else []
        choices += ["end"] * 6 if world.begun else []
        choices += ["refuse"] if world.due else []
        choices += ["halted"] * 4 if world.halting else []
        match data.draw(st.sampled_from(choices)):
            case "input":
                world.feed(UserInput("go", limits))
            case "steer":
                world.feed(Steer("and this"))
            case "interrupt":
                world.feed(Interrupt(data.draw(st.sampled_from(["user", "left", "timeout"]))))
            case "reply":
                spent += 15
                stop = data.draw(st.sampled_from(["stop", "tool_calls", "length", "content_filter", "pause"]))
                world.feed(reply(world, data.draw(st.integers(0, 4)), stop, data.draw(st.sampled_from(["", "text"]))))
            case "fail":
                world.calling = None
                spent += 7
                error = data.draw(st.sampled_from([OVERLOADED, REFUSED]))
                world.feed(ModelFailed(error, data.draw(st.booleans()), Usage(7, None), 0.5, data.draw(st.booleans())))
            case "begin":
                call = world.due.pop(data.draw(st.sampled_from(sorted(world.due))))
                world.begun[call.id] = call
                world.feed(CallBegins(call.id, "sha"))
            case "refuse":
                call = world.due.pop(data.draw(st.sampled_from(sorted(world.due))))
                world.ended.add(call.id)
                world.feed(CallEnded(ToolResult(call.id, "no", Denied("x"))))
            case "end":
                call = world.begun.pop(data.draw(st.sampled_from(sorted(world.begun))))
                world.ended.add(call.id)
                outcome = data.draw(st.sampled_from([None, Failed(REFUSED)]))
                world.feed(
                    CallEnded(ToolResult(call.id, "r") if outcome is None else ToolResult(call.id, "r", outcome))
                )
            case "stray":
                world.feed(CallEnded(ToolResult("t1.s1.c9", "an outcome nobody waits for")))
            case "halted":
                world.halting = False
                world.feed(Halted(data.draw(st.sampled_from([None, "half a sen"])), usage=Usage(1, 1)))
                spent += 2
                world.due.clear()
                world.begun.clear()
            case "resume":
                world.resume()
    usage = world.state.usage
    assert (usage.input_tokens or 0) + (usage.output_tokens or 0) == spent, "E10: usage is not what was spent"
    started = Counter(e.call_id for e in world.events if type(e) is ToolStarted)
    finished = Counter(e.call_id for e in world.events if type(e) is ToolFinished)
    assert all(n == 1 for n in finished.values()), "E1: a call ended twice"
    assert all(n == 1 for n in started.values()) and not set(finished) - set(started), "E4: an end without a start"
    ends = [e.result.turn for e in world.events if type(e) is TurnFinished]
    assert len(set(ends)) == len(ends), "a turn ended twice"
    assert len(ends) == world.state.turns - world.state.running


def begin(limits: Limits | None = None, policy: Policy | None = None) -> World:
    world = World(policy)
    world.feed(UserInput("go", limits or Limits()))
    return world


def last_result(world: World):
    event = world.events[-1]
    assert type(event) is TurnFinished
    return event.result


def test_outcomes_stand_in_call_order_whatever_order_they_come_in() -> None:
    """T1, E4."""
    world = begin()
    world.feed(reply(world, 3))
    for index in (2, 0, 1):
        world.feed(CallBegins(f"t1.s1.c{index}", "x"))
    for index in (1, 2, 0):
        world.feed(CallEnded(ToolResult(f"t1.s1.c{index}", str(index))))
    results = world.state.transcript[-1]
    assert isinstance(results, ToolMessage)
    assert [r.body for r in results.results] == ["0", "1", "2"]


def test_the_transcript_is_valid_while_calls_are_open() -> None:
    """T1: an assistant message with calls enters the transcript only together with their outcomes."""
    world = begin()
    world.feed(reply(world, 2))
    assert [type(m) for m in world.state.transcript] == [UserMessage]
    assert world.calling is None


def test_a_steer_never_stands_between_call_and_outcome() -> None:
    """T3: it enters after the outcomes, before the next model call."""
    world = begin()
    world.feed(reply(world, 1))
    world.feed(Steer("hurry"))
    world.feed(CallEnded(ToolResult("t1.s1.c0", "done")))
    assert [type(m).__name__ for m in world.state.transcript] == [
        "UserMessage", "AssistantMessage", "ToolMessage", "UserMessage",
    ]  # fmt: skip
    assert world.calling is not None and world.calling.step == 2


def test_a_steer_after_the_final_answer_was_asked_for_goes_on() -> None:
    """T3: the answer is kept, the steer follows it and gets an answer of its own."""
    world = begin()
    world.feed(Steer("also this"))
    world.feed(reply(world, 0))
    assert world.state.running and world.calling is not None
    world.feed(reply(world, 0, text="both"))
    assert last_result(world).text == "both" and last_result(world).steps == 2


def test_a_failed_call_leaves_the_transcript_as_it_was() -> None:
    """T2: the user's input stays, nothing else."""
    world = begin()
    world.calling = None
    world.feed(ModelFailed(REFUSED))
    assert [type(m) for m in world.state.transcript] == [UserMessage]
    assert last_result(world).reason == "error" and last_result(world).error.code == "invalid_request"


@pytest.mark.parametrize("stop", ["length", "content_filter", "refusal"])
def test_calls_of_a_cut_off_response_never_run(stop: str) -> None:
    """S7: and the model is told why."""
    world = begin()
    world.feed(reply(world, 2, stop))
    assert not world.due
    results = world.state.transcript[2]
    assert isinstance(results, ToolMessage)
    assert all(type(r.outcome) is Cancelled and "cut off" in r.text for r in results.results)


@pytest.mark.parametrize(("steps", "calls_made"), [(0, 0), (1, 1), (2, 2)])
def test_step_limit(steps: int, calls_made: int) -> None:
    """E9: checked before the model call; 0 and 1 behave; the last text is in the result."""
    world = begin(Limits(steps=steps))
    made = 0
    while world.calling:
        made += 1
        world.feed(reply(world, 1, text=f"step {made}"))
        world.feed(CallEnded(ToolResult(f"t1.s{made}.c0", "r")))
    result = last_result(world)
    assert (made, result.steps) == (calls_made, steps)
    assert (result.reason, result.cause) == ("limit", "steps")
    assert result.text == (f"step {made}" if made else "")


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_call_limit(bound: int) -> None:
    """E9: calls past the limit are denied, not run; the turn ends without another model call."""
    world = begin(Limits(calls=bound))
    world.feed(reply(world, 3))
    assert len(world.due) == bound
    for call_id in list(world.due):
        world.feed(CallEnded(ToolResult(call_id, "r")))
    result = last_result(world)
    assert (result.reason, result.cause) == ("limit", "calls")
    outcomes = [type(r.outcome) for m in result.messages if isinstance(m, ToolMessage) for r in m.results]
    assert outcomes.count(Denied) == 3 - bound


def test_retry_waits_as_the_provider_asks_and_gives_up_beyond_the_cap() -> None:
    """H3: Retry-After first, else full jitter under a cap."""
    world = begin()
    world.calling = None
    folded = world.feed(ModelFailed(msgspec.structs.replace(OVERLOADED, retry_after_s=7.0)))
    assert folded.effects == [CallModel(1, 1, 2, 7.0)]
    world.calling = None
    folded = world.feed(ModelFailed(OVERLOADED, draw=0.25))
    assert folded.effects == [CallModel(1, 1, 3, 0.25 * 0.5 * 2)]
    world.calling = None
    world.feed(ModelFailed(msgspec.structs.replace(OVERLOADED, retry_after_s=61.0)))
    assert last_result(world).reason == "error"


@pytest.mark.parametrize(
    ("shown", "restart", "may_retry", "again"),
    [
        (False, "before_output", True, True),
        (True, "before_output", True, False),
        (True, "before_commit", True, True),
        (False, "before_output", False, False),
    ],
)
def test_when_a_failed_attempt_starts_over(shown: bool, restart, may_retry: bool, again: bool) -> None:
    """H3: never once text was shown that cannot be taken back, never without budget."""
    world = begin(policy=Policy(Retry(), restart))
    world.calling = None
    world.feed(ModelFailed(OVERLOADED, shown, may_retry=may_retry))
    assert (world.calling is not None) is again
    assert world.state.running is again


def test_retries_end() -> None:
    """H3: attempts of a step and retries of a turn are both bounded."""
    world = begin(policy=Policy(Retry(attempts=3)))
    tries = 0
    while world.calling:
        tries += 1
        world.calling = None
        world.feed(ModelFailed(OVERLOADED))
    assert tries == 3


def test_late_inputs_change_nothing() -> None:
    """T4: an outcome or response for a turn that is over is ignored."""
    world = begin()
    late = reply(world, 0)
    world.feed(Interrupt())
    assert world.feed(late).entries == []
    world.halting = False
    world.feed(Halted())
    assert world.feed(CallEnded(ToolResult("t1.s1.c0", "late"))).entries == []
    assert world.feed(Interrupt()).entries == []
    assert world.feed(Steer("late")).entries == []


def test_interrupt_keeps_text_only_and_closes_every_call() -> None:
    """T2, E1, C1."""
    world = begin()
    world.feed(reply(world, 2))
    world.feed(CallBegins("t1.s1.c0", "x"))
    world.feed(Interrupt())
    world.feed(Halted("ignored while calls are open"))
    results = world.state.transcript[-1]
    assert isinstance(results, ToolMessage) and all(type(r.outcome) is Cancelled for r in results.results)
    world.feed(UserInput("again", Limits()))
    world.feed(Interrupt("timeout"))
    world.feed(Halted("half a sentence"))
    assert last_result(world).reason == "timeout"
    kept = world.state.transcript[-1]
    assert isinstance(kept, AssistantMessage) and kept.partial and kept.body == "half a sentence"


def test_turn_numbers_are_never_used_again() -> None:
    """T4."""
    world = begin()
    world.feed(reply(world, 0))
    with pytest.raises(StateError, match="turn number 1 again"):
        evolve(world.state, world.journal[1])


@pytest.mark.parametrize("entry", [1, 2])
def test_an_entry_that_breaks_a_rule_is_refused(entry: int) -> None:
    """T1: checked incrementally at every append; the state stays as it was."""
    world = begin()
    world.feed(reply(world, 1))
    before = msgspec.json.encode(world.state)
    with pytest.raises(StateError):
        evolve(world.state, world.journal[entry])
    assert msgspec.json.encode(world.state) == before
