"""The simulator: the real runtime in virtual time against every kind of fault, every invariant checked after every event. Public.

`python -m turnwise.testing.simulation --seed S --turns N [--faults heavy] [--store sqlite] [--trace]`, or `run(Settings(seed="S", turns=N))`;
see docs/reliability.md.
"""

from __future__ import annotations

from .journals import Violation
from .runner import Failure, Run, Settings, run

__all__ = ["Failure", "Run", "Settings", "Violation", "run"]
