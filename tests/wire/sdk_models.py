"""Holds plain JSON values against the pydantic models of official SDKs, strictly, by their names on the wire.

The SDKs' models let unknown keys pass, turn numbers into text and take any word where they name some, so this walks their fields
itself, as `sdk_types` does for `TypedDict`s: extra keys are refused, types are exact, enumerations are meant. Null is refused
everywhere: the models allow it in each field that may be left out, and requests leave out what they do not say.
"""

from __future__ import annotations

import base64
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import typing_extensions
from google.genai import types as genai
from ollama import _types as ollama
from pydantic import BaseModel

FIELDS: dict[type, dict[str, Any]] = {
    # Google's client adds this one by hand to what its types say.
    genai.GenerationConfig: {"imageConfig": genai.ImageConfig},
    # Ollama's client has more in its types than in its server (any mapping is a message) and less: these are from
    # https://docs.ollama.com/api/chat and /capabilities/tool-calling. A tool's parameters are any JSON Schema.
    ollama.ChatRequest: {"messages": list[ollama.Message], "options": ollama.Options, "truncate": bool, "shift": bool},
    ollama.Options: {"min_p": float},
    ollama.Message: {"tool_call_id": str, "images": list[bytes]},
    ollama.Message.ToolCall: {"id": str},
    ollama.Message.ToolCall.Function: {"index": int},
    ollama.Tool.Function: {"parameters": dict[str, Any]},
}
"""Fields of models as the wire has them, where the models say something else or nothing."""


def check_model(type_: Any, value: Any, at: str = "$") -> list[str]:
    """What is wrong with `value`, parsed JSON, as a `type_`; [] if nothing is. Raises `TypeError` for a type that it cannot check."""
    if type_ is Any or type_ is object:
        return []
    origin, args = get_origin(type_), get_args(type_)
    if origin is typing.Annotated:
        return check_model(args[0], value, at)
    if origin in (Union, types.UnionType):
        return _check_union(args, value, at)
    if origin is Literal:
        fits = any(value == a and type(value) is type(a) for a in args)
        return [] if fits else [f"{at}: {value!r:.60} is none of {', '.join(map(repr, args))}"]
    if origin in (list, Sequence):
        if not isinstance(value, list):
            return [f"{at}: {value!r:.60} is not an array"]
        return [p for i, v in enumerate(value) for p in check_model(args[0], v, f"{at}[{i}]")]
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return [f"{at}: {value!r:.60} is not an object"]
        return [p for k, v in value.items() for p in check_model(args[1], v, f"{at}.{k}")]
    if not isinstance(type_, type):
        raise TypeError(f"{at}: cannot check against {type_!r}")
    return _check_fields(type_, value, at) if issubclass(type_, BaseModel) else _check_plain(type_, value, at)


def _check_union(members: tuple[Any, ...], value: Any, at: str) -> list[str]:
    """Fits one member, or the complaints of the member that comes nearest. `Literal[…] | Any` is only what it names."""
    named = any(get_origin(m) is Literal for m in members)
    meant = [m for m in members if m is not types.NoneType and not (named and m is Any)]
    found: list[list[str]] = []
    for member in meant:
        if not (problems := check_model(member, value, at)):
            return []
        found.append(problems)
    return min(found, key=lambda problems: (_is_another_kind(problems, at), len(problems)))


def _is_another_kind(problems: list[str], at: str) -> bool:
    """Whether a member is ruled out by its tag or its kind of value alone: its other complaints say nothing."""
    return any(p.startswith((f"{at}.type:", f"{at}.role:", f"{at}: ")) and " lacks " not in p for p in problems)


def _check_fields(type_: type[BaseModel], value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r:.60} is not an object"]
    fields, required = _fields(type_)
    problems = [f"{at}: lacks {name!r}" for name in required if name not in value]
    for name, inner in value.items():
        if name in fields:
            problems += check_model(fields[name], inner, f"{at}.{name}")
        else:
            problems.append(f"{at}.{name}: is not a field of {type_.__name__}")
    return problems


@cache
def _fields(type_: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """The fields by their names on the wire, and those that must be there: what has no default, and tags."""
    hints = typing_extensions.get_type_hints(type_, include_extras=True)
    named = {field.alias or name: (hints[name], field.is_required()) for name, field in type_.model_fields.items()}
    required = [name for name, (hint, needed) in named.items() if needed or get_origin(hint) is Literal]
    return {name: hint for name, (hint, _) in named.items()} | FIELDS.get(type_, {}), required


def _check_plain(type_: type, value: Any, at: str) -> list[str]:
    if issubclass(type_, enum.Enum):
        fits = value in [member.value for member in type_]
    elif type_ is bytes:
        return _check_base64(value, at)
    elif type_ is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif type_ in (str, int, bool):
        fits = type(value) is type_
    elif type_ is dict:
        fits = isinstance(value, dict)
    else:
        raise TypeError(f"{at}: cannot check against {type_!r}")
    return [] if fits else [f"{at}: {value!r:.60} is not a {type_.__name__}"]


def _check_base64(value: Any, at: str) -> list[str]:
    """Base64 in either alphabet: Google's JSON takes both."""
    try:
        base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, AttributeError):
        return [f"{at}: {value!r:.60} is not base64"]
    return []
