"""What the machine makes of a turn whose process is gone (rule D2), case by case; any case at any moment is in the chaos test."""

from __future__ import annotations

from tests.core.world import OVERLOADED, REFUSED, World, begin, last_result, reply

from turnwise.core.changes import CompactionFailed, Recovered
from turnwise.core.entries import CallOutcome, CallStarted, Entry, TurnEnded
from turnwise.core.events import ToolFinished, ToolStarted
from turnwise.core.events_rare import TurnRecovered
from turnwise.core.evolve import fold
from turnwise.core.inputs import CallBegins, CallEnded, CallModel, Interrupt, ModelFailed, RunTool, Steer
from turnwise.core.inputs_rare import Approve, CallWaits, CompactionEnded, FollowUp, Recover, Resume
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.outcomes import Ok, ToolResult, Unknown
from turnwise.core.replay import replay
from turnwise.core.turn import Machine, Policy
from turnwise.core.usage import Usage


def crashed(world: World, budget: int = 3) -> list[Entry]:
    """The process is gone, and the turn is taken on; the entries that follow."""
    before = len(world.journal)
    world.recover(budget)
    return world.journal[before:]


def outcomes(entries: list[Entry]) -> dict[str, object]:
    return {e.result.call_id: e.result.outcome for e in entries if type(e) is CallOutcome}


def test_a_model_call_under_way_is_asked_again() -> None:
    """D2; what the user had added by then is part of it."""
    world = begin()
    world.feed(Steer("and this"))
    entries = crashed(world)
    assert [type(e) for e in entries] == [Recovered]
    assert world.calling == CallModel(1, 1, 1)
    assert [m.text for m in world.state.transcript if type(m) is UserMessage] == ["go", "and this"]
    assert world.events[-1] == TurnRecovered(1, 1, 1)


def test_calls_that_had_started() -> None:
    """D2: run again if that is safe, else unknown; what had ended or had not begun is neither."""
    world = begin()
    world.feed(reply(world, 5))
    for number, idempotent in enumerate([True, False, True, False]):
        world.feed(CallBegins(f"t1.s1.c{number}", "sha", idempotent))
    world.feed(CallEnded(ToolResult("t1.s1.c2", "done")))
    world.feed(CallEnded(ToolResult("t1.s1.c3", "done")))
    entries = crashed(world)
    assert entries[0] == Recovered(1, world.now, 1, again=("t1.s1.c0",))
    assert outcomes(entries) == {"t1.s1.c1": Unknown()}
    assert set(world.due) == {"t1.s1.c0", "t1.s1.c4"}
    again = world.feed(CallBegins("t1.s1.c0", "sha", True))
    assert [e.again for e in again.entries if type(e) is CallStarted] == [True]
    world.feed(CallEnded(ToolResult("t1.s1.c0", "once more")))
    world.feed(CallEnded(ToolResult("t1.s1.c4", "now")))
    assert world.calling is not None and world.state.turn is not None and world.state.turn.recovered == 0
    ids = [e.call_id for e in world.events if type(e) is ToolStarted]
    ended = [e.call_id for e in world.events if type(e) is ToolFinished]
    assert sorted(ids) == sorted(ended) == [f"t1.s1.c{i}" for i in range(5)]


def test_a_call_that_runs_again_asks_nobody_again() -> None:
    """It was allowed, and is the same call."""
    world = begin()
    world.feed(reply(world, 1))
    world.feed(CallBegins("t1.s1.c0", "sha", True))
    folded = Machine(fold(world.journal), Policy()).feed(Recover(3), 9.0)
    assert [e.allowed for e in folded.effects if type(e) is RunTool] == [True]


def test_a_call_that_waits_waits_on() -> None:
    """C6, D2: also when what ran beside it is lost; then the turn parks."""
    world = begin()
    world.feed(reply(world, 2))
    world.feed(CallWaits("t1.s1.c0", "approval"))
    world.feed(CallBegins("t1.s1.c1", "sha"))
    crashed(world)
    turn = world.state.turn
    assert turn is not None and turn.phase == "parked" and [p.call_id for p in turn.pending] == ["t1.s1.c0"]
    assert crashed(world) == []
    world.feed(Approve("t1.s1.c0"))
    assert crashed(world) == []
    world.feed(Resume())
    assert set(world.due) == {"t1.s1.c0"}
    crashed(world)
    assert set(world.due) == {"t1.s1.c0"}


