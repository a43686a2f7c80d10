"""What a turn can do without, it does without and says so: in its result, on the bus, in `runtime.status()`; and when it works again.

Each against a part that really fails.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, of, read_all, read_until, until

from turnwise import Agent, Deadlines, Limits, Runtime, Sessions, SqliteStore, tool
from turnwise.bus import PartStatus, TurnWarning
from turnwise.core.entries import Entry, TurnEnded
from turnwise.core.errors import ErrorInfo
from turnwise.core.store import Claim, Owner
from turnwise.core.usage import Usage
from turnwise.errors import ConfigError, StateError
from turnwise.events import Notice, StepFinished, TextDelta, TurnFinished
from turnwise.models import catalogue_genai
from turnwise.models.facts import AGAIN_S, Facts
from turnwise.runtime.opening import save_snapshot
from turnwise.runtime.seams import SystemClock
from turnwise.store.memory import MemoryBlobs, MemoryStore
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, hang, raw, repeat, reply


@tool
async def look(what: str) -> str:
    return what


def stands(runtime: Runtime, part: str) -> tuple[str, str]:
    """How a part stands: state and code."""
    (found,) = [one for one in runtime.status().parts if one.part == part]
    return found.state, found.code


def warnings(result: Any) -> list[tuple[str, str]]:
    return [(one.part, one.code) for one in result.warnings]


async def told(statuses: Any) -> tuple[str, str, str]:
    """The next status on the bus."""
    event = await asyncio.wait_for(anext(statuses), 10)
    assert isinstance(event.data, PartStatus) and event.topic == f"status.{event.data.part}"
    return event.topic, event.data.state, event.data.code


# --- the store --------------------------------------------------------------------------------------------------------


class Failing(SqliteStore):
    """A store on disk whose appends fail while `trouble` is set; `after` some of them were let through."""

    trouble: Exception | None = None
    let_through = 0
    beats_fail = False

    async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
        if self.trouble is not None and self.let_through <= 0:
            raise self.trouble
        self.let_through -= 1
        return await super().append(session, after, entries, claim)

    def append_at_once(
        self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None
    ) -> int | None:
        if self.trouble is not None and self.let_through <= 0:
            raise self.trouble
        fence = super().append_at_once(session, after, entries, claim)
        self.let_through -= fence is not None
        return fence

    async def heartbeat(self, owner: Owner, ttl_s: float) -> None:
        if self.beats_fail:
            raise OSError("the disk is gone")
        await super().heartbeat(owner, ttl_s)


def _look_first(request: RecordedRequest) -> Reply:
    return reply(call("look", what="a")) if len(request.body["messages"]) == 1 else reply("So.")


@pytest.mark.parametrize("let_through", [0, 1, 2, 3])
async def test_a_store_that_cannot_be_written_stops_the_turn(host: Host, let_through: int, tmp_path: Path) -> None:
    """D1: nothing that was not acknowledged is shown as saved; and the session goes on when the store does."""
    store = Failing(tmp_path / "kept.db")
    async with (
        Runtime(store=store) as runtime,
        ScriptedProvider([repeat(_look_first)]) as provider,
    ):
        statuses = runtime.bus.subscribe("status.*")
        events = runtime.bus.subscribe(["turn.finished", "step.finished"])
        session = host.agent(provider, look, runtime=runtime).session()
        store.trouble, store.let_through = OSError("no space left on device"), let_through
        if let_through == 0:
            with pytest.raises(StateError) as raised:
                await session.run("Hi")
            assert raised.value.code == "append_failed"
        else:
            async with session.stream("Hi") as turn:
                seen = await read_all(turn)
            kept = await store.read(session.id)
            assert isinstance(seen[-1], TurnFinished)
            result = seen[-1].result
            assert (result.reason, result.cause) == ("error", "append_failed")
            assert ("store", "append_failed") in warnings(result)
            assert len(of(StepFinished, seen)) == result.steps == sum(type(e).__name__ == "StepCommitted" for e in kept)
            assert not any(isinstance(e, TurnEnded) for e in kept) and len(kept) == session.told
            on_bus = [event.data async for event in _until_finished(events)]
            assert on_bus == [e for e in seen if isinstance(e, (StepFinished, TurnFinished))]
        assert await told(statuses) == ("status.store", "failed", "append_failed")
        assert stands(runtime, "store") == ("failed", "append_failed") and not runtime.status().healthy
        store.trouble = None
        result = await session.run("Again")
        assert result.reason == "completed" and result.warnings == ()
        assert await told(statuses) == ("status.store", "ok", "") and runtime.status().healthy
    await store.close()


async def _until_finished(events: Any) -> AsyncIterator[Any]:
    async for event in events:
        yield event
        if event.topic == "turn.finished":
            return


async def test_a_store_that_refuses_one_session_is_well() -> None:
    """Whoever lost a session to another process cannot say that the store fails."""

    class Deleted(MemoryStore):
        append_now = None  # type: ignore[assignment]

        async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
            if after:
                raise StateError(ErrorInfo("state", "session_deleted", "It is gone."))
            return await super().append(session, after, entries, claim)

    async with Runtime(store=Deleted()) as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        with pytest.raises(StateError) as raised:
            await session.run("Hi")
        assert raised.value.code == "session_deleted"
        assert runtime.status().parts == () and raised.value.result is not None and raised.value.result.warnings == ()


async def test_two_stores_fail_and_one_is_mended(tmp_path: Path) -> None:
    """The part is well when all stores are, not when another one is."""
    one, other = Failing(tmp_path / "one.db"), Failing(tmp_path / "other.db")
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        a, b = [ANTHROPIC.agent(provider, runtime=runtime, store=store).session() for store in (one, other)]
        for store, session in ((one, a), (other, b)):
            store.trouble = OSError("no space left on device")
            with pytest.raises(StateError):
                await session.run("Hi")
        one.trouble = None
        await a.run("Hi")
        assert stands(runtime, "store")[0] == "failed"
        other.trouble = None
        await b.run("Hi")
        assert stands(runtime, "store")[0] == "ok"
    await one.close()
    await other.close()


async def test_a_store_that_hangs_is_known(tmp_path: Path) -> None:
    """It raises nothing: the turn is given up at the end of its grace, and the store is why."""
    release = asyncio.Event()

    class Hangs(Failing):
        append_at_once = None  # type: ignore[assignment]

        async def append(self, session: str, after: int, entries: Sequence[Entry], claim: Claim | None = None) -> int:
            if after:
                await release.wait()
            return await super().append(session, after, entries, claim)

    store = Hangs(tmp_path / "kept.db")
    async with Runtime(store=store) as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime, deadlines=Deadlines(grace_s=0.05)).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, TextDelta)
            session.interrupt()
            last = (await read_all(turn))[-1]
        assert isinstance(last, TurnFinished) and warnings(last.result) == [("store", "stuck")]
        assert stands(runtime, "store") == ("failed", "stuck")
        release.set()
        await session.resume()
        assert stands(runtime, "store") == ("ok", "")
    await store.close()


async def test_a_lease_that_cannot_be_renewed_is_known(tmp_path: Path) -> None:
    store = Failing(tmp_path / "kept.db")
    async with Runtime(store=store, lease_s=0.15) as runtime, ScriptedProvider([hang()]) as provider:
        statuses = runtime.bus.subscribe("status.*")
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        async with session.stream("Hi"):
            await until(lambda: runtime.status().leases and runtime.status().leases[0].sessions == 1)
            store.beats_fail = True
            assert await told(statuses) == ("status.store", "failed", "lease_not_renewed")
            store.beats_fail = False
            assert await told(statuses) == ("status.store", "ok", "")
    await store.close()


async def test_snapshots_that_cannot_be_saved_are_known(tmp_path: Path) -> None:
    class Unsaving(SqliteStore):
        trouble = True

        async def save_snapshot(self, session: str, snapshot: Any) -> None:
            if self.trouble:
                raise OSError("no space left on device")
            await super().save_snapshot(session, snapshot)

    store = Unsaving(tmp_path / "kept.db")
    async with Runtime(store=store) as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        await session.run("Hi")
        assert not await save_snapshot(session)
        assert warnings(await session.run("Again")) == [("snapshots", "snapshot_failed")]
        store.trouble = False
        assert await save_snapshot(session) and stands(runtime, "snapshots") == ("ok", "")
    await store.close()


# --- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["DROP TABLE texts", "UPDATE texts_data SET block = x'00ff00ff'"])
async def test_a_broken_search_index_stops_no_turn(damage: str, tmp_path: Path) -> None:
    """Writes go on, and results warn."""
    path = tmp_path / "kept.db"
    store = SqliteStore(path)
    async with Runtime(store=store) as runtime, ScriptedProvider([repeat(reply("Pears."))]) as provider:
        agent = ANTHROPIC.agent(provider, runtime=runtime)
        async with Sessions(store, agents=agent, runtime=runtime) as sessions:
            session = await sessions.open("fruit")
            await session.run("Apples")
            assert len(await sessions.search("apples")) == 1
            statuses = runtime.bus.subscribe("status.*")
            await asyncio.to_thread(_execute, path, damage)
            await session.run("Plums")
            with pytest.raises(StateError) as raised:
                await sessions.search("plums")
            assert await told(statuses) == ("status.search", "degraded", "search_failed")
            assert raised.value.code == "store_damaged"
            result = await session.run("Cherries")
            assert result.reason == "completed" and warnings(result) == [("search", "search_failed")]
            assert len(await store.read(session.id)) == session.told
    await store.close()


def _execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = OFF")
    db.execute(statement)
    db.commit()
    db.close()


async def test_search_that_works_again_is_well(tmp_path: Path) -> None:
    class Searching(SqliteStore):
        trouble = True

        async def search(self, *args: Any, **options: Any) -> Any:
            if self.trouble:
                raise OSError("no such index")
            return await super().search(*args, **options)

    store = Searching(tmp_path / "kept.db")
    agent = Agent("anthropic:a-model", api_key="test")
    async with Runtime(store=store) as runtime, Sessions(store, agents=agent, runtime=runtime) as sessions:
        with pytest.raises(OSError, match="no such index"):
            await sessions.search("plums")
        assert stands(runtime, "search") == ("degraded", "search_failed")
        store.trouble = False
        assert list(await sessions.search("plums")) == []
        assert stands(runtime, "search") == ("ok", "") and runtime.status().healthy
    await store.close()


# --- artifacts --------------------------------------------------------------------------------------------------------


class Disk(MemoryBlobs):
    full = True

    async def put(self, data: bytes) -> str:
        if self.full:
            raise OSError("no space left on device")
        return await super().put(data)


@tool(max_result_chars=1000)
async def log() -> str:
    return "a line of the log\n" * 500


async def test_a_blob_store_that_fails_costs_the_text_and_nothing_else(any_host: Host) -> None:
    """The call goes on, the model is told, the result warns; the next text that can be kept makes it well."""
    blobs, script = Disk(), [reply(call("log")), reply("So."), reply("Hm."), reply(call("log")), reply("Well.")]
    async with Runtime(blobs=blobs) as runtime, ScriptedProvider(script) as provider:
        statuses, notices = runtime.bus.subscribe("status.*"), runtime.bus.subscribe("notice")
        session = any_host.agent(provider, log, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            seen = await read_all(turn)
        result = assert_ended(seen).result
        assert result.reason == "completed" and result is turn.result
        (warning,) = result.warnings
        assert (warning.part, warning.code) == ("artifacts", "artifact_lost") and "no space left" in warning.message
        (notice,) = of(Notice, seen)
        assert notice.code == "artifact_lost" and (await anext(notices)).data == notice
        assert await told(statuses) == ("status.artifacts", "degraded", "artifact_lost")
        blobs.full = False
        assert warnings(await session.run("Again")) == [("artifacts", "artifact_lost")], "nobody knows better yet"
        assert (await session.run("And again")).warnings == ()
        assert await told(statuses) == ("status.artifacts", "ok", "")


async def test_what_was_lost_is_warned_of_though_it_works_again() -> None:
    blobs = Disk()

    @tool(max_result_chars=1000)
    async def mended() -> str:
        blobs.full = False
        return "another line\n" * 500

    script = [reply(call("log")), reply(call("mended")), reply("So."), reply("Hi.")]
    async with Runtime(blobs=blobs) as runtime, ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, log, mended, runtime=runtime).session()
        result = await session.run("Hi")
        assert warnings(result) == [("artifacts", "artifact_lost")] and runtime.status().healthy
        assert (await session.run("Again")).warnings == ()


async def test_an_answer_whose_picture_cannot_be_kept_fails_its_turn_in_time() -> None:
    """What the answer consists of cannot be left out, and nobody may wait for it for ever."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    said = {
        "candidates": [{"content": {"role": "model", "parts": [picture]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8},
    }
    body = raw(json.dumps(said).encode())
    async with Runtime(blobs=Disk()) as runtime, ScriptedProvider([body]) as provider:
        url = provider.url_for("gemini.generateContent")
        agent = Agent("gemini:a-model", base_url=url, api_key="test", stream=False, runtime=runtime)
        async with agent.session().stream("Draw") as turn:
            result = assert_ended(await read_all(turn)).result
        assert result.reason == "error" and result.error is not None and result.error.code == "blob_failed"
        assert result.usage.output_tokens == 5


# --- prices -----------------------------------------------------------------------------------------------------------


class Later(SystemClock):
    """A wall clock that can be set forward."""

    ahead_s = 0.0

    def wall(self) -> float:  # type: ignore[override]
        return super().wall() + self.ahead_s


@pytest.fixture
def unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of prices is there and cannot be read: a half-written update, say. The scripted provider counts as the real one."""
    package = tmp_path / "genai_prices"
    package.mkdir()
    (package / "__init__.py").write_text("this is no Python\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "genai_prices"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Facts, "loaded_whole", False)
    for module in ("facts", "catalogue"):
        monkeypatch.setattr(f"turnwise.models.{module}.is_here", lambda _: False)
    catalogue_genai._package.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield package
    catalogue_genai._package.cache_clear()  # pyright: ignore[reportPrivateUsage]


async def test_prices_that_cannot_be_read_cost_no_answer(unreadable: Path) -> None:
    """The cost is not known, the result says why; later it is tried again."""
    clock = Later()
    async with (
        Runtime(clock=clock) as runtime,
        ScriptedProvider([repeat(reply("Hi.", usage=Usage(1000, 1000)))]) as provider,
    ):
        statuses = runtime.bus.subscribe("status.*")
        agent = Agent("anthropic:claude-sonnet-4-5", base_url=provider.anthropic_url, api_key="test", runtime=runtime)
        session = agent.session()
        result = await session.run("Hi")
        assert result.text == "Hi." and result.usage.cost_usd is None
        assert warnings(result) == [("prices", "prices_unreadable")] and "SyntaxError" in result.warnings[0].message
        assert await told(statuses) == ("status.prices", "degraded", "prices_unreadable")
        with pytest.raises(ConfigError) as raised:
            await session.run("Hi", limits=Limits(cost=1.0))
        assert raised.value.code == "unpriced_model"
        _mend(unreadable)
        assert (await session.run("Hi")).usage.cost_usd is None, "not yet"
        clock.ahead_s = AGAIN_S + 1
        await session.run("Hi")
        last = await session.run("Hi")
        assert last.usage.cost_usd and last.warnings == () and stands(runtime, "prices") == ("ok", "")


def _mend(package: Path) -> None:
    """What is found from now on is the real one."""
    package.rename(package.with_name("elsewhere"))
    sys.path_importer_cache.clear()


async def test_a_package_of_prices_that_lacks_something_is_not_taken_for_missing(unreadable: Path) -> None:
    (unreadable / "__init__.py").write_text("import a_module_that_it_needs\n")
    async with Runtime() as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        agent = Agent("anthropic:claude-sonnet-4-5", base_url=provider.anthropic_url, api_key="test", runtime=runtime)
        assert warnings(await agent.run("Hi")) == [("prices", "prices_unreadable")]


# --- the bus ----------------------------------------------------------------------------------------------------------


async def test_a_subscriber_that_does_not_keep_up_is_warned_of_until_it_has() -> None:
    async with Runtime() as runtime, ScriptedProvider([repeat(reply("Hi."))]) as provider:
        slow = runtime.bus.subscribe("turn.*", size=1, name="slow one")
        statuses = runtime.bus.subscribe("status.bus")
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        await session.run("Hi")
        assert await told(statuses) == ("status.bus", "degraded", "bus_full")
        result = await session.run("Again")
        assert warnings(result) == [("bus", "bus_full")] and "slow one" in result.warnings[0].message
        assert (await anext(slow)).data.result.turn == 2
        assert await told(statuses) == ("status.bus", "ok", "")
        assert (await session.run("Bye")).warnings == () and slow.dropped == 4


async def test_a_subscriber_that_leaves_is_missed_by_nobody() -> None:
    async with Runtime() as runtime:
        slow = runtime.bus.subscribe("a.*", size=1)
        statuses = runtime.bus.subscribe("status.bus")
        for _ in range(3):
            runtime.bus.publish("a.b")
        assert (await told(statuses))[1] == "degraded"
        slow.close()
        assert (await told(statuses))[1] == "ok"


# --- whatever else ----------------------------------------------------------------------------------------------------


async def test_any_part_may_say_how_it_stands(any_host: Host) -> None:
    """Telemetry, plugins, your own: by `runtime.health`, from any thread; saying it twice says it once."""
    async with Runtime() as runtime, ScriptedProvider([reply("Hi."), reply("Bye.")]) as provider:
        statuses = runtime.bus.subscribe("status.**")
        session = any_host.agent(provider, runtime=runtime).session()
        for _ in range(2):
            await asyncio.to_thread(
                runtime.health.degrade, "telemetry", "export_failed", "The collector does not answer."
            )
        runtime.health.degrade("plugin.weather", "plugin_failed", "It did not start.", state="failed")
        result = await session.run("Hi")
        assert result.warnings == (
            TurnWarning("plugin.weather", "plugin_failed", "It did not start."),
            TurnWarning("telemetry", "export_failed", "The collector does not answer."),
        )
        runtime.health.restore("telemetry")
        runtime.health.restore("plugin.weather")
        runtime.health.restore("never.mentioned")
        assert (await session.run("Bye")).warnings == ()
        seen = [(await anext(statuses)).topic for _ in range(4)]
        assert sorted(seen) == ["status.plugin.weather"] * 2 + ["status.telemetry"] * 2 and statuses.waiting == 0


async def test_the_end_that_is_told_has_the_warnings_that_the_result_has() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply("Hi.")]) as provider:
        runtime.health.degrade("telemetry", "export_failed", "No.")
        events = runtime.bus.subscribe("turn.finished")
        session = ANTHROPIC.agent(provider, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            watcher = turn.watch()
            seen = await read_all(turn)
        ends = [assert_ended(seen), (await anext(events)).data, [e async for e in watcher][-1]]
        assert [warnings(end.result) for end in ends] == [[("telemetry", "export_failed")]] * 3
        assert turn.result == ends[0].result


async def test_status_says_what_runs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "kept.db")
    async with Runtime(store=store) as runtime, ScriptedProvider([repeat(hang())]) as provider:
        assert runtime.status().healthy and runtime.status().bus is None
        runtime.bus.subscribe("turn.*", lambda event: None, size=7, name="audit")
        async with ANTHROPIC.agent(provider, runtime=runtime).session().stream("Hi"):
            status = runtime.status()
            (lease,), (subscriber,) = status.leases, status.bus.subscribers if status.bus else ()
            assert (status.turns, lease.sessions, lease.sure, lease.store) == (1, 1, True, "SqliteStore")
            assert (subscriber.name, subscriber.size, subscriber.patterns) == ("audit", 7, ("turn.*",))
        assert runtime.status().turns == 0
    assert runtime.status().closed
    await store.close()
