"""A request that does not begin with what was sent before is told, with its cause (rule T7); everything else is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import ANTHROPIC, Host, of, read_all

from turnwise import Agent, Compaction, Drop, Limits, Model, ModelSettings, Reasoning, Retry, Runtime, Session, tool
from turnwise.core.request import RequestHead
from turnwise.events import CacheBroken
from turnwise.runtime.cache_breaks import cause_of_break, sent
from turnwise.runtime.plan import Wishes
from turnwise.testing import ScriptedProvider, call, fail, repeat, reply


@tool
async def look(what: str) -> str:
    return what


async def told(session: Session[Any], prompt: str = "Hi", **options: Any) -> list[tuple[int, str]]:
    """Step and cause of each break that a turn told."""
    async with session.stream(prompt, **options) as turn:
        return [(e.step, e.cause) for e in of(CacheBroken, await read_all(turn))]


async def test_a_conversation_that_grows_breaks_nothing(any_host: Host) -> None:
    """Not over steps and turns, not by a limit, a retry, an interrupt or a stream that is asked for or not."""
    asks = reply(call("look", what="x"))
    script = [asks, asks, reply("A"), fail(503), reply("B"), asks, reply("C"), reply("D")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, retry=Retry(base_delay_s=0)).session()
        assert await told(session) == []
        assert await told(session, "Go on") == []
        assert await told(session, limits=Limits(steps=1)) == []
        assert await told(session, stream=not any_host.streamed) == []
        assert await told(session) == []


async def test_memory_that_was_given_back_is_no_break(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes are made again."""
    monkeypatch.setattr("turnwise.runtime.runtime.ENCODED_BYTES", 0)
    async with ScriptedProvider([repeat(reply("A"))]) as provider:
        session = host.agent(provider).session()
        assert [await told(session, "Hi " * 500) for _ in range(3)] == [[], [], []]


async def test_another_model(host: Host) -> None:
    """Falling back breaks it, and so does going back to the first one."""
    async with ScriptedProvider([reply("A"), fail(529), reply("B"), reply("C")]) as provider:
        models = [Model(f"{host.name}:{name}", base_url=host.url(provider), api_key="k") for name in ("one", "two")]
        session = Agent(models=models, retry=Retry(attempts=1)).session()
        assert [await told(session) for _ in range(3)] == [[], [(1, "model")], [(1, "model")]]


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"instructions": "Be brief."}, "instructions"),
        ({"tools": []}, "tools"),
        ({"temperature": 0.5}, None),
        ({"max_output_tokens": 99}, None),
    ],
    ids=str,
)
async def test_settings_of_a_session(host: Host, changed: dict[str, Any], cause: str | None) -> None:
    """What is read breaks it; how to answer does not."""
    async with ScriptedProvider([reply("A"), reply("B"), reply("C")]) as provider:
        session = host.agent(provider, look, instructions="Be long.").session()
        assert await told(session) == []
        await session.set(**changed)
        assert await told(session) == ([] if cause is None else [(1, cause)])
        assert await told(session) == []


async def test_a_view_that_changed(host: Host) -> None:
    """Once for each change, however it came about."""
    async with ScriptedProvider([repeat(reply("A"))]) as provider:
        shorter = Compaction(strategies=(Drop(),), keep_tokens=1)
        session = host.agent(provider, compaction=shorter).session()
        for _ in range(3):
            assert await told(session, "Hi " * 50) == []
        assert (await session.compact()).compacted
        assert [await told(session), await told(session)] == [[(1, "compaction")], []]
        assert await session.undo_compaction()
        assert [await told(session), await told(session)] == [[(1, "compaction")], []]
        await session.rewind(to=2)
        assert [await told(session), await told(session)] == [[(1, "rewind")], []]
        await session.clear()
        assert [await told(session), await told(session)] == [[(1, "clear")], []]


async def test_a_conversation_that_was_changed_before_anything_was_sent(host: Host) -> None:
    async with ScriptedProvider([reply("A")]) as provider:
        session = host.agent(provider).session()
        await session.clear()
        assert await told(session) == []


async def test_concluding_is_a_change_of_settings_where_it_is_one() -> None:
    """The model is forbidden to call: at this API that is part of what is read."""
    async with ScriptedProvider([reply(call("look", what="x")), reply("A")]) as provider:
        session = ANTHROPIC.agent(provider, look, limits=Limits(steps=1, on_limit="conclude")).session()
        assert await told(session) == [(2, "settings")]


async def test_every_part_of_a_head(host: Host) -> None:
    """Compared part by part, and only when the head was made anew."""
    async with Runtime() as runtime, ScriptedProvider([]) as provider:
        agent = host.agent(provider, look, instructions="Be brief.")
        session = agent.session()
        target = agent.plan(Wishes(), runtime).targets[0]
        before = sent(target, target.head, session.state)

        def cause(**changes: Any) -> str | None:
            head = msgspec.structs.replace(target.head, **changes)
            return cause_of_break(before, sent(target, head, session.state), session.state)

        assert isinstance(target.head, RequestHead) and cause() is None and cause(stream=False) is None
        assert cause(model="other") == "model"
        assert cause(instructions="") == "instructions"
        assert cause(tools=()) == "tools"
        assert cause(settings=ModelSettings(reasoning=Reasoning("high"))) == "settings"
        assert cause(settings=ModelSettings(temperature=1, seed=3, stop=("x",), cache="off")) is None
