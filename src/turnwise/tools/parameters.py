"""Reading a function's signature: names, types, defaults, and where the `ToolContext` goes.

Everything that makes a function unfit to be a tool is found here, when it is decorated, and named in a `ConfigError`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Union, cast

import msgspec
from msgspec import NODEFAULT

from ..core.errors import ConfigError, config_error
from .context import ToolContext

AnyFunction = Callable[..., Any]
IMMUTABLE = (type(None), bool, int, float, str, bytes, Enum)
# The stricter of the two providers' patterns for property names (Anthropic; OpenAI allows at least these).
_PROPERTY_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_CONTEXT_NAME = re.compile(r"(\w+\.)*ToolContext(\[.*\])?( *\| *None)?")


class Parameter(msgspec.Struct, frozen=True):
    """One parameter that the model fills in. `type` may be `Annotated`; `default` is NODEFAULT if it is required."""

    name: str
    type: Any
    default: Any = NODEFAULT
    keyword_only: bool = False
    description: str = ""


class Signature(msgspec.Struct, frozen=True):
    """How to call a function: its parameters in order, and the index and name of the context's, if it takes one."""

    label: str
    parameters: tuple[Parameter, ...]
    context_at: int | None = None
    context_name: str | None = None


def read_signature(function: AnyFunction, local_names: Mapping[str, Any]) -> Signature:
    """The signature of a function that is to be a tool.

    Annotations written as text are looked up in the function's module, in what it closes over, and in `local_names` (the
    names visible where it was decorated). Raises `ConfigError` (`bad_tool`) naming function and parameter.
    """
    label = label_of(function)
    refuse_generators(function, label)
    parameters: list[Parameter] = []
    context_at = context_name = None
    names = _names_visible_to(function, local_names)
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        _refuse_kind(label, parameter, index)
        annotation = _resolve(label, parameter, names)
        if is_context(annotation):
            if context_name is not None:
                raise bad_parameter(label, parameter.name, "is a second ToolContext", "Keep one of them.")
            context_name = parameter.name
            context_at = None if parameter.kind is parameter.KEYWORD_ONLY else index
        else:
            parameters.append(_parameter(label, parameter, annotation))
    return Signature(label, tuple(parameters), context_at, context_name)


def context_parameter(function: AnyFunction, local_names: Mapping[str, Any]) -> str | None:
    """The name of the parameter that takes the context; for functions whose other parameters are not read."""
    names = _names_visible_to(function, local_names)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.annotation is not parameter.empty and is_context(_resolve(label_of(function), parameter, names)):
            return parameter.name
    return None


def bad_parameter(label: str, name: str, problem: str, hint: str) -> ConfigError:
    return config_error("bad_tool", f"Tool {label}: parameter {name!r} {problem}.", hint)


def label_of(function: AnyFunction) -> str:
    """`module.qualname`, for messages."""
    plain = plain_function(function)
    return f"{plain.__module__}.{getattr(plain, '__qualname__', type(plain).__qualname__)}"


def plain_function(function: AnyFunction) -> AnyFunction:
    """The function itself, below `partial`, bound methods, `functools.wraps` and callable objects."""
    while True:
        if isinstance(function, functools.partial):
            function = cast("AnyFunction", function.func)
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
        elif not inspect.isroutine(function) and inspect.ismethod(call := getattr(function, "__call__", None)):  # noqa: B004
            function = call
        else:
            return function


def refuse_generators(function: AnyFunction, label: str) -> None:
    """A generator has no result to give to the model."""
    plain = plain_function(function)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        hint = "Return the whole result, and tell what happens meanwhile with ToolContext.progress()."
        raise config_error("bad_tool", f"Tool {label} is a generator.", hint)


def _names_visible_to(function: AnyFunction, local_names: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = plain_function(function)
    code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None) or ()
    closed_over: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            closed_over[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return getattr(plain, "__globals__", {}), {**local_names, **closed_over}


def _refuse_kind(label: str, parameter: inspect.Parameter, index: int) -> None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        hint = "Name each parameter, or take one list or dict."
        raise bad_parameter(label, stars + name, "takes any number of arguments, which no schema can describe", hint)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise bad_parameter(label, name, "is positional-only, but models pass arguments by name", "Remove the '/'.")
    if parameter.annotation is parameter.empty:
        hint = f"Annotate it, for example `{name}: str`."
        if index == 0 and name in ("self", "cls"):
            hint = "Make the tool from the bound method: `tool(thing.method)`."
        raise bad_parameter(label, name, "has no type annotation", hint)
    if _PROPERTY_NAME.fullmatch(name) is None:
        hint = "Use up to 64 ASCII letters, digits and underscores."
        raise bad_parameter(label, name, "has a name that model providers refuse", hint)


def _resolve(label: str, parameter: inspect.Parameter, names: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """The annotation as a type. A `ToolContext` that was imported for type checkers only is recognised by its name."""
    annotation = parameter.annotation
    if isinstance(annotation, str) and _CONTEXT_NAME.fullmatch(annotation.strip("\"' ")):
        return ToolContext
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, *names, include_extras=True)["it"]
    except Exception as error:
        hint = "Import or define it before the tool, where the tool's module can see it at run time."
        said = f"has the annotation {annotation!r}, which cannot be resolved ({type(error).__name__}: {error})"
        raise bad_parameter(label, parameter.name, said, hint) from error


def is_context(annotation: Any) -> bool:
    """True for `ToolContext`, `ToolContext[X]`, and either of them `| None`."""
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(is_context(a) for a in typing.get_args(annotation))
    if origin is typing.Annotated:
        return is_context(typing.get_args(annotation)[0])
    return annotation is ToolContext or origin is ToolContext


def _parameter(label: str, parameter: inspect.Parameter, annotation: Any) -> Parameter:
    default = NODEFAULT if parameter.default is parameter.empty else parameter.default
    if type(default).__name__ == "FieldInfo":
        hint = f"Write `{parameter.name}: Annotated[<type>, Field(...)]`."
        raise bad_parameter(label, parameter.name, "has a pydantic Field as its default value", hint)
    if default is not NODEFAULT and not isinstance(default, IMMUTABLE):
        try:
            copy.deepcopy(default)
        except Exception as error:
            hint = "Use None as the default and make the value inside the tool."
            raise bad_parameter(label, parameter.name, "has a default that cannot be copied", hint) from error
    if default is None:
        annotation = annotation | None if isinstance(annotation, type) else Union[annotation, None]  # noqa: UP007
    keyword_only = parameter.kind is parameter.KEYWORD_ONLY
    return Parameter(parameter.name, annotation, default, keyword_only, _described(annotation))


def _described(annotation: Any) -> str:
    """The text in `Annotated[T, "text"]`, `Annotated[T, Doc("text")]` (PEP 727) or `msgspec.Meta(description="text")`."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return next((text for a in typing.get_args(annotation) if (text := _described(a))), "")
    if typing.get_origin(annotation) is not typing.Annotated:
        return ""
    for extra in cast("Sequence[Any]", annotation.__metadata__):
        text = (
            extra
            if isinstance(extra, str)
            else getattr(extra, "documentation", None) or getattr(extra, "description", None)
        )
        if isinstance(text, str) and text:
            return text
    return ""
