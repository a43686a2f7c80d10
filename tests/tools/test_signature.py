"""What cannot be a tool is refused when it is decorated, naming function and parameter and saying what to do."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel

from turnwise.core.errors import ConfigError, ToolError
from turnwise.tools import ArgumentsError, Tool, ToolContext, tool

if TYPE_CHECKING:
    import turnwise.tools as hidden


def no_annotation(city) -> str: ...  # type: ignore[no-untyped-def]
def star(*cities: str) -> str: ...
def double_star(**cities: str) -> str: ...
def positional(city: str, /) -> str: ...
def unresolvable(city: Nowhere) -> str: ...  # type: ignore[name-defined]  # noqa: F821
def unsupported(city: complex) -> str: ...
def nested_unsupported(city: list[dict[str, object | complex]]) -> str: ...
def two_contexts(a: ToolContext, b: ToolContext[int]) -> str: ...
def odd_name(größe: int) -> str: ...
def generator(city: str) -> Iterator[str]:
    yield city


async def async_generator(city: str) -> AsyncIterator[str]:
    yield city


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not me")


def bad_default(city: list[str] = Uncopyable()) -> str: ...  # type: ignore[assignment]  # noqa: B008


@pytest.mark.parametrize(
    ("function", "named", "hint"),
    [
        (no_annotation, "'city'", "`city: str`"),
        (star, "'*cities'", "one list"),
        (double_star, "'**cities'", "dict"),
        (positional, "'city'", "Remove the '/'"),
        (unresolvable, "'Nowhere'", "Import or define"),
        (unsupported, "complex", "Use types"),
        (nested_unsupported, "'city'", "Use types"),
        (two_contexts, "'b'", "Keep one"),
        (odd_name, "'größe'", "ASCII"),
        (generator, "generator", "progress"),
        (async_generator, "generator", "progress"),
        (bad_default, "'city'", "None"),
    ],
)
def test_unfit_functions_are_refused_at_decoration(function: Any, named: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        tool(function)
    assert raised.value.code == "bad_tool"
    assert function.__qualname__ in raised.value.message
    assert named in raised.value.message
    assert hint in raised.value.hint


def test_a_method_is_refused_unbound_and_fine_when_bound() -> None:
    class Weather:
        def __init__(self, unit: str) -> None:
            self.unit = unit

        def report(self, city: str) -> str:
            return f"{city} in {self.unit}"

    with pytest.raises(ConfigError, match="bound method"):
        tool(Weather.report)
    made = tool(Weather("C").report)
    assert made.invoke(made.decode('{"city": "Oslo"}'), ToolContext(None)) == "Oslo in C"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "not a name"}, "name="),
        ({"name": "x" * 65}, "name="),
        ({"timeout_s": 0.0}, "timeout_s=0.0"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"retries": -1, "idempotent": True}, "retries=-1"),
        ({"retries": 2}, "safe to repeat"),
        ({"max_result_chars": 999}, "max_result_chars=999"),
        ({"summary": lambda: ""}, "summary"),
        ({"summary": lambda a, b, c: ""}, "summary"),
        ({"isolation": "thread"}, "'thread'"),
    ],
)
def test_options_that_no_run_could_honour_are_refused(options: dict[str, Any], said: str) -> None:
    def f(city: str) -> str: ...

    with pytest.raises(ConfigError) as raised:
        tool(f, **options)
    assert said in str(raised.value)


def test_a_partial_without_a_name_is_refused_and_takes_one() -> None:
    def scale(number: int, factor: int) -> int:
        return number * factor

    with pytest.raises(ConfigError, match="name="):
        tool(functools.partial(scale, factor=3))
    triple = tool(functools.partial(scale, factor=3), name="triple")
    assert triple.invoke(triple.decode('{"number": 2}'), ToolContext(None)) == 6


async def test_the_decorated_function_is_still_that_function() -> None:
    @tool
    async def weather(city: str, days: int = 1) -> str:
        """Forecast for a city."""
        return f"{city} {days}"

    @tool(name="other")
    def plain(city: str) -> str:
        return city

    assert await weather("Oslo", days=2) == "Oslo 2"
    assert plain("Oslo") == "Oslo"
    assert weather.__doc__ == "Forecast for a city."
    assert (weather.name, plain.name) == ("weather", "other")
    assert (weather.is_async, plain.is_async) == (True, False)


def test_postponed_annotations_find_local_types_and_hidden_contexts() -> None:
    import msgspec

    class Place(msgspec.Struct):
        name: str

    @tool
    def visit(place: Place, ctx: hidden.ToolContext[int]) -> str:
        return f"{place.name} {ctx.context}"

    assert visit.invoke(visit.decode('{"place": {"name": "Oslo"}}'), ToolContext(7)) == "Oslo 7"


def first(ctx: ToolContext[int], a: int, b: int = 2) -> Any:
    return ctx.context, a, b


def middle(a: int, ctx: ToolContext, b: int = 2) -> Any:
    return ctx.context, a, b


def last(a: int, b: int, ctx: ToolContext[int]) -> Any:
    return ctx.context, a, b


def keyword(a: int, *, b: int = 2, ctx: ToolContext[int] | None = None) -> Any:
    return ctx and ctx.context, a, b


def keyword_first(*, b: int = 2, a: int, ctx: Annotated[ToolContext[int], "the context"]) -> Any:
    return ctx.context, a, b


@pytest.mark.parametrize("function", [first, middle, last, keyword, keyword_first])
def test_the_context_is_passed_wherever_it_stands_and_never_shown(function: Any) -> None:
    made = tool(function)
    assert made.invoke(made.decode('{"a": 1, "b": 3}'), ToolContext(9)) == (9, 1, 3)
    assert "ctx" not in made.spec.parameters


def test_a_call_with_the_context_alone_or_with_nothing() -> None:
    @tool
    def only(ctx: ToolContext[int]) -> int:
        return ctx.context

    @tool
    def nothing() -> str:
        return "ran"

    assert only.invoke(only.decode(""), ToolContext(3)) == 3
    assert nothing.invoke(nothing.decode("{}"), ToolContext(None)) == "ran"


def test_mutable_defaults_are_not_shared_between_calls() -> None:
    @tool
    def collect(item: str, into: list[str] = ["first"], seen: dict[str, int] = {}) -> Any:  # noqa: B006
        into.append(item)
        seen[item] = 1
        return into, seen

    for _ in range(2):
        args = collect.decode('{"item": "x"}')
        assert collect.invoke(args, ToolContext(None)) == (["first", "x"], {"x": 1})


def test_isolation_wants_a_function_that_a_new_process_can_find() -> None:
    def local(x: int) -> int: ...

    def with_context(ctx: ToolContext) -> int: ...

    with pytest.raises(ConfigError, match="module-level"):
        tool(local, isolation="process")
    with pytest.raises(ConfigError, match="module-level"):
        tool(functools.partial(local, 1), name="p", isolation="process")
    with pytest.raises(ConfigError, match="ToolContext"):
        tool(with_context, isolation="process")
    with pytest.raises(ConfigError, match="cannot isolate"):
        Tool.from_schema("x", "", {"type": "object"}, local, isolation="process")
    assert tool(first_level, isolation="process").isolation == "process"


def first_level(x: int) -> int: ...


def test_retries_follow_the_declared_errors() -> None:  # E6
    made = tool(first_level, retries=2, retry_on=(ConnectionError,), idempotent=True)
    assert made.may_retry(ConnectionResetError())
    assert made.may_retry(ToolError("busy", retryable=True))
    assert not made.may_retry(ToolError("no"))
    assert not made.may_retry(ValueError())
    assert not tool(first_level, retry_on=(ValueError,)).may_retry(ValueError())


def test_a_resource_may_depend_on_the_arguments() -> None:  # E5
    made = tool(first_level, resource=lambda a: f"row {a.x}")
    assert made.resources_of(made.decode('{"x": 4}')) == ("row 4",)
    assert tool(first_level, resource="table").resources_of(None) == ("table",)
    assert tool(first_level, resource=("table", "index")).resources_of(None) == ("table", "index")
    assert tool(first_level, resource=lambda _: None).resources_of(None) == ()
    assert tool(first_level).resources_of(None) == ()


def test_paths_are_the_same_resource_however_they_are_written() -> None:  # E5
    one, *others = [
        tool(first_level, resource=lambda _, given=given: given).resources_of(None)
        for given in (Path("a/b.txt"), Path("a/./c/../b.txt"), Path.cwd() / "a" / "b.txt", [Path("a//b.txt")])
    ]
    assert set(others) == {one} and one == (str(Path.cwd() / "a" / "b.txt"),)
    assert tool(first_level, resource="a/./b.txt").resources_of(None) == ("a/./b.txt",), "text is a name, not a path"


@pytest.mark.parametrize("given", [3, b"name", [3], [["a"]], ["a", None]])
def test_what_is_no_resource_is_refused_when_it_is_known(given: Any) -> None:
    with pytest.raises(ToolError, match="resource"):
        tool(first_level, resource=lambda _: given).resources_of(None)


# --- tools without code ------------------------------------------------------------------------------------------------


@dataclass
class Booking:
    room: str
    nights: int = 1


class Guest(msgspec.Struct):
    name: str
    booking: Booking


class Wish(TypedDict):
    text: str


class Paid(BaseModel):
    amount: int


@pytest.mark.parametrize(
    ("kind", "good", "bad", "decoded"),
    [
        (Booking, '{"room":"4"}', '{"room":4}', Booking("4")),
        (Guest, '{"name":"Ada","booking":{"room":"4"}}', '{"name":"Ada"}', Guest("Ada", Booking("4"))),
        (Wish, '{"text":"quiet"}', "{}", {"text": "quiet"}),
        (Paid, '{"amount":3}', '{"amount":"a lot"}', Paid(amount=3)),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, '{"n":1}', '{"n":"1"}', {"n": 1}),
    ],
)
def test_an_external_tool_has_parameters_and_no_code(kind: Any, good: str, bad: str, decoded: Any) -> None:
    """E2 holds for them too."""
    made = Tool.external("book", "Book a room.", kind)
    assert (made.kind, made.name, made.spec.description) == ("external", "book", "Book a room.")
    schema = msgspec.json.decode(made.spec.parameters)
    assert schema["type"] == "object" and schema["properties"]
    assert made.decode(good) == decoded
    with pytest.raises(ArgumentsError, match="Received"):
        made.decode(bad)
    with pytest.raises(ToolError, match="no code"):
        made()
    assert made.answered(decoded, {"booked": True}) == '{"booked":true}'


@pytest.mark.parametrize("kind", [int, list[str], dict[str, int], object, {"type": "string"}])
def test_parameters_are_an_object_with_fields(kind: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        Tool.external("book", "Book a room.", kind)
    assert raised.value.code == "bad_tool" and "book" in raised.value.message


@pytest.mark.parametrize("expires_in_s", [0, -1.0, float("nan")])
def test_an_expiry_lies_in_the_future(expires_in_s: float) -> None:
    with pytest.raises(ConfigError, match="expires_in_s"):
        Tool.external("book", "Book a room.", Booking, expires_in_s=expires_in_s)
