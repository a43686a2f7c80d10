"""Every hook point that is offered fires from the real path, and every result is honoured there or refused at registration (H1)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, OPENAI, Host, of, read_all, results

from turnwise import (
    Agent,
    Allow,
    Ask,
    Compaction,
    Drop,
    Model,
    ModelSettings,
    Move,
    Principal,
    ProposedCall,
    Runtime,
    Session,
    ToolContext,
    TurnResult,
    replay,
    tool,
)
from turnwise import (
    Retry as RetryPolicy,
)
from turnwise.core.compaction import CompactReport
from turnwise.core.errors import ErrorInfo
from turnwise.core.messages import AssistantMessage, ToolMessage
from turnwise.core.outcomes import Denied, Failed, Ok, ToolResult
from turnwise.errors import ConfigError, HookError, ProviderError
from turnwise.events import ApprovalRequested, Notice, StepStarted, TextDelta, ToolFinished, ToolStarted
from turnwise.hooks import (
    POINTS,
    ApprovalAnswer,
    ApprovalRequest,
    Cancel,
    CompactionRequest,
    Continue,
    HookContext,
    HookResult,
    Modify,
    Redirect,
    Replace,
    Retry,
    SessionFacts,
    StateWrite,
    StepRequest,
    ToolRequest,
    declare_point,
    hook,
    points,
)
from turnwise.testing import ScriptedProvider, call, fail, reply

RESULTS: dict[type[HookResult], HookResult] = {
    Continue: Continue(),
    Modify: Modify("x"),
    Replace: Replace("x"),
    Cancel: Cancel("no"),
    Retry: Retry(),
    Redirect: Redirect("x"),
}
AGAIN = RetryPolicy(attempts=3, base_delay_s=0)


class Tools:
    """What the tools of a test did."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures = 0

        @tool(read_only=True)
        async def look(at: str = "it") -> str:
            self.ran.append(f"look {at}")
            return f"saw {at}"

        @tool(idempotent=True)
        async def shaky(times: int = 1) -> str:
            self.ran.append("shaky")
            if self.failures < times:
                self.failures += 1
                raise ValueError("not yet")
            return "done"

        @tool
        async def remember(what: str, context: ToolContext) -> str:
            await context.state.user.set("what", what)
            return "remembered"

        @tool
        async def write(path: str) -> str:
            self.ran.append(f"write {path}")
            return f"wrote {path}"

        self.all = (look, shaky, remember, write)


def asks_to_write(proposed: ProposedCall) -> Allow | Ask:
    return Ask("it writes") if proposed.name == "write" else Allow()


# --- each point fires ----------------------------------------------------------------------------------------------------

CARRIED: dict[str, tuple[type, ...]] = {
    "session.started": (SessionFacts,),
    "session.ended": (SessionFacts,),
    "turn.before": (str, type(None)),
    "turn.after": (TurnResult,),
    "step.before": (StepRequest,),
    "step.after": (AssistantMessage,),
    "tool.before": (ToolRequest,),
    "tool.after": (ToolResult,),
    "tool.error": (ToolResult,),
    "state.before": (StateWrite,),
    "state.after": (StateWrite,),
    "compaction.before": (CompactionRequest,),
    "compaction.after": (CompactReport,),
    "approval.requested": (ApprovalRequest,),
    "approval.answered": (ApprovalAnswer,),
    "error": (ErrorInfo,),
}


class Everywhere:
    """A hook object with a method for every point there is."""

    id = "everywhere"

    def __init__(self, asynchronous: bool) -> None:
        self.seen: list[HookContext] = []
        self.values: list[tuple[str, Any]] = []
        for point in POINTS.values():
            setattr(self, point.method, self._async if asynchronous else self._sync)

    def _sync(self, context: HookContext) -> Continue:
        self.seen.append(context)
        self.values.append((context.point, context.value))
        return Continue()

    async def _async(self, context: HookContext) -> None:
        self._sync(context)


for _point in POINTS.values():  # methods are looked for on the class; the instance says which they are
    setattr(Everywhere, _point.method, None)


