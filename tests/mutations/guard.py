"""A pytest plugin: refuses to run unless `turnwise` is imported from the folder that TURNWISE_MUTANT names.

Without it a planted bug could be looked for in the installed package, and every bug would "survive" or, worse, none be planted.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings


def pytest_configure() -> None:
    import turnwise

    home, wanted = Path(turnwise.__file__).resolve(), Path(os.environ["TURNWISE_MUTANT"]).resolve()
    if not home.is_relative_to(wanted):
        pytest.exit(f"turnwise was imported from {home}, not from {wanted}", returncode=3)
    # The examples are those of CI. That one fails is enough: no time is spent on making it small.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutant", settings(), phases=phases, database=None, derandomize=True)
    settings.load_profile("mutant")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collections that look for leaks after each test need not walk it."""
    gc.collect()
    gc.freeze()
