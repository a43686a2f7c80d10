"""Tools that are programs: each describes itself when it is asked with `--schema`, and is run once per call. Public as `Tools.from_scripts`.

A call goes by `ToolContext.run_process`: the arguments are JSON on standard input, and the process group dies with the call. How scripts are
asked, all at once and each within its time, is in `scripts_asked`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..core.errors import ErrorInfo, ToolError, TurnwiseError, config_error
from .arguments import bounded
from .context import ToolContext
from .options import Permission
from .plain import PlainArguments
from .results import ERROR_CHARS
from .scripts_asked import Answer, ask
from .tool import Tool

FAILED_CHARS = 2_000


class Description(msgspec.Struct, frozen=True):
    """What a script prints when it is asked for its schema."""

    name: str
    description: str
    parameters: dict[str, Any]
    category: str = ""
    tags: tuple[str, ...] = ()
    permission: Permission | None = "execute"
    read_only: bool = False
    idempotent: bool = False
    timeout_s: float | None = None


class _Place(NamedTuple):
    """How scripts are run: for how long, with which environment, where."""

    timeout_s: float | None
    env: Mapping[str, str] | None
    cwd: str | None


def tools_of(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    timeout_s: float | None,
    describe_s: float,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
) -> list[Tool[..., Any]]:
    """See `Tools.from_scripts`."""
    paths = _paths(where)
    place = _Place(timeout_s, env, None if cwd is None else os.fspath(cwd))
    problems: list[str] = []
    found: dict[str, tuple[str, Tool[..., Any]]] = {}
    runnable = [path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)]
    problems += [f"{path} is no file that may be executed" for path in paths if path not in runnable]
    for path, answer in zip(runnable, ask(runnable, describe_s, env, place.cwd), strict=True):
        try:
            made = _tool(path, _described(answer), place)
        except TurnwiseError as error:
            problems.append(f"{path}: {error.message}")
        except ValueError as error:
            problems.append(f"{path} {error}")
        else:
            if made.name in found:
                problems.append(f"{path} has the name {made.name!r}, which {found[made.name][0]} has, too")
            found.setdefault(made.name, (path, made))
    if problems:
        raise config_error(
            "bad_tool_script",
            f"{len(problems)} of {len(paths)} scripts cannot be tools. Run with --schema, each prints a JSON object with name, description "
            "and parameters:\n" + "\n".join([f"- {one}" for one in problems]),
        )
    return [made for _, made in found.values()]


def _paths(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """The scripts, as absolute paths: those that were named, or what can be executed in a folder, by name."""
    if not isinstance(where, str | os.PathLike):
        return [os.path.abspath(os.fspath(one)) for one in where]
    folder = Path(where)
    if not folder.is_dir():
        return [os.path.abspath(folder)]
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    return [os.path.abspath(path) for path in inside if path.is_file() and os.access(path, os.X_OK)]


def _described(answer: Answer) -> Description:
    """What a script has said of itself. Raises `ValueError` with what is wrong."""
    if answer.problem:
        raise ValueError(answer.problem)
    try:
        return msgspec.json.decode(answer.stdout, type=Description)
    except msgspec.ValidationError as error:
        raise ValueError(f"describes itself wrongly: {error}") from error
    except msgspec.DecodeError as error:
        shown = bounded(repr(answer.stdout[:80].decode("utf-8", "replace")), 100)
        raise ValueError(f"prints {shown}, which is not JSON ({error})") from error


def _tool(path: str, said: Description, place: _Place) -> Tool[..., Any]:
    arguments = PlainArguments(said.name, said.parameters, None)
    run, invoke = _functions(said.name, path, place)
    timeout_s = place.timeout_s if said.timeout_s is None else said.timeout_s
    return Tool(
        run,
        arguments,
        invoke,
        said.parameters,
        name=said.name or " ",
        description=said.description,
        timeout_s=timeout_s,
        read_only=said.read_only,
        idempotent=said.idempotent,
        category=said.category,
        tags=said.tags,
        permission=said.permission,
    )


def _functions(
    name: str, path: str, place: _Place
) -> tuple[Callable[..., Any], Callable[[Any, ToolContext[Any]], Any]]:
    """What the tool is for Python, and what runs it."""

    async def run(context: ToolContext[Any], /, **arguments: Any) -> str:
        return await _run(name, path, arguments, place, context)

    run.__name__ = run.__qualname__ = name
    return run, lambda arguments, context: _run(name, path, arguments, place, context)


async def _run(name: str, path: str, arguments: Mapping[str, Any], place: _Place, context: ToolContext[Any]) -> str:
    """Run it once. Raises `ToolError` (`script_failed`) if it says that it failed, or cannot be started."""
    data = msgspec.json.encode(arguments)
    try:
        done = await context.run_process([path], cwd=place.cwd, env=place.env, stdin=data)
    except OSError as error:
        raise ToolError(
            ErrorInfo("tool", "script_failed", f"{name} cannot be started: {error.strerror or error}")
        ) from error
    if done.returncode == 0:
        return f"{done.stdout}\n[cut off: it printed more]" if done.truncated else done.stdout
    how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
    said = _end_of([done.stderr, done.stdout])
    message = f"{name} failed ({how})" + (f": {said}" if said else ".")
    raise ToolError(ErrorInfo("tool", "script_failed", bounded(message, ERROR_CHARS), detail=how))


def _end_of(texts: Sequence[str]) -> str:
    """The end of the first text that says anything."""
    said = next((text.strip() for text in texts if text.strip()), "")
    return said if len(said) <= FAILED_CHARS else f"…{said[-FAILED_CHARS:]}"
