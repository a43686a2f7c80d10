"""Capabilities in agents: put together in their order, refused with everything that does not fit, and copied without being shared."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest

from turnwise import (
    Agent,
    Budget,
    Capability,
    Deadlines,
    Limits,
    Loops,
    Model,
    ModelSettings,
    Retry,
    Runtime,
    Tools,
    tool,
)
from turnwise.capabilities import Clock, Todo
from turnwise.core.compaction import Compaction
from turnwise.errors import ConfigError
from turnwise.hooks import HookContext, hook
from turnwise.reminders import budget
from turnwise.runtime.agent import Agent as AgentClass
from turnwise.stores import MemoryStore
from turnwise.testing import ScriptedProvider, reply


@tool
def search(text: str) -> str:
    """Search."""
    return text


@tool
def send(to: str) -> str:
    """Send."""
    return to


def agent(*capabilities: Capability, **options: Any) -> Agent[Any]:
    return Agent("anthropic:m", api_key="k", capabilities=capabilities, **options)


@hook("tool.before", id="watch")
def watch(_: HookContext) -> None: ...


@hook("tool.before", id="steer")
def steer(_: HookContext) -> None: ...


class Notes(Capability):
    """One with methods of its own."""

    instructions = "Take notes."

    def __init__(self, limit: int = 3) -> None:
        super().__init__(tools=[self.note])
        self.limit = limit

    def note(self, text: str) -> str:
        """Write something down."""
        return f"{text} ({self.limit})"


@dataclass(frozen=True, repr=False)
class Plain(Capability):
    """One that never calls `super().__init__`."""

    instructions: str = "Be plain."
    tools: tuple[Any, ...] = field(default=(send,))


def test_what_a_capability_brings_goes_behind_what_the_agent_has() -> None:
    one = Capability("one", instructions="First.\n", tools=[send], reminders=[budget])
    made = agent(one, Notes(), instructions="Base.", tools=[search])
    assert made.instructions == "Base.\n\nFirst.\n\nTake notes."
    assert list(made.tools) == ["search", "send", "note"]
    assert made.reminders == (budget,)
    assert made.capabilities[0] is one


def test_names_follow_from_classes() -> None:
    assert [repr(c) for c in (Notes(), Plain(), Todo(), Capability("x"))] == [
        "<Notes notes>",
        "<Plain plain>",
        "<Todo todo>",
        "<Capability x>",
    ]

    class MyOwnHTTPNotes(Capability): ...

    assert repr(MyOwnHTTPNotes()) == "<MyOwnHTTPNotes my_own_httpnotes>"
    assert agent(Plain()).instructions == "Be plain."
    assert list(agent(Plain()).tools) == ["send"]


async def test_the_same_agent_sends_the_same_bytes() -> None:
    """T7: and what a capability says is read once, even if it would say something else the next time."""

    class Moody(Capability):
        said = 0

        @property
        def instructions(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
            Moody.said += 1
            return f"Mood {Moody.said}."

    async with ScriptedProvider([reply("a")] * 4) as provider:
        moody = Moody()
        for made in (
            Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", capabilities=[moody, Notes()]),
            Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", capabilities=[moody]).with_(Notes()),
        ):
            for _ in range(2):
                await made.run("Hi.")
        heads = [(r.body["system"], r.body["tools"]) for r in provider.requests]
        assert heads[0] == heads[1] == heads[2] == heads[3]


def test_all_that_does_not_fit_is_said_at_once() -> None:
    def no_types(x) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore

    @hook("tool.before", id="guard")
    def one(_: HookContext) -> None: ...

    @hook("tool.after", id="guard")
    def other(_: HookContext) -> None: ...

    with pytest.raises(ConfigError) as raised:
        agent(
            Capability("mail", tools=[send]),
            Capability("mail", tools=[tool(lambda: 1, name="send")], hooks=[one]),
            Capability("files", requires=["nothing", Todo, "mail"], tools=[tool(lambda: 1, name="search")]),
            Capability("guards", hooks=[other, lambda _: None]),
            Capability("no name!"),
            Capability("odd", tools=[no_types]),
            tools=[search],
        )
    assert raised.value.code == "capability_conflict"
    lines = [line[2:] for line in raised.value.message.splitlines()[1:]]
    assert [line[:36] for line in lines] == [
        "guards: " + raised.value.message.partition("guards: ")[2][:28],
        "a capability has the name 'no name!'",
        "odd: Tool " + raised.value.message.partition("odd: Tool ")[2][:26],
        "2 capabilities have the name 'mail'",
        "mail and mail have a tool named 'sen",
        "the agent and files have a tool name",
        "files requires 'nothing', which is n",
        "files requires a Todo, which is not ",
        "mail and guards have a hook with the",
    ]


def test_what_is_required_may_come_in_any_order() -> None:
    first = Capability("first", requires=["second", Clock])
    assert len(agent(first, Capability("second"), Clock()).capabilities) == 3


def test_the_very_same_tool_twice_is_no_conflict() -> None:
    made = agent(Capability("one", tools=[send]), Capability("two", tools=[send, search]), tools=[search])
    assert list(made.tools) == ["search", "send"]


@pytest.mark.parametrize("wrong", [Todo, "todo", 3, None])
def test_what_is_no_capability_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        agent(wrong)
    assert raised.value.code == "bad_capability"


def test_instructions_that_are_no_text_are_refused() -> None:
    class Wrong(Capability):
        instructions = 3  # pyright: ignore

    with pytest.raises(ConfigError, match="wrong: its instructions are int"):
        agent(Wrong())


def test_a_capability_is_found_by_class_and_name() -> None:
    made = agent(Notes(7), Capability("other"))
    notes = made.capability(Notes)
    assert notes.limit == 7 and notes.note("x") == "x (7)"
    assert made.capability("other") is made.capabilities[1]
    for missing in (Todo, "nothing"):
        with pytest.raises(ConfigError) as raised:
            made.capability(missing)
        assert raised.value.code == "unknown_capability" and "notes, other" in raised.value.hint
    with pytest.raises(ConfigError, match="several"):
        made.capability(Capability)


# --- copies -------------------------------------------------------------------------------------------------------------------

GIVEN: dict[str, Any] = {
    "plugins": ["weather"],
    "budgets": [Budget(per="session", requests=3)],
    "models": [Model("anthropic:a", api_key="k"), Model("openai:b", api_key="k")],
    "instructions": "Base.",
    "tools": Tools(search),
    "name": "shop",
    "settings": ModelSettings(temperature=0.5),
    "limits": Limits(steps=3),
    "deadlines": Deadlines(connect_s=1.0),
    "retry": Retry(),
    "restart": "before_commit",
    "loops": Loops(),
    "compaction": Compaction(at=0.5),
    "approvals": lambda _: None,
    "questions": "decline",
    "parallel_calls": 3,
    "output_retries": 1,
    "max_recoveries": 2,
    "stream": False,
    "store": MemoryStore(),
    "runtime": Runtime(),
    "reminders": [budget],
    "stop_when": [lambda _: False],
    "overrides": {},
}
NOT_COPIED_HERE = {"self", "model", "capabilities", "connection", "hooks", "middleware"}
"""`model` and `connection` are `models`; hooks and middleware have tests of their own below."""


def test_with_copies_every_parameter_of_an_agent() -> None:
    """A new parameter has to be in `GIVEN`: this test says whether `with_` carries it over."""
    parameters = set(inspect.signature(AgentClass.__init__).parameters)
    assert parameters - NOT_COPIED_HERE <= set(GIVEN)
    before = Agent(**GIVEN)
    after = before.with_(Notes())
    ours = {"instructions", "tools", "capabilities", "bare", "bundled", "extensions"}
    assert set(vars(before)) == set(vars(after))
    for name, value in vars(before).items():
        if name not in ours and not name.startswith("_"):
            assert getattr(after, name) == value, name
    assert before.instructions == "Base." and after.instructions == "Base.\n\nTake notes."
    assert list(before.tools) == ["search"] and list(after.tools) == ["search", "note"]
    assert before.capabilities == () and len(after.capabilities) == 1


async def test_a_copy_works_out_its_own_requests() -> None:
    async with ScriptedProvider([reply("a")] * 3) as provider:
        before = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", instructions="Base.")
        await before.run("Hi.")
        after = before.with_(Notes()).with_(Capability("x", instructions="X."))
        await after.run("Hi.")
        await before.run("Hi.")
        said = [r.body["system"][0]["text"] for r in provider.requests]
        assert said == ["Base.", "Base.\n\nTake notes.\n\nX.", "Base."]
        assert ["tools" in r.body for r in provider.requests] == [False, True, False]


def test_what_is_added_to_one_agent_is_not_in_the_other() -> None:
    """H4: and what is taken from one is not taken from the other."""
    before = agent(Notes(), hooks=[watch])
    after = before.with_(Clock())
    assert [h.id for h in after.extensions.hooks] == ["watch"]
    registration = before.add_hook(steer)
    assert [h.id for h in after.extensions.hooks] == ["watch"]
    after.add_hook(steer)
    registration.unregister()
    assert [h.id for h in before.extensions.hooks] == ["watch"]
    assert [(h.id, h.live) for h in after.extensions.hooks] == [("watch", True), ("steer", True)]
    after.tools["x"] = search
    assert "x" not in before.tools


def test_with_refuses_what_does_not_fit_and_changes_nothing() -> None:
    before = agent(Notes(), tools=[search])
    with pytest.raises(ConfigError, match="2 capabilities have the name 'notes'"):
        before.with_(Notes())
    assert len(before.capabilities) == 1 and list(before.tools) == ["search", "note"]


def test_hooks_come_along() -> None:
    made = agent(Capability("one", hooks=[watch]), Capability("two"), Capability("three", hooks=[steer]))
    assert [(e.label, [h.id for h in e.hooks]) for e in made.bundled] == [
        ("capability:one", ["watch"]),
        ("capability:three", ["steer"]),
    ]
    assert made.extensions.hooks == ()
    assert agent().bundled == ()


def test_hooks_without_an_id_of_their_own_never_clash() -> None:
    def make() -> Any:
        @hook("tool.before")
        def check(_: HookContext) -> None: ...

        return check

    assert len(agent(Capability("one", hooks=[make()]), Capability("two", hooks=[make()])).bundled) == 2
    with pytest.raises(ConfigError, match="the agent and one have a hook with the id 'watch'"):
        agent(Capability("one", hooks=[watch]), hooks=[watch])
