"""How many examples Hypothesis tries: of what a test names in full, the share that TURNWISE_EXAMPLES says.

A quarter by default: under CI the examples are the same each time, so more of them find nothing new. README.md has the command of a long
form. What a test of its own long form needs (`tests/fuzz`) is said there.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

SHARE = float(os.environ.get("TURNWISE_EXAMPLES", "0.25"))
FEWEST = 10
"""However small the share is. A test that names fewer gets what it names."""


def examples(full: int, **more: Any) -> settings:
    """For a test that is worth `full` examples; `more` are other settings of Hypothesis. Loaded machines are slow: there is no deadline."""
    return settings(max_examples=max(min(full, FEWEST), round(full * SHARE)), deadline=None, **more)
