"""Capabilities that a session has otherwise than its agent: from the next step on, journalled by name, and back after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from turnwise import Agent, Capability, MemoryStore, ToolContext, tool
from turnwise.capabilities import Clock, Todo, TodoItem
from turnwise.core.changes import SettingsChanged
from turnwise.errors import ConfigError
from turnwise.hooks import Cancel, HookContext, hook
from turnwise.middleware import middleware
from turnwise.runtime.opening import open_stored
from turnwise.testing import RecordedRequest, ScriptedProvider, call, reply


@tool
def search(text: str) -> str:
    """Search."""
    return text


@tool
def send(to: str) -> str:
    """Send."""
    return to


def mail() -> Capability:
    return Capability("mail", instructions="Write letters.", tools=[send])


def notes() -> Capability:
    return Capability("notes", instructions="Take notes.", tools=[tool(lambda: "noted", name="note")])


def agent(provider: ScriptedProvider, *capabilities: Capability, **options: Any) -> Agent[Any]:
    given = {"instructions": "Base.", "tools": [search], **options}
    return Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", capabilities=capabilities, **given)


def said(request: RecordedRequest) -> tuple[str, list[str]]:
    """Instructions and tools of a request."""
    return request.body["system"][0]["text"], [one["name"] for one in request.body.get("tools", [])]


BARE, WITH_MAIL = ("Base.", ["search"]), ("Base.\n\nWrite letters.", ["search", "send"])


async def test_adding_and_removing_holds_from_the_next_request_on() -> None:
    async with ScriptedProvider([reply("ok")] * 4) as provider:
        one = agent(provider)
        async with one.session() as session, one.session() as other:
            await session.run("1")
            settings = await session.add(mail())
            assert settings.capabilities == ("mail",) and settings.tools == ("search", "send")
            assert settings.instructions == "Base.\n\nWrite letters."
            await session.run("2")
            await other.run("other")
            settings = await session.remove("mail")
            assert settings.capabilities is None
            await session.run("3")
        assert [said(r) for r in provider.requests] == [BARE, WITH_MAIL, BARE, BARE]


async def test_a_running_turn_has_it_from_its_next_step_on() -> None:
    """C6, S1: a tool of the turn adds the capability whose tool the next step calls."""
    sessions: list[Any] = []

    @tool
    async def learn() -> str:
        """Learn to write letters."""
        await sessions[0].add(mail())
        return "learnt"

    @tool
    async def forget() -> str:
        """Forget it."""
        await sessions[0].remove("mail")
        return "forgotten"

    script = [reply(call("learn")), reply(call("send", to="Ann"), call("forget")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        async with agent(provider, tools=[learn, forget]).session() as session:
            sessions.append(session)
            assert (await session.run("Go.")).text == "Done."
        assert [said(r) for r in provider.requests] == [
            ("Base.", ["forget", "learn"]),
            ("Base.\n\nWrite letters.", ["forget", "learn", "send"]),
            ("Base.", ["forget", "learn"]),
        ]
        results = provider.requests[2].body["messages"][-1]["content"]
        assert [r["content"] for r in results] == ["Ann", "forgotten"]


async def test_one_of_the_agents_can_be_left_out_and_come_back() -> None:
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        has = notes()
        async with agent(provider, mail(), has).session() as session:
            await session.remove("notes")
            assert session.settings.capabilities == ("mail",)
            with pytest.raises(ConfigError, match="does not have 'notes'"):
                session.capability("notes")
            await session.run("1")
            await session.add(has)
            assert session.state.settings.capabilities is None, "as the agent has them: nothing is set any more"
            await session.run("2")
        assert said(provider.requests[0]) == WITH_MAIL
        assert said(provider.requests[1])[1] == ["note", "search", "send"]


async def test_what_does_not_fit_is_refused_before_anything_is_journalled() -> None:
    async with ScriptedProvider([reply("ok")]) as provider:
        both = agent(provider, Capability("base"), Capability("needs", requires=["base"]))
        async with both.session() as session:
            await session.run("1")
            seq = session.state.seq
            for wrong in (
                session.add(Capability("base", tools=[tool(lambda: 1, name="search")], requires=["nothing"])),
                session.remove("base"),
                session.remove("nothing"),
                session.remove(Todo),
                session.add(Todo),  # pyright: ignore[reportArgumentType]
            ):
                with pytest.raises(ConfigError) as raised:
                    await wrong
                assert raised.value.code in ("capability_conflict", "unknown_capability", "bad_capability")
            assert session.state.seq == seq and session.state.settings.capabilities is None


async def test_instructions_of_a_session_stand_before_those_of_capabilities() -> None:
    async with ScriptedProvider([reply("ok")] * 3) as provider:
        async with agent(provider, notes()).session() as session:
            await session.set(instructions="Own.")
            await session.run("1")
            await session.add(mail())
            await session.run("2")
            await session.remove("notes")
            await session.set(instructions=None)
            await session.run("3")
        assert [said(r)[0] for r in provider.requests] == [
            "Own.\n\nTake notes.",
            "Own.\n\nTake notes.\n\nWrite letters.",
            "Base.\n\nWrite letters.",
        ]


async def test_tools_that_a_session_has_named_are_exactly_those() -> None:
    """P1: narrowing narrows, also what capabilities bring; what is added later comes, and goes again."""
    async with ScriptedProvider([reply("ok")] * 4) as provider:
        async with agent(provider, notes()).session() as session:
            await session.set(tools=["search"])
            await session.run("1")
            await session.add(mail())
            assert session.state.settings.tools == ("search", "send")
            await session.run("2")
            await session.remove("mail")
            await session.run("3")
            await session.set(tools=None)
            await session.run("4")
        assert [said(r)[1] for r in provider.requests] == [
            ["search"],
            ["search", "send"],
            ["search"],
            ["note", "search"],
        ]


async def test_a_name_of_a_capabilitys_tool_can_be_set() -> None:
    async with ScriptedProvider([reply("ok")]) as provider:
        async with agent(provider).session() as session:
            await session.add(mail())
            await session.set(tools=["send"])
            await session.run("1")
        assert said(provider.requests[0])[1] == ["send"]
        with pytest.raises(ConfigError, match="no tool"):
            async with agent(provider).session() as session:
                await session.set(tools=["send"])


def test_synchronous_code_does_the_same() -> None:
    """I2"""
    with ScriptedProvider([reply("ok")] * 2) as provider:
        session = agent(provider).session().sync
        assert session.add(mail()).capabilities == ("mail",)
        session.run("1")
        assert session.remove("mail").capabilities is None
        session.run("2")
        session.close()
        assert [said(r) for r in provider.requests] == [WITH_MAIL, BARE]


# --- hooks ----------------------------------------------------------------------------------------------------------------------


def guarded(seen: list[str], name: str = "guard") -> Capability:
    @hook("tool.before", id=name)
    def guard(context: HookContext) -> Cancel | None:
        seen.append(f"{name}:{context.value.name}")
        return Cancel("not now") if context.value.name == "send" else None

    return Capability(name, hooks=[guard])


async def test_hooks_of_a_capability_hold_where_it_is() -> None:
    """H1, H4: in the agent's sessions from the start, in one session from the step after it was added, and no longer when it is gone."""
    seen: list[str] = []
    asked = [reply(call("search", text="x")), reply("ok")]
    async with ScriptedProvider([*asked, *asked, *asked, *asked]) as provider:
        one = agent(provider)
        async with one.session() as session, one.session() as other:
            await session.run("1")
            assert seen == []
            await session.add(guarded(seen))
            await session.run("2")
            assert seen == ["guard:search"]
            await other.run("other")
            assert len(seen) == 1
            await session.remove("guard")
            await session.run("3")
            assert len(seen) == 1


