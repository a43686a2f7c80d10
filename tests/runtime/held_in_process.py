"""A tool that never returns, for a process of its own: the child imports this module and nothing of the tests beside it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from turnwise import tool


@tool(isolation="process")
def hold(folder: str) -> str:
    """Says that it runs by a file, and waits for ever."""
    (Path(folder) / str(os.getpid())).touch()
    threading.Event().wait()
    return "too late"
