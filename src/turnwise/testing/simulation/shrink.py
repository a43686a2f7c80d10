"""The shortest plan that still breaks the same rule: what does not matter is left out, piece by piece.

A plan is data, so leaving something out is easy; what is left happens in another order perhaps, and is kept only if the same rule breaks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from .plan import EpisodePlan, SessionPlan, TurnPlan

T = TypeVar("T")


def shrink(plan: EpisodePlan, fails: Callable[[EpisodePlan], bool], tries: int = 400) -> EpisodePlan:
    """A smaller plan that fails; the plan itself if none does. `fails` is asked at most `tries` times."""
    left = [tries]

    def still(smaller: EpisodePlan) -> bool:
        if left[0] <= 0 or not smaller.turns:
            return False
        left[0] -= 1
        return fails(smaller)

    while True:
        smaller = _once(plan, still)
        if smaller == plan or left[0] <= 0:
            return smaller
        plan = smaller


def _once(plan: EpisodePlan, still: Callable[[EpisodePlan], bool]) -> EpisodePlan:
    """Everything tried once, the large pieces first."""
    for smaller in _fewer_sessions(plan):
        if still(smaller):
            plan = smaller
    plan = replace(plan, blows=_fewer(plan.blows, lambda blows: still(replace(plan, blows=blows))))
    first = tuple([blow for blow in plan.blows if blow.slot == 0])
    for fewer in ({"skews": (0.0,) * plan.processes}, {"processes": 1, "skews": plan.skews[:1], "blows": first}):
        simpler = replace(plan, **fewer)
        if simpler != plan and still(simpler):
            plan = simpler
    for place in range(len(plan.sessions)):
        plan = _fewer_turns(plan, place, still)
    for place, session in enumerate(plan.sessions):
        plain = replace(session, turns=plan.sessions[place].turns, window=None, apis=session.apis[:1])
        if plain != plan.sessions[place] and still(_with_session(plan, place, plain)):
            plan = _with_session(plan, place, plain)
        for number in range(len(session.turns)):
            for simpler in _simpler(plan.sessions[place].turns[number]):
                tried = _with_turn(plan, place, number, simpler)
                if tried != plan and still(tried):
                    plan = tried
    return plan


def _fewer_sessions(plan: EpisodePlan) -> Iterator[EpisodePlan]:
    for place, session in enumerate(plan.sessions):
        if session.turns and len(plan.sessions) > 1:
            yield _with_session(plan, place, replace(session, turns=()))


def _fewer_turns(plan: EpisodePlan, place: int, still: Callable[[EpisodePlan], bool]) -> EpisodePlan:
    session = plan.sessions[place]

    def fails(turns: Sequence[TurnPlan]) -> bool:
        return still(_with_session(plan, place, replace(session, turns=tuple(turns))))

    return _with_session(plan, place, replace(session, turns=_fewer(session.turns, fails)))


def _simpler(turn: TurnPlan) -> Iterator[TurnPlan]:
    """The turn without some of what happens in it."""
    for at in range(len(turn.acts)):
        yield replace(turn, acts=turn.acts[:at] + turn.acts[at + 1 :])
    for at in range(len(turn.answers) - 1):
        yield replace(turn, answers=turn.answers[:at] + turn.answers[at + 1 :])
    if turn.store_faults:
        yield replace(turn, store_faults=())
    if turn.watch:
        yield replace(turn, watch="")
    if turn.how != "run":
        yield replace(turn, how="run")
    plain = tuple([replace(answer, cuts=(), pace_s=0.0, thinking="", text=answer.text[:8]) for answer in turn.answers])
    if plain != turn.answers:
        yield replace(turn, answers=plain)
    yield replace(turn, steps=25, calls=None, tokens=None, wall_time_s=None, pause_s=0.0, stops_after=None)


def _fewer(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """As few of these as still fail: halves are left out first, then quarters, then single ones."""
    size = max(1, len(items) // 2)
    while items:
        at = 0
        while at < len(items):
            fewer = items[:at] + items[at + size :]
            if fails(fewer):
                items = fewer
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return items


def _with_session(plan: EpisodePlan, place: int, session: SessionPlan) -> EpisodePlan:
    return replace(plan, sessions=(*plan.sessions[:place], session, *plan.sessions[place + 1 :]))


def _with_turn(plan: EpisodePlan, place: int, number: int, turn: TurnPlan) -> EpisodePlan:
    session = plan.sessions[place]
    turns = (*session.turns[:number], turn, *session.turns[number + 1 :])
    return _with_session(plan, place, replace(session, turns=turns))
