"""Long runs: turns shared out over kinds of stores and faults and over processes, in portions with seeds of their own.

What each portion came to is a line of a file, if one is named: a run that was stopped goes on where it was, and its reach is that of all portions
of the file.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec

from .plan import Level, StoreKind
from .reach import Reach
from .runner import Failure, Run, Settings, run

PORTION_TURNS = 5_000
"""What one process takes before it makes way for a fresh one."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a portion came to, as it is written down. `counted` has phase, input, fault and how often they met."""

    seed: str
    asked: int
    level: Level
    store: StoreKind
    turns: int
    steps: int
    calls: int
    crashes: int
    episodes: int
    reasons: dict[str, int]
    counted: list[tuple[str, str, str, int]]
    digest: str
    took_s: float
    simulated_s: float
    failure: Failure | None = None


def portions(seed: str, turns: int, stores: Sequence[StoreKind], levels: Sequence[Level], jobs: int) -> list[Settings]:
    """Who takes which turns. One process and one kind is one portion that has the seed itself; else they are `seed.0`, `seed.1` …"""
    kinds: list[tuple[StoreKind, Level]] = [(store, level) for store in stores for level in levels]
    if jobs == 1 and len(kinds) == 1:
        return [Settings(seed=seed, turns=turns, level=levels[0], store=stores[0])]
    each = -(-turns // len(kinds))
    count = max(1, -(-each // min(PORTION_TURNS, max(1, -(-turns // jobs)))))
    share = -(-each // count)
    return [
        Settings(seed=f"{seed}.{number}", turns=share, level=level, store=store)
        for number, (store, level) in enumerate(kinds * count)
    ]


def campaign(
    asked: Sequence[Settings], jobs: int, file: Path | None = None, progress: Callable[[Done], None] | None = None
) -> list[Done]:
    """Run all portions, each in a process of its own if there is more than one job or portion; those in the file are not run again, unless they
    failed. What else the file has counts with them.

    A portion that fails ends there, the others go on.
    """
    found = {} if file is None or not file.exists() else _done_by(file)
    for done in _each([one for one in asked if _asked_key(one) not in found], jobs):
        if file is not None:
            with file.open("ab") as out:
                out.write(msgspec.json.encode(done) + b"\n")
        if progress is not None:
            progress(done)
        found[_key(done)] = done
    return list(found.values())


def reach_of(all_done: Sequence[Done]) -> Reach:
    """What they reached together."""
    reach = Reach()
    for done in all_done:
        for phase, given, fault, count in done.counted:
            reach.counted[phase, given, fault] += count
        reach.reasons.update(done.reasons)
        reach.turns += done.turns
        reach.steps += done.steps
        reach.calls += done.calls
        reach.crashes += done.crashes
        reach.episodes += done.episodes
    return reach


def digest_of(all_done: Sequence[Done]) -> str:
    """One trace's digest for all."""
    if len(all_done) == 1:
        return all_done[0].digest
    return hashlib.sha256("".join([done.digest for done in all_done]).encode()).hexdigest()


def told(settings: Settings, came: Run) -> Done:
    """A run, as it is written down."""
    reach: Reach = came.reach
    return Done(
        seed=settings.seed,
        asked=settings.turns,
        level=settings.level,
        store=settings.store,
        turns=reach.turns,
        steps=reach.steps,
        calls=reach.calls,
        crashes=reach.crashes,
        episodes=reach.episodes,
        reasons=dict(sorted(reach.reasons.items())),
        counted=[(*key, count) for key, count in sorted(reach.counted.items())],
        digest=came.digest,
        took_s=came.took_s,
        simulated_s=came.simulated_s,
        failure=came.failure,
    )


def _each(asked: Sequence[Settings], jobs: int) -> Iterator[Done]:
    if len(asked) <= 1:
        for one in asked:
            yield _portion(one)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh, max_tasks_per_child=1) as pool:
        for one in as_completed([pool.submit(_portion, settings) for settings in asked]):
            yield one.result()


def _portion(settings: Settings) -> Done:
    return told(settings, run(settings))


def _done_by(file: Path) -> dict[tuple[str, int, str, str], Done]:
    """What the file has of portions in which nothing failed."""
    every = [msgspec.json.decode(line, type=Done) for line in file.read_bytes().splitlines()]
    return {_key(done): done for done in every if done.failure is None}


def _key(done: Done) -> tuple[str, int, str, str]:
    return done.seed, done.asked, done.level, done.store


def _asked_key(settings: Settings) -> tuple[str, int, str, str]:
    return settings.seed, settings.turns, settings.level, settings.store
