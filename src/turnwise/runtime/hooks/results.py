"""What a hook may say. What each point honours of it is in `points`; what is done with it, at the points themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import config_error


class Continue(msgspec.Struct, frozen=True, gc=False):
    """Go on as if nothing was said; a hook that returns None says the same."""


class Modify(msgspec.Struct, frozen=True):
    """Go on with this value. It is checked as the first one was, and the hooks behind see it."""

    value: Any


class Replace(msgspec.Struct, frozen=True):
    """Skip what was about to happen: this is what came of it. Ends the chain."""

    result: Any


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """It does not happen; `reason` is told to whoever asked for it. Ends the chain."""

    reason: str = ""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Try it again, in `after_s` seconds if that is given. The owner of retries weighs it like any other failure that may pass. Ends the
    chain."""

    after_s: float | None = None

    def __post_init__(self) -> None:
        if self.after_s is not None and not 0 <= self.after_s < float("inf"):
            raise config_error("invalid_value", f"Retry(after_s={self.after_s}) is no time to wait.", "Use 0 or more.")


class Redirect(msgspec.Struct, frozen=True, gc=False):
    """Have another model of the agent's, or another tool of the turn, do it. `arguments` are for a tool: JSON data in place of those that the
    model gave. Ends the chain."""

    to: str
    arguments: Any = None


HookResult = Continue | Modify | Replace | Cancel | Retry | Redirect
RESULTS: tuple[type[HookResult], ...] = (Continue, Modify, Replace, Cancel, Retry, Redirect)
HALTING = frozenset((Replace, Cancel, Retry, Redirect))
"""What ends the whole chain, also for hooks of lower priority (rule H2)."""
