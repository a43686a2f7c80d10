"""Every kind of output: its schema is that of an object, its values come back, and what does not fit is told to the model."""

import enum
import json
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec import UNSET
from tests.examples import examples

from turnwise import Model
from turnwise.errors import ConfigError
from turnwise.models.catalogue import model_info
from turnwise.models.catalogue_table import Capabilities
from turnwise.models.handle import resolve_model
from turnwise.tools import ArgumentsError
from turnwise.tools.output import (
    ANSWER_TOOL,
    Output,
    PartialAnswer,
    Strategy,
    answer_tool,
    choose_strategy,
    in_words,
    native_format,
    output_spec,
)

RELIABLY = examples(100, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class City:
    """A city."""

    name: str
    people: int = 0


@dataclass
class Town:
    name: str


class River(msgspec.Struct):
    name: str
    mouth: str | None = None


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    tricks: list[str]


class Range(pydantic.BaseModel):
    low: int = pydantic.Field(ge=0)
    high: int

    @pydantic.model_validator(mode="after")
    def in_order(self) -> "Range":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Point(pydantic.BaseModel):
    low: int
    high: int


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    deep: bool
    limit: NotRequired[int]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Tree(msgspec.Struct):
    name: str
    children: "list[Tree]" = []


class Branch(pydantic.BaseModel):
    name: str
    twigs: "list[Branch]" = []


LEAF = '{"name": "a", "twigs": []}'
CASES: list[tuple[Any, str, Any]] = [
    (City, '{"name": "Oslo", "people": 7}', City("Oslo", 7)),
    (River, '{"name": "Rhine"}', River("Rhine")),
    (Range, '{"low": 1, "high": 2}', Range(low=1, high=2)),
    (Options, '{"deep": true}', {"deep": True}),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree("a", [Tree("b")])),
    (Branch, LEAF, Branch(name="a")),
    (int, '{"value": 3}', 3),
    (bool, '{"value": true}', True),
    (float | None, '{"value": null}', None),
    (date, '{"value": "2026-01-02"}', date(2026, 1, 2)),
    (Colour, '{"value": "red"}', Colour.RED),
    (Literal["yes", "no"], '{"value": "no"}', "no"),
    (Annotated[int, msgspec.Meta(ge=3)], '{"value": 3}', 3),
    (Annotated[int, pydantic.Field(ge=3)], '{"value": 3}', 3),
    (list[City], '{"value": [{"name": "Oslo"}]}', [City("Oslo")]),
    (list[Range], '{"value": [{"low": 1, "high": 2}]}', [Range(low=1, high=2)]),
    (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
    (Pair, '{"value": [1, "a"]}', Pair(1, "a")),
    (City | None, '{"value": {"name": "Oslo"}}', City("Oslo")),
    (City | str, '{"value": "none"}', "none"),
    (Cat | Dog, '{"value": {"type": "dog", "tricks": ["sit"]}}', Dog(["sit"])),
    (City | Town, '{"value": {"kind": "Town", "data": {"name": "Ulm"}}}', Town("Ulm")),
    (City | Town | None, '{"value": null}', None),
    (City | Town | str, '{"value": "x"}', "x"),
    (Range | Point, '{"value": {"kind": "Point", "data": {"low": 3, "high": 1}}}', Point(low=3, high=1)),
    (Branch | Town, '{"value": {"kind": "Branch", "data": ' + LEAF + "}}", Branch(name="a")),
    (City | dict[str, int], '{"value": {"kind": "dict", "data": {"a": 1}}}', {"a": 1}),
    ({"type": "object", "properties": {"n": {"type": "integer"}}}, '{"n": 1}', {"n": 1}),
    ({"type": "array", "items": {"$ref": "#/$defs/N"}, "$defs": {"N": {"type": "integer"}}}, '{"value": [1]}', [1]),
    (Any, '{"value": [1, {}]}', [1, {}]),
]


@pytest.mark.parametrize(("kind", "text", "value"), CASES, ids=lambda c: str(c)[:40])
def test_every_kind_of_type(kind: Any, text: str, value: Any) -> None:
    spec = output_spec(kind)
    assert spec.schema["type"] == "object"
    assert not spec.schema.keys() & {"anyOf", "oneOf", "$ref"}
    assert json.loads(spec.schema_text) == spec.schema
    assert spec.decode(text) == value
    assert type(spec.decode(text)) is type(value)
    assert spec.read(f"Here it is:\n```json\n{text}\n```\nAnything else?") == value


def test_text_is_any_answer() -> None:
    spec = output_spec(str)
    assert spec.is_text
    assert spec.read("anything {") == "anything {"


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (City, "", "not valid JSON"),
        (City, "I do not know.", "not valid JSON"),
        (City, "{}", "missing required field `name`. The fields are: name (required), people."),
        (City, '{"name": 1}', "Expected `str`, got `int` - at `$.name`"),
        (Range, '{"low": 5, "high": 1}', "low is above high"),
        (list[int], '{"value": ["a"]}', "$.value[0]"),
        (list[Range], '{"value": [{"low": -1, "high": 1}]}', "greater than or equal to 0 - at `$.value.0.low`"),
        (City | Town, '{"value": {"kind": "Village", "data": {}}}', "Invalid value 'Village' - at `$.value.kind`"),
        (City | Town, '{"value": {"name": "Ulm"}}', "kind"),
        ({"type": "object", "required": ["n"]}, "{}", "missing required field `n`"),
        ({"type": "array"}, '{"value": 3}', "Expected `array`"),
        ({"type": "array"}, "3", "the one field `value`"),
        (int, '{"value": ' + "[" * 5000, ""),
    ],
)
def test_what_does_not_fit_is_told_in_words_for_the_model(kind: Any, text: str, told: str) -> None:
    spec = output_spec(kind)
    for attempt in (spec.decode, spec.read):
        with pytest.raises(ArgumentsError) as caught:
            attempt(text)
        assert told in caught.value.problem
        assert len(caught.value.problem) < 2000


