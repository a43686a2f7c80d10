"""What is going to happen in one episode, as data: who says what, what models answer, what goes wrong, and when.

All of it follows from a number, so a plan can be made again, and made shorter (`shrink`). Nothing here runs anything.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

Level = Literal["none", "light", "heavy"]
StoreKind = Literal["memory", "stored", "sqlite"]
"""Journals in memory that never wait; a store in memory that takes its time, shared by processes; the same with SQLite."""

ANSWER_FAULTS = (
    "refused",
    "slow_connect",
    "no_answer",
    "stall",
    "reset_early",
    "reset",
    "truncated",
    "no_terminator",
    "error_event",
    "overloaded",
    "unavailable",
    "rate_limited",
    "rate_limited_after",
    "garbage",
    "html",
    "same_ids",
    "overflow",
    "cut_off",
)
TOOL_FAULTS = (
    "tool_fails",
    "tool_slow",
    "tool_hangs",
    "tool_deaf",
    "tool_huge",
    "tool_malformed",
    "bad_arguments",
    "unknown_tool",
)
STORE_FAULTS = ("append_fails", "append_fails_late", "slow_append", "disk_full", "lease_lost", "paused")
PROCESS_FAULTS = ("crash", "two_owners", "clock_skew")
FAULTS = ("none", *ANSWER_FAULTS, *TOOL_FAULTS, *STORE_FAULTS, *PROCESS_FAULTS)

APIS = ("anthropic", "openai", "openai-responses", "gemini", "vertex", "cohere", "bedrock", "ollama")

How = Literal["run", "stream", "slow_stream", "channel", "steps", "follow_up", "continue", "regenerate"]
Phase = Literal["model", "tools", "parked", "ending", "idle"]


class CallPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that the model asks for, with its raw arguments. `fault` is what is wrong with the call itself."""

    tool: str
    arguments: str
    fault: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the model says to one request, and how the bytes come: `cuts` reads, `pace_s` apart, after `wait_s`. `at` is where in the body
    the fault strikes, as a share of it."""

    text: str = ""
    thinking: str = ""
    calls: tuple[CallPlan, ...] = ()
    stop: str | None = None
    has_usage: bool = True
    interleaved: bool = False
    wait_s: float = 0.05
    pace_s: float = 0.0
    cuts: tuple[float, ...] = ()
    fault: str = ""
    at: float = 0.5


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody does beside the turn: `after_s` after it has come into `phase` for the `nth` time. `seed` is for its details."""

    what: str
    phase: Phase
    after_s: float
    nth: int = 1
    seed: int = 0


class TurnPlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One turn: how it is begun and read, what the model answers, and what else happens."""

    number: int
    how: How
    answers: tuple[Answer, ...]
    acts: tuple[Act, ...] = ()
    store_faults: tuple[tuple[str, int], ...] = ()
    """What the store does, to which of the appends of the turn (counted from 1)."""
    steps: int | None = None
    calls: int | None = None
    tokens: int | None = None
    wall_time_s: float | None = None
    on_limit: Literal["stop", "conclude"] = "stop"
    watch: str = ""
    streamed: bool = True
    stops_after: int | None = None
    """The step after which it is stopped."""
    pause_s: float = 0.0
    """How long the person waits before."""


class ExtensionPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hook (`kind` is its point) or a middleware that an agent has. At a share of its calls it `acts`, a hook at a share has `trouble`."""

    name: str
    kind: str
    manner: str = "async"
    fail: Literal["open", "closed"] = "open"
    timeout_s: float = 2.0
    priority: int = 0
    acts: float = 0.2
    trouble: float = 0.05

    @property
    def is_hook(self) -> bool:
        return "." in self.kind or self.kind == "error"


class SessionPlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One session and its person. `apis` are the models of its agent, first choice first."""

    name: str
    apis: tuple[str, ...]
    turns: tuple[TurnPlan, ...]
    window: int | None = None
    restart: Literal["before_output", "before_commit"] = "before_output"
    extensions: tuple[ExtensionPlan, ...] = ()


class Blow(msgspec.Struct, frozen=True, omit_defaults=True):
    """After so many callbacks of the world the process in this place is dropped, or stopped for so many seconds."""

    step: int
    slot: int
    stopped_s: float | None = None


class EpisodePlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A world from its beginning to its end. `order` decides who is next; `blows` are what befalls whole processes."""

    seed: str
    store: StoreKind
    order: int
    sessions: tuple[SessionPlan, ...]
    processes: int = 1
    skews: tuple[float, ...] = (0.0,)
    """How much the wall clock of each process is wrong, in seconds."""
    blows: tuple[Blow, ...] = ()
    onlookers: tuple[tuple[int, str], ...] = ()
    """In which place somebody watches which session by its name, from turn to turn."""

    @property
    def turns(self) -> int:
        return sum([len(session.turns) for session in self.sessions])


STEPS_PER_TURN = 45
"""About how many callbacks a turn takes."""


