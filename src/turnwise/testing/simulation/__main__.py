"""The command: `python -m turnwise.testing.simulation --seed S --turns N [--faults heavy] [--store sqlite] [--trace]`.
With `--keep FILE` the plan that a failure shrank to is kept; `--plan FILE` plays it again.

It prints what was reached and how long it took. If an invariant does not hold it prints seed, invariant, the shortest trace it could shrink the
episode to, and the command that brings the failure back; its exit status is then 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .kept import play_file, write_plan
from .plan import FAULTS, STORE_FAULTS
from .reach import Reach, impossible, table, unknown_inputs
from .runner import Failure, Run, Settings, play, run
from .shrink import shrink
from .trace import Trace

REACH_FROM = 20_000
"""A run of so many turns with faults must have reached every pair of phase and input."""
SHOWN = 60


def main(arguments: list[str] | None = None) -> int:
    """0 if every invariant held and all was reached, 1 if not."""
    options = _options(arguments)
    if options.plan is not None:
        return _played(options.plan, Trace(sys.stdout if options.trace else None))
    seed = options.seed or secrets.token_hex(4)
    settings = Settings(seed=seed, turns=options.turns, level=options.faults, store=options.store, only=options.only)
    runs = [run(settings, sys.stdout)] if options.trace else _runs(settings, options.jobs)
    done = _told(settings, runs)
    failures = [one.failure for one in runs if one.failure is not None]
    for failure in failures:
        _explain(settings, failure, shrinks=not options.trace and not options.no_shrink, keep=options.keep)
    if failures:
        return 1
    if settings.level == "none" or settings.only is not None:
        return 0
    return _reached(settings, done, options.reach)


def _runs(settings: Settings, jobs: int) -> list[Run]:
    """The run, or its share of each job, with seeds of their own."""
    if jobs == 1:
        return [run(settings)]
    share = -(-settings.turns // jobs)
    parts = [
        Settings(seed=f"{settings.seed}.{n}", turns=share, level=settings.level, store=settings.store)
        for n in range(jobs)
    ]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(run, parts))


def _told(settings: Settings, runs: list[Run]) -> Reach:
    reach = Reach()
    for one in runs:
        reach.add(one.reach)
        hours = one.simulated_s / 3600
        print(
            f"seed {one.seed}: {one.turns:,} turns ({settings.level} faults, {settings.store}), {hours:,.1f} simulated hours "
            f"in {one.took_s:,.1f} s, {one.turns / max(one.took_s, 1e-9):,.0f} turns/s; trace {one.digest}"
        )
    turns = max(reach.turns, 1)
    ends = ", ".join([f"{reason} {count:,}" for reason, count in sorted(reach.reasons.items())])
    print(
        f"{reach.steps / turns:.2f} steps and {reach.calls / turns:.2f} calls per turn, {reach.crashes:,} crashes; {ends}"
    )
    return reach


def _played(file: Path, trace: Trace) -> int:
    """Play the episode in a file."""
    failure = play_file(file, trace)
    print(f"{file}: trace {trace.digest}")
    if failure is None:
        return 0
    print(f"\n{failure.rule} does not hold, plan {file}\n  {failure.what}")
    return 1


def _explain(settings: Settings, failure: Failure, *, shrinks: bool, keep: Path | None) -> None:
    print(f"\n{failure.rule} does not hold, seed {failure.seed}\n  {failure.what}")
    if shrinks:
        plan = shrink(failure.plan, lambda smaller: _breaks(smaller, failure.rule))
        trace = Trace(keep=SHOWN)
        _, again = play(plan, trace, Reach())
        if keep is not None:
            write_plan(keep, plan)
        print(
            f"\nThe shortest trace it shrank to, {plan.turns} of {failure.plan.turns} turns (the last {SHOWN} lines):"
        )
        print("\n".join(trace.last))
        if again is not None:
            print(f"  {again.rule}: {again.what}")
    seed, _, episode = failure.seed.rpartition("/")
    print(
        f"\nAgain: python -m turnwise.testing.simulation --seed {seed} --only {episode} "
        f"--faults {settings.level} --store {settings.store} --trace"
    )


def _breaks(plan: object, rule: str) -> bool:
    _, failure = play(plan, Trace(), Reach())  # type: ignore[arg-type]
    return failure is not None and failure.rule == rule


def _reached(settings: Settings, reach: Reach, wanted: int) -> int:
    """Show what was met least often; whether that is enough."""
    if unknown := unknown_inputs():
        print(f"The table of what must be reached does not know: {', '.join(unknown)}")
        return 1
    stored = settings.store != "memory"
    never = () if stored else (*STORE_FAULTS, "crash", "two_owners", "clock_skew")
    rows = table(reach, [fault for fault in FAULTS if fault not in never], recovers=stored)
    missed = [row for row in rows if row.met == 0 or row.least < wanted]
    print("Met least often: phase, input, times in all, and least under which fault")
    for row in rows[:12]:
        print(f"  {row.phase:7} {row.given:16} {row.met:9,} {row.least:7,} {row.under}")
    print(f"{len(rows)} pairs of phase and input must be met, {len(impossible())} cannot be.")
    if missed and (wanted or reach.turns >= REACH_FROM):
        print(
            f"Not reached{f' {wanted} times' if wanted else ''}: " + ", ".join([f"{r.phase}/{r.given}" for r in missed])
        )
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m turnwise.testing.simulation",
        description="Run the real runtime in virtual time, under faults, and check every invariant.",
    )
    parser.add_argument("--seed", default="", help="everything follows from it; default: a new one, which is printed")
    parser.add_argument("--turns", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--faults", choices=("none", "light", "heavy"), default="light")
    parser.add_argument(
        "--store",
        choices=("memory", "stored", "sqlite"),
        default="memory",
        help="journals in memory that never wait; a store in memory that takes its time and fails; the same with SQLite",
    )
    parser.add_argument("--only", type=int, default=None, metavar="EPISODE", help="this episode and no other")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the turns, with seeds S.0, S.1 …")
    parser.add_argument(
        "--reach", type=int, default=0, metavar="N", help="fail unless all was met N times under each fault"
    )
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument(
        "--keep", type=Path, default=None, metavar="FILE", help="write the plan that a failure shrank to into this file"
    )
    parser.add_argument(
        "--plan", type=Path, default=None, metavar="FILE", help="play the plan in this file and nothing else"
    )
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a shorter trace of a failure")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
