"""What people do beside the turns that they wait for, from a seed: `acts` does it."""

from __future__ import annotations

from random import Random

from .plan import Act, Answer, CallPlan, Level, Phase

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
    "tools": (*_CHANGES, *_CHANGES, "compact", "compact", "approve", "deny", "approve", "deny", "crash"),
    "parked": (*_CHANGES, "compact", "deny"),
    "ending": (*_CHANGES[:5], *_CHANGES[:5], "set", "steer", "interrupt", *("crash",) * 7, "submit"),
    "idle": ("undo", "clear", "clear", "rewind", "set", "compact", "undo_compaction", "follow_up", "drop_follow_ups"),
}
"""What is done more often in a phase than elsewhere, so that it is reached."""
PHASES: tuple[Phase, ...] = ("model", "tools", "parked", "ending", "idle")
PHASE_WEIGHTS = (13, 29, 17, 31, 10)


def acts_of(draw: Random, level: Level) -> tuple[Act, ...]:
    chance, known_share = {"none": (0.0, 0.0), "light": (0.35, 0.5), "heavy": (0.92, 0.65)}[level]
    acts: list[Act] = []
    while len(acts) < 6 and draw.random() < chance:
        phase = draw.choices(PHASES, PHASE_WEIGHTS)[0]
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


def with_occasion(draw: Random, answers: tuple[Answer, ...], acts: tuple[Act, ...]) -> tuple[Answer, ...]:
    """What people have in mind to do while calls run or wait has an occasion."""
    slow = CallPlan("work", '{"does":"ok","for_s":2.0,"n":2}')
    if any(act.phase == "tools" and act.what in ("approve", "deny", "edit") for act in acts):
        return (Answer(calls=(CallPlan("danger", '{"does":"ok","for_s":0.1,"n":2}'), slow)), *answers)
    if any(act.phase == "parked" for act in acts) and draw.random() < 0.7:
        waits = draw.choice(("danger", "outside", "ask_user"))
        arguments = '{"question": "Which one?"}' if waits == "ask_user" else '{"does":"ok","for_s":0.0,"n":3}'
        return (Answer(calls=(CallPlan(waits, arguments),)), *answers)
    return answers
