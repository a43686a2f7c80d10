"""A conversation that its model could no longer read is made shorter in time (X1 to X6), and nothing is lost by it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.providers import PROVIDERS, Provider
from tests.runtime.conftest import (
    ANTHROPIC,
    assert_ended,
    assert_valid,
    give_way,
    goes_on,
    of,
    read_all,
    read_until,
    said,
    until,
)

from turnwise import Compaction, Drop, Limits, Mask, Retry, Runtime, Session, Summarise, tool
from turnwise.core.changes import Compacted, CompactionFailed
from turnwise.core.entries import AttemptFailed, Entry
from turnwise.core.inputs_rare import ChangeSettings
from turnwise.core.messages import Message, ToolMessage
from turnwise.core.replay import replay
from turnwise.core.settings import SessionSettings
from turnwise.core.usage import Usage
from turnwise.errors import ProviderError
from turnwise.events import (
    ContextCompacted,
    Notice,
    StepStarted,
    TurnFinished,
    UsageUpdated,
)
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, fail, hang, repeat, reply, text

WINDOW = 4000
SUMMARY = """\
## Goal
See everything there is.
## Decisions
none
## State of work
Some of it was seen.
## Open items
Look at the rest.
## Exact names and values
none"""
MASKS, SUMMARY_ONLY = Compaction(strategies=(Mask(),)), Compaction(strategies=(Summarise(),))
ONCE = Retry(attempts=1)


@tool
async def look(number: int) -> str:
    return f"Sight {number}: " + "many words of it " * 60


def asks_for_a_summary(request: RecordedRequest) -> bool:
    return "You condense" in request.raw.decode()


def looks(times: int, of_summaries: Callable[[], Reply] = lambda: reply(SUMMARY)) -> Callable[[RecordedRequest], Reply]:
    """A model that looks so many times in each turn, and writes summaries when asked."""
    seen = 0

    def answer(request: RecordedRequest) -> Reply:
        nonlocal seen
        if asks_for_a_summary(request):
            return of_summaries()
        seen += 1
        return reply("That was all.") if seen % (times + 1) == 0 else reply(call("look", number=seen))

    return answer


async def set_window(session: Session[Any], tokens: int | None, compaction: Compaction | bool | None = None) -> None:
    await session.apply(ChangeSettings(SessionSettings(context_limit=tokens, compaction=compaction)))


async def journal(session: Session[Any], store: MemoryStore | SuspendingStore) -> list[Entry]:
    return list(await store.read(session.id))


async def what_was_sent_is_read() -> None:
    """The loop has come round often enough for everything on its way through loopback."""
    for _ in range(100):
        await asyncio.sleep(0)


def sent(request: RecordedRequest) -> int:
    """Tokens, as scripted providers count."""
    return len(request.raw) // 4


def long_history(turns: int, words: int = 120) -> list[Message]:
    from turnwise.core.messages import AssistantMessage, UserMessage

    history: list[Message] = []
    for turn in range(1, turns + 1):
        history.append(UserMessage(f"Question {turn}?", turn, 1))
        history.append(AssistantMessage(f"Answer {turn}. " + "so it is " * words, turn, 1))
    return history


# --- through to the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
async def test_a_long_turn_goes_on_to_its_end(provider: Provider, known: bool) -> None:
    """X1, X2, X5: with a known window no request is ever too long; else each overflow is answered by one compaction."""
    store = MemoryStore()
    async with ScriptedProvider([repeat(looks(30))], window_tokens=WINDOW) as scripted:
        agent = provider.agent(scripted, look, store=store, limits=Limits(steps=100))
        async with agent.session() as session:
            if known:
                await set_window(session, WINDOW)
            result = await session.run("Look at everything.")
            assert (result.reason, result.steps, result.calls) == ("completed", 31, 30)
            assert len(session.history) == 62 > len(session.messages)
            assert_valid(session.messages)
            entries = await journal(session, store)
    refused = [e for e in entries if isinstance(e, AttemptFailed)]
    made = [e for e in entries if isinstance(e, Compacted)]
    assert made and all(e.after_tokens < e.before_tokens for e in made)
    assert {e.trigger for e in made} == {"auto" if known else "overflow"}
    assert len(refused) == (0 if known else len(made))
    assert all(not request.problems for request in scripted.requests)
    assert known is all(sent(request) <= WINDOW for request in scripted.requests)


async def test_two_hundred_steps_in_a_small_window() -> None:
    """X1, X2: a single turn, many compactions, each request within the window; what was asked for stays word for word."""
    async with (
        ScriptedProvider([repeat(looks(200))], window_tokens=WINDOW) as scripted,
        ANTHROPIC.agent(scripted, look, limits=Limits(steps=300)).session() as session,
    ):
        await set_window(session, WINDOW)
        result = await session.run("Look at the 4711 sights.")
        assert (result.reason, result.steps, len(session.history)) == ("completed", 201, 402)
        assert "Look at the 4711 sights." in session.messages[0].text
    assert max(map(sent, scripted.requests)) <= WINDOW
    assert all("4711" in request.raw.decode() for request in scripted.requests)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
async def test_three_long_turns_in_a_small_window(provider: Provider) -> None:
    """X1: from turn to turn; the totals of the session count the summaries, too."""
    async with (
        ScriptedProvider([repeat(looks(8))], window_tokens=WINDOW) as scripted,
        provider.agent(scripted, look).session() as session,
    ):
        await set_window(session, WINDOW)
        for _ in range(3):
            assert (await session.run("Look at eight of them.")).reason == "completed"
        assert session.state.base >= 2 and len(session.history) == 54
        taken = sum(map(sent, scripted.requests))
        assert session.usage.input_tokens == taken, "what the provider counted is what the session says"
    assert max(map(sent, scripted.requests)) <= WINDOW


# --- X1: the estimate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [True, False])
async def test_the_estimate_follows_what_is_reported(dense: bool) -> None:
    """X1: a language that takes twice the tokens for its bytes is compacted at half the bytes."""

    def answer(request: RecordedRequest) -> Reply:
        tokens = len(request.raw) // (2 if dense else 4)
        return reply("Well. " + "so it is " * 200, usage=Usage(tokens, 10))

    async with ScriptedProvider([repeat(answer)]) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=Compaction(strategies=(Drop(),)))
        async with agent.session() as session:
            await set_window(session, WINDOW)
            for _ in range(5):
                await session.run("And then?")
            assert (session.state.base > 0) is dense
    last = scripted.requests[-1]
    assert len(last.raw) // (2 if dense else 4) <= WINDOW * 0.8


async def test_an_unknown_window_triggers_nothing() -> None:
    """X1: where nobody knows the window, no share of it can be passed; the events say that it is not known."""
    async with (
        ScriptedProvider([repeat(reply("Yes."))]) as scripted,
        ANTHROPIC.agent(scripted).session(history=long_history(400)) as session,
    ):
        async with session.stream("Well?") as turn:
            events = await read_all(turn)
        assert session.state.base == 0 and session.messages == session.history
        assert [e.context_limit for e in of(UsageUpdated, events)] == [None]
        await set_window(session, 10**6)
        async with session.stream("Well?") as turn:
            assert [e.context_limit for e in of(UsageUpdated, await read_all(turn))] == [10**6]


async def test_the_catalogue_knows_the_window() -> None:
    """X1: 200,000 tokens are what the model reads, so a million bytes are too much for it."""
    async with ScriptedProvider([repeat(reply("Yes."))]) as scripted:
        agent = PROVIDERS["anthropic"].agent(scripted, compaction=Compaction(strategies=(Drop(),)))
        async with agent.session(history=long_history(900)) as session:
            async with session.stream("Well?") as turn:
                events = await read_all(turn)
            assert [e.trigger for e in of(ContextCompacted, events)] == ["auto"]
            assert [e.context_limit for e in of(UsageUpdated, events)] == [200_000]
            assert len(of(StepStarted, events)) == 1, "the request that was not sent is not a second attempt"
    assert len(scripted.requests) == 1 and sent(scripted.requests[0]) <= 200_000 * 0.8


@pytest.mark.parametrize("off", ["agent", "session"])
async def test_turned_off(off: str) -> None:
    """Nothing is compacted, and an overflow ends the turn as it always did."""
    async with ScriptedProvider([], window_tokens=WINDOW) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=None if off == "agent" else Compaction())
        async with agent.session(history=long_history(40)) as session:
            await set_window(session, WINDOW, None if off == "agent" else False)
            with pytest.raises(ProviderError) as caught:
                await session.run("Well?")
            assert caught.value.code == "context_overflow" and session.state.base == 0
    assert len(scripted.requests) == 1


# --- X3: failure leaves everything as it was ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(""), "bad_summary"),
        (reply("It went well."), "bad_summary"),
        (reply(SUMMARY, stop="max_tokens"), "bad_summary"),
        (reply("## Open items\n" + "more of the same " * 3000), "bad_summary"),
        (fail(500), "server"),
    ],
    ids=["empty", "silent", "cut", "longer", "failed"],
)
async def test_a_summary_that_fails_changes_nothing(answer: Reply, code: str) -> None:
    """X3: by hand: the report and the journal say what was wrong; before a request: a notice, and the request is sent as it is."""
    store = MemoryStore()
    async with ScriptedProvider([answer, answer, reply("Fine.")]) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY, retry=ONCE, store=store)
        async with agent.session(history=long_history(20)) as session:
            before = session.messages
            done = await session.compact()
            assert (done.compacted, done.why_not) == (False, "failed")
            assert done.error is not None and done.error.code == code
            assert session.messages == before
            await set_window(session, WINDOW)
            async with session.stream("Well?") as turn:
                events = await read_all(turn)
            assert assert_ended(events).result.text == "Fine."
            assert "not_compacted" in [e.code for e in of(Notice, events)]
            assert session.messages[: len(before)] == before
            failed = [e for e in await journal(session, store) if isinstance(e, CompactionFailed)]
            assert [(e.trigger, e.error.code) for e in failed] == [("manual", code), ("auto", code)]
            counted = session.usage.input_tokens
    assert counted == sum([sent(r) for r in scripted.requests if code != "server" or r.number == 3])


async def test_what_failed_is_not_tried_again_at_once() -> None:
    """A conversation that cannot be made smaller is tried again when it has grown, not before each request."""
    async with ScriptedProvider([repeat(looks(5, lambda: reply("No.")))]) as scripted:
        agent = ANTHROPIC.agent(scripted, look, compaction=SUMMARY_ONLY)
        async with agent.session(history=long_history(40)) as session:
            await set_window(session, 14_500)
            assert (await session.run("Look.")).steps == 6
    asked = [r for r in scripted.requests if asks_for_a_summary(r)]
    assert 1 <= len(asked) <= 2
    assert all(11_600 < sent(r) < 14_500 for r in scripted.requests if r not in asked)


# --- X4: what happens meanwhile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [None, SuspendingStore(give_way)], ids=["memory", "suspending"])
async def test_input_that_arrives_meanwhile_is_kept(store: SuspendingStore | None) -> None:
    """X4: what the user adds while the summary is written enters before the model call that waited for it."""
    script = [reply(SUMMARY, stall_before_headers=True), reply("I see."), reply("Fine.")]
    async with ScriptedProvider(script) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY, store=store)
        async with agent.session(history=long_history(30)) as session:
            await set_window(session, WINDOW)
            async with session.stream("Well?") as turn:
                reading = asyncio.create_task(read_all(turn))
                await scripted.reached("stalled", 1)
                assert await session.steer("And mind the gap.")
                scripted.release()
                events = await reading
            assert len(of(ContextCompacted, events)) == 1
            assert_ended(events)
            assert "And mind the gap." in said(session)
            assert session.messages[0].text.startswith("[Summary")
            await goes_on(session)
    assert "mind the gap" in scripted.requests[-1].raw.decode()


async def test_by_hand_while_a_turn_runs() -> None:
    """X4: the running model call goes on, is answered, and its turn's next request is the shorter one."""
    script = [reply(call("look", number=1), stall_before_headers=True), reply(SUMMARY), reply("Done.")]
    async with (
        ScriptedProvider(script) as scripted,
        ANTHROPIC.agent(scripted, look).session(history=long_history(30)) as session,
    ):
        async with session.stream("Look.") as turn:
            reading = asyncio.create_task(read_all(turn))
            await scripted.reached("stalled", 1)
            done = await session.compact()
            assert done.compacted and done.summary_chars and done.tokens_after < done.tokens_before
            scripted.release()
            assert assert_ended(await reading).result.text == "Done."
        assert len(session.history) == 64
        assert_valid(session.messages)
    first, _, last = scripted.requests
    assert sent(last) < sent(first) / 2 and len(scripted.requests) == 3


