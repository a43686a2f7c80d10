"""What a tool wants of its arguments beyond their types: `@tool(validate=…)`.

A validator runs wherever arguments are decoded (rule E2), so whoever decodes cannot forget it: before the permission and the hooks, again
after a hook has changed them, and once more in the process of an isolated tool.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..core.errors import TurnwiseError, config_error
from .arguments import PROBLEM_CHARS, ArgumentsError, bounded, quoted

Validate = Callable[[Any], "str | bool | None"]
"""Looks at decoded arguments, which have a field per parameter (a dict for `from_schema`): what is wrong with them, as text for the model; None or
True if nothing is. Raising `ValueError`, or a `ToolError`, says the same. Pure, and quick: it runs on the event loop."""


def validated(decode: Callable[[str], Any], validate: Validate | None, label: str) -> Callable[[str], Any]:
    """`decode`, with the validator behind it. Raises `ConfigError` (`bad_tool`) for one that would have to be awaited."""
    if validate is None:
        return decode
    if inspect.iscoroutinefunction(validate) or not callable(validate):
        what = "a coroutine function" if callable(validate) else repr(validate)
        hint = "Give a plain function of the decoded arguments; what takes time belongs into the tool, which can raise ToolError."
        raise config_error("bad_tool", f"Tool {label} has validate={what}, which cannot check a call.", hint)

    def decoded(arguments: str) -> Any:
        made = decode(arguments)
        problem = _problem(validate, made, label)
        if problem is not None:
            raise ArgumentsError(f"{bounded(problem, PROBLEM_CHARS)} Received: {quoted(arguments)}")
        return made

    return decoded


def _problem(validate: Validate, arguments: Any, label: str) -> str | None:
    """What the validator says. Whatever else it raises is its own failure, and the call's."""
    try:
        said = validate(arguments)
    except ArgumentsError as error:
        return error.problem
    except TurnwiseError as error:
        return error.info.for_model()
    except ValueError as error:
        return str(error) or "The arguments are not valid."
    if said is None or said is True:
        return None
    if said is False:
        return "The arguments are not valid."
    if isinstance(said, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return said or None
    raise TypeError(f"The validator of {label} gave {type(said).__name__}: text, True, False or None is expected.")
