"""Long results: cut for the model, kept whole, and read by range and pattern (rules E3, E7)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from hashlib import sha256
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    goes_on,
    of,
    read_all,
    read_until,
    results,
    told,
    until,
)

from turnwise import Image, Limits, Runtime, Session, Text, ToolContext, ToolError, tool
from turnwise.core.content import BlobRef
from turnwise.core.errors import SessionError
from turnwise.core.outcomes import Cancelled, Failed, Ok, ToolResult
from turnwise.core.outcomes import Timeout as TimedOut
from turnwise.events import Notice, ToolFinished
from turnwise.store.memory import MemoryBlobs
from turnwise.testing import ScriptedProvider, call, reply
from turnwise.tools import read_artifact

LINES = [f"{n}: the quick brown fox" for n in range(1, 4001)]
LONG = "\n".join(LINES)


@tool
async def look() -> str:
    return LONG


async def test_the_model_gets_both_ends_and_the_session_keeps_all(any_host: Host) -> None:
    """E7: the default cap, the artifact, and what the provider received."""
    async with ScriptedProvider([reply(call("look")), reply("I see."), reply("And?")]) as provider:
        session = any_host.agent(provider, look).session()
        (got,) = results(await session.run("Hi"))
        assert type(got.outcome) is Ok and len(got.text) <= 50_000
        assert got.text.startswith("1: the quick") and got.text.endswith("4000: the quick brown fox")
        assert "kept with the session" in got.text and "read_artifact" not in got.text
        assert got.artifact == BlobRef(sha256(LONG.encode()).hexdigest(), len(LONG), "text/plain")
        assert told(provider.requests[1]) == [got.text]
        for which in (got.artifact, got.call_id, got.artifact.sha256):
            assert (await session.artifact(which)).decode() == LONG
        await goes_on(session)


async def test_short_results_are_left_alone_and_none_means_no_cap(host: Host) -> None:
    @tool(max_result_chars=None)
    async def all_of_it() -> str:
        return LONG

    @tool(max_result_chars=1000)
    async def just_fits() -> str:
        return "x" * 1000

    async with ScriptedProvider([reply(call("all_of_it"), call("just_fits")), reply("I see.")]) as provider:
        got = results(await host.agent(provider, all_of_it, just_fits).run("Hi"))
        assert [(r.text, r.artifact) for r in got] == [(LONG, None), ("x" * 1000, None)]


async def test_text_of_several_blocks_is_cut_together(host: Host) -> None:
    """E7: pictures stay; the artifact has the text of all blocks."""

    @tool(max_result_chars=1000)
    async def report() -> list[Any]:
        return ["a" * 900, Image.of(b"picture", "image/png"), "b" * 900, "c" * 900]

    async with ScriptedProvider([reply(call("report")), reply("I see.")]) as provider:
        session = host.agent(provider, report).session()
        (got,) = results(await session.run("Hi"))
        assert [type(b) for b in got.content] == [Text, Image, Text]
        assert sum(len(b.text) for b in got.content if type(b) is Text) <= 1000
        assert got.text.startswith("aaa") and got.text.endswith("ccc") and "b" not in got.content[2].text  # type: ignore[union-attr]
        assert (await session.artifact(got.call_id)).decode() == "\n".join(["a" * 900, "b" * 900, "c" * 900])


# --- calls that fail, are stopped, or never end ----------------------------------------------------------------------


async def test_a_long_error_is_cut_and_kept(host: Host) -> None:
    """E3, E7: the model gets the ends of it; the outcome, which is journalled too, is bounded."""

    @tool(max_result_chars=2000)
    async def fails() -> str:
        raise ToolError(LONG)

    async with ScriptedProvider([reply(call("fails")), reply("I see.")]) as provider:
        session = host.agent(provider, fails).session()
        (got,) = results(await session.run("Hi"))
        assert type(got.outcome) is Failed and len(got.outcome.error.message) < 5000 and len(got.text) <= 2000
        assert LONG in (await session.artifact(got.call_id)).decode()


@tool(max_result_chars=1000, timeout_s=5.0)
async def prints(ctx: ToolContext) -> str:
    ctx.keep(b"printed line\n" * 400)
    ctx.progress("printed")
    await asyncio.Event().wait()
    return ""


def check_printed(got: ToolResult) -> None:
    assert got.text.startswith(("The tool did not", "The call was cancelled")) and len(got.text) <= 1000
    assert got.text.endswith("printed line\n") and got.artifact is not None


async def test_what_a_stopped_call_had_printed_is_cut_and_kept(host: Host) -> None:
    """E3: an interrupt keeps what was printed."""
    async with ScriptedProvider([reply(call("prints"))]) as provider:
        session = host.agent(provider, prints).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, object, lambda e: getattr(e, "message", "") == "printed")
            session.interrupt()
            events += await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert type(got.outcome) is Cancelled
        check_printed(got)
        assert (await session.artifact(got.call_id)).count(b"printed line") == 400


async def test_a_body_that_is_abandoned_leaves_what_it_printed(host: Host) -> None:
    """E3, E7: the call ends in time although the text goes to a blob store that takes its time."""
    release, kept = threading.Event(), asyncio.Event()

    class SlowBlobs(MemoryBlobs):
        async def put(self, data: bytes) -> str:
            await kept.wait()
            return await super().put(data)

    @tool(max_result_chars=1000, timeout_s=0.05)
    def block(ctx: ToolContext) -> str:
        ctx.keep(b"printed line\n" * 400)
        release.wait(20)
        return "too late"

    async with (
        Runtime(blobs=SlowBlobs()) as runtime,
        ScriptedProvider([reply(call("block")), reply("So.")]) as provider,
    ):
        try:
            session = host.agent(provider, block, runtime=runtime).session()
            (got,) = results(await session.run("Hi"))
            assert got.outcome == TimedOut(0.05, still_running=True)
            check_printed(got)
            kept.set()
            await asyncio.sleep(0)
            assert (await session.artifact(got.call_id)).count(b"printed line") == 400
        finally:
            release.set()
            await until(lambda: runtime.blocking.abandoned == 0)


async def test_a_blob_store_that_fails_costs_no_result(host: Host) -> None:
    """E7: the tool has had its effect; the model gets the ends and is told the truth, watchers get a notice."""

    class FullBlobs(MemoryBlobs):
        async def put(self, data: bytes) -> str:
            raise OSError("no space left")

    async with Runtime(blobs=FullBlobs()) as runtime, ScriptedProvider([reply(call("look")), reply("So.")]) as provider:
        async with host.agent(provider, look, read_artifact, runtime=runtime).session().stream("Hi") as turn:
            events = await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert type(got.outcome) is Ok and got.artifact is None and "could not be kept" in got.text
        (notice,) = of(Notice, events)
        assert notice.code == "artifact_lost" and "no space left" in notice.message


# --- reading them ------------------------------------------------------------------------------------------------------


async def reads(*asked: dict[str, Any], text: str = LONG, session: Session[Any] | None = None) -> list[str]:
    """What a model gets that first calls `look`, then `read_artifact` with these arguments."""

    @tool(max_result_chars=1000)
    async def look() -> str:
        return text

    calls = [call("read_artifact", **{"id": "t1.s1.c0", **each}) for each in asked]
    script = [reply(call("look")), reply(*calls), reply("I see.")]
    async with ScriptedProvider(script) as provider:
        first, *rest = results(await ANTHROPIC.agent(provider, look, read_artifact).run("Hi"))
        assert 'Read it with read_artifact(id="t1.s1.c0").' in first.text
        assert all(r.artifact is None for r in rest), "an artifact of an artifact"
        return [r.text for r in rest]


async def test_ranges() -> None:
    """E7."""
    got = await reads(
        {"start": 10, "end": 12},
        {"start": 4000},
        {"start": 5, "end": 9, "unit": "characters"},
        {"start": len(LONG), "unit": "characters"},
        {"start": 3999, "end": 10**12},
    )
    assert got[0] == "[lines 10 to 12 of 4,000]\n" + "\n".join(LINES[9:12]) + "\n"
    assert got[1] == "[lines 4,000 to 4,000 of 4,000]\n" + LINES[-1]
    assert got[2].endswith("from line 1 on]\n" + LONG[4:9])
    assert got[3].endswith("]\nx")
    assert got[4] == "[lines 3,999 to 4,000 of 4,000]\n" + "\n".join(LINES[-2:])


@pytest.mark.parametrize("text", [LONG, "x" * 70_000, ("y" * 30_000 + "\n") * 3, "é" * 45_000 + "\n" * 100])
async def test_reading_on_gives_the_whole_text(text: str) -> None:
    """E7: whoever follows the notes has read everything, once."""
    parts, asked = [""], {"start": 1, "unit": "lines"}
    for _ in range(20):
        (got,) = await reads(asked, text=text)
        head, _, part = got.partition("]\n")
        assert len(part) <= 20_000
        parts.append(part)
        on = re.search(r'go on with (unit="characters", )?start=(\d+)', head)
        if on is None:
            break
        asked = {"start": int(on[2]), "unit": "characters" if on[1] else asked["unit"]}
    assert "".join(parts) == text


async def test_what_cannot_be_read_is_said() -> None:
    got = await reads(
        {"start": 4001},
        {"start": 10**9, "unit": "characters"},
        {"start": 9, "end": 8},
        {"start": 0},
        {"id": "t9.s1.c0"},
    )
    assert "has 4,000 lines" in got[0] and f"has {len(LONG):,} characters" in got[1]
    assert "empty" in got[2] and "start" in got[3] and "t9.s1.c0" in got[4]


async def test_patterns() -> None:
    """E7: matches by line number, with context, within a range; counted; bounded."""
    got = await reads(
        {"pattern": "^(17|18): "},
        {"pattern": "^17:", "context": 0},
        {"pattern": "^1: |^4000: ", "context": 1},
        {"pattern": "quick", "context": 0},
        {"pattern": "^(17|3000): ", "start": 100, "context": 0},
        {"pattern": "slow"},
        {"pattern": "fox(", "context": 0},
    )
    assert got[0].splitlines() == ["[2 lines match]"] + [
        f"{n}{':' if n in (17, 18) else '-'}{LINES[n - 1]}" for n in range(15, 21)
    ]
    assert got[1] == f"[1 line matches]\n17:{LINES[16]}"
    assert got[2].splitlines()[1:] == [f"1:{LINES[0]}", f"2-{LINES[1]}", "--", f"3999-{LINES[-2]}", f"4000:{LINES[-1]}"]
    assert got[3].startswith("[4,000 lines match, the first 100 are shown]") and len(got[3]) <= 20_000
    assert got[4] == f"[1 line matches]\n3000:{LINES[2999]}"
    assert got[5] == "No line matches."
    assert "not a regular expression" in got[6]


async def test_a_match_in_a_very_long_line_is_shown_with_its_place() -> None:
    text = "a" * 50_000 + "needle" + "b" * 50_000 + "needle\n" + "short needle"
    got, place = await reads({"pattern": "needle"}, {"start": 50_001, "end": 50_006, "unit": "characters"}, text=text)
    assert "1, character 50001: …" in got and "1, character 100007: …" in got and "2:short needle" in got
    assert len(got) < 2000 and place.endswith("]\nneedle")


async def test_a_pattern_that_takes_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """E3: catastrophic backtracking; the loop stays free meanwhile, and the call ends."""
    monkeypatch.setattr("turnwise.tools.artifacts.SEARCH_S", 0.3)
    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            passes += 1
            await asyncio.sleep(0.01)

    counting = asyncio.create_task(count())
    try:
        (got,) = await reads({"pattern": "(a+)+$"}, text=("a" * 40 + "!\n") * 100)
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    assert "stopped after 0.3 s" in got and passes > 5


async def test_only_a_session_s_own_results_can_be_read(host: Host) -> None:
    """Security: the blob store is shared, its names are not a way around the session."""
    async with Runtime(blobs=MemoryBlobs()) as runtime:
        script = [reply(call("look")), reply("I see.")]
        async with ScriptedProvider(script) as provider:
            theirs = host.agent(provider, look, runtime=runtime).session()
            (secret,) = results(await theirs.run("Hi"))
        assert secret.artifact is not None
        ids = [secret.artifact.sha256, secret.artifact.sha256[:12], secret.call_id, theirs.id, ""]
        script = [reply(*[call("read_artifact", id=id) for id in ids]), reply("I see.")]
        async with ScriptedProvider(script) as provider:
            ours = host.agent(provider, read_artifact, runtime=runtime).session()
            got = results(await ours.run("Hi"))
        assert all(type(r.outcome) is Failed and "fox" not in r.text for r in got)
        for id in ids:
            with pytest.raises(SessionError) as raised:
                await ours.artifact(id)
            assert raised.value.code == "unknown_artifact"


async def test_a_history_that_is_handed_on_keeps_its_artifacts(host: Host) -> None:
    async with Runtime(blobs=MemoryBlobs()) as runtime:
        async with ScriptedProvider([reply(call("look")), reply("I see.")]) as provider:
            first = host.agent(provider, look, runtime=runtime).session()
            await first.run("Hi")
        script = [reply(call("read_artifact", id="t1.s1.c0", start=7, end=7)), reply("I see.")]
        async with ScriptedProvider(script) as provider:
            second = host.agent(provider, look, read_artifact, runtime=runtime).session(history=first.messages)
            (got,) = results(await second.run("Read on."))[-1:]
        assert got.text.endswith(LINES[6] + "\n")


async def test_watchers_can_read_before_the_step_has_ended(host: Host) -> None:
    """A result is known as soon as it is told."""
    go = asyncio.Event()

    @tool
    async def waits() -> str:
        await go.wait()
        return ""

    async with ScriptedProvider([reply(call("look"), call("waits")), reply("I see.")]) as provider:
        session = host.agent(provider, look, waits, limits=Limits(steps=3)).session()
        async with session.stream("Hi") as turn:
            events = await read_until(turn, ToolFinished)
            (ended,) = of(ToolFinished, events)
            assert (await session.artifact(ended.call_id)).decode() == LONG
            go.set()
            assert_ended(events + await read_all(turn))
