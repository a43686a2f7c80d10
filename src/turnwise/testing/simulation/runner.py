"""Runs: one episode after another until so many turns were taken, with everything that follows from one seed."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator
from typing import Any, TextIO

import msgspec

from ...core.turn import Machine
from .journals import Violation
from .loop import Hangs
from .plan import EpisodePlan, Level, StoreKind
from .planning import episode
from .reach import Reach
from .trace import Trace
from .world import World

EPISODE_TURNS = 48
HANGS_S = 60


class Failure(msgspec.Struct, frozen=True):
    """What went wrong, where, and in which plan."""

    seed: str
    rule: str
    what: str
    plan: EpisodePlan


class Run(msgspec.Struct):
    """What came of a run. `took_s` is processor time; everything else follows from the seed."""

    seed: str
    turns: int
    digest: str
    took_s: float
    simulated_s: float
    reach: Any
    failure: Failure | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    seed: str
    turns: int
    level: Level = "light"
    store: StoreKind = "memory"
    only: int | None = None


def run(settings: Settings, out: TextIO | None = None, progress: Callable[[int, float], None] | None = None) -> Run:
    """Run episodes until so many turns were taken, or one fails."""
    reach, trace = Reach(), Trace(out)
    number, simulated_s, failure = 0 if settings.only is None else settings.only, 0.0, None
    warm_up()
    began = time.process_time()
    while reach.turns < settings.turns and failure is None:
        plan = plan_of(settings, number)
        world_s, failure = play(plan, trace, reach)
        simulated_s += world_s
        number += 1
        if settings.only is not None:
            break
        if progress is not None:
            progress(reach.turns, time.process_time() - began)
    took_s = time.process_time() - began
    return Run(settings.seed, reach.turns, trace.digest, took_s, simulated_s, reach, failure)


def plan_of(settings: Settings, number: int) -> EpisodePlan:
    """The plan of one episode."""
    left = EPISODE_TURNS
    return episode(f"{settings.seed}/{number}", settings.store, settings.level, left)


def play(plan: EpisodePlan, trace: Trace, reach: Reach) -> tuple[float, Failure | None]:
    """Let one episode happen; how long it took in its own time, and what went wrong."""
    failure = None
    with undisturbed():
        world = World(plan, trace, reach)
        try:
            with tapped(world), no_hanging():
                world.run()
        except Hangs as hangs:
            failure = Failure(plan.seed, "liveness", str(hangs), plan)
        except Violation as violation:
            failure = Failure(plan.seed, violation.rule, violation.what, plan)
        simulated_s = world.time.now
        world.end()
        del world
        while gc.collect():  # what is let go of may let go of more
            pass
    reach.close()
    reach.episodes += 1
    return simulated_s, failure


@contextlib.contextmanager
def undisturbed() -> Generator[None]:
    """Nothing is collected while a world runs: when that happens is not in the seed."""
    gc.disable()
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None  # of processes that were dropped in the middle of something
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook
        gc.enable()


@contextlib.contextmanager
def no_hanging() -> Generator[None]:
    """A callback that never returns is found by the machine's own clock."""

    def hangs(*_: Any) -> None:
        raise Hangs(
            f"one callback has not returned, or an episode has not ended, after {HANGS_S} s of the machine's time"
        )

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def tapped(world: World) -> Generator[None]:
    """Have the world see every input of every machine, and the phase that it met."""
    real = Machine.feed_all

    def feed_all(machine: Machine, inputs: Any, now: float) -> Any:
        turn = machine.state.turn
        before = "idle" if turn is None or turn.phase == "ended" else turn.phase
        folded = real(machine, inputs, now)
        world.fed(machine.state, inputs, before)
        return folded

    Machine.feed_all = feed_all  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        Machine.feed_all = real


def warm_up() -> None:
    """What is loaded once in a process is loaded before anything is counted: later worlds must not fare otherwise than the first."""
    from ...models.facts import Facts
    from .process import MODELS, model_at

    for api in MODELS:
        Facts(model_at(api, "warm")).info(1_760_000_000.0)
    gc.collect()
    gc.freeze()