@pytest.mark.parametrize("host", [ANTHROPIC, OPENAI], ids=lambda h: h.name)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_every_point_fires_from_the_real_path(host: Host, asynchronous: bool) -> None:
    """H1: the walk over the enumeration. Each point is seen with what its row in the table says that it carries."""
    tools, everywhere = Tools(), Everywhere(asynchronous)
    script = [
        reply(call("look"), call("shaky"), call("remember", what="tea"), call("write", path="a")),
        reply("Done."),
        fail(400),
    ]
    async with ScriptedProvider(script) as provider:
        shorter = Compaction(strategies=[Drop()])
        agent = host.agent(provider, *tools.all, approvals=asks_to_write, hooks=[everywhere], compaction=shorter)
        async with agent.session() as session:
            parked = await session.run("Go.")
            assert parked.reason == "parked"
            assert await session.approve(parked.pending[0].call_id)
            assert (await session.resume()).reason == "completed"
            with pytest.raises(ProviderError):
                await session.run("Again.")
            await session.compact()
            id = session.id
    assert POINTS.keys() == CARRIED.keys()
    fired = [point for point, _ in everywhere.values]
    assert set(fired) == set(POINTS), set(POINTS) - set(fired)
    for point, value in everywhere.values:
        assert isinstance(value, CARRIED[point]), point
        said = POINTS[point].carries
        assert type(value).__name__ in said.replace("None", "NoneType"), (point, said)
    assert all(context.session == id and context.agent == "agent" for context in everywhere.seen)
    assert fired[0] == "session.started" and fired[-1] == "session.ended"
    assert fired.count("session.started") == fired.count("session.ended") == 1
    assert fired.count("turn.before") == fired.count("turn.after") == 3  # begun, resumed, and the one that failed
    assert fired.count("step.before") == 3 and fired.count("step.after") == 2
    assert fired.count("tool.before") == fired.count("tool.after") == 4 and fired.count("tool.error") == 1
    state = [context for context in everywhere.seen if context.point == "state.before"]
    assert [(c.old, c.call_id) for c in state] == [(None, "t1.s1.c2")]
    assert state[0].value == StateWrite("user", Principal().user, "what", "tea")
    called = [context for context in everywhere.seen if context.point == "tool.before"]
    assert [(c.turn, c.step, c.call_id) for c in called] == [(1, 1, f"t1.s1.c{n}") for n in range(4)]


async def test_an_agents_own_runs_have_a_beginning_and_an_end() -> None:
    """H1: `agent.run` makes a session and leaves it."""
    everywhere = Everywhere(False)
    async with ScriptedProvider([reply("Hello.")]) as provider:
        await ANTHROPIC.agent(provider, hooks=[everywhere]).run("Hi")
    assert [point for point, _ in everywhere.values] == [
        "session.started",
        "turn.before",
        "step.before",
        "step.after",
        "turn.after",
        "session.ended",
    ]


async def test_a_custom_point_is_declared_and_fired() -> None:
    """H1: a plugin's own points are as strict as the engine's."""
    point = declare_point("tests/thing", honours=[Modify, Cancel], carries=str, when="a thing happens")
    assert declare_point("tests/thing", honours=[Cancel, Modify], carries=str, when="a thing happens") is point
    assert point in points() and point.method == "tests_thing"
    with pytest.raises(ConfigError, match="declared twice"):
        declare_point("tests/thing")

    @hook("tests/thing", returns=[Modify])
    def louder(context: HookContext) -> Modify:
        return Modify(context.value.upper())

    @hook("tests/thing", priority=-1)
    async def stops(context: HookContext) -> Cancel | None:
        return Cancel("enough") if context.value == "STOP" else None

    async with Runtime(hooks=[louder]) as runtime:
        session = Agent("anthropic:x", api_key="k", runtime=runtime).session()
        assert (await runtime.fire("tests/thing", "hi")).value == "HI"
        session.add_hook(stops)
        assert (await runtime.fire("tests/thing", "stop")).halt is None  # not the session's
        await session.bind()
        outcome = await runtime.fire("tests/thing", "stop", session=session)
        assert (outcome.halt, outcome.by, outcome.value) == (Cancel("enough"), stops.__qualname__, "STOP")
        assert (await runtime.fire("tests/thing", 3)).value == 3  # what is fired is the caller's own
        with pytest.raises(ConfigError, match="fired by the engine"):
            await runtime.fire("tool.before", "x")
        with pytest.raises(ConfigError, match="Did you mean 'tests/thing'"):
            await runtime.fire("tests/things", "x")


