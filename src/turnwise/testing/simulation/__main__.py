"""The command: `python -m turnwise.testing.simulation --seed S --turns N [--faults heavy] [--store sqlite] [--trace]`."""

from __future__ import annotations

import argparse
import sys

from .runner import Settings, run


def main(arguments: list[str] | None = None) -> int:
    """0 if every invariant held, 1 if not."""
    options = _options(arguments)
    settings = Settings(
        seed=options.seed, turns=options.turns, level=options.faults, store=options.store, only=options.only
    )
    done = run(settings, sys.stdout if options.trace else None)
    rate = done.turns / done.took_s
    print(f"{done.turns} turns in {done.took_s:.1f} s, {rate:.0f} turns/s; trace {done.digest}")
    if done.failure is not None:
        print(f"{done.failure.rule}: {done.failure.what}")
        print(f"seed {done.failure.seed}")
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m turnwise.testing.simulation", description="Simulate turns under faults."
    )
    parser.add_argument("--seed", default="1")
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--faults", choices=("none", "light", "heavy"), default="light")
    parser.add_argument("--store", choices=("memory", "stored", "sqlite"), default="memory")
    parser.add_argument("--only", type=int, default=None, metavar="EPISODE")
    parser.add_argument("--trace", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
