"""What both validators share: the `Problem` they report, and reading untyped JSON into typed values, problem by problem."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True):
    """One way in which a request breaks an API's rules. `where` is a path as that API writes paths."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object whose fields are all known."""


def read(value: object, type: type[T], where: str, problems: list[Problem]) -> T | None:
    """`value` as `type`; None, and a problem, if it is not."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as e:
        what, _, path = str(e).partition(" - at `$")
        inside = path.rstrip("`").replace("[...]", "")
        problems.append(Problem(f"{where}{inside}".lstrip("."), what))
        return None


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def as_object(value: object) -> dict[str, Any]:
    """The JSON object, or an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The JSON array, or an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def number_in(body: dict[str, Any], name: str, low: float, high: float, problems: list[Problem]) -> None:
    """A number field, if given and not null, is within bounds."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        problems.append(Problem(name, f"must be a number, not {value!r}"))
    elif not low <= value <= high:
        problems.append(Problem(name, f"must be between {low:g} and {high:g}, not {value!r}"))


def one_of(body: dict[str, Any], name: str, allowed: Iterable[object], problems: list[Problem]) -> None:
    """A field, if given and not null, has one of these values."""
    value = body.get(name)
    if value is not None and value not in tuple(allowed):
        problems.append(Problem(name, f"must be one of {', '.join(map(str, allowed))}, not {value!r}"))


def repeats(values: Iterable[str]) -> list[str]:
    """The values that occur more than once, in order of their second appearance."""
    seen: set[str] = set()
    again: dict[str, None] = {}
    for value in values:
        if value in seen:
            again[value] = None
        seen.add(value)
    return list(again)


def decoded_size(data: str) -> int | None:
    """How many bytes of base64 data; None if it is not base64."""
    try:
        return len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
