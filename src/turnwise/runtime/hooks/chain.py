"""A chain: the hooks of one point in their order, and what came of calling them. How they are called is in `run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...core.errors import ErrorInfo
from .hook import Hook
from .points import Point
from .results import Cancel, HookResult

CHAIN_S = 10.0
"""How long a whole chain may take, unless one of its hooks alone may take longer."""


class Chain:
    """The hooks of one point, the highest priority first, then in the order of registration. One deadline holds for all of them."""

    __slots__ = ("deadline_s", "guards", "hooks", "point", "waits")

    def __init__(self, point: Point, hooks: Iterable[Hook]) -> None:
        self.point = point
        self.hooks = tuple(sorted(hooks, key=lambda hook: (-hook.spec.priority, hook.order)))
        self.deadline_s = max([CHAIN_S, *[hook.spec.timeout_s for hook in self.hooks]])
        self.guards = any(hook.spec.fail == "closed" for hook in self.hooks)
        """Whether nothing may pass that its hooks have not seen."""
        self.waits = any(hook.waits for hook in self.hooks)
        """Whether one of them has to be waited for."""


def chains_of(hooks: Iterable[Hook]) -> Mapping[str, Chain]:
    """The chains by the names of their points."""
    by_point: dict[str, list[Hook]] = {}
    for hook in hooks:
        by_point.setdefault(hook.point.name, []).append(hook)
    return {name: Chain(found[0].point, found) for name, found in by_point.items()}


class Outcome(msgspec.Struct, frozen=True):
    """What came of a chain: the value to go on with, `changed` if it is not the first one; what ended the chain early, if anything did, and
    which hook (`by`). `error` is set if a hook that fails closed could not be asked, or failed: then `halt` is a `Cancel`."""

    value: Any
    halt: HookResult | None = None
    by: str = ""
    error: ErrorInfo | None = None
    changed: bool = False

    @property
    def reason(self) -> str:
        """Why it does not go on, in words; "" if it does."""
        if self.error is not None:
            return self.error.message
        return (self.halt.reason or f"{self.by} said no") if isinstance(self.halt, Cancel) else ""
