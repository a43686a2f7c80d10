"""What a call touches, as names that can be compared. Which calls then wait for each other is in `runtime/schedule.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, cast

from ..core.errors import ToolError

Named = str | os.PathLike[str]
Touched = Named | Iterable[Named] | None
Resource = Named | Iterable[Named] | Callable[[Any], Touched]
"""A name, a path, several of them, or a function of the decoded arguments that gives these (None: nothing)."""


def names_of(touched: Touched) -> tuple[str, ...]:
    """The names of what is touched. Text is a name as it stands; a path (`pathlib.Path`) counts as its absolute, normalised form,
    so that `a/../b` and `b` are one file. Links are not followed: that would need the disk. Raises `ToolError` for anything else."""
    if touched is None:
        return ()
    if isinstance(touched, str):
        return (touched,)
    if isinstance(touched, os.PathLike):
        return (os.path.normcase(os.path.abspath(touched)),)
    return tuple([name for one in _several(touched) for name in names_of(one)])


def _several(touched: object) -> list[Named]:
    if isinstance(touched, Iterable) and not isinstance(touched, bytes | bytearray):
        several = list(cast("Iterable[Named]", touched))
        if all(isinstance(one, str | os.PathLike) for one in cast("list[object]", several)):
            return several
    raise ToolError(f"The tool's resource is {touched!r:.200}, not a name, a path, or several of these.")
