"""The simulator itself: it finds nothing where nothing is wrong, the same seed gives the same trace, and what it found before stays fixed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from turnwise.testing.simulation import Settings, run
from turnwise.testing.simulation.campaign import Done, campaign, portions, reach_of
from turnwise.testing.simulation.journals import Violation
from turnwise.testing.simulation.kept import play_file, read_plan, write_plan
from turnwise.testing.simulation.plan import Level, StoreKind
from turnwise.testing.simulation.reach import DEMANDED, PHASES, Reach, impossible, unknown_inputs
from turnwise.testing.simulation.runner import Failure, plan_of, play
from turnwise.testing.simulation.shrink import shrink
from turnwise.testing.simulation.trace import Trace

LONG = os.environ.get("TURNWISE_LONG") == "1"
SEEDS = 100 if LONG else 4
RUNS: list[tuple[StoreKind, Level]] = [
    ("memory", "light"),
    ("memory", "heavy"),
    ("stored", "light"),
    ("stored", "heavy"),
    ("sqlite", "light"),
    ("sqlite", "heavy"),
]

FOUND = sorted((Path(__file__).parent / "found").glob("*.json"))
"""Episodes in which the simulator has found a bug of the runtime, or one that was planted, as plans: they do not change with the world's seeds.
`tests/mutations/simulated.py --kept` plants the bugs, and sees that each of these finds its own; `--keep` makes them anew."""


@pytest.mark.parametrize(("store", "level"), RUNS)
def test_every_invariant_holds(store: StoreKind, level: Level) -> None:
    """A few hundred turns of each kind of run; README names the long ones."""
    done = run(Settings(seed="ci", turns=2000 if LONG else 100, level=level, store=store))
    assert done.failure is None, f"{done.failure.rule}: {done.failure.what}"
    assert done.reach.turns >= 100


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem)
def test_what_was_found_stays_fixed(file: Path) -> None:
    failure = play_file(file)
    assert failure is None, f"{failure.rule}: {failure.what}"


def test_a_plan_is_kept_as_it_is(tmp_path: Path) -> None:
    plan = plan_of(Settings(seed="kept", turns=1, level="heavy", store="stored"), 0)
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is there is not run again, unless it failed; what it has of another seed counts, too."""
    log = tmp_path / "log.jsonl"
    asked = portions("log", 2, ["memory"], ["light", "heavy"], jobs=1)
    ran: list[str] = []

    def campaigned(asked: list[Settings]) -> tuple[list[Done], list[str]]:
        ran.clear()
        return campaign(asked, 1, log, lambda done: ran.append(done.seed)), list(ran)

    first, seeds = campaigned(asked[:1])
    assert seeds == ["log.0"] and [done.seed for done in first] == ["log.0"]
    both, seeds = campaigned(asked[1:])
    assert seeds == ["log.1"] and both[0] == first[0] and reach_of(both).turns == sum([done.turns for done in both])
    failed = msgspec.structs.replace(
        both[1], failure=Failure("log.1/0", "T1", "it does not hold", plan_of(asked[1], 0))
    )
    log.write_bytes(b"".join([msgspec.json.encode(done) + b"\n" for done in (both[0], failed)]))
    again, seeds = campaigned(asked)
    assert seeds == ["log.1"] and [done.digest for done in again] == [done.digest for done in both]


def test_the_same_seed_gives_the_same_trace_whatever_the_hashes() -> None:
    """Issue 7, proof 3: each seed run twice, under two PYTHONHASHSEEDs, gives the same trace, byte for byte."""
    program = (
        "from turnwise.testing.simulation import Settings, run\n"
        "kinds = [('memory', 'heavy'), ('stored', 'heavy'), ('sqlite', 'heavy'), ('memory', 'light')]\n"
        f"for n in range({SEEDS}):\n"
        "    store, level = kinds[n % 4]\n"
        "    print(n, run(Settings(seed=f'det-{n}', turns=1, level=level, store=store)).digest)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(set(said[0].splitlines())) == SEEDS


def test_what_must_be_reached_is_known_of_every_input() -> None:
    assert unknown_inputs() == []
    assert all(phase in PHASES for phases, _ in DEMANDED.values() for phase in phases)
    assert all(why for _, _, why in impossible())


def test_a_failure_shrinks_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that breaks a rule is made shorter, and still breaks it."""
    from turnwise.testing.simulation import journals

    def broken(journal: journals.Journal, entry: object) -> None:
        raise Violation("T4", "planted")

    monkeypatch.setitem(journals._IN_TURN, journals.CallOutcome, broken)
    plan = plan_of(Settings(seed="shrink", turns=1, level="heavy", store="memory"), 0)
    _, failure = play(plan, Trace(), Reach())
    assert failure is not None and failure.rule == "T4"
    smaller = shrink(
        plan, lambda tried: (f := play(tried, Trace(), Reach())[1]) is not None and f.rule == "T4", tries=60
    )
    assert smaller.turns <= 2 < plan.turns
