"""Tools: functions that models may call, what they are told about them, and what running ones may ask for.

How calls are run, bounded and turned into outcomes is in `runtime`. The built-in tools are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arguments import ArgumentsError
from .context import ToolContext, ToolHost
from .extract import Extract
from .files import File
from .options import ToolOptions
from .process import ProcessResult
from .results import failure_of, render_result
from .tool import Tool, tool

if TYPE_CHECKING:
    from .artifacts import read_artifact
    from .questions import Question, ask_user

_HOMES = {"Question": "questions", "ask_user": "questions", "read_artifact": "artifacts"}

__all__ = [
    "ArgumentsError",
    "Extract",
    "File",
    "ProcessResult",
    "Question",
    "Tool",
    "ToolContext",
    "ToolHost",
    "ToolOptions",
    "ask_user",
    "failure_of",
    "read_artifact",
    "render_result",
    "tool",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