async def test_hooks_of_an_agents_capabilities_can_be_left_out_in_one_session() -> None:
    seen: list[str] = []
    asked = [reply(call("search", text="x")), reply("ok")]
    async with ScriptedProvider([*asked, *asked]) as provider:
        both = agent(provider, guarded(seen, "a"), guarded(seen, "b"))
        async with both.session() as session:
            await session.run("1")
            assert seen == ["a:search", "b:search"], "in the order of the capabilities"
            await session.remove("a")
            await session.run("2")
            assert seen[2:] == ["b:search"]


async def test_a_hook_that_comes_in_mid_turn_guards_the_next_step() -> None:
    """H1"""
    seen: list[str] = []
    sessions: list[Any] = []

    @tool
    async def beware() -> str:
        """Be careful from now on."""
        await sessions[0].add(guarded(seen))
        return "careful"

    script = [reply(call("beware"), call("send", to="a")), reply(call("send", to="b")), reply("ok")]
    async with ScriptedProvider(script) as provider:
        async with agent(provider, tools=[beware, send]).session() as session:
            sessions.append(session)
            await session.run("Go.")
        results = [r.body["messages"][-1]["content"] for r in provider.requests[1:]]
        assert results[0][1]["content"] == "a" and "not now" in str(results[1][0]["content"])