async def test_a_change_that_comes_between_wins() -> None:
    """X4: a compaction is not swapped in over another change of the view."""
    script = [reply(SUMMARY), reply(SUMMARY, stall_before_headers=True)]
    async with ScriptedProvider(script) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY)
        async with agent.session(history=long_history(40)) as session:
            assert (await session.compact()).compacted
            working = asyncio.create_task(session.compact())
            await scripted.reached("stalled", 2)
            assert await session.undo_compaction()
            scripted.release()
            done = await working
            assert (done.compacted, done.why_not) == (False, "base_changed")
            assert session.messages == session.history
            assert session.usage.input_tokens == sum(map(sent, scripted.requests))


async def test_one_at_a_time() -> None:
    """X4: of two asked for at once the second works on what the first left."""
    script = [reply(SUMMARY, stall_before_headers=True), repeat(reply(SUMMARY))]
    async with ScriptedProvider(script) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY)
        async with agent.session(history=long_history(40)) as session:
            first, second = asyncio.create_task(session.compact()), asyncio.create_task(session.compact())
            await scripted.reached("stalled", 1)
            assert len(scripted.requests) == 1
            scripted.release()
            one, two = await first, await second
            assert one.compacted and two.why_not != "base_changed"
            assert two.messages_before == one.messages_after


