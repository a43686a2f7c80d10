"""What models say that is hard to read: nothing, odd arguments, odd ids, all of Unicode, too much (S2, S4, S5, S6, S7, E2, T4)."""

from __future__ import annotations

import json

import pytest
from tests.hazards.conftest import Way
from tests.providers import Provider

from turnwise import Retry, ToolMessage, Usage, tool
from turnwise.core.outcomes import InvalidArguments, Ok
from turnwise.errors import ProviderError
from turnwise.events import TextDelta
from turnwise.testing import ScriptedProvider, call, fail, raw, raw_call, repeat, reply, text, think
from turnwise.testing.script import Reply
from turnwise.wire.serve import Response

ONCE = Retry(attempts=1)
UNICODE = 'na\u00efve \u65e5\u672c\u8a9e \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2028 \u2029 \u0000 \x7f \ufeff \ufffd "quoted" \\ / \t end'


@tool
async def look(what: str = "nothing") -> str:
    """Look at something."""
    return f"saw {what}"


@tool
async def size(data: str) -> int:
    """How long it is."""
    return len(data)


def outcomes(messages: tuple[object, ...]) -> list[type]:
    return [type(r.outcome) for m in messages if isinstance(m, ToolMessage) for r in m.results]


async def test_nothing_is_an_answer(way: Way) -> None:
    """An empty answer ends the turn, and the conversation goes on from it."""
    async with ScriptedProvider([reply(), reply("Here.")]) as provider:
        session = way.agent(provider, retry=ONCE).session()
        first = await session.run("Hi")
        assert (first.reason, first.text, first.stop_reason) == ("completed", "", "stop")
        assert (await session.run("Still there?")).text == "Here."


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
async def test_a_call_without_arguments(way: Way, arguments: str) -> None:
    """E2: blank arguments mean {}."""
    async with ScriptedProvider([reply(raw_call("look", arguments)), reply("Seen.")]) as provider:
        result = await way.agent(provider, look, retry=ONCE).run("Look")
        assert result.text == "Seen." and outcomes(result.messages) == [Ok]
        assert b"saw nothing" in provider.requests[1].raw


@pytest.mark.parametrize("arguments", ['{"what": ', "[1]", '"what"', "what=1"])
async def test_arguments_that_are_none(provider: Provider, arguments: str) -> None:
    """E2: never run, never replaced by {}; the model is told, and the request that tells it is accepted."""
    async with ScriptedProvider([reply(raw_call("look", arguments)), reply("Sorry.")]) as scripted:
        result = await provider.agent(scripted, look, retry=ONCE).run("Look")
        assert result.text == "Sorry." and outcomes(result.messages) == [InvalidArguments]
        assert scripted.requests[1].problems == ()


@pytest.mark.parametrize("ids", [("same", "same"), ("", ""), ("a b/c", "d.e")], ids=["repeated", "missing", "odd"])
async def test_ids_of_all_kinds(way: Way, ids: tuple[str, str]) -> None:
    """T4, S6: whatever the provider calls its calls, two of them never collide, and each gets its own outcome."""
    calls = [raw_call("look", json.dumps({"what": w}), id=i) for w, i in zip("ab", ids, strict=True)]
    async with ScriptedProvider([reply(*calls), reply(*calls), reply("Seen.")]) as provider:
        session = way.agent(provider, look, retry=ONCE).session()
        result = await session.run("Look")
        assert result.text == "Seen." and result.calls == 4
        made = [r for m in result.messages if isinstance(m, ToolMessage) for r in m.results]
        assert len({r.call_id for r in made}) == 4
        assert [r.text for r in made] == ["saw a", "saw b"] * 2


async def test_interleaved_calls(provider: Provider) -> None:
    """S6: fragments of parallel calls that take turns are put together by call."""
    calls = [call("look", what="a" * 50), call("look", what="b" * 50)]
    async with ScriptedProvider([reply(*calls, interleaved=True), reply("Seen.")]) as scripted:
        result = await provider.agent(scripted, look, retry=ONCE).run("Look")
        made = [r.text for m in result.messages if isinstance(m, ToolMessage) for r in m.results]
        assert made == ["saw " + "a" * 50, "saw " + "b" * 50]


