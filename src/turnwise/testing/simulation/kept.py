"""Plans as files: an episode that was found is kept as what happens in it, so that it can be played again when seeds make other plans."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .plan import EpisodePlan
from .reach import Reach
from .runner import Failure, play, warm_up
from .trace import Trace


def read_plan(file: Path) -> EpisodePlan:
    """The plan in a file. Raises `msgspec.ValidationError` if plans are made otherwise by now."""
    return msgspec.json.decode(file.read_bytes(), type=EpisodePlan, strict=True)


def write_plan(file: Path, plan: EpisodePlan) -> None:
    """Keep a plan; what is as it always is is left out."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")


def play_file(file: Path, trace: Trace | None = None) -> Failure | None:
    """Let the episode in a file happen once more; what went wrong, if anything did."""
    warm_up()
    return play(read_plan(file), trace or Trace(), Reach())[1]
