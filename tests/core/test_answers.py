"""Answers that have to have a form, as the machine decides on them: corrected within a budget, given by a call, never counted as work."""

from __future__ import annotations

import pytest
from tests.core.world import World

from turnwise.core.content import Text, ToolCall
from turnwise.core.events import Steered, TurnFinished
from turnwise.core.inputs import CallEnded, Interrupt, ModelReplied, Steer, UserInput
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo
from turnwise.core.outcomes import InvalidArguments, ToolResult, result_of
from turnwise.core.result import TurnResult
from turnwise.core.turn import Policy

ANSWER = "final_answer"


def begin(corrections: int = 2, limits: Limits | None = None) -> World:
    world = World(Policy(corrections=corrections, answer=ANSWER))
    world.feed(UserInput("Hi", limits or Limits()))
    return world


def said(world: World, text: str, problem: str | None = None) -> None:
    asked = world.calling
    assert asked is not None
    world.calling = None
    info = ResponseInfo("p", "m", stop_reason="stop")
    world.feed(ModelReplied(AssistantMessage(text, asked.turn, asked.step, world.now, False, info), problem))


def called(world: World, *names: str) -> None:
    asked = world.calling
    assert asked is not None
    world.calling = None
    calls = [ToolCall(f"t1.s{asked.step}.c{i}", name, f'{{"n": {i}}}') for i, name in enumerate(names)]
    info = ResponseInfo("p", "m", stop_reason="tool_calls")
    world.feed(ModelReplied(AssistantMessage((Text("hm"), *calls), asked.turn, asked.step, world.now, False, info)))


def seen(world: World, call_id: str) -> None:
    world.due.pop(call_id)
    world.feed(CallEnded(ToolResult(call_id, "seen")))


def fits(world: World, call_id: str) -> None:
    world.due.pop(call_id)
    world.feed(CallEnded(ToolResult(call_id, "Received."), final=True))


def misses(world: World, call_id: str, problem: str = "no") -> None:
    world.due.pop(call_id)
    world.feed(CallEnded(result_of(call_id, InvalidArguments(problem)), final=True))


def result(world: World) -> TurnResult:
    event = world.events[-1]
    assert type(event) is TurnFinished
    return event.result


def test_a_text_that_does_not_fit_is_corrected_until_the_budget_is_spent() -> None:
    world = begin(corrections=1)
    said(world, "one", "Not a number.")
    assert world.calling is not None and world.calling.step == 2
    assert [m.text for m in world.state.transcript] == ["Hi", "one", "Not a number."]
    assert world.state.transcript[-1].mark == "problem"  # type: ignore[union-attr]
    assert [e.mark for e in world.events if type(e) is Steered] == ["problem"]
    said(world, "two", "Still none.")
    ended = result(world)
    assert ended.reason == "error" and ended.error is not None and ended.error.code == "invalid_output"
    assert "Still none." in ended.error.message
    assert (ended.text, ended.steps) == ("two", 2)


def test_a_call_that_brings_the_answer_ends_the_turn() -> None:
    world = begin()
    called(world, ANSWER)
    fits(world, "t1.s1.c0")
    ended = result(world)
    assert (ended.reason, ended.text, ended.steps, ended.calls) == ("completed", '{"n": 0}', 1, 0)
    assert world.finished == 1


def test_other_calls_of_the_step_are_waited_for_and_the_first_answer_counts() -> None:
    world = begin()
    called(world, "look", ANSWER, ANSWER)
    fits(world, "t1.s1.c1")
    fits(world, "t1.s1.c2")
    assert not world.finished
    seen(world, "t1.s1.c0")
    assert (result(world).reason, result(world).text, result(world).calls) == ("completed", '{"n": 1}', 1)


def test_a_steer_after_the_answer_is_heard() -> None:
    """T3: the model is asked again, and its next answer counts."""
    world = begin()
    called(world, "look", ANSWER)
    fits(world, "t1.s1.c1")
    world.feed(Steer("And the other one."))
    seen(world, "t1.s1.c0")
    assert world.calling is not None
    called(world, "look", ANSWER)
    seen(world, "t1.s2.c0")
    fits(world, "t1.s2.c1")
    assert (result(world).steps, result(world).text) == (2, '{"n": 1}')


def test_arguments_that_do_not_fit_are_told_as_the_outcome_within_the_same_budget() -> None:
    world = begin(corrections=2)
    said(world, "words", "Call the tool.")
    called(world, ANSWER)
    misses(world, "t1.s2.c0")
    assert world.calling is not None and world.calling.step == 3
    called(world, ANSWER)
    misses(world, "t1.s3.c0", "It is too long.")
    ended = result(world)
    assert ended.error is not None and ended.error.code == "invalid_output"
    assert ended.error.message.endswith("It is too long.")
    assert (ended.steps, ended.calls, ended.text) == (3, 0, "hm")


@pytest.mark.parametrize("last", ["wrong", "tool"])
def test_the_end_waits_for_the_other_calls_of_the_step(last: str) -> None:
    """T1: no turn ends with open calls; whichever outcome comes last, the turn ends with what was wrong."""
    world = begin(corrections=0)
    called(world, "look", ANSWER)
    steps = [lambda: misses(world, "t1.s1.c1"), lambda: seen(world, "t1.s1.c0")]
    for step in steps if last == "tool" else reversed(steps):
        assert not world.finished
        step()
    error = result(world).error
    assert error is not None and error.code == "invalid_output" and error.message.endswith("no")


def test_a_right_answer_beside_a_wrong_one_is_taken() -> None:
    world = begin(corrections=0)
    called(world, ANSWER, ANSWER)
    misses(world, "t1.s1.c0")
    fits(world, "t1.s1.c1")
    assert (result(world).reason, result(world).text) == ("completed", '{"n": 1}')


@pytest.mark.parametrize("bound", [0, 1])
def test_limits_of_calls_leave_room_for_the_answer(bound: int) -> None:
    """E9: what a limit bounds is work, and giving the answer is none."""
    world = begin(limits=Limits(calls=bound, per_tool={"look": 5}))
    if bound:
        called(world, "look")
        seen(world, "t1.s1.c0")
    called(world, ANSWER)
    fits(world, f"t1.s{bound + 1}.c0")
    assert (result(world).reason, result(world).calls) == ("completed", bound)


def test_the_answer_can_be_given_when_the_turn_concludes() -> None:
    """E9: no more tools after a limit, but the answer."""
    world = begin(limits=Limits(steps=1, on_limit="conclude"))
    called(world, "look")
    seen(world, "t1.s1.c0")
    assert world.calling is not None and world.calling.concluding
    called(world, "look", ANSWER)
    fits(world, "t1.s2.c1")
    assert (result(world).reason, result(world).cause, result(world).text) == ("limit", "steps", '{"n": 1}')


def test_an_interrupt_before_the_budget_is_spent_is_an_interrupt() -> None:
    world = begin(corrections=0)
    called(world, "look", ANSWER)
    misses(world, "t1.s1.c1")
    world.feed(Interrupt("user"))
    assert world.halting
    seen(world, "t1.s1.c0")
    assert not world.finished
