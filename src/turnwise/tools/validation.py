"""What a tool wants of its arguments beyond their types: `@tool(validate=…)`, and arguments that somebody has changed.

A validator runs wherever arguments are decoded (rule E2), so whoever decodes cannot forget it: before the permission and the hooks, again
after a hook has changed them, and once more in the process of an isolated tool.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..core.errors import TurnwiseError, config_error
from .arguments import PROBLEM_CHARS, ArgumentsError, bounded, quoted

if TYPE_CHECKING:
    from .tool import Tool

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


def checked(tool: Tool[..., Any], given: Any) -> tuple[str, Any]:
    """Arguments that somebody has changed, as JSON text and decoded: checked against types and validator like those of a model.

    `given` is JSON text, a mapping, or decoded arguments. Raises `ArgumentsError` if they do not fit, and what the validator raises.
    """
    text = given if isinstance(given, str) else _as_text(given)
    return text, tool.decode(text)


def _as_text(given: Any) -> str:
    try:
        return msgspec.json.encode(
            dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else given, enc_hook=_as_data
        ).decode()
    except Exception as error:
        raise ArgumentsError(f"These arguments cannot be written as JSON: {error}") from error


def _as_data(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if hasattr(value, "model_dump"):  # a pydantic model
        return value.model_dump(mode="json")
    raise TypeError(f"a value of type {type(value).__module__}.{type(value).__qualname__} is not data")
