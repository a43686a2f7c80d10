"""E2: what a tool wants of its arguments beyond their types is checked wherever they are decoded, and nowhere can that be forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from turnwise import Agent, Ask, ProposedCall, Tool, ToolError, tool
from turnwise.core.messages import ToolMessage
from turnwise.errors import ConfigError
from turnwise.testing import ScriptedProvider, call, reply
from turnwise.tools import ArgumentsError

ran: list[str] = []


def in_order(arguments: Any) -> str | None:
    return None if arguments.start < arguments.end else f"start={arguments.start} is not before end={arguments.end}."


@tool(validate=in_order)
def book(start: int, end: int = 10) -> str:
    """Book a room."""
    ran.append(f"{start}-{end}")
    return "booked"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def test_decoding_includes_the_validator() -> None:
    assert book.decode('{"start": 1}').end == 10
    with pytest.raises(ArgumentsError) as raised:
        book.decode('{"start": 11}')
    assert raised.value.problem == "start=11 is not before end=10. Received: '{\"start\": 11}'"
    with pytest.raises(ArgumentsError, match="Expected `int`"):
        book.decode('{"start": "x"}')  # types first: the validator sees nothing else


def says(value: Any) -> Tool[..., Any]:
    def validate(_: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    def one(x: int = 1) -> int:
        return x

    return tool(one, validate=validate)


@pytest.mark.parametrize("fine", [None, True, ""])
def test_nothing_to_complain_of(fine: Any) -> None:
    assert says(fine).decode("").x == 1


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("too far", "too far"),
        (False, "not valid"),
        (ValueError("no such day"), "no such day"),
        (ValueError(), "not valid"),
        (ToolError("closed on Mondays"), "closed on Mondays"),
        (ArgumentsError("as it is"), "as it is"),
    ],
)
def test_ways_to_complain(said: Any, problem: str) -> None:
    with pytest.raises(ArgumentsError, match=problem):
        says(said).decode("{}")


@pytest.mark.parametrize("broken", [KeyError("x"), 3, ZeroDivisionError()])
def test_a_validator_that_fails_is_not_taken_for_the_models_fault(broken: Any) -> None:
    """P1: and not for a yes either."""
    with pytest.raises((KeyError, TypeError, ZeroDivisionError)):
        says(broken).decode("{}")


async def waits(_: Any) -> None: ...


@pytest.mark.parametrize("wrong", [waits, "text"])
def test_a_validator_has_to_answer_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="validate="):
        tool(lambda: 1, name="one", validate=wrong)


async def test_it_runs_before_the_permission_and_the_model_is_told() -> None:
    asked: list[str] = []

    def policy(proposed: ProposedCall) -> Ask:
        asked.append(proposed.raw_arguments)
        return Ask("")

    async with ScriptedProvider([reply(call("book", start=12)), reply("Sorry.")]) as provider:
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=[book], approvals=policy)
        result = await agent.run("Book.")
        assert result.text == "Sorry."
        assert not asked and not ran
        said = provider.requests[1].body["messages"][-1]["content"][0]
        assert said["is_error"] and "start=12 is not before end=10" in str(said["content"])


async def test_a_validator_that_fails_ends_the_call() -> None:
    """P1"""
    async with ScriptedProvider([reply(call("one")), reply("Hm.")]) as provider:
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=[says(KeyError("x"))])
        async with agent.session() as session:
            await session.run("Go.")
            message = session.messages[-2]
            assert isinstance(message, ToolMessage)
            assert message.results[0].outcome.error.code == "tool_failed"


@tool(validate=in_order, isolation="process")
def elsewhere(start: int, end: int = 10) -> str:
    """Book a room, elsewhere."""
    return "booked"


def test_tools_of_a_schema_and_external_ones_have_validators_too() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}

    def odd(arguments: dict[str, Any]) -> str | None:
        return None if arguments.get("n", 1) % 2 else "even"

    for one in (
        Tool.from_schema("one", "", schema, lambda n=1: n, validate=odd),
        Tool.external("one", "", schema, validate=odd),
    ):
        assert one.decode('{"n": 3}') == {"n": 3}
        with pytest.raises(ArgumentsError, match="even"):
            one.decode('{"n": 2}')
    with pytest.raises(ArgumentsError, match="not before"):
        elsewhere.decode('{"start": 20}')