@pytest.mark.parametrize("chunk", [1, 7, None])
async def test_unicode(way: Way, chunk: int | None) -> None:
    """S1, S2: every character arrives as it was sent and goes back as it came, wherever the bytes are cut."""
    said = [reply(text(UNICODE, size=1), call("look", what=UNICODE), chunk_size=chunk), reply("Seen.")]
    async with ScriptedProvider(said) as provider:
        result = await way.agent(provider, look, retry=ONCE).run(UNICODE)
        assert result.messages[1].text == UNICODE  # pyright: ignore
        sent = json.dumps(json.loads(provider.requests[1].raw), ensure_ascii=False)
        assert json.dumps(f"saw {UNICODE}", ensure_ascii=False)[1:-1] in sent or "saw na" in sent
        assert json.loads(provider.requests[1].raw) == provider.requests[1].body


async def test_surrogate_pairs(way: Way) -> None:
    """Characters beyond the basic plane may come as two JSON escapes, cut anywhere."""
    answer = reply(text("one \U0001f600 two")).answer
    assert isinstance(answer, Response)
    body = way.body(answer)
    if way.provider.api.startswith("bedrock") and way.streamed:
        pytest.skip("AWS event streams carry checksums over their payloads; the framing is tested in tests/wire")
    escaped = body.replace("\U0001f600".encode(), b"\\ud83d\\ude00")
    assert escaped != body
    async with ScriptedProvider([raw(escaped, content_type=way.content_type, chunk_size=1)]) as provider:
        assert (await way.agent(provider, retry=ONCE).run("Hi")).text == "one \U0001f600 two"


async def test_huge_arguments(way: Way) -> None:
    """S8: a megabyte of arguments, in pieces and whole, is run once and costs no more than its size."""
    data = "x\u00e9" * 500_000
    called = raw_call("size", json.dumps({"data": data}, ensure_ascii=False), size=100_000)
    async with ScriptedProvider([reply(called), reply("Long.")]) as provider:
        result = await way.agent(provider, size, retry=ONCE).run("How long?")
        assert [r.text for m in result.messages if isinstance(m, ToolMessage) for r in m.results] == ["1000000"]
        assert len(provider.requests[1].raw) > 1_000_000


async def test_deep_arguments(provider: Provider) -> None:
    """S8: JSON nested beyond reason neither crashes nor hangs: the call is answered as invalid, or the answer refused."""
    deep = '{"what": ' + "[" * 20_000 + "]" * 20_000 + "}"
    said = reply(raw_call("look", deep, size=4_000))
    if provider.name == "ollama":  # arguments are part of the document there
        called = (
            '{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"look","arguments":%s}}]}'
        )
        said = raw(
            (called % deep + ',"done":true,"done_reason":"stop"}\n').encode(), content_type="application/x-ndjson"
        )
    async with ScriptedProvider([said, repeat(reply("Sorry."))]) as scripted:
        agent = provider.agent(scripted, look, retry=ONCE)
        async with agent.session().stream("Look") as turn:
            async for _ in turn:
                pass
        result = turn.result
        if result.error is None:
            assert outcomes(result.messages) == [InvalidArguments]
        else:
            assert result.error.code == "protocol"


CACHED = {"anthropic", "openai", "openai-responses", "gemini", "vertex", "cohere", "bedrock"}
WRITTEN = {"anthropic", "bedrock"}
REASONED = {"openai", "openai-responses", "gemini", "vertex"}


async def test_usage_in_normal_form(way: Way) -> None:
    """S4: input with cached tokens, output with reasoning, whatever the provider counts apart; nothing that was not said."""
    given = Usage(100, 40, 30, 10, 15)
    async with ScriptedProvider([reply("Hi.", usage=given), reply("Hi.", usage=None)]) as provider:
        agent, name = way.agent(provider, retry=ONCE), way.provider.name
        usage = (await agent.run("Hi")).usage
        assert (usage.input_tokens, usage.output_tokens, usage.provenance) == (100, 40, "reported")
        assert usage.cache_read_tokens == (30 if name in CACHED else None)
        if name in WRITTEN:
            assert usage.cache_write_tokens == 10
        if name in REASONED:
            assert usage.reasoning_tokens == 15
        silent = (await agent.run("Hi")).usage
        assert silent.input_tokens is None and silent.output_tokens is None, "never a silent zero"


async def test_reasoning_comes_before_the_answer(way: Way) -> None:
    """T5: reasoning is not text; what is sealed goes back with the next request of the same turn."""
    script: list[Reply] = [reply(think("Let me see."), call("look", what="a")), reply(think("So."), text("Seen."))]
    async with ScriptedProvider(script) as provider:
        result = await way.agent(provider, look, retry=ONCE).run("Look")
        assert result.text == "Seen." and provider.requests[1].problems == ()


