"""A history that comes from elsewhere is mended once, when it enters, and never touched if it is valid (rule T6)."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import Host, assert_valid, goes_on

from turnwise import AssistantMessage, Image, Text, ToolMessage, UserMessage
from turnwise.core.content import AssistantBlock, Inline, Thinking, ToolCall
from turnwise.core.entries import SessionCreated
from turnwise.core.messages import Message
from turnwise.core.outcomes import Cancelled, ToolResult
from turnwise.core.repair import repair
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, reply

IDS = st.sampled_from(["t1.s1.c0", "t1.s1.c1", "t2.s1.c0", "call_x", ""])
TEXTS = st.sampled_from(["", "Hello.", "And more."])


def assistants() -> st.SearchStrategy[AssistantMessage]:
    blocks: st.SearchStrategy[AssistantBlock] = st.one_of(
        st.builds(Text, TEXTS),
        st.builds(Thinking, TEXTS),
        st.builds(ToolCall, IDS, st.just("look"), st.sampled_from(["", "{}", "{"])),
    )
    bodies = TEXTS | st.lists(blocks, max_size=4).map(tuple)
    return st.builds(AssistantMessage, bodies, st.just(1), partial=st.booleans())


RESULTS = st.lists(st.builds(ToolResult, IDS, st.just("found")), max_size=3).map(tuple)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(UserMessage, TEXTS, st.just(1)), assistants(), st.builds(ToolMessage, RESULTS, st.just(1))
)


@examples(200)
@given(history=st.lists(MESSAGES, max_size=6))
def test_repair_is_idempotent_and_leaves_a_valid_history(history: Sequence[Message]) -> None:
    """T6, T1: whatever comes in, what comes out keeps every rule, and mending it again changes nothing."""
    mended = repair(history)
    assert repair(mended) is mended
    seen: set[str] = set()
    for position, message in enumerate(mended):
        assert isinstance(message, ToolMessage) or message.body
        if isinstance(message, AssistantMessage):
            ids = [c.id for c in message.tool_calls]
            assert len(set(ids)) == len(ids) and seen.isdisjoint(ids)
            seen.update(ids)
            follow = mended[position + 1] if position + 1 < len(mended) else None
            if ids:
                assert isinstance(follow, ToolMessage) and [r.call_id for r in follow.results] == ids
            else:
                assert not isinstance(follow, ToolMessage)
            if message.partial and not isinstance(message.body, str):
                assert all(type(b) is Text and b.text for b in message.body)
    texts = [m.body for m in history if isinstance(m, UserMessage) and m.body]
    assert [m.body for m in mended if isinstance(m, UserMessage)] == texts


async def test_a_broken_history_is_mended_on_entry(any_host: Host) -> None:
    """T6: a call without outcome gets one that says so, an outcome without call goes, and the provider accepts the rest."""
    history: list[Message] = [
        ToolMessage((ToolResult("t9.s9.c9", "nobody asked"),), 1),
        UserMessage("Look here and there.", 1),
        AssistantMessage((Text("Let me look."), ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")), 1),
        ToolMessage((ToolResult("b", "found"),), 1),
        AssistantMessage((Thinking("unsigned"), Text("So far")), 1, partial=True),
    ]
    async with ScriptedProvider([reply("Here we are.")]) as provider:
        session = any_host.agent(provider).session(history=history)
        assert_valid(session.messages[:3])
        results = session.messages[2]
        assert isinstance(results, ToolMessage)
        assert [type(r.outcome) is Cancelled for r in results.results] == [True, False]
        assert "nobody asked" not in repr(session.messages)
        await goes_on(session)


async def test_a_valid_history_is_taken_as_it_is(any_host: Host) -> None:
    """T6, T4: not a message is copied or changed, and the new turn's ids go on from it."""
    async with ScriptedProvider([reply(call("nobody")), reply("One.")]) as provider:
        first = any_host.agent(provider).session()
        await first.run("Hi")
        history = first.messages
    async with ScriptedProvider([reply(call("nobody")), reply("Two.")]) as provider:
        second = any_host.agent(provider).session(history=history)
        assert all(a is b for a, b in zip(second.messages, history, strict=True))
        result = await second.run("Go on.")
        assert result.turn == 2 and second.messages[: len(history)] == history
        assert_valid(second.messages)


async def test_bytes_in_a_history_go_to_the_blob_store(any_host: Host) -> None:
    """Nothing that is journalled holds bytes, also when the caller's own messages do; the picture is still sent."""
    picture = b"\x89PNG\r\n\x1a\n" + b"0" * 64
    history = [UserMessage((Text("Look:"), Image.of(picture))), AssistantMessage("Nice.")]
    store = MemoryStore()
    async with ScriptedProvider([reply("Still nice.")]) as provider:
        session = any_host.agent(provider, store=store).session(history=history)
        await session.run("And now?")
        sent = provider.requests[0].raw
    journal = await store.read(session.id)
    assert not any(
        isinstance(b, Image) and isinstance(b.source, Inline) for m in session.messages for b in blocks_of(m)
    )
    assert msgspec.json.decode(msgspec.json.encode(journal[0]), type=SessionCreated) == journal[0]
    assert base64.b64encode(picture) in sent


def blocks_of(message: Message) -> Sequence[object]:
    return () if isinstance(message, ToolMessage) else message.content