# --- X5: overflow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
async def test_an_overflow_is_compacted_and_retried_once(provider: Provider, stream: bool) -> None:
    """X5: over all APIs."""
    async with ScriptedProvider([reply(SUMMARY), reply("Here I am.")], window_tokens=WINDOW) as scripted:
        agent = provider.agent(scripted, compaction=SUMMARY_ONLY, stream=stream)
        async with agent.session(history=long_history(16)) as session:
            async with session.stream("Well?") as turn:
                events = await read_all(turn)
            assert assert_ended(events).result.text == "Here I am."
            assert [e.trigger for e in of(ContextCompacted, events)] == ["overflow"]
    assert [sent(r) > WINDOW for r in scripted.requests] == [True, False, False]


@pytest.mark.parametrize("compaction", [Compaction(strategies=()), SUMMARY_ONLY], ids=["none", "failing"])
async def test_an_overflow_that_nothing_helps_against(compaction: Compaction) -> None:
    """X5, X3: the turn ends with the provider's own error, the history stays, and the session can go on elsewhere."""
    async with ScriptedProvider([repeat(reply("No."))], window_tokens=WINDOW) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=compaction)
        async with agent.session(history=long_history(20)) as session:
            before = session.messages
            with pytest.raises(ProviderError) as caught:
                await session.run("Well?")
            assert caught.value.code == "context_overflow"
            assert session.messages[:-1] == before


