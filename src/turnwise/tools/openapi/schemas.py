"""The schemas of a document as JSON Schemas for models: of 3.0 as of 3.1, with what they refer to beside them.

Definitions are written out where they are used, as for all tools (`tidy`); where that would become long they stay in `$defs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ..tidy import tidy
from .document import Document, Node, Problem

INLINED_NODES = 4_000
"""How many parts the schema of one tool may have with its definitions written out."""

_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties")
_KEPT = frozenset((
    "type", "format", "title", "description", "default", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
    "required", "contentEncoding", "contentMediaType",
))  # fmt: skip


class Schemas:
    """Makes the schemas of one tool. `request`: what a caller sends, so what only the server may set is left out."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._found: Node = {}

    def made(self, schema: Any) -> Node:
        """A part of the document as a JSON Schema, which refers to `$defs` until `whole` puts them together. Raises `Problem`."""
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        if not isinstance(schema, Mapping):
            raise Problem(f"a schema is {type(schema).__name__}, not an object")
        given = cast("Node", schema)
        if isinstance(ref := given.get("$ref"), str):
            return self._referred(ref, given)
        made: Node = {k: v for k, v in given.items() if k in _KEPT}
        for key in _ONE:
            if key in given:
                made[key] = (
                    given[key]
                    if key == "additionalProperties" and isinstance(given[key], bool)
                    else self.made(given[key])
                )
        for key in _SEVERAL:
            if isinstance(given.get(key), list):
                made[key] = [self.made(one) for one in given[key]]
        for key in _NAMED:
            if isinstance(given.get(key), Mapping):
                made[key] = {str(n): self.made(s) for n, s in given[key].items() if not self._is_read_only(s)}
        if isinstance(given.get("required"), list):
            left = [
                n
                for n in given["required"]
                if "properties" not in given or n not in given["properties"] or n in made["properties"]
            ]
            made["required"] = left
            if not left:
                del made["required"]
        return _as_3_1(made, given)

    def whole(self, schema: Node) -> Node:
        """The schema of a tool's arguments, with all that it refers to."""
        if not self._found:
            return tidy(schema, {})
        definitions: Node = {}
        whole = {**schema, "$defs": self._found}
        if _Sizes(self._found).of(schema) > INLINED_NODES:
            return whole
        made = tidy(whole, definitions)
        return {**made, "$defs": definitions} if definitions else made

    def _referred(self, ref: str, given: Node) -> Node:
        found, last = self._document.resolved(given)
        name = self._names.get(last)
        if name is None:
            name = self._names[last] = self._free(last.rpartition("/")[2])
            self._found[name] = {}  # taken, before it comes by itself
            self._found[name] = self.made(found)
        beside = {k: v for k, v in given.items() if k in ("description", "default")}
        return {"$ref": f"#/$defs/{name}", **beside}

    def _free(self, wished: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_-]", "_", wished)[:60] or "Schema"
        name, n = base, 2
        while name in self._found:
            name, n = f"{base}{n}", n + 1
        return name

    def _is_read_only(self, schema: Any) -> bool:
        found, _ = self._document.resolved(schema)
        return isinstance(found, Mapping) and cast("Node", found).get("readOnly") is True


def _as_3_1(made: Node, given: Node) -> Node:
    """What 3.0 says in its own way, as JSON Schema has it."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
            made[exclusive] = made.pop(bound)
    if given.get("nullable") is True:
        kind = made.get("type")
        if isinstance(kind, str):
            made["type"] = [kind, "null"]
            if "enum" in made and None not in made["enum"]:
                made["enum"] = [*made["enum"], None]
        elif any(k in made for k in ("anyOf", "oneOf", "allOf")):
            about = {k: made.pop(k) for k in ("description", "default") if k in made}
            made = {"anyOf": [made, {"type": "null"}], **about}
    return made


class _Sizes:
    """How many parts schemas have with their definitions written out; a definition within itself counts as one."""

    def __init__(self, definitions: Node) -> None:
        self._definitions = definitions
        self._known: dict[str, int] = {}
        self._open: set[str] = set()

    def of(self, value: Any) -> int:
        if isinstance(value, list):
            return 1 + sum(self.of(one) for one in cast("list[Any]", value))
        if not isinstance(value, dict):
            return 1
        schema = cast("Node", value)
        return 1 + sum(self.of(one) for one in schema.values()) + sum(self._definition(name) for name in _named(schema))

    def _definition(self, name: str) -> int:
        if name in self._open:
            return 1
        if name not in self._known:
            self._open.add(name)
            self._known[name] = self.of(self._definitions[name])
            self._open.discard(name)
        return self._known[name]


def _named(schema: Node) -> Iterator[str]:
    ref = schema.get("$ref")
    if isinstance(ref, str):
        yield ref.removeprefix("#/$defs/")
