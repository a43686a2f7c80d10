"""Arguments of tools that come with a hand-written JSON Schema: decoded to a dict and checked against the schema.

Checked are the assertions that tools use: type, enum, const, properties, required, additionalProperties,
patternProperties, items, prefixItems, the size and number bounds, pattern, anyOf, oneOf, allOf, not, and `$ref` within the
schema (JSON Schema 2020-12, validation vocabulary). Other keywords (`format`, `if`, `dependentSchemas` …) are passed to the
model and not checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec

from ..core.errors import config_error
from .arguments import ArgumentsError, bounded, is_blank, problem_of

Schema = Mapping[str, Any]
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer()),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}


class PlainArguments:
    """The arguments of a tool with a schema of its own; `accepted` are the names its function takes, None for all."""

    __slots__ = ("_accepted", "_decoder", "_schema")

    def __init__(self, label: str, schema: Schema, accepted: frozenset[str] | None) -> None:
        """Raises `ConfigError` (`bad_tool`) if it is not the schema of an object, or names what the function does not take."""
        if schema.get("type") != "object" or any(k in schema for k in ("anyOf", "oneOf", "allOf")):
            hint = 'Providers want {"type": "object", ...}; anyOf, oneOf and allOf may stand inside properties only.'
            raise config_error("bad_tool", f"Tool {label}: its parameters are not the JSON Schema of an object.", hint)
        unknown = sorted(set(schema.get("properties", {})) - accepted) if accepted is not None else []
        if unknown:
            hint = "Give the function parameters of these names, or **arguments."
            raise config_error("bad_tool", f"Tool {label}: its function does not take {', '.join(unknown)}.", hint)
        self._schema, self._accepted = schema, accepted
        self._decoder = msgspec.json.Decoder(dict[str, Any])

    def decode(self, arguments: str) -> dict[str, Any]:
        """The arguments as a dict. Raises `ArgumentsError` and nothing else."""
        try:
            decoded = self._decoder.decode(arguments)
            problem = next(problems(decoded, self._schema, self._schema, "$"), None)
            if problem is None and self._accepted is not None and not self._accepted.issuperset(decoded):
                unknown = next(name for name in decoded if name not in self._accepted)
                problem = f"Object contains unknown field `{unknown}`"
            if problem is not None:
                raise msgspec.ValidationError(problem)
        except Exception as error:
            if is_blank(arguments):
                return self.decode("{}")
            raise ArgumentsError(problem_of(error, arguments, list(self._schema.get("properties", {})))) from error
        return decoded


def problems(value: Any, schema: Any, root: Schema, path: str) -> Iterator[str]:
    """What is wrong with a value, first things first; nothing if it fits the schema."""
    if not isinstance(schema, dict):
        if schema is False:
            yield f"Nothing is allowed - at `{path}`"
        return
    rules = cast("Schema", schema)
    if "$ref" in rules:
        yield from problems(value, _referred(root, rules["$ref"]), root, path)
    kinds = rules.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES.get(k, lambda _: True)(value) for k in kinds):
        yield f"Expected {' or '.join(f'`{k}`' for k in kinds)}, got {_shown(value)} - at `{path}`"
        return
    if "enum" in rules and not any(_same(value, v) for v in rules["enum"]):
        yield f"Expected one of {bounded(str(rules['enum']), 200)}, got {_shown(value)} - at `{path}`"
    if "const" in rules and not _same(value, rules["const"]):
        yield f"Expected {rules['const']!r}, got {_shown(value)} - at `{path}`"
    yield from _combined(value, rules, root, path)
    if isinstance(value, dict):
        yield from _in_object(cast("dict[str, Any]", value), rules, root, path)
    elif isinstance(value, list):
        yield from _in_array(cast("list[Any]", value), rules, root, path)
    elif isinstance(value, str):
        yield from _in_string(value, rules, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _in_number(value, rules, path)


def _combined(value: Any, rules: Schema, root: Schema, path: str) -> Iterator[str]:
    for each in rules.get("allOf", ()):
        yield from problems(value, each, root, path)
    for keyword in ("anyOf", "oneOf"):
        if keyword not in rules:
            continue
        failed = [next(problems(value, each, root, path), None) for each in rules[keyword]]
        fitting = failed.count(None)
        if fitting == 0:
            yield f"Fits none of {len(failed)} alternatives ({'; '.join(p for p in failed[:3] if p)}) - at `{path}`"
        elif keyword == "oneOf" and fitting > 1:
            yield f"Fits {fitting} alternatives that exclude each other - at `{path}`"
    if "not" in rules and next(problems(value, rules["not"], root, path), None) is None:
        yield f"Not allowed: {_shown(value)} - at `{path}`"


def _in_object(value: dict[str, Any], rules: Schema, root: Schema, path: str) -> Iterator[str]:
    where = "" if path == "$" else f" - at `{path}`"
    for name in rules.get("required", ()):
        if name not in value:
            yield f"Object missing required field `{name}`{where}"
    properties, patterns = rules.get("properties", {}), rules.get("patternProperties", {})
    others = rules.get("additionalProperties", True)
    for name, item in value.items():
        known = [properties[name]] if name in properties else []
        known += [s for pattern, s in patterns.items() if _matches(pattern, name)]
        if not known and others is False:
            yield f"Object contains unknown field `{name}`{where}"
            continue
        for each in known or [others]:
            yield from problems(item, each, root, f"{path}.{name}")
    yield from _bounds(len(value), rules, ("minProperties", "maxProperties"), "fields", path)


def _in_array(value: list[Any], rules: Schema, root: Schema, path: str) -> Iterator[str]:
    places = rules.get("prefixItems", [])
    for i, item in enumerate(value):
        each = places[i] if i < len(places) else rules.get("items", True)
        yield from problems(item, each, root, f"{path}[{i}]")
    yield from _bounds(len(value), rules, ("minItems", "maxItems"), "items", path)
    if rules.get("uniqueItems") and any(_same(a, b) for i, a in enumerate(value) for b in value[:i]):
        yield f"Expected items that differ from each other - at `{path}`"


def _in_string(value: str, rules: Schema, path: str) -> Iterator[str]:
    yield from _bounds(len(value), rules, ("minLength", "maxLength"), "characters", path)
    if "pattern" in rules and not _matches(rules["pattern"], value):
        yield f"Expected text that matches {rules['pattern']!r}, got {_shown(value)} - at `{path}`"


def _in_number(value: float, rules: Schema, path: str) -> Iterator[str]:
    yield from _bounds(value, rules, ("minimum", "maximum"), "", path)
    if "exclusiveMinimum" in rules and value <= rules["exclusiveMinimum"]:
        yield f"Expected more than {rules['exclusiveMinimum']}, got {value} - at `{path}`"
    if "exclusiveMaximum" in rules and value >= rules["exclusiveMaximum"]:
        yield f"Expected less than {rules['exclusiveMaximum']}, got {value} - at `{path}`"
    step = rules.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        yield f"Expected a multiple of {step}, got {value} - at `{path}`"


def _bounds(size: float, rules: Schema, names: tuple[str, str], unit: str, path: str) -> Iterator[str]:
    least, most = (rules.get(name) for name in names)
    if least is not None and size < least:
        yield f"Expected at least {least} {unit}".rstrip() + f", got {size} - at `{path}`"
    if most is not None and size > most:
        yield f"Expected at most {most} {unit}".rstrip() + f", got {size} - at `{path}`"


def _referred(root: Schema, ref: str) -> Any:
    """The part of the schema that a reference points to; everything fits a reference that leads elsewhere."""
    if not ref.startswith("#"):
        return True
    found: Any = root
    for step in filter(None, ref[1:].split("/")):
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            return True
        found = cast("Schema", found)[key]
    return found


def _matches(pattern: str, text: str) -> bool:
    """Search, as JSON Schema has it. A pattern that Python does not understand matches everything."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _same(a: Any, b: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _shown(value: Any) -> str:
    return bounded(repr(value), 80)
