"""Which process this is: after `fork()` the child is a new one and inherits no session, loop or connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_current = [object()]
_after_fork: list[Callable[[], None]] = []


def current() -> object:
    """A token that is another one in every process."""
    return _current[0]


def on_fork(forget: Callable[[], None]) -> None:
    """Call `forget` in every child made by `fork()`."""
    _after_fork.append(forget)


def in_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this code runs on that event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _forked() -> None:
    _current[0] = object()
    for forget in _after_fork:
        forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
