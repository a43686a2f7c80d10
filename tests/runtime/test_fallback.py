"""Several models of one agent: when the next one is asked, and what it is asked (H3, S3, T5, T8)."""

from __future__ import annotations

import asyncio

import pytest
from tests.runtime.conftest import Host, assert_ended, goes_on, in_virtual_time, of, read_all

from turnwise import Agent, Model, ModelSettings, Retry, tool
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import AttemptRestarted, StepStarted, TextDelta, UsageUpdated
from turnwise.testing import Reply, ScriptedProvider, call, error_event, fail, reply, text, think
from turnwise.wire.extras import AnthropicExtra, OpenAIExtra

SOON = Retry(attempts=2, base_delay_s=0)


@tool
async def look(what: str) -> str:
    return f"saw {what}"


def both(provider: ScriptedProvider, **options: object) -> Agent[None]:
    """An agent that prefers Anthropic and falls back on OpenAI, both played by one provider."""
    first = Model("anthropic:first", base_url=provider.anthropic_url, api_key="test")
    second = Model("openai:second", base_url=provider.openai_url, api_key="test")
    return Agent(models=[first, second], **options)  # pyright: ignore[reportArgumentType]


FALLS_OVER: dict[str, tuple[list[Reply], int]] = {
    "overloaded": ([fail(529)], 1),
    "server, after its tries": ([fail(500), fail(500)], 2),
    "a wait beyond patience": ([fail(429, headers={"retry-after": "30"})], 1),
    "reset": ([reply(reset_before_headers=True), reply(reset_before_headers=True)], 2),
}


@pytest.mark.parametrize("case", FALLS_OVER)
@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "run"])
async def test_the_next_model_answers(case: str, streaming: bool) -> None:
    """H3: the machine falls over, tells watchers, and the answer says who gave it."""
    broken, tries = FALLS_OVER[case]
    async with ScriptedProvider([*broken, reply("From the second."), reply("First again.")]) as provider:
        session = both(provider, retry=SOON).session()
        if streaming:
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            result = assert_ended(events).result
            assert [e.model for e in of(StepStarted, events)] == ["first"] * tries + ["second"]
            assert [e.attempt for e in of(AttemptRestarted, events)] == [*range(2, tries + 2)]
        else:
            result = await session.run("Hi")
        assert result.text == "From the second."
        assert [r.api for r in provider.requests] == ["anthropic.messages"] * tries + ["openai.chat"]
        assert (session.messages[-1].provider, session.messages[-1].model) == ("openai", "second")  # pyright: ignore
        await goes_on(session)
        assert provider.requests[-1].api == "anthropic.messages"


@pytest.mark.parametrize("refused", [fail(400), fail(401), fail(404)], ids=["invalid", "auth", "not found"])
async def test_what_another_try_cannot_mend_ends_the_turn(refused: Reply) -> None:
    """H3: an error that is not retryable is told, not papered over by another model."""
    async with ScriptedProvider([refused]) as provider:
        with pytest.raises(ProviderError) as caught:
            await both(provider, retry=SOON).run("Hi")
        assert caught.value.info.provider == "anthropic" and len(provider.requests) == 1


async def test_no_model_left() -> None:
    """The last model's error is the turn's."""
    async with ScriptedProvider([fail(529), fail(503), fail(503)]) as provider:
        with pytest.raises(ProviderError) as caught:
            await both(provider, retry=SOON).run("Hi")
        assert caught.value.info.provider == "openai" and caught.value.result is not None


async def test_shown_text_is_not_taken_back() -> None:
    """S3: with `before_output` a stream that broke after text was shown falls over to nobody."""
    broken = reply(text("one two three"), error_event("overloaded", type="overloaded_error"))
    async with ScriptedProvider([broken]) as provider:
        async with both(provider, retry=SOON).session().stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert result.reason == "error" and result.error is not None
        assert result.error.commit_phase == "before_commit"


