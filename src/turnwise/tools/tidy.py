"""Making a generated JSON Schema fit for model providers. Pure rewriting: what it accepts stays the same.

- Anthropic and several hosts refuse or ignore `$ref`, so definitions are written out where they are used; only recursive ones stay.
- OpenAI refuses an array without `items` ("array schema missing items"), also where `prefixItems` says it all.
- `title` repeats what the key says, and `discriminator` is not JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

Schema = dict[str, Any]
_DROPPED = ("title", "discriminator", "$defs")
_ONE = ("items", "additionalProperties", "not", "propertyNames", "contains")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties")
_TYPES: tuple[tuple[type, str], ...] = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"))


def tidy(schema: Mapping[str, Any], definitions: Schema) -> Schema:
    """The schema rewritten. What it must keep under `$defs` is added to `definitions`, under a name that is free there."""
    return _Tidy(_definitions_in(schema), definitions).rewrite(schema)


class _Tidy:
    """The definitions of one schema, and where the recursive ones of them went."""

    def __init__(self, found: Mapping[str, Any], kept: Schema) -> None:
        self.found = dict(found)
        self.kept = kept
        self.names: dict[str, str] = {}

    def rewrite(self, schema: Mapping[str, Any]) -> Schema:
        if "$ref" in schema:
            return self._referred(schema)
        made: Schema = {}
        for key, value in schema.items():
            if key in _DROPPED:
                continue
            if key in _ONE and isinstance(value, dict):
                made[key] = self.rewrite(cast("Schema", value))
            elif key in _SEVERAL:
                made[key] = [self.rewrite(v) for v in value]
            elif key in _NAMED:
                made[key] = {k: self.rewrite(v) for k, v in value.items()}
            else:
                made[key] = value
        return _with_type(_with_items(made))

    def _referred(self, schema: Mapping[str, Any]) -> Schema:
        """What a reference points to, with what stands beside it (a description, a default)."""
        name = schema["$ref"].removeprefix("#/$defs/")
        beside = {k: v for k, v in schema.items() if k not in ("$ref", *_DROPPED)}
        if not self._is_recursive(name):
            return {**self.rewrite(self.found[name]), **beside}
        if name not in self.names:
            self.names[name] = _free(name, self.kept)
            self.kept[self.names[name]] = {}  # taken, before its own references come by
            self.kept[self.names[name]] = self.rewrite(self.found[name])
        return {"$ref": f"#/$defs/{self.names[name]}", **beside}

    def _is_recursive(self, name: str) -> bool:
        seen: set[str] = set()
        todo = list(_references(self.found[name]))
        while todo:
            other = todo.pop()
            if other == name:
                return True
            if other not in seen:
                seen.add(other)
                todo += _references(self.found[other])
        return False


def _definitions_in(value: Any) -> Schema:
    """All definitions, also those that a part of the schema brings along (of a pydantic model inside another type)."""
    found: Schema = {}
    for inner in cast("list[Any]", value) if isinstance(value, list) else ():
        found |= _definitions_in(inner)
    if isinstance(value, dict):
        schema = cast("Schema", value)
        for inner in schema.values():
            found |= _definitions_in(inner)
        if isinstance(schema.get("$defs"), dict):
            found |= schema["$defs"]
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for v in cast("list[Any]", value) for name in _references(v)]
    if not isinstance(value, dict):
        return []
    schema = cast("Schema", value)
    ref = schema.get("$ref")
    own = [ref.removeprefix("#/$defs/")] if isinstance(ref, str) else []
    return own + [name for v in schema.values() for name in _references(v)]


def _with_items(schema: Schema) -> Schema:
    """An array always has `items`; a tuple gets a schema that fits each of its places, next to `prefixItems`."""
    if schema.get("type") != "array" or isinstance(schema.get("items"), dict):
        return schema
    places: list[Schema] = schema.get("prefixItems", [])
    different = [p for i, p in enumerate(places) if p not in places[:i]]
    if len(different) == 1:
        del schema["prefixItems"]
    schema["items"] = different[0] if len(different) == 1 else {"anyOf": different} if different else {}
    return schema


def _with_type(schema: Schema) -> Schema:
    """An enumeration of one type says which."""
    values: list[Any] | None = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if values is None or "type" in schema:
        return schema
    for kind, name in _TYPES:
        if all(type(v) is kind for v in values):
            return {"type": name, **schema}
    return schema


def _free(name: str, taken: Schema) -> str:
    if name not in taken:
        return name
    return next(n for i in range(2, len(taken) + 3) if (n := f"{name}{i}") not in taken)