# --- each result is honoured ------------------------------------------------------------------------------------------------

Case = Callable[[], Awaitable[None]]
HONOURED: dict[tuple[str, type[HookResult]], Case] = {}


def honours(point: str, result: type[HookResult]) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        HONOURED[point, result] = case
        return case

    return keep


def at(point: str, give: Callable[[HookContext], HookResult | None] | HookResult, **options: Any) -> Any:
    """A hook that gives this."""

    @hook(point, **options)
    def given(context: HookContext) -> HookResult | None:  # pyright: ignore
        return give(context) if callable(give) else give

    return given


def once(result: HookResult) -> Callable[[HookContext], HookResult | None]:
    """Gives it the first time, and then goes on."""
    left = [result]
    return lambda _: left.pop() if left else None


def said(provider: ScriptedProvider, request: int = -1) -> list[Any]:
    return provider.requests[request].body["messages"]


@honours("turn.before", Modify)
async def modified_prompt() -> None:
    async with ScriptedProvider([reply("Hello."), reply("Again."), reply("And more.")]) as provider:
        changes = at("turn.before", lambda c: Modify(f"{c.value}!") if c.value else None)
        session = ANTHROPIC.agent(provider, hooks=[changes]).session()
        await session.run("Hi")
        assert session.messages[0].text == "Hi!" and said(provider)[0]["content"] == "Hi!"  # pyright: ignore
        await session.run(Move.REGENERATE)
        assert [m.text for m in session.messages if not isinstance(m, ToolMessage)] == ["Hi!!", "Again."]
        handle = await session.follow_up("Later")
        assert (await handle.result()).messages[0].text == "Later!"  # pyright: ignore
        replay(await session.journal(0))


@honours("turn.before", Cancel)
async def refused_turn() -> None:
    async with ScriptedProvider([]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[at("turn.before", Cancel("not on Sundays"))]).session()
        with pytest.raises(HookError, match="not on Sundays") as refused:
            await session.run("Hi")
        assert refused.value.code == "hook_cancelled" and refused.value.info.session == session.id
        assert not session.running and not session.messages and not session.told  # nothing is journalled


@honours("step.before", Modify)
async def modified_request() -> None:
    def change(context: HookContext) -> Modify:
        asked: StepRequest = context.value
        settings = ModelSettings(max_output_tokens=77, temperature=0.5)
        return Modify(StepRequest(asked.model, asked.instructions + " Be kind.", settings, f"Try {context.attempt}."))

    async with ScriptedProvider([reply(call("look")), reply("Hello.")]) as provider:
        agent = ANTHROPIC.agent(provider, *Tools().all, hooks=[at("step.before", change)], instructions="Be brief.")
        session = agent.session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
    for request in provider.requests:
        body = request.body
        assert (body["max_tokens"], body["temperature"]) == (77, 0.5) and not request.problems
        assert "Be brief. Be kind." in str(body["system"])
        assert "Try 1." in str(body["messages"][-1])
    assert "Try" not in str(session.messages)
    first, second = [str(r.body["messages"][0]) for r in provider.requests]
    assert "Hi" in second and second in first  # T7: what is journalled is the same bytes again
    assert not [e for e in events if type(e).__name__ == "CacheBroken"]  # asked the same way each time


