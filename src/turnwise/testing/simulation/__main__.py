"""The command: `python -m turnwise.testing.simulation --seed S --turns N [--faults heavy] [--store sqlite] [--trace]`.
With `--keep FILE` the plan that a failure shrank to is kept; `--plan FILE` plays it again.

It prints what was reached and how long it took. If an invariant does not hold it prints seed, invariant, the shortest trace it could shrink the
episode to, and the command that brings the failure back; its exit status is then 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from .campaign import Done, campaign, digest_of, portions, reach_of, told
from .kept import play_file, write_plan
from .plan import FAULTS, STORE_FAULTS, EpisodePlan, Level, StoreKind
from .reach import Reach, impossible, table, unknown_inputs
from .runner import Failure, Settings, play, run
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
    began = time.monotonic()
    if options.trace or options.only is not None:
        one = Settings(
            seed=seed, turns=options.turns, level=options.faults[0], store=options.store[0], only=options.only
        )
        all_done = [told(one, run(one, sys.stdout if options.trace else None))]
    else:
        asked = portions(seed, options.turns, options.store, options.faults, options.jobs)
        all_done = campaign(asked, options.jobs, options.log, _tell if len(asked) > 1 else None)
    reach = _told(all_done, time.monotonic() - began)
    failed = [done for done in all_done if done.failure is not None]
    _explain_all(failed, shrinks=not options.trace and not options.no_shrink, keep=options.keep)
    if failed:
        return 1
    if options.faults == ["none"] or options.only is not None:
        return 0
    return _reached(reach, options.store, options.reach)


def _line(done: Done) -> str:
    hours = done.simulated_s / 3600
    return (
        f"seed {done.seed}: {done.turns:,} turns ({done.level} faults, {done.store}), {hours:,.1f} simulated hours "
        f"in {done.took_s:,.1f} s, {done.turns / max(done.took_s, 1e-9):,.0f} turns/s; trace {done.digest}"
    )


def _tell(done: Done) -> None:
    failure = done.failure
    print(_line(done) + ("" if failure is None else f"\n  {failure.rule}, {failure.seed}: {failure.what}"), flush=True)


def _told(all_done: Sequence[Done], took_s: float) -> Reach:
    reach = reach_of(all_done)
    if len(all_done) == 1:
        print(_line(all_done[0]))
    else:
        for store, level in sorted({(done.store, done.level) for done in all_done}):
            some = [done for done in all_done if (done.store, done.level) == (store, level)]
            turns, cpu_s = sum([done.turns for done in some]), sum([done.took_s for done in some])
            print(
                f"{store}, {level} faults: {turns:,} turns in {cpu_s:,.0f} s of one core, {turns / cpu_s:,.0f} turns/s"
            )
        hours = sum([done.simulated_s for done in all_done]) / 3600
        print(
            f"In all {reach.turns:,} turns, {hours:,.0f} simulated hours in {took_s:,.0f} s; trace {digest_of(all_done)}"
        )
    turns = max(reach.turns, 1)
    ends = ", ".join([f"{reason} {count:,}" for reason, count in sorted(reach.reasons.items())])
    print(
        f"{reach.steps / turns:.2f} steps and {reach.calls / turns:.2f} calls per turn, {reach.crashes:,} crashes; {ends}"
    )
    return reach


def _explain_all(failed: Sequence[Done], *, shrinks: bool, keep: Path | None) -> None:
    """All failures, the first of each invariant with a short trace."""
    seen: set[str] = set()
    for done in failed:
        if done.failure is not None:
            _explain(done, done.failure, shrinks=shrinks and done.failure.rule not in seen, keep=keep)
            seen.add(done.failure.rule)


def _played(file: Path, trace: Trace) -> int:
    """Play the episode in a file."""
    failure = play_file(file, trace)
    print(f"{file}: trace {trace.digest}")
    if failure is None:
        return 0
    print(f"\n{failure.rule} does not hold, plan {file}\n  {failure.what}")
    return 1


def _explain(done: Done, failure: Failure, *, shrinks: bool, keep: Path | None) -> None:
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
        f"--faults {done.level} --store {done.store} --trace"
    )


def _breaks(plan: EpisodePlan, rule: str) -> bool:
    _, failure = play(plan, Trace(), Reach())
    return failure is not None and failure.rule == rule


def _reached(reach: Reach, stores: Sequence[StoreKind], wanted: int) -> int:
    """Show what was met least often; whether that is enough."""
    if unknown := unknown_inputs():
        print(f"The table of what must be reached does not know: {', '.join(unknown)}")
        return 1
    stored = any(store != "memory" for store in stores)
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
    parser.add_argument("--turns", type=int, default=1000, help="how many in all (default 1000)")
    parser.add_argument(
        "--faults",
        type=_some_of(get_args(Level)),
        default=["light"],
        metavar="LEVELS",
        help="none, light (default) or heavy, or several with commas between, which share the turns",
    )
    parser.add_argument(
        "--store",
        type=_some_of(get_args(StoreKind)),
        default=["memory"],
        metavar="STORES",
        help="memory: journals in memory that never wait (default); stored: a store in memory that takes its time and fails; "
        "sqlite: the same with SQLite; or several with commas between",
    )
    parser.add_argument("--only", type=int, default=None, metavar="EPISODE", help="this episode and no other")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the turns, with seeds S.0, S.1 …")
    parser.add_argument(
        "--reach", type=int, default=0, metavar="N", help="fail unless all was met N times under each fault"
    )
    parser.add_argument(
        "--log",
        type=Path,
        default=None,
        metavar="FILE",
        help="keep what was done there; the same command goes on behind it, runs what failed again, and counts all that the file has",
    )
    parser.add_argument("--trace", action="store_true", help="print all that happens, in one process")
    parser.add_argument(
        "--keep", type=Path, default=None, metavar="FILE", help="write the plan that a failure shrank to into this file"
    )
    parser.add_argument(
        "--plan", type=Path, default=None, metavar="FILE", help="play the plan in this file and nothing else"
    )
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a shorter trace of a failure")
    return parser.parse_args(arguments)


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def some(said: str) -> list[str]:
        names = said.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return some


if __name__ == "__main__":
    sys.exit(main())
