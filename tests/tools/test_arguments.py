"""Arguments that are not JSON, not an object, or do not fit never run: they become a problem for the model (rule E2)."""

import json
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import ConfigError
from turnwise.tools import ArgumentsError, Tool, ToolContext, tool


class Model(pydantic.BaseModel):
    n: int


class Struct(msgspec.Struct):
    n: int
    inner: "Struct | None" = None


@tool
def typed(city: str, days: int = 1) -> Any:
    return city, days


@tool
def optional(city: str = "Oslo", mode: Literal["a", "b"] = "a", tags: list[str] = []) -> Any:  # noqa: B006
    return city, mode, tags


@tool
def structs(it: Struct, more: list[Struct] = []) -> Any:  # noqa: B006
    return it, more


@tool
def models(it: Model, more: list[Model] = []) -> Any:  # noqa: B006
    return it, more


@tool
def nothing() -> Any:
    return ()


PLAIN_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14, "multipleOf": 1},
        "unit": {"enum": ["C", "F"]},
        "when": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/when"}]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"when": {"type": "object", "properties": {"next": {"$ref": "#/$defs/when"}}, "maxProperties": 1}},
}
plain = Tool.from_schema("plain", "", PLAIN_SCHEMA, lambda **kw: kw)
TOOLS = [typed, optional, structs, models, nothing, plain]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["city", "days", "it", "n", "x"]), inner)
    ),
    max_leaves=10,
)
any_text = st.text(st.characters(codec=None, exclude_categories=())) | json_values.map(json.dumps)


@pytest.mark.parametrize("made", TOOLS, ids=lambda t: t.name)
@given(any_text)
def test_any_text_is_either_decoded_as_it_is_or_refused_with_a_problem(made: Any, text: str) -> None:
    try:
        arguments = made.decode(text)
    except ArgumentsError as error:
        error.problem.encode()  # can be journalled and sent
        assert error.problem
        assert len(error.problem) < 3000
        return
    received = json.loads(text) if text.strip() else {}
    assert isinstance(received, dict)
    got = msgspec.to_builtins(arguments, enc_hook=lambda m: m.model_dump())
    for name, value in received.items():
        assert name in got
        assert isinstance(value, dict | list) or got[name] == value


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u00a0"])
def test_blank_arguments_mean_none_at_all(blank: str) -> None:
    assert optional.invoke(optional.decode(blank), ToolContext(None)) == ("Oslo", "a", [])
    assert nothing.invoke(nothing.decode(blank), ToolContext(None)) == ()
    with pytest.raises(ArgumentsError, match="missing required field `city`"):
        typed.decode(blank)
    with pytest.raises(ArgumentsError, match="missing required field `city`"):
        plain.decode(blank)


