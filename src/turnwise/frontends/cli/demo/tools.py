"""The demo's tools. Nothing is acted here: one really reads files, the other really watches the folder."""

from __future__ import annotations

import asyncio
import os
from itertools import islice
from pathlib import Path
from typing import Any

from ....tools import Tool, ToolContext, tool
from .folder import MAX_BYTES, MAX_ENTRIES


def tools_for(folder: Path, look_every_s: float) -> list[Tool[..., Any]]:
    """Tools for that folder and nothing outside it."""

    @tool(read_only=True)
    def read_file(name: str) -> str:
        """Read a text file of the current folder.

        Args:
            name: The file's name, without a path.
        """
        return (folder / Path(name).name).read_bytes()[:MAX_BYTES].decode("utf-8", "replace")

    @tool(read_only=True, timeout_s=300)
    async def wait_for_change(context: ToolContext[None]) -> str:
        """Wait until a file of the current folder changes."""
        before, looks = _state(folder), 0
        while (now := _state(folder)) == before:
            looks += 1
            context.progress(f"look {looks}: {len(now)} entries, none has changed")
            await asyncio.sleep(look_every_s)
        return f"Changed: {', '.join(sorted({name for name, _ in now ^ before}))}"

    return [read_file, wait_for_change]


def _state(folder: Path) -> set[tuple[str, int]]:
    """Names and times of change; an entry that vanishes meanwhile has changed."""
    found: set[tuple[str, int]] = set()
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            try:
                found.add((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns))
            except OSError:
                found.add((entry.name, 0))
    return found
