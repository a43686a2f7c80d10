"""Holds plain JSON values against the request types of the official SDKs, strictly.

The SDKs describe requests as `TypedDict`s. Validating against those is lazy (iterables are not walked, unknown keys pass), so
this walks them itself: extra keys are refused, iterables are read to their end, a truth value is not a number.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from os import PathLike
from typing import IO, Any, Literal, Union, get_args, get_origin

import typing_extensions


def check_against(type_: Any, value: Any, at: str = "$") -> list[str]:
    """What is wrong with `value` as a `type_`, one line each with its place; [] if nothing is.

    `value` is parsed JSON: dicts, lists, strings, numbers, truth values and None. Raises `TypeError` for a type that
    it cannot check, so that nothing passes unread.
    """
    if type_ is Any or type_ is object:
        return []
    if isinstance(type_, typing_extensions.TypeAliasType):
        return check_against(type_.__value__, value, at)
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return _check_union(get_args(type_), value, at)
    if origin is Literal:
        return (
            []
            if any(value is a or (type(value) is type(a) and value == a) for a in get_args(type_))
            else [f"{at}: {value!r} is none of {', '.join(map(repr, get_args(type_)))}"]
        )
    if str(origin) in _QUALIFIERS or origin is typing.Annotated:
        return check_against(get_args(type_)[0], value, at)
    if typing_extensions.is_typeddict(type_):
        return _check_typed_dict(type_, value, at)
    if origin in (list, Iterable, Sequence):
        return _check_items(get_args(type_)[0], value, at)
    if origin in (dict, Mapping) or type_ is dict:
        return _check_dict(get_args(type_) or (str, Any), value, at)
    if type_ is list:
        return _check_items(Any, value, at)
    if origin in (IO, PathLike):
        return [f"{at}: {value!r:.60} is no open file"]
    return _check_plain(type_, value, at)


_REQUIRED = {str(typing.Required), str(typing_extensions.Required)}
_QUALIFIERS = _REQUIRED | {
    str(q) for q in (typing.NotRequired, typing_extensions.NotRequired, typing_extensions.ReadOnly)
}


def _check_union(members: tuple[Any, ...], value: Any, at: str) -> list[str]:
    """Fits one member, or the complaints of the member that comes nearest."""
    found: list[list[str]] = []
    for member in members:
        if not (problems := check_against(member, value, at)):
            return []
        found.append(problems)
    return min(found, key=lambda problems: (_names_another_kind(problems, at), len(problems)))


def _names_another_kind(problems: list[str], at: str) -> bool:
    """Whether a member is ruled out by its `type` or `role` alone: its other complaints say nothing."""
    return any(
        p.startswith((f"{at}.type:", f"{at}.role:")) or (p.startswith(f"{at}: ") and " lacks " not in p)
        for p in problems
    )


def _check_typed_dict(type_: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r:.60} is not an object"]
    hints = _hints(type_)
    problems = [f"{at}: lacks {name!r}" for name in _required(type_) if name not in value]
    for name, inner in value.items():
        if name in hints:
            problems += check_against(hints[name], inner, f"{at}.{name}")
        else:
            problems.append(f"{at}.{name}: is not a field of {type_.__name__}")
    return problems


@cache
def _required(type_: Any) -> list[str]:
    """`__required_keys__`, and the keys that it misses where annotations are kept as text, so that the class cannot read
    `Required` in them when it is made."""
    marked = [name for name, hint in _hints(type_).items() if str(get_origin(hint)) in _REQUIRED]
    return sorted({*type_.__required_keys__, *marked})


@cache
def _hints(type_: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(type_, include_extras=True)


def _check_items(item: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{at}: {value!r:.60} is not an array"]
    return [p for i, v in enumerate(value) for p in check_against(item, v, f"{at}[{i}]")]


def _check_dict(of: tuple[Any, ...], value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r:.60} is not an object"]
    return [p for k, v in value.items() for p in check_against(of[1], v, f"{at}.{k}")]


def _check_plain(type_: Any, value: Any, at: str) -> list[str]:
    if type_ is None or type_ is types.NoneType:
        return [] if value is None else [f"{at}: {value!r:.60} is not null"]
    if type_ is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif type_ is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif type_ in (str, bool):
        fits = isinstance(value, type_)
    elif isinstance(type_, type):
        # Classes that stand beside the JSON form for Python callers (files, paths, the SDK's own response models).
        return [f"{at}: {value!r:.60} is not a {type_.__name__}"]
    else:
        raise TypeError(f"{at}: cannot check against {type_!r}")
    return [] if fits else [f"{at}: {value!r:.60} is not a {type_.__name__}"]