# --- making one -------------------------------------------------------------------------------------------------------


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
            for _ in range(turns // 30):
                stopped_s = draw.choice((1.0, 20.0, 45.0, 90.0))
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
        "add_hook", draw.choices(_PHASES, _PHASE_WEIGHTS)[0], draw.choice((0.0, 0.01, 0.5)), 1, draw.getrandbits(32)
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
    acts = _acts(draw, level)
    answers = _with_occasion(draw, _answers(draw, faults, level), acts)
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
        tokens=draw.choice((1, 400, 3000)) if 0.08 <= limits < 0.1 else None,
        wall_time_s=draw.choice((0.0, 0.5, 5.0)) if 0.1 <= limits < 0.12 else None,
        on_limit=draw.choice(("stop", "conclude")),
        watch=draw.choice(("coalesce", "drop_to_cursor", "block")) if level != "none" and draw.random() < 0.12 else "",
        streamed=draw.random() < 0.85,
        stops_after=draw.choice((1, 2)) if level != "none" and (how == "steps" or draw.random() < 0.03) else None,
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
        place = 0 if fault in ("cut_off", "same_ids") else draw.randrange(len(said))
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


# --- people -----------------------------------------------------------------------------------------------------------

BESIDE = (
    "interrupt",
    "interrupt_none",
    "steer",
    "steer_skip",
    "follow_up",
    "drop_follow_ups",
    "set",
    "model",
    "compact",
    "undo_compaction",
    "watch",
    "cancel",
    "leave",
    "second_turn",
    "undo",
    "clear",
    "rewind",
    "close",
    "fork",
    "approve",
    "deny",
    "edit",
    "answer",
    "submit",
    "crash",
    "pause",
    "pause_at_call",
)
"""What may be done at any time."""
_BESIDE_WEIGHTS = (14, 4, 14, 5, 8, 5, 5, 5, 7, 6, 4, 6, 5, 3, 3, 2, 2, 2, 2, 4, 4, 2, 2, 2, 2, 3, 3)
_CHANGES = ("steer", "follow_up", "drop_follow_ups", "set", "undo_compaction", "compact")
_OFTEN: dict[str, tuple[str, ...]] = {
    "model": _CHANGES,
    "tools": (*_CHANGES, *_CHANGES, "approve", "deny", "approve", "deny", "crash"),
    "parked": _CHANGES,
    "ending": (*_CHANGES[:5], *_CHANGES[:5], "compact", "interrupt", "interrupt", "crash", "crash", "submit"),
    "idle": ("undo", "clear", "clear", "rewind", "set", "compact", "undo_compaction", "follow_up", "drop_follow_ups"),
}
"""What is done more often in a phase than elsewhere, so that it is reached."""
_PHASES: tuple[Phase, ...] = ("model", "tools", "parked", "ending", "idle")
_PHASE_WEIGHTS = (14, 28, 17, 29, 12)


def _acts(draw: Random, level: Level) -> tuple[Act, ...]:
    chance, known_share = {"none": (0.0, 0.0), "light": (0.35, 0.5), "heavy": (0.92, 0.65)}[level]
    acts: list[Act] = []
    while len(acts) < 6 and draw.random() < chance:
        phase = draw.choices(_PHASES, _PHASE_WEIGHTS)[0]
        known = _OFTEN.get(phase, ()) if phase == "ending" or draw.random() < known_share else ()
        what = draw.choice(known) if known else draw.choices(BESIDE, _BESIDE_WEIGHTS)[0]
        after_s = (
            draw.choice((0.0, 0.0, 0.01, 0.1, 1.0)) if phase != "ending" else draw.choice((0.0, 0.0, 0.0, 0.0, 0.01))
        )
        acts.append(Act(what, phase, after_s, draw.choice((1, 1, 2)), draw.getrandbits(32)))
        chance *= 0.75
        if phase == "ending":
            acts.append(Act("interrupt", draw.choice(("model", "tools")), draw.choice((0.0, 0.01, 0.3)), 1, 0))
    return tuple(acts)


def _with_occasion(draw: Random, answers: tuple[Answer, ...], acts: tuple[Act, ...]) -> tuple[Answer, ...]:
    """What people have in mind to do while calls run or wait has an occasion."""
    slow = CallPlan("work", '{"does":"ok","for_s":2.0,"n":2}')
    if any(act.phase == "tools" and act.what in ("approve", "deny", "edit") for act in acts):
        return (Answer(calls=(CallPlan("danger", '{"does":"ok","for_s":0.1,"n":2}'), slow)), *answers)
    if any(act.phase == "parked" for act in acts) and draw.random() < 0.7:
        waits = draw.choice(("danger", "outside", "ask_user"))
        arguments = '{"question": "Which one?"}' if waits == "ask_user" else '{"does":"ok","for_s":0.0,"n":3}'
        return (Answer(calls=(CallPlan(waits, arguments),)), *answers)
    return answers
