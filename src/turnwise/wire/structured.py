"""Which JSON Schemas the APIs enforce themselves, as data, and a schema brought into the form that one of them takes.

Each API knows a subset of JSON Schema of its own and refuses the rest. What is left out here is said in the description instead, and
the form never accepts what the schema refuses but for that: whoever validates the answer validates it against the schema itself.

Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations (Bedrock says the same),
https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support, https://docs.cohere.com/docs/parameter-types-in-json,
https://docs.ollama.com/capabilities/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

Schema = dict[str, Any]


class Rules(msgspec.Struct, frozen=True):
    """What an API asks of a schema that it is to enforce.

    closed      objects must refuse fields that are not named, so free-form ones cannot be said
    whole       every field of an object must be required
    recursive   definitions may refer to themselves
    keeps       keywords beyond the common ones that it takes
    formats     the values of `format` that it takes
    """

    closed: bool = True
    whole: bool = True
    recursive: bool = True
    keeps: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()


_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_SIZES = frozenset({"minItems", "maxItems"})
_FORMATS = frozenset({"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

COMMON = Rules()
"""What every API is known to take that enforces schemas at all; hosts that speak the Chat API of OpenAI get no more."""

OPENAI = Rules(keeps=_NUMBERS | _SIZES, formats=_FORMATS)
_CLAUDE = Rules(whole=False, recursive=False, formats=_FORMATS)
_GEMINI = Rules(
    False, False, True, frozenset({"minimum", "maximum"}) | _SIZES, frozenset({"date-time", "date", "time"})
)

RULES: dict[str, Rules] = {
    "openai.responses": OPENAI,
    "anthropic.messages": _CLAUDE,
    "bedrock.converse": _CLAUDE,
    "gemini.generateContent": _GEMINI,
    "vertex.generateContent": _GEMINI,
    "cohere.v2.chat": Rules(recursive=False),
    "ollama.chat": Rules(closed=False, whole=False),
}
_OF_OPENAI = ("openai.chat", "azure.chat")
"""Origins of the Chat API whose rules are OpenAI's."""

ENFORCED_BY_SERVER = frozenset({"ollama.chat"})
"""APIs that hold any model to a schema: the server narrows what may be said."""


def rules_of(api: str, origin: str) -> Rules:
    """The rules of an API, as the codec names it and its signature family."""
    return OPENAI if origin in _OF_OPENAI else RULES.get(api, COMMON)


def native_schema(schema: Mapping[str, Any], rules: Rules) -> Schema | None:
    """A schema in the form that an API enforces; None if it cannot be said there: free-form objects, conditions, recursion."""
    try:
        made = _Form(rules).rewrite(schema)
    except _Unfit:
        return None
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    if definitions and not rules.recursive:
        return None  # only recursive ones are left by then, or the author's own, which we do not look through
    try:
        if definitions:
            made["$defs"] = {name: _Form(rules).rewrite(each) for name, each in definitions.items()}
    except _Unfit:
        return None
    return made


class _Unfit(Exception):
    """This API has no way to say it."""


_PASSED = frozenset({"enum", "description"})
_DROPPED = frozenset(
    {
        "title",
        "$schema",
        "$id",
        "$comment",
        "discriminator",
        "$defs",
        "definitions",
        "examples",
        "deprecated",
        "readOnly",
    }
)
_STRUCTURE = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "const", "$ref"}
)
_SAID = {
    "default": "default",
    "minLength": "minimum length",
    "maxLength": "maximum length",
    "pattern": "pattern",
    "format": "format",
    "minItems": "minimum number of items",
    "maxItems": "maximum number of items",
    "uniqueItems": "items differ",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "multiple of",
    "minProperties": "minimum number of fields",
    "maxProperties": "maximum number of fields",
    "contentEncoding": "encoding",
}
"""Keywords that narrow what is allowed, or advise, and how they are put into words."""


class _Form:
    """One schema being rewritten."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def rewrite(self, schema: Any) -> Schema:
        if not isinstance(schema, Mapping):
            raise _Unfit
        rules, given = self.rules, cast("Mapping[str, Any]", schema)
        if "$ref" in given:
            return self._referred(given["$ref"])
        kinds = given.get("type")
        if isinstance(kinds, list):
            return self._several(given, cast("list[str]", kinds))
        made: Schema = {} if kinds is None else {"type": kinds}
        notes: list[str] = []
        for key, value in given.items():
            if key in _STRUCTURE or key in _DROPPED:
                continue
            if key in _PASSED or key in rules.keeps or (key == "format" and value in rules.formats):
                made[key] = value
            elif key in _SAID:
                notes.append(f"{_SAID[key]}: {msgspec.json.encode(value).decode()}")
            else:
                raise _Unfit
        self._structure(made, given)
        if notes:
            said = f"({'; '.join(notes)})"
            made["description"] = f"{made['description']} {said}" if made.get("description") else said
        if rules.closed and not made.keys() & {"type", "anyOf", "enum"}:
            raise _Unfit  # anything at all
        return made

    def _structure(self, made: Schema, given: Mapping[str, Any]) -> None:
        if "const" in given:
            made["enum"] = [given["const"]]
        choices = [*given.get("anyOf", ()), *given.get("oneOf", ())]
        if "anyOf" in given and "oneOf" in given:
            raise _Unfit
        if choices:
            made["anyOf"] = [self.rewrite(each) for each in choices]
        if made.get("type") == "object":
            self._object(made, given)
        elif made.get("type") == "array":
            items = given.get("items")
            if items is None and self.rules.closed:
                raise _Unfit
            if items is not None:
                made["items"] = self.rewrite(items)

    def _object(self, made: Schema, given: Mapping[str, Any]) -> None:
        properties: Mapping[str, Any] | None = given.get("properties")
        others = given.get("additionalProperties")
        if self.rules.closed and (isinstance(others, Mapping) or (properties is None and others is not False)):
            raise _Unfit
        made["properties"] = {name: self.rewrite(each) for name, each in (properties or {}).items()}
        required = list(made["properties"]) if self.rules.whole else list(given.get("required", ()))
        if required or self.rules.whole:
            made["required"] = required
        if self.rules.closed:
            made["additionalProperties"] = False
        elif others is not None:
            made["additionalProperties"] = others if isinstance(others, bool) else self.rewrite(others)
        if not made["properties"] and not self.rules.closed:
            del made["properties"]

    def _several(self, given: Mapping[str, Any], kinds: list[str]) -> Schema:
        """`type: [a, b]` as one alternative each, which every API understands."""
        outer: Schema = {key: given[key] for key in ("description",) if key in given}
        rest = {key: value for key, value in given.items() if key not in ("type", "description", "enum")}
        alternatives: list[Schema] = []
        for kind in kinds:
            if kind == "null":
                alternatives.append({"type": "null"})
                continue
            enum = [v for v in given["enum"] if v is not None] if "enum" in given else None
            alternatives.append(self.rewrite({**rest, "type": kind} | ({} if enum is None else {"enum": enum})))
        return alternatives[0] | outer if len(alternatives) == 1 else {"anyOf": alternatives, **outer}

    def _referred(self, ref: str) -> Schema:
        """A reference stands alone: what is beside it is refused."""
        local = ref.replace("#/definitions/", "#/$defs/")
        name = local.removeprefix("#/$defs/")
        if not self.rules.recursive or (local != "#" and (name == local or "/" in name)):
            raise _Unfit
        return {"$ref": local}