@honours("step.before", Replace)
async def answer_in_place_of_a_models() -> None:
    tools = Tools()
    answers = iter([(call_block("look", "{}"),), "From a hook."])
    async with ScriptedProvider([]) as provider:
        replaced = at("step.before", lambda _: Replace(next(answers)))
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[replaced]).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
    result = turn.result
    assert (result.text, result.steps, result.reason) == ("From a hook.", 2, "completed")
    assert [e.text for e in of(TextDelta, events)] == ["From a hook."]
    assert tools.ran == ["look it"] and of(ToolStarted, events)[0].call_id == "t1.s1.c0"
    replay(await session.journal(0))


def call_block(name: str, arguments: str) -> Any:
    from turnwise.core.content import ToolCall

    return ToolCall("anything", name, arguments)


@honours("step.before", Cancel)
async def stopped_before_a_step() -> None:
    async with ScriptedProvider([reply(call("look"))]) as provider:
        stops = at("step.before", lambda c: Cancel("enough") if c.step == 2 else None)
        result = await ANTHROPIC.agent(provider, *Tools().all, hooks=[stops]).run("Hi")
    assert (result.reason, result.cause, result.steps) == ("stopped", "enough", 1)


@honours("step.before", Retry)
async def asked_to_try_again_before() -> None:
    seen: list[int] = []

    def again(context: HookContext) -> Retry | None:
        seen.append(context.attempt)
        return Retry(0.0) if context.attempt < 3 else None

    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[at("step.before", again)], retry=AGAIN).session()
        result = await session.run("Hi")
        assert result.text == "Hello." and seen == [1, 2, 3]
        replay(await session.journal(0))
    async with ScriptedProvider([]) as provider:  # H3: within the machine's own budget
        agent = ANTHROPIC.agent(provider, hooks=[at("step.before", Retry(0.0))], retry=AGAIN)
        with pytest.raises(HookError) as spent:
            await agent.run("Hi")
        assert spent.value.code == "hook_retry"


@honours("step.before", Redirect)
async def another_model() -> None:
    async with ScriptedProvider([reply("From the second.")]) as provider:
        first = Model("anthropic:first", base_url=provider.anthropic_url, api_key="test")
        second = Model("openai:second", base_url=provider.openai_url, api_key="test")
        agent = Agent(models=[first, second], hooks=[at("step.before", Redirect("openai:second"))])
        session = agent.session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert provider.requests[0].api == "openai.chat" and of(StepStarted, events)[0].model == "second"
        assert (session.messages[-1].provider, session.messages[-1].model) == ("openai", "second")  # pyright: ignore
    async with ScriptedProvider([]) as provider:
        with pytest.raises(HookError, match="openai:third") as unknown:
            await ANTHROPIC.agent(provider, hooks=[at("step.before", Redirect("openai:third"))]).run("Hi")
        assert unknown.value.code == "bad_redirect" and "anthropic:a-model" in unknown.value.hint


@honours("step.after", Modify)
async def modified_answer() -> None:
    async with ScriptedProvider([reply("It is secret.")]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[at("step.after", Modify("It is ***."))]).session()
        result = await session.run("Hi")
        assert result.text == "It is ***." == session.messages[-1].text  # pyright: ignore
        assert result.usage.output_tokens and session.messages[-1].usage == result.usage  # pyright: ignore
        replay(await session.journal(0))


@honours("step.after", Cancel)
async def answer_not_taken() -> None:
    async with ScriptedProvider([reply(call("write", path="a"))]) as provider:
        tools = Tools()
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[at("step.after", Cancel("tripwire"))]).session()
        result = await session.run("Hi")
        assert (result.reason, result.cause, result.steps, tools.ran) == ("stopped", "tripwire", 0, [])
        assert result.usage.input_tokens and session.usage == result.usage  # E10: what it took is told all the same
        assert len(session.messages) == 1
        replay(await session.journal(0))


@honours("step.after", Retry)
async def answer_asked_for_again() -> None:
    async with ScriptedProvider([reply("Bad."), reply("Good.")]) as provider:
        again = at("step.after", lambda c: Retry(0.0) if c.value.text == "Bad." else None)
        session = ANTHROPIC.agent(provider, hooks=[again], retry=AGAIN).session()
        result = await session.run("Hi")
        assert result.text == "Good." and len(provider.requests) == 2
        first = said(provider, 0)
        assert said(provider, 1) == first  # T2: the answer that was not taken leaves nothing behind
        assert result.usage.output_tokens and len(session.messages) == 2
        replay(await session.journal(0))