async def test_dropping_is_what_is_left() -> None:
    """X5: the summary cannot be had, and without dropping the request could not be sent."""
    answer = [fail(500), reply("Here I am.")]
    async with (
        ScriptedProvider(answer, window_tokens=WINDOW) as scripted,
        ANTHROPIC.agent(scripted, retry=ONCE).session(history=long_history(20)) as session,
    ):
        assert (await session.run("Well?")).text == "Here I am."
        assert "left out" in session.messages[0].text and session.messages[-2].text == "Well?"


# --- X6: masks ----------------------------------------------------------------------------------------------------------


async def test_masked_results_stay_masked() -> None:
    """X6: each result that was masked once is sent with the same words ever after; what the model has not seen is not masked."""

    @tool
    async def fetch(number: int) -> str:
        return f"Page {number}: " + "word " * 300

    def answer(request: RecordedRequest) -> Reply:
        n = len(scripted.requests)
        return reply("Done.") if n % 12 == 0 else reply(call("fetch", number=n))

    store = MemoryStore()
    async with (
        ScriptedProvider([repeat(answer)]) as scripted,
        ANTHROPIC.agent(scripted, fetch, compaction=MASKS, store=store).session() as session,
    ):
        await set_window(session, WINDOW)
        for _ in range(2):
            await session.run("Fetch them.")
        changes = [e.change for e in await journal(session, store) if isinstance(e, Compacted)]
        assert len(changes) >= 2 and len(session.messages) == len(session.history)
    results = [_results(request) for request in scripted.requests]
    for before, after in itertools.pairwise(results):
        for id, shown in before.items():
            assert after[id] == shown or ("word" in shown and "left out" in after[id]), "masked, or as it was"
    for shown in filter(None, results):
        assert "left out" not in list(shown.values())[-1]