def test_a_turn_that_was_to_end_ends() -> None:
    """E10: its usage is what was counted; what was lost is not said to be cancelled."""
    world = begin()
    world.feed(reply(world, 2))
    world.feed(CallBegins("t1.s1.c0", "sha", True))
    world.feed(Interrupt())
    entries = crashed(world)
    result = last_result(world)
    assert result.reason == "interrupted" and result.cause == "user" and result.usage.total_tokens == 15
    found = outcomes(entries)
    assert type(found["t1.s1.c0"]) is Unknown and type(found["t1.s1.c1"]) is not Unknown


def test_a_turn_that_crashes_again_and_again_is_given_up() -> None:
    """The budget is for crashes in a row; a step or a call that came to its end begins it anew."""
    world = begin()
    for _ in range(3):
        crashed(world)
    world.feed(reply(world, 2))
    for _ in range(3):
        crashed(world)
    world.feed(CallBegins("t1.s1.c0", "sha"))
    world.feed(CallEnded(ToolResult("t1.s1.c0", "done")))
    for _ in range(3):
        crashed(world)
    assert world.state.running
    entries = crashed(world)
    assert type(entries[0]) is Recovered and entries[0].given_up and entries[0].number == 4
    result = last_result(world)
    assert result.reason == "error" and result.cause == "crash_loop"
    assert result.error is not None and result.error.code == "crash_loop" and "4 times" in result.error.message


def test_an_outcome_that_a_crash_made_is_no_progress() -> None:
    world = begin()
    world.feed(reply(world, 1))
    world.feed(CallBegins("t1.s1.c0", "sha"))
    crashed(world)
    assert world.state.turn is not None and world.state.turn.recovered == 1


def test_a_failed_attempt_is_tried_with_the_same_model_again() -> None:
    world = begin()
    world.calling = None
    world.feed(ModelFailed(OVERLOADED, draw=0.5))
    crashed(world)
    assert world.calling == CallModel(1, 1, 2)


def test_what_was_said_ahead_waits_on() -> None:
    world = begin()
    world.feed(FollowUp("then this"))
    crashed(world)
    assert [q.message.text for q in world.state.queue] == ["then this"]


def test_nothing_is_recovered_where_nothing_runs() -> None:
    world = begin()
    world.feed(reply(world, 0))
    assert not world.state.running and crashed(world) == []


def test_what_happens_to_a_turn_that_nobody_drives_does_not_end_it() -> None:
    """What is due was weighed when it was asked for; it is weighed again when somebody takes the turn on."""
    world = begin(Limits(tokens=16))
    world.feed(reply(world, 1))
    world.feed(CallBegins("t1.s1.c0", "sha"))
    world.feed(CallEnded(ToolResult("t1.s1.c0", "done")))
    assert world.calling is not None
    left = Machine(fold(world.journal), Policy(), resting=True)
    folded = left.feed(CompactionEnded(left.state.base, "manual", error=REFUSED, usage=Usage(10, 0)), 9.0)
    assert [type(e) for e in folded.entries] == [CompactionFailed] and folded.effects == []
    journal = [*world.journal, *folded.entries]
    taken = Machine(fold(journal), Policy()).feed(Recover(3), 10.0)
    assert [type(e) for e in taken.entries] == [Recovered, TurnEnded]
    replay([*journal, *taken.entries])


def test_a_completed_call_stays_as_it_was() -> None:
    """D2: no completed call is run again."""
    world = begin()
    world.feed(reply(world, 2))
    world.feed(CallBegins("t1.s1.c0", "sha", True))
    world.feed(CallEnded(ToolResult("t1.s1.c0", "done")))
    crashed(world)
    assert "t1.s1.c0" not in world.due
    turn = world.state.turn
    assert turn is not None and (done := turn.find("t1.s1.c0")) is not None
    assert done.result is not None and type(done.result.outcome) is Ok