async def test_middleware_of_a_capability_is_inside_of_the_agents() -> None:
    """H3: and comes and goes with it."""
    seen: list[str] = []

    def around(name: str) -> Any:
        @middleware("tool")
        async def wrap(request: Any, next: Any) -> Any:
            seen.append(f"{name} in")
            result = await next(request)
            seen.append(f"{name} out")
            return result

        return wrap

    asked = [reply(call("search", text="x")), reply("ok")]
    async with (
        ScriptedProvider([*asked, *asked, *asked]) as provider,
        agent(provider, Capability("a", middleware=[around("a")]), middleware=[around("agent")]).session() as session,
    ):
        await session.run("1")
        assert seen == ["agent in", "a in", "a out", "agent out"]
        seen.clear()
        await session.add(Capability("b", middleware=[around("b")]))
        await session.run("2")
        assert seen == ["agent in", "a in", "b in", "b out", "a out", "agent out"]
        seen.clear()
        await session.remove("a")
        await session.remove("b")
        await session.run("3")
        assert seen == ["agent in", "agent out"]


async def test_what_is_no_middleware_is_told_with_the_rest() -> None:
    with pytest.raises(ConfigError, match="a: ") as raised:
        Agent("anthropic:m", api_key="k", capabilities=[Capability("a", middleware=[print]), Capability("a")])
    assert raised.value.code == "capability_conflict" and "2 capabilities" in raised.value.message


# --- stored -------------------------------------------------------------------------------------------------------------------


async def stored(provider: ScriptedProvider, store: MemoryStore) -> str:
    async with agent(provider, store=store, name="shop").session("a") as session:
        await session.run("1")
        await session.add(mail())
        await session.add(notes())
        return session.id


async def test_a_resumed_session_has_what_it_had() -> None:
    """D1, D2: the journal has names, the agent has what they stand for."""
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        store = MemoryStore()
        id = await stored(provider, store)
        entries = [e for e in await store.read(id, 0) if isinstance(e, SettingsChanged)]
        assert [e.settings.capabilities for e in entries] == [("mail",), ("mail", "notes")]
        has = agent(provider, notes(), mail(), store=store, name="shop")
        async with has.session("a", resume=True) as session:
            assert session.settings.capabilities == ("mail", "notes")
            await session.run("2")
        assert said(provider.requests[1]) == ("Base.\n\nWrite letters.\n\nTake notes.", ["note", "search", "send"])


async def test_an_agent_that_lacks_some_is_told_which() -> None:
    async with ScriptedProvider([reply("ok")]) as provider:
        store = MemoryStore()
        id = await stored(provider, store)
        with pytest.raises(ConfigError) as raised:
            await open_stored(agent(provider, store=store, name="shop"), id, store=store)
        assert raised.value.code == "unknown_capability"
        assert "'mail', 'notes'" in raised.value.message and "'shop'" in raised.value.message
        one = agent(provider, store=store, name="shop").with_(mail(), notes())
        session = await open_stored(one, id, store=store)
        assert session.settings.capabilities == ("mail", "notes")
        await session.close()


async def test_exact_tools_come_back_with_their_capabilities() -> None:
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        store = MemoryStore()
        async with agent(provider, store=store).session("a") as session:
            await session.set(tools=["search"])
            await session.add(mail())
            await session.run("1")
        async with agent(provider, mail(), store=store).session("a", resume=True) as session:
            await session.run("2")
        assert said(provider.requests[1]) == WITH_MAIL


async def test_a_fork_has_what_its_origin_has() -> None:
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        async with agent(provider).session() as session:
            await session.add(mail())
            await session.run("1")
            fork = session.fork()
            await session.remove("mail")
            await fork.run("2")
            await fork.close()
        assert [said(r) for r in provider.requests] == [WITH_MAIL, WITH_MAIL]


async def test_agents_without_any_never_load_them() -> None:
    async with ScriptedProvider([reply("ok")]) as provider:
        one = agent(provider)
        assert one.capabilities == () and one.bare is None and one.bundled == ()
        async with one.session() as session:
            await session.set(temperature=0.5)
            await session.run("1")
            assert session.overrides is not None and session.overrides.parts is None
            assert session.settings.capabilities is None