async def test_a_discarded_attempt_is_paid_for() -> None:
    """E10: with `before_commit` the deltas of the broken attempt do not count, its usage does."""
    broken = reply(text("one two three"), error_event("overloaded", type="overloaded_error"))
    async with ScriptedProvider([broken, reply("Whole.")]) as provider:
        async with both(provider, retry=SOON, restart="before_commit").session().stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert "".join([e.text for e in of(TextDelta, events) if e.attempt == 2]) == "Whole." == result.text
        first, last = of(UsageUpdated, events)
        assert (
            first.step_usage.input_tokens and last.session_usage == result.usage == first.step_usage + last.step_usage
        )


async def test_in_mid_turn_the_history_goes_along() -> None:
    """T5, T8: the second model takes over within a tool loop; foreign reasoning stays behind; the turn stays with it."""
    script = [
        reply(think("in Anthropic's way"), call("look", what="a")),
        fail(529),
        reply(call("look", what="b")),
        reply("Seen."),
    ]
    async with ScriptedProvider(script) as provider:
        session = both(provider, tools=[look], retry=SOON).session()
        assert (await session.run("Hi")).text == "Seen."
        apis = [r.api for r in provider.requests]
        assert apis == ["anthropic.messages", "anthropic.messages", "openai.chat", "openai.chat"]
        assert b"in Anthropic's way" not in provider.requests[2].raw
        assert b"saw a" in provider.requests[2].raw and b"saw b" in provider.requests[3].raw


@in_virtual_time
async def test_a_short_wait_is_waited_for() -> None:
    """A Retry-After within patience is honoured, although there is another model."""
    async with ScriptedProvider([fail(429, headers={"retry-after": "4"}), reply("First.")]) as provider:
        began = asyncio.get_running_loop().time()
        result = await both(provider).run("Hi")
        assert 4 <= asyncio.get_running_loop().time() - began < 5
        assert result.text == "First." and provider.requests[-1].api == "anthropic.messages"


async def test_each_model_gets_its_own_settings() -> None:
    """Typed extras go to the API they are for; a model's own settings replace the agent's."""
    extra = (AnthropicExtra(top_k=7), OpenAIExtra(verbosity="low"))
    async with ScriptedProvider([fail(529), reply("Hi.")]) as provider:
        await both(provider, settings=ModelSettings(extra=extra)).run("Hi")
        first, second = provider.requests
        assert first.body["top_k"] == 7 and "verbosity" not in first.body
        assert second.body["verbosity"] == "low" and "top_k" not in second.body
    async with ScriptedProvider([reply("Hi.")]) as provider:
        own = Model("openai:m", base_url=provider.openai_url, api_key="k", settings=ModelSettings(seed=3))
        await Agent(own, settings=ModelSettings(seed=1, temperature=0.5)).run("Hi")
        assert provider.requests[0].body["seed"] == 3 and "temperature" not in provider.requests[0].body


async def test_misuse_is_told(host: Host) -> None:
    """Bad input is a typed error before any I/O."""
    with pytest.raises(ConfigError, match="no model"):
        Agent()
    with pytest.raises(ConfigError, match="both"):
        Agent("openai:a", models=["openai:b"])
    with pytest.raises(ConfigError, match="which model api_key"):
        Agent(models=["openai:a", "anthropic:b"], api_key="k")
    wrong = AnthropicExtra(top_k=1) if host.name == "openai" else OpenAIExtra(verbosity="low")
    with pytest.raises(ConfigError) as caught:
        await host.agent("http://127.0.0.1:9", settings=ModelSettings(extra=wrong)).run("Hi")
    assert caught.value.code == "unused_config"
    with pytest.raises(ConfigError) as caught:
        await Agent("openai:a", api_key="k", bedrock_region="eu-west-1").run("Hi")
    assert caught.value.code == "unused_config" and "bedrock_region" in caught.value.message


async def test_the_second_model_must_fit_too() -> None:
    """What a fallback cannot do is refused at once, not when it is needed."""
    async with ScriptedProvider([]) as provider:
        with pytest.raises(ConfigError, match="seed"):
            second = Model("anthropic:b", base_url=provider.anthropic_url, api_key="k")
            first = Model("openai:a", base_url=provider.openai_url, api_key="k")
            await Agent(models=[first, second], settings=ModelSettings(seed=1)).run("Hi")
        assert provider.requests == []
