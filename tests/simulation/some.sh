#!/bin/sh
# Some simulated turns over each kind of store, all from fixed seeds, and some from a new one: less than a minute in all.
# Usage: tests/simulation/some.sh [PYTHON]
set -eu
python="${1:-python3}"
simulate() { "$python" -m turnwise.testing.simulation --faults heavy --jobs 2 "$@"; }
simulate --seed ci --turns 3000
simulate --seed ci --turns 1500 --store stored
simulate --seed ci --turns 600 --store sqlite
simulate --turns 500 --store stored