def _results(request: RecordedRequest) -> dict[str, str]:
    blocks = [b for m in request.body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    return {b["tool_use_id"]: str(b["content"]) for b in blocks if b["type"] == "tool_result"}


# --- C1: interrupted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["interrupt", "leave", "close"])
async def test_interrupted_while_compacting(how: str) -> None:
    """C1, E10: at once, with what the summary has taken so far, no connection left, and the conversation as it was."""
    script = [
        reply(text("word " * 30), stall_after_event=12),
        *([] if how == "close" else [reply(SUMMARY), reply("Here.")]),
    ]
    async with Runtime() as runtime, ScriptedProvider(script) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY, runtime=runtime)
        session = agent.session(history=long_history(30))
        await set_window(session, WINDOW)
        before = session.messages
        async with session.stream("Well?") as turn:
            reading = asyncio.create_task(read_until(turn, Notice))
            await scripted.reached("stalled", 1)
            await reading
            await what_was_sent_is_read()
            began = runtime.loop.time()
            if how == "interrupt":
                session.interrupt()
                await read_all(turn)
            elif how == "close":
                await session.close()
        assert runtime.loop.time() - began < 0.1
        assert turn.result.reason == "interrupted" and turn.result.steps == 0
        assert (turn.result.usage.input_tokens or 0) > 0, "what was spent on the summary is told"
        await scripted.reached("left", 1)
        assert session.messages[:-1] == before and session.state.base == 0
        if how != "close":
            await goes_on(session)
            assert session.state.base == 1
        await session.close()


async def test_the_turn_runs_out_of_time_while_compacting() -> None:
    """C5: the deadline of the turn counts while it compacts."""
    from turnwise import Deadlines

    async with ScriptedProvider([hang()]) as scripted:
        agent = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY, deadlines=Deadlines(turn_s=0.2))
        async with agent.session(history=long_history(30)) as session:
            await set_window(session, WINDOW)
            assert (await session.run("Well?")).reason == "timeout"


@pytest.mark.parametrize("how", ["cancel", "close", "runtime"])
async def test_by_hand_and_stopped(how: str) -> None:
    """C1, C3: who waits is told or cancelled, nothing is left behind, and nothing was changed."""
    script = [reply(text("word " * 30), stall_after_event=12), *([reply(SUMMARY)] if how == "cancel" else [])]
    async with Runtime() as runtime, ScriptedProvider(script) as scripted:
        session = ANTHROPIC.agent(scripted, compaction=SUMMARY_ONLY, runtime=runtime).session(history=long_history(30))
        before = session.messages
        working = asyncio.create_task(session.compact())
        await scripted.reached("stalled", 1)
        await what_was_sent_is_read()
        if how == "cancel":
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            await until(lambda: session.usage.input_tokens)
        elif how == "close":
            await session.close()
        else:
            await runtime.close()
        if how != "cancel":
            done = await working
            assert done.error is not None and not done.compacted
            assert done.error.code == ("compaction_stopped" if how == "close" else "session_closed")
        await scripted.reached("left", 1)
        assert session.messages == before
        if how == "cancel":
            assert (await session.compact()).compacted
            await session.close()


# --- by hand --------------------------------------------------------------------------------------------------------------


async def test_by_hand() -> None:
    """What a report says; nothing to do and nothing to do it with are no failures."""
    async with (
        ScriptedProvider([reply(SUMMARY)]) as scripted,
        ANTHROPIC.agent(scripted).session(history=long_history(20)) as session,
    ):
        done = await session.compact()
        assert done.compacted and not done.why_not and done.error is None
        assert (done.messages_before, done.turns_before) == (40, 20)
        assert done.messages_after == len(session.messages) < 40
        assert done.turns_compacted + done.turns_kept == 20 and done.turns_after == done.turns_kept
        assert done.tokens_after < done.tokens_before and done.summary_chars > len(SUMMARY)
        async with ANTHROPIC.agent(scripted).session(history=long_history(1, 3)) as short:
            done = await short.compact()
            assert done.why_not == "nothing_to_compact" and done.error is None
        async with ANTHROPIC.agent(scripted, compaction=None).session(history=long_history(20)) as without:
            assert (await without.compact()).why_not == "no_strategy"


