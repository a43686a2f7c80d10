"""Hooks of a chain that need not be waited for, called one after the other: the short way, for as long as they have nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .context import HookContext
from .hook import RING, Hook


class Called(NamedTuple):
    """A hook that has something to say, or went wrong: number `at` of its chain, called at `asked_at` (loop time). `made` is false if it was not
    called yet, since that needs a closer look."""

    at: int
    asked_at: float
    said: object
    error: BaseException | None = None
    made: bool = True


def call_all(hooks: Sequence[Hook], context: HookContext, clock: Callable[[], float]) -> Called | None:
    """Call hooks that need not be waited for, as long as none has anything to say: then that is all, and there is no `Run`."""
    value, asked_at = context.value, clock()
    for at, hook in enumerate(hooks):
        if not hook.live:
            continue
        if hook.breaker.opened is not None:
            return Called(at, asked_at, None, made=False)
        context.value = value
        try:
            said = hook.call(context)
        except (Exception, asyncio.CancelledError) as error:
            return Called(at, asked_at, None, error)
        now = clock()
        took = now - asked_at
        if said is not None or took > hook.spec.timeout_s or hook.breaker.failed:
            return Called(at, asked_at, said)
        hook.calls += 1
        hook.ring[hook.calls % RING] = took
        asked_at = now
    return None
