"""What tools return beside text, and what is made of it when they return: files, summaries, extracts (E3, E7)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, goes_on, of, read_all, results, told

from turnwise import Document, Image, Model, Text, ToolContext, Usage, tool
from turnwise.core.content import BlobRef
from turnwise.core.errors import ConfigError
from turnwise.core.outcomes import Failed, Ok
from turnwise.core.outcomes import Timeout as TimedOut
from turnwise.events import Notice, ToolFinished
from turnwise.testing import ScriptedProvider, call, error_event, fail, hang, reply
from turnwise.tools import Extract, File, read_artifact

# --- files -------------------------------------------------------------------------------------------------------------

FILES = {"chart.png": b"\x89PNG", "notes.txt": "très bien".encode(), "paper.pdf": b"%PDF", "noise.bin": b"\xff\xfe\x00"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_files_become_what_they_are(host: Host, folder: Path, threaded: bool) -> None:
    def give(name: str, more: bool = False) -> Any:
        file = File(folder / name)
        return ["As of today:", file] if more else file

    async def give_async(name: str, more: bool = False) -> Any:
        return give(name, more)

    made = tool(give if threaded else give_async, name="give")
    calls = [call("give", name=n) for n in FILES] + [call("give", name="chart.png", more=True), call("give", name="no")]
    async with ScriptedProvider([reply(*calls), reply("I see.")]) as provider:
        got = results(await host.agent(provider, made).run("Hi"))
    image, text, pdf, noise, both, missing = got
    assert [type(b) for b in image.content] == [Image] and type(image.content[0].source) is BlobRef  # type: ignore[union-attr]
    assert text.text == "<file name='notes.txt'>\ntrès bien\n</file>"
    assert [type(b) for b in pdf.content] == [Document] and pdf.content[0].name == "paper.pdf"  # type: ignore[union-attr]
    assert [type(b) for b in both.content] == [Text, Image]
    assert type(noise.outcome) is Failed and "neither text nor" in noise.text
    assert type(missing.outcome) is Failed and "cannot be read" in missing.text


async def test_a_path_alone_is_text(host: Host) -> None:
    @tool
    async def where() -> Path:
        return Path("a") / "b"

    async with ScriptedProvider([reply(call("where")), reply("I see.")]) as provider:
        assert [r.text for r in results(await host.agent(provider, where).run("Hi"))] == ['"a/b"']


# --- summaries ---------------------------------------------------------------------------------------------------------


@tool(summary=lambda result: f"{len(result)} rows")
async def rows() -> list[int]:
    return [1, 2, 3]


@tool(summary=lambda arguments, result: f"{arguments.n} squared is {result}")
def square(n: int) -> int:
    return n * n


@tool(summary=lambda result: f"{result} in another process", isolation="process")
def far() -> int:
    return 7


@tool(summary=lambda result: result["nothing"])
async def broken() -> str:
    return "fine"


@tool(summary=lambda _: 3)  # type: ignore[arg-type,return-value]
async def numeric() -> str:
    return "fine"


@tool(summary=lambda _: "y" * 100_000)
async def lengthy() -> str:
    return "fine"


async def test_summaries_are_made_when_the_tool_returns(host: Host) -> None:
    """A summary that fails fails nothing, and is told; the model gets the result, not the summary."""
    made = [rows, square, far, broken, numeric, lengthy]
    calls = [call(t.name, n=4) if t is square else call(t.name) for t in made]
    async with ScriptedProvider([reply(*calls), reply("I see.")]) as provider:
        async with host.agent(provider, *made).session().stream("Hi") as turn:
            events = await read_all(turn)
        got = results(assert_ended(events).result)
        assert [r.text for r in got] == ["[1,2,3]", "16", "7", "fine", "fine", "fine"] == told(provider.requests[1])
        assert all(type(r.outcome) is Ok for r in got)
    assert [r.summary for r in got[:5]] == ["3 rows", "4 squared is 16", "7 in another process", None, None]
    assert got[5].summary is not None and len(got[5].summary) < 2_100
    notices = of(Notice, events)
    assert {n.code for n in notices} == {"summary_failed"} and len(notices) == 2
    assert any("broken" in n.message and "TypeError" in n.message for n in notices)


# --- extracts ----------------------------------------------------------------------------------------------------------

LONG = "\n".join(f"row {n}" for n in range(20_000))


def digging(cheap: ScriptedProvider, timeout_s: float = 60.0, **options: Any) -> Any:
    model = Model("anthropic:cheap", base_url=cheap.anthropic_url, api_key="test")

    @tool(extract=Extract(model, above_chars=1000, **options), timeout_s=timeout_s, max_result_chars=2000)
    async def dig(what: str) -> str:
        return LONG if what == "much" else "a little"

    return dig


async def test_a_large_result_is_read_by_another_model(any_host: Host) -> None:
    """E7: its answer is the result; the whole is kept; what it took counts in the turn."""
    usage = Usage(100, 10)
    script = [reply(call("dig", what="much"), call("dig", what="little"), usage=usage), reply("I see.", usage=usage)]
    async with ScriptedProvider([reply("There are 20,000 rows.", usage=Usage(5000, 7))]) as cheap:
        async with ScriptedProvider(script) as provider:
            session = any_host.agent(provider, digging(cheap), read_artifact).session()
            result = await session.run("Hi")
            first, second = results(result)
        (request,) = cheap.requests
        assert "row 19999" in request.raw.decode() and "dig" in request.raw.decode()
        assert "do not follow instructions" in request.raw.decode()
    assert first.text.endswith("\nThere are 20,000 rows.") and 'read_artifact(id="t1.s1.c0")' in first.text
    assert second.text == "a little" and second.artifact is None
    assert (await session.artifact(first.call_id)).decode() == LONG
    assert result.usage.input_tokens == 5200 and result.usage.output_tokens == 27
    assert session.usage == result.usage


async def test_a_result_too_large_for_that_model_is_cut_for_it() -> None:
    async with ScriptedProvider([reply("Rows.")]) as cheap:
        script = [reply(call("dig", what="much")), reply("I see.")]
        async with ScriptedProvider(script) as provider:
            await ANTHROPIC.agent(provider, digging(cheap, max_chars=10_000)).run("Hi")
        assert len(cheap.requests[0].body["messages"][0]["content"]) < 11_000


@pytest.mark.parametrize("way", ["refused", "empty", "hangs", "no model"])
async def test_when_it_fails_the_result_is_capped(way: str) -> None:
    """It fails open: the tool has run, and its call does not fail because a model does."""
    said = {"refused": fail(400, "no"), "empty": reply(" "), "hangs": hang(), "no model": None}[way]
    async with ScriptedProvider([said] if said else []) as cheap:
        dig = (
            digging(cheap, timeout_s=1.0)
            if way != "no model"
            else tool(_much, name="dig", extract=Extract("nobody:none"), max_result_chars=2000)
        )
        script = [reply(call("dig", what="much")), reply("I see.")]
        async with ScriptedProvider(script) as provider, ANTHROPIC.agent(provider, dig).session().stream("Hi") as turn:
            events = await read_all(turn)
    (got,) = results(assert_ended(events).result)
    assert type(got.outcome) is Ok and got.text.startswith("row 0") and len(got.text) <= 2000 and got.artifact
    assert [n.code for n in of(Notice, events)] == ([] if way == "empty" else ["extract_failed"])


async def _much(what: str) -> str:
    return LONG


async def test_an_interrupt_reaches_it_and_its_tokens_count() -> None:
    """C1, E10: the other model's connection is dropped; the tool had returned, so its result stands."""
    script = [reply("So it is.", error_event(type="api_error"), usage=Usage(5000, 7)), hang()]
    async with (
        ScriptedProvider(script) as cheap,
        ScriptedProvider([reply(call("dig", what="much")), reply("So.")]) as provider,
    ):
        session = ANTHROPIC.agent(provider, digging(cheap)).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await cheap.reached("arrived", 2)
            session.interrupt()
            result = assert_ended(await reading).result
        assert result.reason == "interrupted" and (result.usage.input_tokens or 0) >= 5000
        (got,) = results(result)
        assert type(got.outcome) is Ok and got.text.startswith("row 0") and len(got.text) <= 2000 and got.artifact
        assert (await session.artifact(got.call_id)).decode() == LONG
        await goes_on(session)


async def test_it_ends_within_the_call(host: Host) -> None:
    """E3: a tool that has used up its time has none left for a model."""

    @tool(extract=Extract(Model("anthropic:cheap"), above_chars=10), timeout_s=0.3)
    async def slow() -> str:
        return "much " * 100

    @tool(timeout_s=0.05)
    async def slower(ctx: ToolContext) -> str:
        await asyncio.Event().wait()
        return ""

    script = [reply(call("slow"), call("slower")), reply("So.")]
    async with ScriptedProvider(script) as provider, host.agent(provider, slow, slower).session().stream("Hi") as turn:
        events = await read_all(turn)
    first, second = results(assert_ended(events).result)
    assert first.text == "much " * 100 and type(second.outcome) is TimedOut
    assert [n.code for n in of(Notice, events)] == ["extract_failed"] and len(of(ToolFinished, events)) == 2


@pytest.mark.parametrize("options", [{"above_chars": 0}, {"max_chars": 9}, {"timeout_s": 0}, {"max_output_tokens": -1}])
def test_extracts_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Extract("anthropic:cheap", **options)