@honours("tool.before", Modify)
async def modified_arguments() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("look", at="here")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.before", Modify({"at": "there"}))]).session()
        result = await session.run("Hi")
        assert tools.ran == ["look there"]
        assert result.messages[1].tool_calls[0].arguments == '{"at":"there"}'  # pyright: ignore
        assert '"there"' in str(said(provider)).replace("'", '"')  # the transcript shows what really ran
        replay(await session.journal(0))


@honours("tool.before", Replace)
async def result_without_a_run() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("look"), call("write", path="a")), reply("Done.")]) as provider:
        cached = at("tool.before", lambda c: Replace({"from": "cache"}) if c.value.name == "look" else None)
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[cached]).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert [(r.text, type(r.outcome)) for r in results(turn.result)] == [('{"from":"cache"}', Ok), ("wrote a", Ok)]
        assert tools.ran == ["write a"]
        assert len(of(ToolStarted, events)) == len(of(ToolFinished, events)) == 2
        started = [e for e in await session.journal(0) if type(e).__name__ == "CallStarted"]
        assert len(started) == 1  # a call that never ran has no beginning in the journal
        replay(await session.journal(0))
    long = "x" * 100_000
    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.before", Replace(long))]).session()
        (only,) = results(await session.run("Hi"))
        assert len(only.text) < 50_000 and only.artifact is not None  # E7: cut like a tool's
        assert (await session.artifact(only.artifact)).decode() == long


@honours("tool.before", Cancel)
async def denied_call() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        agent = ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.before", Cancel("not that path"))])
        (only,) = results(await agent.run("Hi"))
    assert only.outcome == Denied("not that path") and not tools.ran and "not that path" in only.text


@honours("tool.before", Redirect)
async def another_tool() -> None:
    tools, asked = Tools(), list[tuple[str, str]]()

    def policy(proposed: ProposedCall) -> Allow:
        asked.append((proposed.name, proposed.raw_arguments))
        return Allow()

    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        instead = at("tool.before", lambda c: Redirect("look", {"at": c.value.arguments["path"]}))
        session = ANTHROPIC.agent(provider, *tools.all, hooks=[instead], approvals=policy).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert tools.ran == ["look a"] and results(turn.result)[0].text == "saw a"
        assert [n for n, _ in asked] == ["write", "look"] and asked[1][1] == '{"at":"a"}'  # P2
        assert [e.name for e in of(ToolStarted, events)] == ["look"]
        assert not provider.requests[-1].problems
        replay(await session.journal(0))
    for to, why in (Redirect("nothing"), "does not have"), (Redirect("look", {"at": 3}), "do not fit"):
        tools.ran.clear()
        async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
            agent = ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.before", to)])
            (only,) = results(await agent.run("Hi"))
        assert isinstance(only.outcome, Failed) and only.outcome.error.code == "bad_redirect" and why in only.text
        assert not tools.ran


@honours("tool.after", Modify)
async def modified_result() -> None:
    async with ScriptedProvider([reply(call("look")), reply("Done.")]) as provider:
        shorter = at("tool.after", lambda c: Modify(c.value.text.replace("saw", "SAW")))
        (only,) = results(await ANTHROPIC.agent(provider, *Tools().all, hooks=[shorter]).run("Hi"))
        assert (only.text, type(only.outcome)) == ("SAW it", Ok) and "SAW it" in str(said(provider))