@RELIABLY
@given(st.text(max_size=50), st.sampled_from([City, Range, list[int], City | Town, {"type": "array"}]))
def test_no_answer_raises_anything_else(text: str, kind: Any) -> None:
    spec = output_spec(kind)
    for attempt in (spec.decode, spec.read):
        try:
            attempt(text)
        except ArgumentsError as error:
            error.problem.encode()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[int], "[1, 2]", [1, 2]),
        (int, "3", 3),
        (list[Range], '[{"low": 1, "high": 2}]', [Range(low=1, high=2)]),
        ({"type": "array", "items": {"type": "integer"}}, "```\n[1]\n```", [1]),
        (City, 'Use {braces}: {"name": "Oslo"}', None),
        (City, '{"name": "Oslo"} Done {really}.', None),
        (City, '```JSON\r\n{"name": "Oslo"}\r\n```', City("Oslo")),
        (City, 'First ```\nx\n``` then ```json\n{"name": "Oslo"}\n```', City("Oslo")),
    ],
)
def test_answers_in_prose_are_read_where_that_is_safe(kind: Any, text: str, value: Any) -> None:
    """A bare value is taken for what should stand in an object; braces among the words are not guessed at."""
    spec = output_spec(kind)
    if value is None:
        with pytest.raises(ArgumentsError):
            spec.read(text)
    else:
        assert spec.read(text) == value


def test_arguments_of_the_answer_tool_are_not_guessed_at() -> None:
    with pytest.raises(ArgumentsError):
        output_spec(list[int]).decode("[1]")


class Opaque:
    pass


@pytest.mark.parametrize("kind", [Opaque, list[Opaque], {"type": object()}, complex])
def test_a_type_that_json_cannot_carry_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        output_spec(kind)
    assert caught.value.code == "bad_output"


