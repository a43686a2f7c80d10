"""The hooks that a runtime knows of, for lists; and the points that plugins fire."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from ...core.errors import config_error
from ..extensions import extended, extended_of
from .at_state import NONE
from .chain import Outcome
from .context import HookContext
from .hook import HookStatus
from .hooked import run_outside
from .points import POINTS, Take, point_of
from .run import Run

if TYPE_CHECKING:
    from ..ground import Ground
    from ..runtime import Runtime


def listed(runtime: Runtime) -> list[HookStatus]:
    """Those of the runtime first, then those of agents and sessions that have run in it and still live."""
    own = runtime.extensions
    others = sorted((one for one in own.seen or () if one is not NONE), key=lambda one: one.label)
    return [hook.status(owner.label) for owner in (own, *others) for hook in owner.hooks]


async def fire(runtime: Runtime, point: str, value: Any, session: Ground[Any] | None, take: Take | None) -> Outcome:
    """See `Runtime.fire`."""
    found = point_of(point)
    if point in POINTS:
        raise config_error("invalid_value", f"{point!r} is fired by the engine alone.", "Declare one of your own.")
    runtime.bind()
    made = extended(runtime.extensions, NONE) if session is None else extended_of(session)
    chain = None if made is None else made.hooks.get(found.name)
    if chain is None:
        return Outcome(value)
    if session is not None:
        return await run_outside(session, chain, value, old=value, take=take).wait()
    context = HookContext(point, value, value)
    return await Run(chain, context, runtime, contextvars.copy_context(), take=take).wait()