@honours("tool.after", Retry)
async def call_run_again() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("look"), call("write", path="a")), reply("Done.")]) as provider:
        left = {"look": 1, "write": 1}

        def again(context: HookContext) -> Retry | None:
            name = "look" if context.call_id.endswith("c0") else "write"
            left[name] -= 1
            return Retry(0.0) if left[name] >= 0 else None

        session = ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.after", again)]).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
    assert sorted(tools.ran) == ["look it", "look it", "write a"]  # E6: only what is declared safe to repeat
    refused = [e.message for e in of(Notice, events) if e.code == "retry_refused"]
    assert len(refused) == 1 and "write" in refused[0] and "idempotent" in refused[0]
    assert [type(r.outcome) for r in results(turn.result)] == [Ok, Ok]
    assert len(of(ToolStarted, events)) == len(of(ToolFinished, events)) == 2


@honours("tool.error", Modify)
async def other_words_for_a_failure() -> None:
    async with ScriptedProvider([reply(call("shaky")), reply("Done.")]) as provider:
        kinder = at("tool.error", Modify("Try again tomorrow."))
        (only,) = results(await ANTHROPIC.agent(provider, *Tools().all, hooks=[kinder]).run("Hi"))
    assert only.text == "Try again tomorrow." and isinstance(only.outcome, Failed)


@honours("tool.error", Replace)
async def good_result_for_a_failure() -> None:
    async with ScriptedProvider([reply(call("shaky")), reply("Done.")]) as provider:
        (only,) = results(
            await ANTHROPIC.agent(provider, *Tools().all, hooks=[at("tool.error", Replace("a guess"))]).run("Hi")
        )
    assert (only.text, type(only.outcome)) == ("a guess", Ok)


