"""Running a tool's function in a process of its own (`isolation="process"`): the side that waits.

The child is a fresh interpreter in its own process group, started through the `Spawn` seam; `isolated.py` is what runs in it.
The request goes in as one line of JSON on stdin, the reply comes back as JSON on the pipe that was the child's stdout; what the
function prints goes to the other pipe and is kept as the call's output. Killing the group really stops it (rule E3).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import msgspec

from ..core.errors import ErrorInfo, ToolError
from .context import ToolContext
from .isolated import Reply, Request
from .process import STDOUT, end
from .summaries import Returned
from .tool import Tool

MAX_REPLY_BYTES = 32 * 1024 * 1024
_CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from turnwise.tools.isolated import main; main()"


async def run_isolated(tool: Tool[..., Any], arguments: str, context: ToolContext[Any]) -> Returned:
    """Run the tool's function in a child process and give its rendered result, with its summary.

    `arguments` is the raw JSON text. What the function prints is kept in `context.printed`. Raises `ToolError`: with type and
    message of what the function raised, or saying how the child ended if it gave no reply (`tool_crashed`). Cancelling
    kills the child with everything it started, and raises when it is gone.
    """
    child = await context.spawn.start([sys.executable, "-P", "-c", _CODE, _search_path()], stdin=True)
    reply = bytearray()
    try:
        await child.write(msgspec.json.encode(request_for(tool, arguments)) + b"\n")
        while (read := await child.read())[1]:
            fd, data = read
            if fd != STDOUT:
                context.keep(data)
                continue
            reply += data
            if len(reply) > MAX_REPLY_BYTES:
                raise ToolError(f"The tool's result is larger than {MAX_REPLY_BYTES} bytes.")
        code = await child.wait()
    except BaseException:
        await end(child, context.keep)
        raise
    return _result(bytes(reply), code)


def request_for(tool: Tool[..., Any], arguments: str) -> Request:
    """Which function, where it is found, and what it is called with. It is named by the code, never by stored state."""
    function = tool.function
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    in_main = function.__module__ == "__main__"
    main_module = spec.name if in_main and spec is not None else None
    main_path = os.path.abspath(main.__file__ or "") if in_main and main_module is None else None
    retried = tuple(f"{e.__module__}.{e.__qualname__}" for e in tool.retry_on)
    return Request(function.__module__, function.__qualname__, arguments, main_module, main_path, retried)


def _search_path() -> str:
    """Where the child imports from: as here, with the empty entry (the current folder) written out."""
    return msgspec.json.encode([os.path.abspath(p) for p in sys.path]).decode()


def _result(reply: bytes, code: int) -> Returned:
    try:
        said = msgspec.json.decode(reply, type=Reply)
    except msgspec.DecodeError:
        raise ToolError(
            ErrorInfo("tool", "tool_crashed", f"The tool's process ended without a result: {_how(code)}.")
        ) from None
    if said.error is not None:
        raise ToolError(said.error)
    return Returned(said.body, said.summary, said.complaint)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