# --- state ----------------------------------------------------------------------------------------------------------------------


class Counter(Capability):
    """Counts in the scopes of session and user."""

    def __init__(self, name: str) -> None:
        super().__init__(name, tools=[tool(self.count, name=f"count_{name}")])

    async def count(self, context: ToolContext[Any]) -> str:
        """Count."""
        state = self.state(context)
        await state.user.update("n", lambda n: n + 1, int, default=0)
        return str(await state.session.update("n", lambda n: n + 1, int, default=0))


async def test_state_is_the_capabilitys_own() -> None:
    async with ScriptedProvider([reply(call("count_a"), call("count_a"), call("count_b")), reply("ok")]) as provider:
        a, b = Counter("a"), Counter("b")
        async with agent(provider, a, b).session() as session:
            await session.scopes.session.set("n", "mine")
            await session.run("Count.")
            assert [await c.state(session).session.get("n") for c in (a, b)] == [2, 1]
            assert await a.state(session).user.get("n") == 2
            assert await session.scopes.session.get("n") == "mine"
            assert [r.key for r in await session.scopes.session.list()] == ["a/n", "b/n", "n"]
            assert [r.key for r in await a.state(session).session.list()] == ["n"]


async def test_state_outlives_the_capability_and_the_process() -> None:
    async with ScriptedProvider([reply(call("count_a")), reply("ok"), reply(call("count_a")), reply("ok")]) as provider:
        store = MemoryStore()
        async with agent(provider, Counter("a"), store=store).session("s") as session:
            await session.run("1")
            await session.remove("a")
        async with agent(provider, Counter("a"), store=store).session("s", resume=True) as session:
            await session.add(session.agent.capability("a"))
            await session.run("2")
            assert await session.capability(Counter).state(session).session.get("n") == 2


# --- those that come with Turnwise --------------------------------------------------------------------------------------------------


async def test_todo_keeps_a_list() -> None:
    items = [{"text": "Look.", "status": "done"}, {"text": "Write."}]
    script = [reply(call("write_todos", items=items)), reply(call("read_todos")), reply("ok")]
    async with ScriptedProvider(script) as provider, agent(provider, Todo()).session() as session:
        await session.run("Go.")
        told = [r.body["messages"][-1]["content"][0]["content"] for r in provider.requests[1:3]]
        assert told == ["[x] Look.\n[ ] Write."] * 2
        todo = session.capability(Todo)
        assert list(await todo.items(session)) == [TodoItem("Look.", "done"), TodoItem("Write.")]
        await todo.write(session, [])
        assert list(await todo.items(session)) == []
        assert await todo.read_todos(ToolContext(None)) == "The list is empty."
        tools = session.agent.tools
        assert tools["read_todos"].permission == "read" and tools["write_todos"].permission == "write"


@pytest.mark.parametrize(
    "items", ['[{"text": " "}]', "[" + ",".join(['{"text": "x"}'] * 201) + "]", '[{"text": "x", "status": "x"}]']
)
def test_todo_refuses_lists_that_make_no_sense(items: str) -> None:
    from turnwise.tools import ArgumentsError

    made = Agent("anthropic:m", api_key="k", capabilities=[Todo()])
    with pytest.raises(ArgumentsError):
        made.tools["write_todos"].decode(f'{{"items": {items}}}')


async def test_clock_tells_the_time_in_its_zone() -> None:
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        await agent(provider, Clock("Europe/Berlin")).run("Hi.")
        await agent(provider, Clock()).run("Hi.")
        berlin, utc = (r.body["messages"][-1]["content"] for r in provider.requests)
        assert "(Europe/Berlin, UTC+0" in str(berlin) and " UTC." in str(utc)
        assert provider.requests[0].body["system"][0]["text"] == "Base."
    with pytest.raises(ConfigError, match="Nowhere"):
        Clock("Nowhere/At_All")


async def test_a_clock_is_added_to_a_session() -> None:
    async with ScriptedProvider([reply("ok")] * 2) as provider:
        async with agent(provider).session() as session:
            await session.run("1")
            await session.add(Clock())
            await session.run("2")
        first, second = (str(r.body["messages"]) for r in provider.requests)
        assert "reminder" not in first and "reminder" in second