@honours("tool.error", Retry)
async def failed_call_run_again() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("shaky", times=2)), reply("Done.")]) as provider:
        (only,) = results(await ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.error", Retry(0.0))]).run("Hi"))
    assert (only.text, tools.ran) == ("done", ["shaky"] * 3)
    tools = Tools()
    async with ScriptedProvider([reply(call("shaky", times=99)), reply("Done.")]) as provider:
        (only,) = results(await ANTHROPIC.agent(provider, *tools.all, hooks=[at("tool.error", Retry(0.0))]).run("Hi"))
    assert isinstance(only.outcome, Failed) and len(tools.ran) == 4  # E6: within a budget


@honours("state.before", Modify)
async def modified_value() -> None:
    async with Runtime(hooks=[at("state.before", lambda c: Modify(c.value.value + 1))]) as runtime:
        scope = runtime.scopes().user
        assert (await scope.set("n", 1)).value == 2
        assert await scope.update("n", lambda n: n * 10) == 21 == await scope.get("n")


@honours("state.before", Cancel)
async def refused_write() -> None:
    async with ScriptedProvider([reply(call("remember", what="tea")), reply("Done.")]) as provider:
        agent = ANTHROPIC.agent(provider, *Tools().all, hooks=[at("state.before", Cancel("read only"))])
        session = agent.session()
        (only,) = results(await session.run("Hi"))
        assert isinstance(only.outcome, Failed) and "read only" in only.text
        with pytest.raises(HookError, match="read only"):
            await session.scopes.user.set("what", "tea")
        assert await session.scopes.user.get("what") is None


async def talked(*hooks: Any) -> tuple[Session[Any], CompactReport]:
    script = [reply(f"Answer {n}.") for n in range(4)]
    async with ScriptedProvider(script) as provider:
        agent = ANTHROPIC.agent(
            provider, hooks=hooks, compaction=Compaction(strategies=[Drop()], keep_turns=1, keep_tokens=1)
        )
        session = agent.session()
        for n in range(4):
            await session.run(f"Question {n}? " + "x" * 400)
        return session, await session.compact()


@honours("compaction.before", Modify)
async def compacted_in_another_way() -> None:
    session, plain = await talked()
    assert plain.compacted
    settings = Compaction(strategies=[])
    session, report = await talked(at("compaction.before", Modify(settings)))
    assert not report.compacted and report.why_not == "no_strategy" and len(session.messages) == 8


@honours("compaction.before", Cancel)
async def compaction_called_off() -> None:
    session, report = await talked(at("compaction.before", Cancel("not now")))
    assert not report.compacted and report.error is not None
    assert report.error.code == "hook_cancelled" and report.error.message == "not now" and len(session.messages) == 8


@honours("approval.requested", Modify)
async def other_words_for_people() -> None:
    def shorter(context: HookContext) -> Modify:
        asked: ApprovalRequest = context.value
        return Modify(ApprovalRequest(asked.call_id, asked.name, asked.raw_arguments, "a is precious", 60))

    async with Runtime() as runtime, ScriptedProvider([reply(call("write", path="a"))]) as provider:
        agent = ANTHROPIC.agent(
            provider, *Tools().all, approvals=asks_to_write, hooks=[at("approval.requested", shorter)], runtime=runtime
        )
        async with agent.session() as session:
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            (asked,) = of(ApprovalRequested, events)
            assert asked.reason == "a is precious" and asked.expires_at == pytest.approx(
                runtime.clock.wall() + 60, abs=20
            )


@honours("approval.requested", Cancel)
async def nobody_is_asked() -> None:
    tools = Tools()
    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        agent = ANTHROPIC.agent(
            provider, *tools.all, approvals=asks_to_write, hooks=[at("approval.requested", Cancel("nobody is awake"))]
        )
        result = await agent.run("Hi")
    assert result.reason == "completed" and results(result)[0].outcome == Denied("nobody is awake") and not tools.ran


PAIRS = [(point, result) for point in POINTS for result in RESULTS]
HONOURABLE = [(p, r) for p, r in PAIRS if r in POINTS[p].honours and r is not Continue]


def name_of(pair: Any) -> str:
    return pair if isinstance(pair, str) else pair.__name__


@pytest.mark.parametrize(("point", "result"), HONOURABLE, ids=name_of)
async def test_every_result_that_a_point_honours_is_honoured(point: str, result: type[HookResult]) -> None:
    """H1: each pair of the table that is offered, driven through the real path."""
    await HONOURED[point, result]()


def test_there_is_no_case_too_few_or_too_many() -> None:
    assert set(HONOURED) == set(HONOURABLE)


@pytest.mark.parametrize(("point", "result"), [p for p in PAIRS if p not in HONOURABLE], ids=name_of)
async def test_what_a_point_cannot_honour_is_refused(point: str, result: type[HookResult]) -> None:
    """H1: at registration, if it is declared; and where it is given all the same, it is an error of the hook (H2)."""
    if result is Continue:
        assert Continue in POINTS[point].honours
        at(point, Continue(), returns=[Continue])
        return
    with pytest.raises(ConfigError) as declared:
        at(point, RESULTS[result], returns=[result])
    assert declared.value.code == "unhonoured_result" and result.__name__ in declared.value.message

    def annotated(context: HookContext) -> HookResult | None:
        return RESULTS[result]

    annotated.__annotations__["return"] = result | None
    with pytest.raises(ConfigError) as said_so:
        hook(point)(annotated)
    assert said_so.value.code == "unhonoured_result"


class Given:
    """Gives what no point honours, everywhere."""

    id = "given"

    def __init__(self, result: HookResult) -> None:
        self._result = result
        for point in POINTS.values():
            if type(result) not in point.honours:
                setattr(self, point.method, self._give)

    def _give(self, context: HookContext) -> Any:
        return self._result


for _point in POINTS.values():
    setattr(Given, _point.method, None)


@pytest.mark.parametrize("result", [r for r in RESULTS if r is not Continue], ids=name_of)
async def test_an_unhonoured_result_at_run_time_is_an_error_of_the_hook(result: type[HookResult]) -> None:
    """H2: failing open, everything goes on as if the hook was not there; the error is counted and told."""
    tools = Tools()
    async with (
        ScriptedProvider([reply(call("look"), call("remember", what="tea")), reply("Done.")]) as provider,
        Runtime() as runtime,
    ):
        agent = OPENAI.agent(provider, *tools.all, hooks=[Given(RESULTS[result])], runtime=runtime)
        async with agent.session() as session:
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            assert turn.result.text == "Done." and [type(r.outcome) for r in results(turn.result)] == [Ok, Ok]
        hooks = {one.point: one for one in runtime.hooks()}
        called = {point for point, one in hooks.items() if one.calls}
        assert {p for p in called if hooks[p].errors != hooks[p].calls} == set()
        assert called >= {p for p in ("turn.after", "session.ended", "state.after") if p in hooks}
        assert all(
            one.last_error and one.last_error.code == "unhonoured_result" for p, one in hooks.items() if p in called
        )
        assert any(e.code == "hook_failed" and "cannot honour" in e.message for e in of(Notice, events))


# --- registration ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("tool.befor", "tool.before"), ("turn_after", "turn.after"), ("aproval.requested", "approval.requested")],
)
def test_an_unknown_point_is_refused_with_the_nearest_name(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError) as unknown:
        at(wrong, Continue())
    assert unknown.value.code == "unknown_point" and near in unknown.value.hint


