"""What a type wants, in words for people, and of which kind a value is that was found instead."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from .problems import joined

_MOST_CHOICES = 12
_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
    datetime.datetime: "a date and time",
    datetime.date: "a date",
    datetime.time: "a time",
}

Schema = Mapping[str, Any]


def expected(type_: Any) -> str:
    """`'metric' or 'imperial'`, `a whole number from 1 to 5`, `a list`."""
    try:
        schema = msgspec.json.schema(type_)
    except (TypeError, NameError):
        return f"a {getattr(type_, '__name__', 'value')}"
    return _words(schema, schema.get("$defs", {}))


def choices(type_: Any) -> list[str]:
    """The strings that a type allows, if it lists them."""
    try:
        schema = msgspec.json.schema(type_)
    except (TypeError, NameError):
        return []
    arms = [_resolved(arm, schema.get("$defs", {})) for arm in schema.get("anyOf", [schema])]
    return [one for arm in arms for one in arm.get("enum", []) if isinstance(one, str)]


def kind_of(value: object) -> str:
    """`a string`, `a list`; of truth values and nothing, which of them."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return next((said for kind, said in _KINDS.items() if isinstance(value, kind)), type(value).__name__)


def unfit(type_: Any, value: object) -> tuple[str, str]:
    """What is said of a value that does not fit, without repeating it, and what was expected."""
    wanted, kind = expected(type_), kind_of(value)
    listed = choices(type_)
    noun = kind.partition(" ")[2]
    if noun == "whole number" and noun not in wanted:
        noun = "number"
    if (noun and noun in wanted) or (listed and isinstance(value, str)):
        kind = f"another {noun}"
    return f"expected {wanted}, found {kind}", wanted


def _resolved(schema: Schema, defs: Schema) -> Schema:
    ref = schema.get("$ref")
    return schema if ref is None else defs.get(ref.rpartition("/")[2], {})


def _words(schema: Schema, defs: Schema) -> str:
    schema = _resolved(schema, defs)
    if "enum" in schema:
        listed = [repr(one) if isinstance(one, str) else msgspec.json.encode(one).decode() for one in schema["enum"]]
        if len(listed) > _MOST_CHOICES:
            listed = [*listed[:_MOST_CHOICES], "another of its choices"]
        return joined(listed)
    if "anyOf" in schema:
        arms = [_words(arm, defs) for arm in cast("list[Schema]", schema["anyOf"])]
        return joined([one for one in dict.fromkeys(arms) if one != "nothing"] or ["nothing"])
    match schema.get("type"):
        case "string":
            return _string(schema)
        case "integer":
            return "a whole number" + _bounds(schema)
        case "number":
            return "a number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "null":
            return "nothing"
        case "array":
            return "a list" + _length(schema, "minItems", "maxItems", "elements")
        case "object":
            return "a table"
        case _:
            return "a value of another kind"


def _string(schema: Schema) -> str:
    words = f"a string ({schema['format']})" if "format" in schema else "a string"
    words += _length(schema, "minLength", "maxLength", "characters")
    return f"{words} that matches {schema['pattern']}" if "pattern" in schema else words


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    said = [f"of {low} or more"] if low is not None else []
    said += [f"above {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
    said += [f"below {schema['exclusiveMaximum']}"] if "exclusiveMaximum" in schema else []
    said += [f"of {high} or less"] if high is not None else []
    said += [f"that is a multiple of {schema['multipleOf']}"] if "multipleOf" in schema else []
    return f" {' and '.join(said)}" if said else ""


def _length(schema: Schema, low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if least == most:
        return f" of {least} {unit}"
    if least is None:
        return f" of at most {most} {unit}"
    return f" of at least {least} {unit}" if most is None else f" of {least} to {most} {unit}"