@pytest.mark.parametrize("output", [Output(City, retries=-1), Output(City, strategy="magic")])  # type: ignore[arg-type]
def test_options_that_mean_nothing_are_refused(output: Output[Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        output_spec(output)
    assert caught.value.code == "invalid_value"


def test_names_and_descriptions() -> None:
    assert (output_spec(City).name, output_spec(City).description) == ("City", "A city.")
    assert output_spec(list[City]).name == "output"
    assert output_spec(Output(City, name="the city!", description="d")).name == "the_city"
    assert output_spec(Output(City, description="d")).description == "d"
    assert output_spec(Output(City, name="!!")).name == "output"


def test_specs_of_types_are_kept_and_equal_ones_are_one() -> None:
    assert output_spec(City) is output_spec(City)
    assert output_spec(Output(City, retries=1)) is output_spec(Output(City, retries=1))
    assert output_spec(Output(City)) is not output_spec(Output(City, retries=1))
    output_spec(Output({"type": "array"}))  # not hashable, and taken none the less


# --- strategies ---------------------------------------------------------------------------------------------------------


AWS: dict[str, Any] = {"bedrock_region": "eu-central-1", "bedrock_access_key_id": "A", "bedrock_secret_access_key": "s"}
CHOICES: list[tuple[str, dict[str, Any], Strategy, Strategy]] = [
    ("anthropic:claude-sonnet-4-5", {}, "native", "native"),
    ("anthropic:claude-opus-4-1", {}, "tool", "tool"),
    ("openai:gpt-5-mini", {}, "native", "native"),
    ("openai-responses:gpt-5-mini", {}, "native", "native"),
    ("openai:gpt-99", {}, "tool", "tool"),
    ("gemini:gemini-3-pro-preview", {}, "native", "native"),
    ("gemini:gemini-2.5-pro", {}, "native", "tool"),
    ("cohere:command-a-03-2025", {}, "native", "tool"),
    ("bedrock:eu.anthropic.claude-sonnet-4-5-20250929-v1:0", AWS, "native", "native"),
    ("ollama:qwen3", {}, "native", "tool"),
    ("deepseek:deepseek-chat", {}, "tool", "tool"),
]


@pytest.mark.parametrize(
    ("name", "connection", "alone", "with_tools"), CHOICES, ids=lambda c: c if type(c) is str else ""
)
def test_the_strategy_goes_by_what_is_known_of_the_model(
    name: str, connection: dict[str, Any], alone: Strategy, with_tools: Strategy
) -> None:
    model = Model(name, **(connection or {"api_key": "k"} if not name.startswith("ollama") else {}))
    codec, can, spec = resolve_model(model, {}).codec, model_info(name).capabilities, output_spec(City)
    assert choose_strategy(spec, codec, can, has_tools=False, spoken_tools=False) == alone
    assert choose_strategy(spec, codec, can, has_tools=True, spoken_tools=False) == with_tools
    assert choose_strategy(spec, codec, can, has_tools=True, spoken_tools=True) == "prompted"
    forced = output_spec(Output(City, strategy="prompted"))
    assert choose_strategy(forced, codec, can, has_tools=False, spoken_tools=False) == "prompted"


def test_a_schema_that_the_api_cannot_enforce_goes_by_a_tool() -> None:
    codec = resolve_model("openai:gpt-5", {"OPENAI_API_KEY": "k"}).codec
    can = model_info("openai:gpt-5").capabilities
    for kind in (dict[str, int], tuple[int, str], Any):
        spec = output_spec(kind)
        assert choose_strategy(spec, codec, can, has_tools=False, spoken_tools=False) == "tool"
        assert native_format(spec, codec).strict is False
    assert native_format(output_spec(City), codec).strict is True
    no_tools = Capabilities(tools=False)
    assert choose_strategy(output_spec(City), codec, no_tools, has_tools=False, spoken_tools=False) == "prompted"


def test_what_the_model_is_told() -> None:
    spec = output_spec(City)
    assert answer_tool(spec).name == ANSWER_TOOL
    assert "A city." in answer_tool(spec).description
    assert answer_tool(spec).parameters == spec.schema_text
    assert ANSWER_TOOL in in_words(spec, "tool")
    assert spec.schema_text in in_words(spec, "prompted")
    assert in_words(spec, "native") == ""
    assert in_words(output_spec(str), "prompted") == ""


# --- answers that are still arriving ------------------------------------------------------------------------------------


def grown(kind: Any, *pieces: str) -> list[Any]:
    partial = PartialAnswer(output_spec(kind))
    seen: list[Any] = []
    for piece in pieces:
        partial.feed(piece)
        if partial.look():
            seen.append(partial.last)
    assert not partial.look()
    return seen


def test_growing_answers_have_the_form_asked_for() -> None:
    assert grown(City, '{"na', 'me": "Os', "lo", '", "people": 7', "}") == [
        {},
        {"name": "Os"},
        {"name": "Oslo"},
        {"name": "Oslo", "people": 7},
    ]
    assert grown(list[int], '{"value"', ": [1", ", 2", "]}") == [[], [1], [1, 2]]
    assert grown(int, '{"value": 1', "2", "}") == [12]
    assert grown(str, "a", "", "b") == ["a", "ab"]
    assert grown(City | Town, '{"value": {"kind": "To', 'wn", "data": {"na', 'me": "U', 'lm"}}}') == [
        {},
        {"name": "U"},
        {"name": "Ulm"},
    ]
    assert grown(City | Town | str, '{"value": "no', 'ne"}') == ["no", "none"]


def test_words_and_fences_before_a_growing_answer_are_passed_over() -> None:
    assert grown(City, "Sure, {it} is:\n", "```json\n", '{"name": "O', 'slo"}\n```')[-1] == {"name": "Oslo"}
    assert PartialAnswer(output_spec(City)).last is UNSET