def test_an_unknown_custom_point_is_refused_when_the_hook_is_registered() -> None:
    declare_point("tests/known")
    late = at("tests/knwn", Continue())
    with pytest.raises(ConfigError, match="Did you mean 'tests/known'"):
        Agent("anthropic:x", hooks=[late])
    with pytest.raises(ConfigError) as unhonoured:
        Agent("anthropic:x", hooks=[at("tests/known", Continue(), returns=[Modify])])
    assert unhonoured.value.code == "unhonoured_result"


def undecorated(context: HookContext) -> None: ...


class Nearly:
    def tool_befor(self, context: HookContext) -> None: ...


class Nothing:
    def helper(self) -> None: ...


class Wrong:
    def turn_after(self, context: HookContext) -> Cancel:
        return Cancel()


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        (undecorated, "bad_hook", "Decorate it"),
        (Nearly(), "unknown_point", "tool_before"),
        (Nothing(), "bad_hook", "no method"),
        (Wrong(), "unhonoured_result", "can only be watched"),
        (Nothing, "bad_hook", "no hook"),
    ],
    ids=lambda v: getattr(v, "__name__", type(v).__name__),
)
def test_what_is_no_hook_is_refused(given: object, code: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Agent("anthropic:x", hooks=[given])
    assert refused.value.code == code and why in str(refused.value)
    with pytest.raises(ConfigError):
        Runtime(hooks=[given])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"fail": "ajar"}, "'open' or 'closed'"),
        ({"timeout_s": 0}, "above 0"),
        ({"returns": [str]}, "no result of a hook"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        at("tool.before", Continue(), **options)


def test_functions_that_cannot_be_called_so_are_refused() -> None:
    async def waits(context: HookContext) -> None: ...
    def two(context: HookContext, more: int) -> None: ...
    def yields(context: HookContext) -> Any:
        yield None

    def text(context: HookContext) -> str:
        return ""

    with pytest.raises(ConfigError, match="asynchronous and blocking"):
        hook("tool.before", blocking=True)(waits)
    with pytest.raises(ConfigError, match="one parameter"):
        hook("tool.before")(two)
    with pytest.raises(ConfigError, match="generator"):
        hook("tool.before")(yields)
    with pytest.raises(ConfigError, match="no result of a hook"):
        hook("tool.before")(text)


def test_a_decorated_function_stays_what_it_is() -> None:
    @hook("tool.before")
    @hook("tool.after", priority=3)
    def twice(context: HookContext) -> None: ...

    assert twice(HookContext("x", 1)) is None
    agent = Agent("anthropic:x", hooks=[twice])
    assert [h.point.name for h in agent.extensions.hooks] == ["tool.before", "tool.after"]


def test_the_page_lists_every_point_and_what_it_honours() -> None:
    """H1: the table of docs/hooks.md is that of the code."""
    page = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:]]
        for line in page.split("## Order")[0].splitlines()
        if line[:3] == "| `"
    ]
    listed = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[-3])) for row in rows if row[0].strip("`") in POINTS}
    assert listed == {p.name: {r.__name__ for r in p.honours if r is not Continue} for p in POINTS.values()}
