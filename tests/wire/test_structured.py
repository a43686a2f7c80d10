"""Schemas in the form that an API enforces: nothing in them that it refuses, and nothing lost but what is said in words."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.tools.plain import problems
from turnwise.wire.structured import COMMON, OPENAI, RULES, Rules, native_schema, rules_of

RELIABLY = examples(100, suppress_health_check=[HealthCheck.too_slow])
PERSON: dict[str, Any] = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "Full name."},
        "age": {"type": "integer", "minimum": 0, "default": 30},
        "kind": {"const": "person"},
        "born": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["name"],
}


def test_openai_wants_every_field_required_and_no_default() -> None:
    assert native_schema(PERSON, OPENAI) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Full name. (minimum length: 1)"},
            "age": {"type": "integer", "minimum": 0, "description": "(default: 30)"},
            "kind": {"enum": ["person"]},
            "born": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "required": ["name", "age", "kind", "born"],
        "additionalProperties": False,
    }


def test_claude_takes_optional_fields_and_no_bounds() -> None:
    made = native_schema(PERSON, RULES["anthropic.messages"])
    assert made is not None
    assert made["required"] == ["name"]
    assert made["properties"]["age"] == {"type": "integer", "description": "(minimum: 0; default: 30)"}
    assert made["additionalProperties"] is False


def test_hosts_that_are_not_openai_are_asked_for_what_all_know() -> None:
    assert rules_of("openai.chat", "openai.chat") is OPENAI
    assert rules_of("openai.chat", "azure.chat") is OPENAI
    assert rules_of("openai.responses", "openai.responses") is OPENAI
    assert rules_of("openai.chat", "groq") is COMMON


FREE = {"type": "object", "additionalProperties": {"type": "integer"}}
RECURSIVE = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node", "description": "x"}, {"type": "null"}]}},
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
}


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (FREE, {"gemini.generateContent", "vertex.generateContent", "ollama.chat"}),
        ({"type": "object"}, {"gemini.generateContent", "vertex.generateContent", "ollama.chat"}),
        (RECURSIVE, {"openai.responses", "gemini.generateContent", "vertex.generateContent", "ollama.chat"}),
        ({"type": "object", "properties": {"x": {"not": {"type": "string"}}}}, set()),
        ({"type": "object", "properties": {"x": {"$ref": "https://else.where/x"}}}, set()),
        ({"type": "object", "properties": {"x": True}}, set()),
    ],
)
def test_what_cannot_be_said_is_told(schema: dict[str, Any], fits: set[str]) -> None:
    assert {api for api, rules in RULES.items() if native_schema(schema, rules) is not None} == fits


def test_references_stand_alone_and_older_definitions_are_found() -> None:
    made = native_schema(RECURSIVE, OPENAI)
    assert made is not None
    assert made["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/Node"}
    old = {"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {"type": "string"}}}
    made = native_schema(old, OPENAI)
    assert made is not None
    assert made["properties"]["a"] == {"$ref": "#/$defs/A"}
    assert made["$defs"] == {"A": {"type": "string"}}


LEAVES = st.one_of(
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-3, 3)),
    st.builds(lambda size: {"type": "string", "maxLength": size}, st.integers(0, 3)),
    st.sampled_from([{"type": "boolean"}, {"type": ["string", "null"]}, {"enum": ["a", "b"]}, {"const": 1}]),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(
            lambda fields, few: {"type": "object", "properties": fields, "required": list(fields)[:few]},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.integers(0, 2),
        ),
    ),
    max_leaves=6,
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-4, 4) | st.sampled_from(["", "a", "abcd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=6,
)
RELAXED = Rules(keeps=frozenset({"minimum", "maxLength", "maxItems"}))


@RELIABLY
@given(SCHEMAS, DATA)
def test_what_fits_the_form_fits_the_schema(schema: dict[str, Any], data: Any) -> None:
    """With all bounds kept the form only narrows: whatever the API lets through, validation accepts."""
    form = native_schema(schema, RELAXED)
    assert form is not None
    if next(problems(data, form, form, "$"), None) is None:
        assert next(problems(data, schema, schema, "$"), None) is None