async def test_another_model_writes_the_summary() -> None:
    """It is reached as the session's own is; what it takes is in the totals of the session and of the turn."""
    compaction = Compaction(strategies=(Summarise(model="anthropic:small", instructions="Mind the numbers."),))
    async with ScriptedProvider([reply(SUMMARY), reply("Well."), reply(SUMMARY)]) as scripted:
        agent = ANTHROPIC.agent(scripted, look, compaction=compaction)
        async with agent.session(history=long_history(30)) as session:
            await set_window(session, WINDOW)
            result = await session.run("Well?")
            assert result.usage.input_tokens == sum(map(sent, scripted.requests)) == session.usage.input_tokens
            assert result.steps == 1
            assert await session.undo_compaction()
            await session.compact()
            assert session.usage.input_tokens == sum(map(sent, scripted.requests))
    summary = scripted.requests[0]
    assert summary.body["model"] == "small" and "tools" not in summary.body
    assert "Mind the numbers." in str(summary.body["system"])


async def test_undo() -> None:
    """The model is sent everything again, byte for byte as it was; there is no more to undo than was done."""
    async with (
        ScriptedProvider([reply("One."), reply(SUMMARY), reply("Two."), reply("Three.")]) as scripted,
        ANTHROPIC.agent(scripted).session(history=long_history(20)) as session,
    ):
        assert not await session.undo_compaction()
        await session.run("First?")
        assert (await session.compact()).compacted
        await session.run("Second?")
        assert await session.undo_compaction() and not await session.undo_compaction()
        assert session.messages == session.history
        await session.run("Third?")
    first, _, short, again = scripted.requests
    messages = again.body["messages"]
    plain = [_plain(m) for m in messages]
    assert plain[: len(first.body["messages"])] == [_plain(m) for m in first.body["messages"]]
    assert len(short.raw) < len(first.raw) < len(again.raw)


def _plain(message: Any) -> tuple[str, str]:
    content = message["content"]
    return message["role"], content if isinstance(content, str) else "".join([b["text"] for b in content])


async def test_history_and_search() -> None:
    """What the model is not sent any more can still be read and found."""
    async with (
        ScriptedProvider([repeat(looks(12))]) as scripted,
        ANTHROPIC.agent(scripted, look).session() as session,
    ):
        await set_window(session, WINDOW)
        await session.run("Look at the Matterhorn.")
        assert len(session.history) == 26
        hits = session.search("sight 1:")
        assert [h.call_id for h in hits] == ["t1.s1.c0"] and not hits[0].shown
        message = session.history[hits[0].index]
        assert isinstance(message, ToolMessage) and message.id == hits[0].message_id
        assert message.results[0].text[hits[0].start : hits[0].end] == "Sight 1:"
        assert [h.shown for h in session.search(re.compile(r"Sight 12:"))] == [True]
        assert [h.index for h in session.search("matterhorn")] == [0]
        assert session.search("") == [] and session.search("nowhere") == []


# --- replay -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_replay_of_compactions(known: bool) -> None:
    """T1, D2's ground: a journal with compactions, failures of them and undos run again gives the same transcript and events."""
    summaries = iter([reply("No."), *[reply(SUMMARY)] * 50])
    store, told = MemoryStore(), list[Any]()
    async with (
        ScriptedProvider([repeat(looks(20, lambda: next(summaries)))], window_tokens=WINDOW) as scripted,
        ANTHROPIC.agent(scripted, look, store=store).session() as session,
    ):
        if known:
            await set_window(session, WINDOW)
        for _ in range(2):
            async with session.stream("Look.") as turn:
                await read_all(turn, told)
        await session.compact()
        await session.undo_compaction()
        again = replay(await journal(session, store))
        assert again.state == session.state
        kinds = (ContextCompacted, UsageUpdated, TurnFinished)
        live = [e for e in told if isinstance(e, kinds)]
        assert [e for e in again.events if isinstance(e, kinds)][: len(live)] == live
        assert of(ContextCompacted, live)
