"""The schema of every kind of type, what the decoder makes of it, and what providers need of its form."""

import enum
import json
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from turnwise.tools import ArgumentsError, Tool, ToolContext, tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: int = 0


class Box(msgspec.Struct):
    """A box."""

    corner: Point
    tags: list[str] = []


class Tree(msgspec.Struct):
    name: str
    children: "list[Tree]" = []


class Options(TypedDict):
    deep: bool
    limit: NotRequired[int]


class Pair(NamedTuple):
    a: int
    b: str


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    name: str


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, description="Full name")
    born: date | None = None


class Company(pydantic.BaseModel):
    name: str
    staff: list[Person] = []


class Node(pydantic.BaseModel):
    next: "Node | None" = None


@dataclass
class Team:
    lead: Person
    size: int = 1


OBJECT = {"type": "object"}

KINDS: list[tuple[Any, str, Any, dict[str, Any]]] = [
    (str, '"Oslo"', "Oslo", {"type": "string"}),
    (int, "3", 3, {"type": "integer"}),
    (float, "3", 3.0, {"type": "number"}),
    (bool, "true", True, {"type": "boolean"}),
    (int | None, "null", None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (int | str, '"x"', "x", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    (Any, "[1]", [1], {}),
    (Colour, '"blue"', Colour.BLUE, {"type": "string", "enum": ["blue", "red"]}),
    (Level, "2", Level.HIGH, {"type": "integer", "enum": [1, 2]}),
    (Literal["a", "b"], '"b"', "b", {"type": "string", "enum": ["a", "b"]}),
    (list[int], "[1,2]", [1, 2], {"type": "array", "items": {"type": "integer"}}),
    (list, '["x"]', ["x"], {"type": "array", "items": {}}),
    (set[int], "[1,1]", {1}, {"type": "array", "items": {"type": "integer"}}),
    (tuple[int, ...], "[1]", (1,), {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, int],
        "[1,2]",
        (1, 2),
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    ),
    (
        tuple[int, str],
        '[1,"x"]',
        (1, "x"),
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (dict[str, int], '{"a":1}', {"a": 1}, {"type": "object", "additionalProperties": {"type": "integer"}}),
    (datetime, '"2026-11-20T10:00:00"', datetime(2026, 11, 20, 10), {"type": "string"}),
    (UUID, f'"{UUID(int=5)}"', UUID(int=5), {"type": "string", "format": "uuid"}),
    (Decimal, '"1.5"', Decimal("1.5"), {"type": "string", "format": "decimal"}),
    (Path, '"a/b"', Path("a/b"), {"type": "string"}),
    (Annotated[int, msgspec.Meta(ge=0)], "0", 0, {"type": "integer", "minimum": 0}),
    (
        Point,
        '{"x":1}',
        Point(1),
        {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
            "required": ["x"],
        },
    ),
    (Options, '{"deep":true}', {"deep": True}, OBJECT),
    (Pair, '[1,"x"]', Pair(1, "x"), {"type": "array"}),
    (Box, '{"corner":{"x":1},"tags":["t"]}', Box(Point(1), ["t"]), {"type": "object", "description": "A box."}),
    (Tree, '{"name":"a","children":[{"name":"b"}]}', Tree("a", [Tree("b")]), {"$ref": "#/$defs/Tree"}),
    (Cat | Dog, '{"type":"dog","name":"Rex"}', Dog("Rex"), {}),
    (Person, '{"name":"Ada","born":"1815-12-10"}', Person(name="Ada", born=date(1815, 12, 10)), OBJECT),
    (list[Person], '[{"name":"Ada"}]', [Person(name="Ada")], {"type": "array"}),
    (Person | int, "3", 3, {}),
    (Company, '{"name":"C","staff":[{"name":"A"}]}', Company(name="C", staff=[Person(name="A")]), OBJECT),
    (Node, '{"next":{}}', Node(next=Node()), {"$ref": "#/$defs/Node"}),
    (Team, '{"lead":{"name":"Ada"}}', Team(Person(name="Ada")), OBJECT),
    (Annotated[int, pydantic.Field(ge=3)], "3", 3, {"type": "integer", "minimum": 3}),
]


def schemas_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [s for v in value for s in schemas_in(v)]
    return [value, *(s for v in value.values() for s in schemas_in(v))] if isinstance(value, dict) else []


@pytest.mark.parametrize(("kind", "raw", "value", "expected"), KINDS, ids=lambda v: str(v)[:30])
def test_every_kind_of_type_is_described_and_decoded(kind: Any, raw: str, value: Any, expected: dict[str, Any]) -> None:
    def use(it: Any) -> Any:
        return it

    use.__annotations__["it"] = kind
    made = tool(use)
    got = made.invoke(made.decode(f'{{"it": {raw}}}'), ToolContext(None))
    assert got == value
    assert type(got) is type(value)

    schema = json.loads(made.spec.parameters)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["it"]
    described = schema["properties"]["it"]
    assert {k: described.get(k) for k in expected} == expected
    for part in schemas_in(schema):
        assert part.get("type") != "array" or isinstance(part.get("items"), dict), f"an array without items: {part}"
        assert "discriminator" not in part
        if isinstance(ref := part.get("$ref"), str):
            assert ref.removeprefix("#/$defs/") in schema["$defs"], f"{ref} leads nowhere"


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        (int, '"3"', "$.it"),
        (Annotated[int, msgspec.Meta(ge=0)], "-1", ">= 0"),
        (Colour, '"green"', "green"),
        (Box, '{"corner":{"x":"a"}}', "$.it.corner.x"),
        (Person, '{"name":""}', "$.it.name"),
        (Person, '{"name":"x","born":"soon"}', "$.it.born"),
        (list[Person], '[{"name":"a"},{}]', "$.it.1.name"),
        (Team, '{"lead":{}}', "$.it.lead"),
        (Annotated[int, pydantic.Field(ge=3)], "2", "$.it"),
        (Path, "3", "$.it"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(kind: Any, raw: str, said: str) -> None:  # E2
    def use(it: Any) -> None: ...

    use.__annotations__["it"] = kind
    with pytest.raises(ArgumentsError) as raised:
        tool(use).decode(f'{{"it": {raw}}}')
    assert said in raised.value.problem


def test_definitions_of_the_same_name_do_not_mix() -> None:
    def one() -> Any:
        class Item(pydantic.BaseModel):
            a: int
            more: "list[Item]" = []

        return Item

    def two() -> Any:
        class Item(msgspec.Struct):
            b: str
            more: "Item | None" = None

        Item.__annotations__["more"] = Item | None
        return Item

    First = one()
    Second = Tree

    class Other(pydantic.BaseModel):
        b: str
        more: "list[Other]" = []

    Other.__name__ = Other.__qualname__ = "Tree"
    Other.model_rebuild(force=True, _types_namespace={"Other": Other})

    def use(x: Any, y: Any, z: Any) -> None: ...

    use.__annotations__.update(x=First, y=Second, z=Other)
    schema = json.loads(tool(use).spec.parameters)
    targets = {k: schema["$defs"][v["$ref"].removeprefix("#/$defs/")] for k, v in schema["properties"].items()}
    assert [sorted(t["properties"]) for t in targets.values()] == [["a", "more"], ["children", "name"], ["b", "more"]]


def test_a_type_used_twice_is_written_out_twice() -> None:
    @tool
    def line(start: Point, end: Point) -> None: ...

    schema = json.loads(line.spec.parameters)
    assert "$defs" not in schema
    assert schema["properties"]["start"] == schema["properties"]["end"]


def test_defaults_are_told_and_honoured() -> None:
    @tool
    def use(
        a: int = 1,
        b: Point = Point(1, 2),  # noqa: B008
        c: str = None,  # type: ignore[assignment]  # noqa: RUF013
        d: Path = Path("."),
        e: Person = Person(name="Ada"),  # noqa: B008
        f: Colour = Colour.RED,
    ) -> Any:
        return a, b, c, d, e, f

    schema = json.loads(use.spec.parameters)
    defaults = {k: v["default"] for k, v in schema["properties"].items()}
    assert defaults == {
        "a": 1,
        "b": {"x": 1, "y": 2},
        "c": None,
        "d": ".",
        "e": {"name": "Ada", "born": None},
        "f": "red",
    }
    assert "required" not in schema
    got = use.invoke(use.decode('{"c": null}'), ToolContext(None))
    assert got == (1, Point(1, 2), None, Path("."), Person(name="Ada"), Colour.RED)


def test_descriptions_come_from_annotation_first_then_docstring() -> None:
    @tool
    def weather(city: Annotated[str, "Which city"], days: int = 1, unit: str = "C") -> str:
        """Forecast for a city.

        Long text that the model sees too.

        Args:
            city: Not this.
            days: Days ahead,
                today is 0.

        Returns:
            Not shown.
        """
        return city

    spec = weather.spec
    properties = json.loads(spec.parameters)["properties"]
    assert spec.description == "Forecast for a city.\n\nLong text that the model sees too."
    assert properties["city"]["description"] == "Which city"
    assert properties["days"]["description"] == "Days ahead, today is 0."
    assert "description" not in properties["unit"]
    assert weather.spec is spec
    assert tool(weather.function, description="Mine").spec.description == "Mine"


@pytest.mark.parametrize(
    "docstring",
    [
        "Do.\n\n:param x: The thing.",
        "Do.\n\nParameters\n----------\nx : int\n    The thing.",
        "Do.\n\nArgs:\n    x (int): The thing.",
        "Do.\n:param x: The thing.",
    ],
)
def test_docstring_styles(docstring: str) -> None:
    def do(x: int) -> None: ...

    do.__doc__ = docstring
    spec = tool(do).spec
    assert spec.description == "Do."
    assert json.loads(spec.parameters)["properties"]["x"]["description"] == "The thing."


def test_a_tool_without_docstring_has_an_empty_description() -> None:
    def do(x: int) -> None: ...

    assert tool(do).spec.description == ""


def test_dataclass_factories_are_not_shared() -> None:
    @dataclass
    class Bag:
        items: list[int] = field(default_factory=list)

    @tool
    def use(bag: Bag = Bag()) -> Any:  # noqa: B008
        bag.items.append(1)
        return bag.items

    for _ in range(2):
        assert use.invoke(use.decode(""), ToolContext(None)) == [1]


def test_a_plain_schema_reaches_the_model_unchanged() -> None:
    parameters = {"type": "object", "properties": {"q": {"type": "string", "title": "Query"}}, "required": ["q"]}
    made = Tool.from_schema("search", "Search.", parameters, lambda q: f"found {q}")
    assert json.loads(made.spec.parameters) == parameters
    assert (made.spec.name, made.spec.description) == ("search", "Search.")
    assert made.invoke(made.decode('{"q": "x"}'), ToolContext(None)) == "found x"
