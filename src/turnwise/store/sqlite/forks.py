"""`fork()`: SQLite's connections do not survive it, nor does what SQLite knows in the process about a file that is open (its locks above
all), so a child could not open the file safely while its parent's connections lie in its memory. Therefore all stores let go of their
files just before a fork; parent and child open them again when they need them.

Where that takes too long (a long read, say), the child refuses the file (`store_forked`). `subprocess` does not come here: it replaces the
child's memory at once.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Protocol

PATIENCE_S = 5.0


class Forked(Protocol):
    """What is told of forks."""

    @property
    def path(self) -> Path: ...
    def pause(self, limit_s: float) -> bool: ...
    def go_on(self) -> None: ...
    def begin_anew(self) -> None: ...


_stores: weakref.WeakSet[Forked] = weakref.WeakSet()
_still_open: set[Path] = set()
_inherited: set[Path] = set()
_kept: list[object] = []


def note(store: Forked) -> None:
    """Tell this store of forks."""
    _stores.add(store)


def is_inherited(path: Path) -> bool:
    """Whether a connection to the file was open when this process was forked."""
    return path in _inherited


def keep(*parts: object) -> None:
    """Never collect what may hold a connection of the parent: closing it here would break the parent's locks."""
    _kept.extend(parts)


def _before() -> None:
    _still_open.clear()
    _still_open.update([store.path for store in list(_stores) if not store.pause(PATIENCE_S)])


def _in_parent() -> None:
    for store in list(_stores):
        store.go_on()


def _in_child() -> None:
    _inherited.update(_still_open)
    for store in list(_stores):
        store.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
