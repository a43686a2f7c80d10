"""Plain data becomes a struct, or all the reasons why not: msgspec stops at the first mistake, people want to mend all of them at once.

The data is walked along the type; where a part does not fit and has parts of its own, they are looked at one by one.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec

from ...models.secrets import hide
from .expected import expected, unfit
from .problems import Path, joined, meant

T = TypeVar("T")


class Fault(NamedTuple):
    """A mistake at a place in the data."""

    path: Path
    message: str
    expected: str = ""


def read(data: object, type_: type[T], at: Path = ()) -> tuple[T | None, list[Fault]]:
    """The data as the type, or None and why. Keys that the type does not know are mistakes, also where the type would allow them."""
    faults = list(_faults(data, type_, at))
    if faults:
        return None, faults
    return msgspec.convert(data, type_), []


def note_secrets(settings: object) -> None:
    """Have what is named like a credential covered wherever something is printed (rule P6): `api_key`, `token`, `db_password` …"""
    hide(*_secrets(msgspec.to_builtins(settings, enc_hook=repr, str_keys=True)))


_SECRET = re.compile(r"(?:^|_|-|(?<=[a-z])(?=[A-Z]))(?i:keys?|tokens?|secrets?|password|credentials?)$")
"""Names of settings whose text is a credential: the whole name, or its last word. `max_tokens` is one, but no text."""


def _secrets(data: object, named: bool = False) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            yield from _secrets(value, _SECRET.search(key) is not None)
    elif isinstance(data, list | tuple):
        for value in cast("Sequence[Any]", data):
            yield from _secrets(value, named)
    elif named and isinstance(data, str):
        yield data


def _faults(data: object, type_: Any, at: Path) -> Iterator[Fault]:
    """First what can be said of parts; if the parts are well but the whole is not, what msgspec or the type itself says."""
    before = 0
    for fault in _parts(data, type_, at):
        before += 1
        yield fault
    if before:
        return
    try:
        msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        yield _whole(data, type_, at, error)
    except RecursionError:
        yield Fault(at, "is nested too deeply, or contains itself")


def _parts(data: object, type_: Any, at: Path) -> Iterator[Fault]:
    kind, arguments = _plain(type_)
    if isinstance(data, dict):
        table = cast("dict[Any, Any]", data)
        if _is_struct(kind):
            yield from _fields(table, type_ if get_origin(type_) else kind, at)
        elif kind in _TABLES and len(arguments) == 2:
            for key, value in table.items():
                yield from _faults(value, arguments[1], (*at, str(key)))
    elif isinstance(data, list) and kind in _LISTS and arguments and (len(arguments) == 1 or arguments[1] is ...):
        for number, value in enumerate(cast("list[Any]", data)):
            yield from _faults(value, arguments[0], (*at, number))


_TABLES = (dict, Mapping, MutableMapping)
_LISTS = (list, tuple, set, frozenset, Sequence, MutableSequence)


def _plain(type_: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type without its bounds, and without None: its class and its arguments. Of a union nothing can be said in parts."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    if get_origin(type_) in (Union, types.UnionType):
        arms = [arm for arm in get_args(type_) if arm is not type(None)]
        return _plain(arms[0]) if len(arms) == 1 else (None, ())
    return get_origin(type_) or type_, get_args(type_)


def _is_struct(kind: Any) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return False
    config = kind.__struct_config__
    return not config.array_like and config.tag is None


def _fields(table: dict[Any, Any], struct: Any, at: Path) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, value in table.items():
        field = fields.get(key)
        if field is not None:
            yield from _faults(value, field.type, (*at, str(key)))
        else:
            yield Fault((*at, str(key)), _unknown(str(key), list(fields)), f"one of {joined(list(fields))}")
    for name, field in fields.items():
        if name not in table and field.required:
            wanted = expected(field.type)
            yield Fault((*at, name), f"is missing: expected {wanted}", wanted)


def _unknown(key: str, known: list[str]) -> str:
    if not known:
        return "unknown key; nothing can be set here"
    return f"unknown key{meant(key, known) or f'; expected one of {joined(known)}'}"


_PLACE = re.compile(r" - at `(?:key` in `)?\$(.*)`$")


def _whole(data: object, type_: Any, at: Path, error: msgspec.ValidationError) -> Fault:
    """The mistake in words of ours if it is the value itself that does not fit; else in those of whoever checked it."""
    said = str(error)
    place = _PLACE.search(said)
    inner = place[1] if place is not None else ""
    if inner or isinstance(error.__cause__, ValueError | TypeError):  # a part of a union, say, or the type's own check
        words = said[: place.start()] if place is not None else said
        return Fault(
            (*at, *_steps(inner)), words[:1].lower() + words[1:] if place is not None else words, expected(type_)
        )
    message, wanted = unfit(type_, data)
    return Fault(at, message, wanted)


def _steps(inner: str) -> Iterator[str | int]:
    """The path of msgspec as far as it is exact."""
    for step in re.finditer(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", inner):
        if step[2] == "...":
            return
        yield step[1] if step[1] is not None else int(step[2])