@pytest.mark.parametrize("made", [typed, plain], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{city: Oslo}", "not valid JSON"),
        ('{"city": "Oslo"', "not valid JSON"),
        ('{"city": "Oslo"} trailing', "not valid JSON"),
        ("null", "Expected `object`"),
        ("[]", "Expected `object`"),
        ('"{}"', "Expected `object`"),
        ("{}", "missing required field `city`"),
        ('{"city": "Oslo", "tomorrow": 1}', "unknown field `tomorrow`"),
        ('{"city": 3}', "$.city"),
        ('{"city": "Oslo", "days": "3"}', "$.days"),
        ('{"city": "Oslo", "days": true}', "$.days"),
        ('{"city": "\ud800"}', "surrogate"),
        ('{"city":' + "[" * 100_000, "Received"),
        ('{"x":' + "[" * 100_000, "Received"),
    ],
)
def test_the_problem_is_named_and_the_text_quoted(made: Tool[..., Any], arguments: str, said: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        made.decode(arguments)
    assert said in raised.value.problem
    assert repr(arguments[:20])[1:-1] in raised.value.problem
    assert len(raised.value.problem) < 2000
    assert raised.value.code == "invalid_arguments"


def test_a_missing_parameter_is_told_with_those_there_are() -> None:
    with pytest.raises(ArgumentsError, match=r"The parameters are: city \(required\), days"):
        typed.decode("{}")


def test_what_a_type_raises_by_itself_is_a_problem_and_not_a_crash() -> None:
    class Even(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise RuntimeError("odd")

    class Fussy(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            raise RuntimeError("never")

    def first(it: Even) -> None: ...
    def second(it: Fussy) -> None: ...

    for f, said in ((first, "odd"), (second, "never")):
        with pytest.raises(ArgumentsError, match=said):
            tool(f).decode('{"it": {"n": 1}}')


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ({"type": "integer"}, [1, 1.0], [1.5, True, "1"]),
        ({"type": "number"}, [1, 1.5], [False, "x"]),
        ({"type": ["string", "null"]}, ["x", None], [1]),
        ({"enum": [1, "a", None]}, [1, "a", None], [True, "b"]),
        ({"const": {"a": 1}}, [{"a": 1}], [{}]),
        ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.9, "text"], [0, 3]),
        ({"exclusiveMinimum": 1, "maximum": 3}, [1.1, 3], [1, 3.1]),
        ({"multipleOf": 0.1}, [0.3, 1], [0.25]),
        ({"minLength": 2, "maxLength": 3, "pattern": "b"}, ["ab", 5], ["b", "aaaa", "ac"]),
        ({"pattern": "("}, ["anything"], []),
        ({"items": {"type": "integer"}, "minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3], ["a"]]),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [[1], []], [["a"], [1, 2]]),
        ({"uniqueItems": True}, [[1, True, "1"]], [[1, 2, 1]]),
        (
            {"required": ["a"], "additionalProperties": False, "properties": {"a": {}}},
            [{"a": 0}],
            [{}, {"a": 0, "b": 1}],
        ),
        (
            {"patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": False},
            [{"n_a": 1}],
            [{"n_a": "x"}, {"m": 1}],
        ),
        ({"additionalProperties": {"type": "string"}}, [{"a": "x"}], [{"a": 1}]),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["x", 3], [2]),
        ({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, [0, 4], [2]),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [2], [0, 4]),
        ({"not": {"type": "string"}}, [1], ["x"]),
        ({"$ref": "#/$defs/even"}, [2], [3]),
        ({"$ref": "https://elsewhere.example/x"}, ["anything"], []),
        (True, [1], []),
        (False, [], [1]),
    ],
    ids=str,
)
def test_a_hand_written_schema_is_checked(schema: Any, fits: list[Any], fails: list[Any]) -> None:
    parameters = {"type": "object", "properties": {"it": schema}, "$defs": {"even": {"multipleOf": 2}}}
    made = Tool.from_schema("t", "", parameters, lambda it: it)
    for value in fits:
        assert made.decode(json.dumps({"it": value})) == {"it": value}
    for value in fails:
        with pytest.raises(ArgumentsError, match=r"\$\.it"):
            made.decode(json.dumps({"it": value}))


def test_a_reference_that_leads_to_itself_is_a_problem_and_not_a_crash() -> None:
    parameters = {"type": "object", "properties": {"it": {"$ref": "#/properties/it"}}}
    with pytest.raises(ArgumentsError, match="nested too deeply"):
        Tool.from_schema("t", "", parameters, lambda it: it).decode('{"it": 1}')


def test_a_hand_written_schema_must_suit_providers_and_its_function() -> None:
    for bad in ({"type": "string"}, {}, {"type": "object", "anyOf": [{}]}):
        with pytest.raises(ConfigError, match="JSON Schema of an object"):
            Tool.from_schema("t", "", bad, lambda: None)
    with pytest.raises(ConfigError, match="does not take b"):
        Tool.from_schema("t", "", {"type": "object", "properties": {"a": {}, "b": {}}}, lambda a: a)
    with pytest.raises(ArgumentsError, match="unknown field `b`"):
        Tool.from_schema("t", "", {"type": "object", "properties": {"a": {}}}, lambda a=1: a).decode('{"b": 1}')


def test_a_function_with_a_schema_of_its_own_may_take_the_context() -> None:
    def search(q: str, ctx: ToolContext[str]) -> str:
        return ctx.context + q

    made = Tool.from_schema("search", "", {"type": "object", "properties": {"q": {"type": "string"}}}, search)
    assert made.invoke(made.decode('{"q": "x"}'), ToolContext("found ")) == "found x"
    with pytest.raises(ArgumentsError, match="unknown field `ctx`"):
        made.decode('{"q": "x", "ctx": {}}')
