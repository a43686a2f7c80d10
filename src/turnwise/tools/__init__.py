"""Tools: functions that models may call, what they are told about them, and what running ones may ask for.

How calls are run, bounded and turned into outcomes is in `runtime`.
"""

from __future__ import annotations

from .arguments import ArgumentsError
from .context import ToolContext, ToolHost
from .process import ProcessResult
from .results import failure_of, render_result
from .tool import Tool, ToolOptions, tool

__all__ = [
    "ArgumentsError",
    "ProcessResult",
    "Tool",
    "ToolContext",
    "ToolHost",
    "ToolOptions",
    "failure_of",
    "render_result",
    "tool",
]
