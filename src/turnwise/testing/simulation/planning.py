"""Plans from a seed: how many people and processes there are, what models answer, what goes wrong, and when."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from .deeds import PHASE_WEIGHTS, PHASES, acts_of, with_occasion
from .plan import (
    ANSWER_FAULTS,
    APIS,
    STORE_FAULTS,
    TOOL_FAULTS,
    Act,
    Answer,
    Blow,
    CallPlan,
    EpisodePlan,
    ExtensionPlan,
    How,
    Level,
    SessionPlan,
    StoreKind,
    TurnPlan,
)

STEPS_PER_TURN = 45
"""About how many callbacks a turn takes."""


def episode(seed: str, store: StoreKind, level: Level, turns: int) -> EpisodePlan:
    """The plan that follows from this seed, of about so many turns."""
    draw = Random(f"{seed}/episode")
    sessions = draw.choice((1, 2, 3, 4)) if level != "none" else 2
    each = max(1, turns // sessions)
    shared = store != "memory"
    processes = draw.choice((1, 1, 2) if level == "light" else (1, 2, 2)) if shared and level != "none" else 1
    plans = tuple([_session(f"{seed}/{n}", f"s{n}", each, level, store) for n in range(sessions)])
    blows: list[Blow] = []
    skews = (0.0,) * processes
    if shared and level != "none":
        span, often = turns * STEPS_PER_TURN, 15 if level == "heavy" else 60
        blows += [Blow(draw.randrange(span), draw.randrange(processes)) for _ in range(max(1, turns // often))]
        if level == "heavy":
            for _ in range(turns // 14):
                stopped_s = draw.choice((1.0, 20.0, 45.0, 60.0, 90.0))
                blows.append(Blow(draw.randrange(span), draw.randrange(processes), stopped_s))
            if draw.random() < 0.4:
                skews = tuple([draw.choice((-40.0, -3.0, 0.0, 3.0, 40.0)) for _ in range(processes)])
    return EpisodePlan(
        seed=seed,
        store=store,
        order=draw.getrandbits(48),
        sessions=plans,
        processes=processes,
        skews=skews,
        blows=tuple(sorted(blows, key=lambda blow: blow.step)),
        onlookers=_onlookers(Random(f"{seed}/onlookers"), sessions, processes) if shared and level != "none" else (),
    )


def _onlookers(draw: Random, sessions: int, processes: int) -> tuple[tuple[int, str], ...]:
    return tuple([(draw.randrange(processes), f"s{n}") for n in range(sessions) if draw.random() < 0.3])


def _session(seed: str, name: str, turns: int, level: Level, store: StoreKind) -> SessionPlan:
    draw = Random(seed)
    apis = tuple(draw.sample(APIS, draw.choice((1, 1, 2))))
    plan = SessionPlan(
        name=name,
        apis=apis,
        turns=tuple([turn(Random(f"{seed}/{n}"), n + 1, level, store) for n in range(turns)]),
        window=draw.choice((None, None, 6000)) if level != "none" else None,
        restart=draw.choice(("before_output", "before_commit")),
    )
    return plan if level == "none" else _extended(Random(f"{seed}/extensions"), plan)


HOOKED = (
    "session.started",
    "session.ended",
    "turn.before",
    "turn.after",
    "step.before",
    "step.after",
    "tool.before",
    "tool.after",
    "tool.error",
    "state.before",
    "state.after",
    "compaction.before",
    "compaction.after",
    "approval.requested",
    "approval.answered",
    "error",
)
_HOOKED_WEIGHTS = (2, 2, 5, 5, 12, 10, 16, 10, 6, 1, 1, 4, 2, 6, 3, 5)
AROUND = (
    "turn",
    "model",
    "tool",
    "cache",
    "guardrail",
    "rate_limit",
    "concurrency",
    "redact",
    "validate",
    "circuit_breaker",
    "metrics",
    "log",
)
_AROUND_WEIGHTS = (14, 18, 14, 6, 8, 4, 4, 5, 3, 4, 3, 3)
EXTENDED_SHARE = 0.4


def _extended(draw: Random, plan: SessionPlan) -> SessionPlan:
    """Some sessions have hooks and middleware; chance of its own, so that all else is planned as without."""
    if draw.random() >= EXTENDED_SHARE:
        return plan
    hooks = [hook(draw, f"h{n}") for n in range(draw.choice((0, 2, 4, 6, 9)))]
    around = [
        ExtensionPlan(f"m{n}", kind, fail=draw.choice(("open", "closed")), acts=draw.choice((0.05, 0.2, 0.4)))
        for n, kind in enumerate(draw.choices(AROUND, _AROUND_WEIGHTS, k=draw.choice((0, 1, 2, 3, 4))))
    ]
    turns = [
        msgspec.structs.replace(turn, acts=(*turn.acts, _adds_hook(draw))) if draw.random() < 0.05 else turn
        for turn in plan.turns
    ]
    return msgspec.structs.replace(plan, extensions=(*hooks, *around), turns=tuple(turns))


def hook(draw: Random, name: str) -> ExtensionPlan:
    """A hook somewhere."""
    return ExtensionPlan(
        name,
        draw.choices(HOOKED, _HOOKED_WEIGHTS)[0],
        draw.choice(("async", "async", "sync", "blocking", "object")),
        draw.choice(("open", "closed")),
        draw.choice((0.5, 2.0, 6.0)),
        draw.choice((0, 0, 10)),
        draw.choice((0.0, 0.1, 0.3)),
        draw.choice((0.0, 0.05, 0.15)),
    )


def _adds_hook(draw: Random) -> Act:
    return Act(
        "add_hook", draw.choices(PHASES, PHASE_WEIGHTS)[0], draw.choice((0.0, 0.01, 0.5)), 1, draw.getrandbits(32)
    )


_HOW: tuple[How, ...] = ("run", "stream", "slow_stream", "channel", "steps", "follow_up", "continue", "regenerate")
_HOW_WEIGHTS = (44, 26, 6, 5, 5, 6, 4, 4)


def turn(draw: Random, number: int, level: Level, store: StoreKind) -> TurnPlan:
    """One turn. With faults, one kind of them is likely to strike it, and now and then a second one."""
    chance = {"none": 0.0, "light": 0.15, "heavy": 0.92}[level]
    faults: list[str] = []
    while len(faults) < 3 and draw.random() < chance:
        faults.append(_fault(draw, store))
        chance /= 2.5
    how = draw.choices(_HOW, _HOW_WEIGHTS)[0] if level != "none" else draw.choice(("run", "stream"))
    acts = acts_of(draw, level)
    answers = with_occasion(draw, _answers(draw, faults, level), acts)
    store_faults = tuple([(f, _early(draw)) for f in faults if f in STORE_FAULTS and f != "paused"])
    limits = draw.random()
    return TurnPlan(
        number=number,
        how=how,
        answers=answers,
        acts=acts,
        store_faults=store_faults,
        steps=draw.randrange(4) if limits < 0.04 else 25,
        calls=draw.randrange(4) if 0.04 <= limits < 0.08 else None,
        tokens=draw.choice((1, 400, 1500, 3000, 6000)) if 0.08 <= limits < 0.16 else None,
        wall_time_s=draw.choice((0.0, 0.5, 5.0, 20.0)) if 0.16 <= limits < 0.19 else None,
        on_limit=draw.choice(("stop", "conclude")),
        watch=draw.choice(("coalesce", "drop_to_cursor", "block")) if level != "none" and draw.random() < 0.12 else "",
        streamed=draw.random() < 0.85,
        stops_after=draw.choice((1, 2)) if level != "none" and (how == "steps" or draw.random() < 0.05) else None,
        pause_s=draw.choice((0.0, 0.0, 0.1, 3.0)),
    )


def _fault(draw: Random, store: StoreKind) -> str:
    kinds = ANSWER_FAULTS + TOOL_FAULTS + (STORE_FAULTS if store != "memory" else ())
    return draw.choice(kinds)


def _early(draw: Random) -> int:
    return min(draw.randrange(1, 9), draw.randrange(1, 9))


def _answers(draw: Random, faults: list[str], level: Level) -> tuple[Answer, ...]:
    tool_steps = draw.choices((0, 1, 2, 3), (40, 35, 17, 8))[0]
    tool_faults = [f for f in faults if f in TOOL_FAULTS]
    if tool_faults or "cut_off" in faults or "same_ids" in faults:
        tool_steps = max(1, tool_steps)
    said = [_step(draw, n, tool_faults, level) for n in range(tool_steps)]
    said.append(
        Answer(
            text=_words(draw, draw.choice((1, 3, 12, 40))),
            thinking=_words(draw, 4) if draw.random() < 0.2 else "",
            stop=draw.choice(("length", "refusal", "content_filter", "pause")) if draw.random() < 0.03 else None,
            **_delivery(draw),
        )
    )
    for fault in faults:
        if fault not in ANSWER_FAULTS:
            continue
        place = 0 if fault in ("cut_off", "same_ids") or draw.random() < 0.5 else draw.randrange(len(said))
        tries = draw.choice((1, 1, 1, 2, 5))
        broken = msgspec.structs.replace(said[place], fault=fault, at=draw.random())
        if fault in ("cut_off", "same_ids"):
            said[place] = broken
        else:
            said[place:place] = [msgspec.structs.replace(broken, at=draw.random()) for _ in range(tries)]
    return tuple(said)


def _delivery(draw: Random) -> dict[str, Any]:
    pieces = draw.choice((0, 0, 1, 2, 5))
    return {
        "wait_s": draw.choice((0.0, 0.02, 0.3, 2.0)),
        "pace_s": draw.choice((0.0, 0.0, 0.01, 0.5)),
        "cuts": tuple(sorted([draw.random() for _ in range(pieces)])),
        "has_usage": draw.random() < 0.93,
    }


def _step(draw: Random, number: int, faults: list[str], level: Level) -> Answer:
    count = draw.choices((1, 2, 3, 5), (60, 25, 10, 5))[0]
    calls = [_call(draw, "") for _ in range(count)]
    if number == 0:
        for fault in faults:
            calls[draw.randrange(count)] = _call(draw, fault)
    return Answer(
        text=_words(draw, 3) if draw.random() < 0.5 else "",
        thinking=_words(draw, 5) if draw.random() < 0.2 else "",
        calls=tuple(calls),
        interleaved=draw.random() < 0.3,
        **_delivery(draw),
    )


_TOOLS = ("work", "again", "look", "block", "danger", "outside", "ask_user", "delegate")
_TOOL_WEIGHTS = (28, 12, 24, 10, 12, 6, 4, 3)


def _call(draw: Random, fault: str) -> CallPlan:
    if fault == "unknown_tool":
        return CallPlan("nowhere", "{}", fault)
    if fault == "bad_arguments":
        arguments = draw.choice(('{"does": 5}', "{", "[1]", '{"does": "ok", "for_s": "long"}', "null"))
        return CallPlan("work", arguments, fault)
    does = {
        "tool_fails": "fail",
        "tool_slow": "slow",
        "tool_hangs": "hang",
        "tool_deaf": "deaf",
        "tool_huge": "huge",
        "tool_malformed": "malformed",
    }.get(fault, "ok")
    tool = draw.choices(_TOOLS, _TOOL_WEIGHTS)[0] if not fault else draw.choice(("work", "again", "look", "block"))
    if does == "deaf":
        tool = draw.choice(("work", "look"))
    if tool == "ask_user":
        return CallPlan(tool, '{"question": "Which one?"}')
    for_s = {"slow": 20.0, "deaf": 40.0}.get(does, draw.choice((0.0, 0.0, 0.01, 0.4, 2.0)))
    return CallPlan(tool, msgspec.json.encode({"does": does, "for_s": for_s, "n": draw.randrange(1000)}).decode())


_SYLLABLES = ("ka", "lo", "mi", "ren", "tu", "ß", "–", "an", "vor", "e", "日本", "st")


def _words(draw: Random, count: int) -> str:
    return " ".join(["".join(draw.choices(_SYLLABLES, k=draw.choice((1, 2, 3)))) for _ in range(count)])
