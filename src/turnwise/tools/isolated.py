"""What runs in the child process of an isolated tool: read a request, call the function, write the reply, end.

The reply travels on a private copy of stdout; file descriptor 1 itself is pointed at stderr, so that nothing the function, a C
library or a grandchild prints can get into it. The request's pipe stays open as a lifeline: when it closes, the parent is gone
and the whole group ends.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..core.content import ResultBlock
from ..core.errors import ErrorInfo

if TYPE_CHECKING:
    from .summaries import Returned
    from .tool import Tool

MAIN = "__turnwise_main__"


class Request(msgspec.Struct, frozen=True):
    """What to call. `main_module` or `main_path` says what the parent's `__main__` is, if the function is in it."""

    module: str
    qualname: str
    arguments: str
    main_module: str | None = None
    main_path: str | None = None
    retry_on: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True):
    """The rendered result with its summary (or why there is none), or the error."""

    body: str | tuple[ResultBlock, ...] = ""
    error: ErrorInfo | None = None
    summary: str | None = None
    complaint: str = ""


def main() -> None:
    """Serve one request and end the process, whatever threads the function has left behind."""
    request_fd, reply_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    with os.fdopen(request_fd, "rb", closefd=False) as requests:
        line = requests.readline()
        threading.Thread(target=_end_with_parent, args=(request_fd,), daemon=True).start()
        reply = serve(msgspec.json.decode(line, type=Request))
    with os.fdopen(reply_fd, "wb") as replies:
        replies.write(msgspec.json.encode(reply))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(0)


def serve(request: Request) -> Reply:
    """Call the function. Never raises."""
    from .files import names_files, with_files
    from .results import failure_of, render_result

    try:
        said = _call(find(request), request.arguments)
        value = with_files(said.value) if names_files(said.value) else said.value
        return Reply(render_result(value), None, said.summary, said.complaint)
    except BaseException as error:
        info = failure_of(error)
        if any(f"{c.__module__}.{c.__qualname__}" in request.retry_on for c in type(error).__mro__):
            info = msgspec.structs.replace(info, retryable=True)
        return Reply(error=info)


def find(request: Request) -> Callable[..., Any]:
    """The function, by module and name. The parent's main program is run again under another name, as by multiprocessing."""
    if request.module != "__main__":
        holder = importlib.import_module(request.module)
    else:
        holder = types.ModuleType(MAIN)
        sys.modules[MAIN] = sys.modules["__main__"] = holder
        if request.main_module is not None:
            names = runpy.run_module(request.main_module, run_name=MAIN, alter_sys=True)
        else:
            sys.argv = [request.main_path or ""]
            names = runpy.run_path(request.main_path or "", run_name=MAIN)
        holder.__dict__.update(names)
    return getattr(holder, request.qualname)


def _call(found: Any, arguments: str) -> Returned:
    from .tool import Tool, tool

    made = cast("Tool[..., Any]", found) if isinstance(found, Tool) else tool(found)
    decoded = made.decode(arguments)
    result = made.function(**msgspec.structs.asdict(decoded))
    if made.is_async:
        import asyncio

        result = asyncio.run(result)
    return made.returned(decoded, result)


def _end_with_parent(fd: int) -> None:
    while os.read(fd, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
