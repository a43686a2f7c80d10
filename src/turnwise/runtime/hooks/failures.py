"""What is said when a hook fails: errors of the branch `hook`, an event on the bus, and a notice to the turn (rule H2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import ErrorInfo
from ...core.events import Notice
from ...tools import failure_of
from .hook import Hook
from .results import HookResult

if TYPE_CHECKING:
    from ..runtime import Runtime


class HookFailure(msgspec.Struct, frozen=True):
    """What subscribers of `hook.error` are told."""

    hook: str
    point: str
    error: ErrorInfo
    call_id: str = ""


def raised(hook: Hook, error: BaseException) -> ErrorInfo:
    info = failure_of(error)
    return ErrorInfo(
        "hook",
        "hook_failed",
        f"Hook {hook.id} failed at {hook.point.name}: {info.message}",
        "Correct it, or let it fail open.",
        detail=type(error).__name__,
    )


def timed_out(hook: Hook, limit_s: float, *, cut_off: bool) -> ErrorInfo:
    did = "did not end" if cut_off else "took longer than it may"
    return ErrorInfo(
        "hook",
        "hook_timeout",
        f"Hook {hook.id} {did} at {hook.point.name}: it has {limit_s:g} s.",
        "Allow more with timeout_s=…, or do less; what blocks belongs into a thread: blocking=True.",
    )


def no_time_left(hook: Hook, deadline_s: float) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "hook_timeout",
        f"Hook {hook.id} was not called at {hook.point.name}: those before it have taken the {deadline_s:g} s of the chain.",
        "See which of them is slow: runtime.hooks().",
    )


def unhonoured(hook: Hook, given: object) -> ErrorInfo:
    name = type(given).__name__
    if isinstance(given, HookResult):
        said = ", ".join([one.__name__ for one in hook.point.honours])
        what, hint = f"{name}, which that point cannot honour", f"There it may give {said}."
    else:
        what, hint = f"a {name}, which is no result of a hook", "Return None to go on, or a result of turnwise.hooks."
    return ErrorInfo("hook", "unhonoured_result", f"Hook {hook.id} gave {hook.point.name} {what}.", hint)


def unfit(hook: Hook, why: str) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "unfit_value",
        f"What hook {hook.id} gave {hook.point.name} does not fit: {why}.",
        "See what the point carries: turnwise.hooks.POINTS.",
    )


def left_alone(hook: Hook) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "hook_open",
        f"Hook {hook.id} has failed too often at {hook.point.name} and is left alone for a while.",
        "It is tried again by itself; runtime.hooks() has its last error.",
        retryable=True,
    )


def cut_off(hook: Hook) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "hook_cut_off",
        f"Hook {hook.id} was cut off at {hook.point.name} before it said anything, since what it was asked about was stopped.",
        "Nothing was let through in its place.",
    )


def refused(by: str, point: str, reason: str) -> ErrorInfo:
    """A hook said `Cancel` where whoever asked gets an error."""
    return ErrorInfo(
        "hook", "hook_cancelled", reason or f"Hook {by} said no at {point}.", f"It was refused by the hook {by}."
    )


def tell(runtime: Runtime, session: Any, turn: Any, hook: Hook, error: ErrorInfo, call_id: str) -> None:
    """Say that a hook has failed: on the bus, and to the turn that it was called for."""
    runtime.tell_bus("hook.error", HookFailure(hook.id, hook.point.name, error, call_id))
    if turn is not None:
        session.notice(turn, Notice("hook_failed", error.message))
