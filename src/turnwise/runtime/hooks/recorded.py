"""What a hook has changed or refused, put on the record of its session. Loaded when that happens first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...core.changes import Decision
from ...core.errors import ErrorInfo
from ..audit.said import heard
from .context import HookContext
from .hook import Hook
from .results import Cancel, HookResult, Modify, Redirect, Replace, Retry
from .values import ToolRequest

if TYPE_CHECKING:
    from ..ground import Ground
    from ..turn import Turn

DECISIONS: dict[type[Any], Decision] = {
    Modify: "modify",
    Replace: "replace",
    Cancel: "cancel",
    Retry: "retry",
    Redirect: "redirect",
    ErrorInfo: "failed",
}


def record(
    session: Ground[Any],
    turn: Turn | None,
    context: HookContext,
    hook: Hook,
    said: HookResult | ErrorInfo,
    before: Any,
    now: Any,
) -> None:
    """Journal it. `before` and `now` are the values that the chain had and has. Of what was given only the arguments of calls are told, as a
    fingerprint, and reasons."""
    seen = arguments = None
    if isinstance(before, ToolRequest) and isinstance(now, ToolRequest):
        seen, arguments = before.raw_arguments, now.raw_arguments
        if isinstance(said, Modify) and seen == arguments:
            return  # nothing was changed
        if isinstance(said, Redirect) and said.arguments is not None:
            arguments = _as_text(said.arguments)
    heard(
        session,
        turn,
        DECISIONS[type(said)],
        rule=hook.id,
        point=hook.point.name,
        call_id=context.call_id,
        before=seen,
        arguments=arguments,
        reason=_reason(said),
    )


def _as_text(arguments: Any) -> str | None:
    """None for what is no JSON data: the call fails by that, see `at_door`."""
    if isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.encode(arguments).decode()
    except Exception:
        return None


def _reason(said: HookResult | ErrorInfo) -> str:
    match said:
        case Cancel(reason=reason):
            return reason
        case Redirect(to=to):
            return f"to {to}"
        case ErrorInfo(message=message):
            return message
        case _:
            return ""
