"""The turn machine under random interleavings: what must hold whatever the model, the tools and the user do."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.world import OVERLOADED, REFUSED, begin, last_result, reply

from turnwise.core.errors import StateError
from turnwise.core.evolve import evolve
from turnwise.core.inputs import (
    CallBegins,
    CallEnded,
    CallModel,
    Halted,
    Interrupt,
    ModelFailed,
    Steer,
    UserInput,
)
from turnwise.core.limits import Limits, Retry
from turnwise.core.messages import AssistantMessage, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Denied, ToolResult
from turnwise.core.turn import Policy


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
