"""Hooks: functions that observe and steer named points of sessions, turns, steps and calls. See docs/hooks.md."""

from .runtime.extensions import Registration
from .runtime.hooks.chain import Outcome as HookOutcome
from .runtime.hooks.context import HookContext
from .runtime.hooks.failures import HookFailure
from .runtime.hooks.hook import Fail, HookStatus, hook
from .runtime.hooks.points import POINTS, Point, declare_point, points
from .runtime.hooks.results import Cancel, Continue, HookResult, Modify, Redirect, Replace, Retry
from .runtime.hooks.values import (
    ApprovalAnswer,
    ApprovalRequest,
    CompactionRequest,
    SessionFacts,
    StateWrite,
    StepRequest,
    ToolRequest,
)

__all__ = [
    "POINTS",
    "ApprovalAnswer",
    "ApprovalRequest",
    "Cancel",
    "CompactionRequest",
    "Continue",
    "Fail",
    "HookContext",
    "HookFailure",
    "HookOutcome",
    "HookResult",
    "HookStatus",
    "Modify",
    "Point",
    "Redirect",
    "Registration",
    "Replace",
    "Retry",
    "SessionFacts",
    "StateWrite",
    "StepRequest",
    "ToolRequest",
    "declare_point",
    "hook",
    "points",
]