async def test_cut_off_calls_are_not_run(way: Way) -> None:
    """S7: calls of an answer that hit the length limit are answered, not run."""
    async with ScriptedProvider([reply(call("look", what="a"), stop="length"), reply("Shorter.")]) as provider:
        session = way.agent(provider, look, retry=ONCE).session()
        result = await session.run("Look")
        assert Ok not in outcomes(result.messages) and len(outcomes(result.messages)) == 1
        assert result.text == "Shorter." and b"cut off" in provider.requests[1].raw


async def test_an_interrupted_stream_leaves_a_usable_session(provider: Provider) -> None:
    """C1, T2: abort in mid-stream; text stays, and the provider accepts what follows."""
    script = [reply(text("one two three four five six"), stall_after_event=7), reply("Back.")]
    async with ScriptedProvider(script) as scripted:
        session = provider.agent(scripted, look, retry=ONCE).session()
        async with session.stream("Count") as turn:
            async for event in turn:
                if type(event) is TextDelta:
                    session.interrupt()
        assert turn.result.reason == "interrupted" and turn.result.text.startswith("one")
        assert (await session.run("Go on")).text == "Back."
        assert scripted.requests[1].problems == ()


async def test_dropped_in_mid_stream(provider: Provider) -> None:
    """S3: a connection that breaks is tried again where nothing was shown, and told as broken where something was."""
    broken = reply(text("one two three four five six"), reset_at_byte=600)
    async with ScriptedProvider([broken, reply("Whole."), broken]) as scripted:
        assert (await provider.agent(scripted, retry=Retry(base_delay_s=0)).run("Hi")).text == "Whole."
        async with provider.agent(scripted, retry=ONCE).session().stream("Hi") as turn:
            async for _ in turn:
                pass
        assert turn.result.error is not None and turn.result.error.retryable


async def test_a_stream_without_its_end(provider: Provider) -> None:
    """S3: a body that ends politely but too early is truncated."""
    async with ScriptedProvider([reply(text("one two"), missing="end")]) as scripted:
        with pytest.raises(ProviderError) as caught:
            await provider.agent(scripted, retry=ONCE).run("Hi")
        assert caught.value.code == "truncated"


async def test_wrong_keys(provider: Provider) -> None:
    """The provider's own refusal, classified."""
    if provider.name == "ollama":
        pytest.skip("Ollama wants no key")
    async with ScriptedProvider([fail(401)]) as scripted:
        with pytest.raises(ProviderError) as caught:
            await provider.agent(scripted, retry=ONCE).run("Hi")
        assert caught.value.code == "auth" and not caught.value.info.retryable


OVERFLOWS: dict[str, Reply] = {
    "anthropic": fail(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "openai": fail(400, "Your messages resulted in 130000 tokens.", code="context_length_exceeded"),
    "openai-responses": fail(400, "Your input exceeds the context window of this model."),
    "gemini": fail(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    "vertex": fail(400, "The input token count is 1200000 but the model only supports up to 1048576."),
    "cohere": fail(400, "too many tokens: total number of tokens in the prompt cannot exceed 256000"),
    "bedrock": fail(400, "Input is too long for requested model."),
    "ollama": fail(400, "prompt too long; exceeded max context length by 12 tokens"),
}


async def test_a_conversation_that_is_too_long(way: Way) -> None:
    """X5's first half: told apart from every other refusal, in each provider's own words, and not tried again as it is."""
    async with ScriptedProvider([OVERFLOWS[way.provider.name], reply("Short enough.")]) as provider:
        session = way.agent(provider, retry=Retry(base_delay_s=0)).session()
        with pytest.raises(ProviderError) as caught:
            await session.run("A very long story")
        assert (caught.value.code, caught.value.status) == ("context_overflow", 400)
        assert len(provider.requests) == 1
        assert (await session.run("Hi")).text == "Short enough."


async def test_a_rate_limit_is_no_overflow(way: Way) -> None:
    """Limits of tokens per minute speak of tokens, too: they pass by waiting."""
    busy = fail(429, "Rate limit reached: 40000 input tokens per minute. Please try again later.")
    async with ScriptedProvider([busy, reply("Now.")]) as provider:
        assert (await way.agent(provider, retry=Retry(base_delay_s=0)).run("Hi")).text == "Now."
        assert len(provider.requests) == 2
