"""A model that goes round in circles is noticed within a turn, told, or stopped (rule E8); conditions of the caller's own stop it, too."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.conftest import Host, assert_ended, goes_on, names, of, read_all, results

from turnwise import Loops, Session, tool
from turnwise.core.loops import LoopAction
from turnwise.core.outcomes import Denied, Ok
from turnwise.core.result import TurnResult
from turnwise.core.step import Step
from turnwise.events import Event, LoopDetected
from turnwise.testing import ScriptedProvider, call, raw_call, reply, text

ran: list[str] = []


@tool
async def look(what: str) -> str:
    ran.append(what)
    return what


@tool
async def find(what: str, where: str = "") -> str:
    return what


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


async def played(
    host: Host, script: list[Any], loops: Loops | None, **options: Any
) -> tuple[TurnResult, list[Event], list[bytes], Session[Any]]:
    """The result and events of one turn, the requests it made, and its session."""
    async with ScriptedProvider([*script, reply("Here we are.")]) as provider:
        session = host.agent(provider, look, find, loops=loops, **options).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        sent = [r.raw for r in provider.requests]
        await goes_on(session)
    return assert_ended(events).result, events, sent, session


def asks(what: str = "x", name: str = "look") -> Any:
    return reply(text("Let me see."), call(name, what=what))


async def test_a_repeat_is_told(any_host: Host) -> None:
    """By default: an event at the third time, and the turn goes on."""
    result, events, _, _ = await played(any_host, [asks() for _ in range(4)] + [reply("Done.")], Loops())
    assert [(e.step, e.names, e.period, e.repeats, e.action) for e in of(LoopDetected, events)] == [
        (3, ("look",), 1, 3, "warn")
    ]
    assert (result.reason, result.text, ran) == ("completed", "Done.", ["x"] * 4)


async def test_a_cycle_is_told(host: Host) -> None:
    """A-B-A-B, whatever the arguments are written like."""
    there = reply(raw_call("find", '{"what": "x", "where": "y"}'))
    back = reply(raw_call("find", '{"where":"y","what":"x"}'))
    result, events, _, _ = await played(host, [asks(), there, asks(), back, reply("Done.")], Loops(repeats=2))
    assert [(e.names, e.period, e.repeats) for e in of(LoopDetected, events)] == [(("look", "find"), 2, 2)]
    assert result.reason == "completed"


@pytest.mark.parametrize("repeats", [1, 2, 3])
async def test_a_loop_may_end_the_turn(any_host: Host, repeats: int) -> None:
    """Before the call runs that makes it one: the calls of that step are denied, and the account is true."""
    result, events, sent, _ = await played(
        any_host, [asks() for _ in range(repeats)], Loops(repeats=repeats, action="stop")
    )
    assert (result.reason, result.cause, result.text) == ("loop", "look", "Let me see.")
    assert (result.steps, result.calls, len(sent), len(ran)) == (repeats, repeats, repeats, repeats - 1)
    assert [type(r.outcome) for r in results(result)] == [Ok] * (repeats - 1) + [Denied]
    assert len(of(LoopDetected, events)) == 1 and names(events)[-1] == "TurnFinished"


@pytest.mark.parametrize("action", ["warn", "tell", "stop"])
async def test_a_model_is_told_of_its_loop_if_asked_for(host: Host, action: LoopAction) -> None:
    """In the next request, behind the results, in the engine's name."""
    script = [asks(), asks()] + ([] if action == "stop" else [reply("Oh. Done.")])
    _, _, sent, session = await played(host, script, Loops(repeats=2, action=action))
    told = [m for m in session.messages if getattr(m, "mark", "") == "reminder"]
    assert len(told) == (action == "tell")
    if action == "tell":
        assert b"with the same arguments 2 times in a row" in sent[2] and b"in a row" not in sent[1]


async def test_a_loop_that_goes_on_is_found_again(host: Host) -> None:
    """After as many more steps, so that a watcher is not told at each of them."""
    _, events, _, _ = await played(host, [asks() for _ in range(7)] + [reply("Done.")], Loops(repeats=3))
    assert [e.step for e in of(LoopDetected, events)] == [3, 6]


async def test_each_turn_begins_anew(host: Host) -> None:
    async with ScriptedProvider([asks(), asks(), reply("A"), asks(), asks(), reply("B")]) as provider:
        session = host.agent(provider, look, loops=Loops(repeats=3, action="stop")).session()
        assert [(await session.run("Hi")).reason for _ in range(2)] == ["completed", "completed"]


async def test_other_arguments_are_no_loop(host: Host) -> None:
    script = [asks(what) for what in ("a", "b", "c", "a", "d")] + [reply("Done.")]
    result, events, _, _ = await played(host, script, Loops(repeats=2, action="stop"))
    assert result.reason == "completed" and not of(LoopDetected, events)


async def test_it_can_be_turned_off(host: Host) -> None:
    _, events, _, _ = await played(host, [asks() for _ in range(5)] + [reply("Done.")], None)
    assert not of(LoopDetected, events)


# --- conditions of the caller's own -------------------------------------------------------------------------------------


async def test_a_condition_stops_a_turn(any_host: Host) -> None:
    """It sees each step that asked for tools with its results; the turn ends before the next model call, its calls done."""
    seen: list[Step] = []

    def found(step: Step) -> bool:
        seen.append(step)
        return any("gold" in r.text for r in step.results)

    script = [asks("mud"), reply(text("Again."), call("look", what="gold"), call("look", what="tin"))]
    result, _, sent, _ = await played(any_host, script, None, stop_when=[found])
    assert (result.reason, result.cause, result.text, len(sent)) == ("stopped", "found", "Again.", 2)
    assert [type(r.outcome) for r in results(result)] == [Ok] * 3
    assert [(s.number, s.text, [c.name for c in s.calls], [r.text for r in s.results]) for s in seen] == [
        (1, "Let me see.", ["look"], ["mud"]),
        (2, "Again.", ["look", "look"], ["gold", "tin"]),
    ]


async def test_a_condition_of_one_turn_that_says_why(host: Host) -> None:
    """Beside those of the agent; what it says is the cause."""
    async with ScriptedProvider([asks(), asks(), reply("Done.")]) as provider:
        session = host.agent(provider, look, stop_when=[lambda step: step.number > 5]).session()
        result = await session.run("Hi", stop_when=[lambda step: "that will do" if step.number == 1 else ""])
        assert (result.reason, result.cause, result.steps) == ("stopped", "that will do", 1)
        assert (await session.run("Go on")).reason == "completed"


async def test_a_final_answer_is_not_asked_about(host: Host) -> None:
    """The turn is over by itself."""
    result, _, _, _ = await played(host, [reply("Done.")], None, stop_when=[lambda _: True])
    assert (result.reason, result.cause) == ("completed", "")


async def test_a_condition_that_fails_ends_the_turn(host: Host) -> None:
    """Nobody could tell whether to go on."""

    def broken(step: Step) -> bool:
        raise KeyError("colour")

    result, _, _, _ = await played(host, [asks()], None, stop_when=[broken])
    assert result.reason == "error" and result.error is not None
    assert (result.error.code, result.error.branch, result.steps) == ("stop_condition_failed", "hook", 1)
    assert "broken" in result.error.message and "colour" in result.error.message
