"""The simulator: the real runtime in virtual time against every kind of fault, every invariant checked after every event. Public.

`python -m turnwise.testing.simulation --seed S --turns N [--faults heavy] [--store sqlite] [--trace]`; see docs/reliability.md.
"""
