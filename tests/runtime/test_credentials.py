"""Credentials that are worked out for each request: asked each time, bounded in time, interruptible, and typed when they fail (C1, C5, P6)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.providers import PROVIDERS
from tests.runtime.conftest import assert_ended, in_virtual_time, read_all

from turnwise import Agent, Deadlines, Model, Retry
from turnwise.errors import ConfigError, ProviderError, TurnwiseError
from turnwise.testing import ScriptedProvider, fail, reply

ONCE = Retry(attempts=1)


def vertex(provider: ScriptedProvider, token: Any) -> Model:
    return Model(
        "vertex:gemini-2.5-pro",
        base_url=provider.url_for("vertex.generateContent"),
        vertex_project="p",
        vertex_token=token,
    )


async def test_a_token_is_asked_for_with_each_request() -> None:
    """Also for a retry: what was refused may have expired."""
    given: list[str] = []

    async def token() -> str:
        given.append(f"token-{len(given)}")
        return given[-1]

    async with ScriptedProvider([fail(503), reply("Hi."), reply("Again.")]) as provider:
        session = Agent(vertex(provider, token), retry=Retry(base_delay_s=0)).session()
        await session.run("Hi")
        await session.run("Again")
        assert len(given) == len(provider.requests) == 3


async def test_a_function_that_blocks_runs_in_a_thread() -> None:
    seen: list[str] = []

    def token() -> str:
        seen.append(threading.current_thread().name)
        return "a-token"

    async with ScriptedProvider([reply("Hi.")]) as provider:
        await Agent(vertex(provider, token)).run("Hi")
    assert seen and seen[0] != threading.main_thread().name


@pytest.mark.parametrize("how", ["interrupt", "cancel", "leave"])
async def test_waiting_for_a_token_can_be_ended(how: str) -> None:
    """C1: nobody is asked, nothing is left running."""
    asked = asyncio.Event()

    async def token() -> str:
        asked.set()
        await asyncio.Event().wait()
        return ""

    async with ScriptedProvider([]) as provider:
        session = Agent(vertex(provider, token)).session()
        if how == "cancel":
            running = asyncio.ensure_future(session.run("Hi"))
            await asked.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            async with session.stream("Hi") as turn:
                await asked.wait()
                if how == "interrupt":
                    session.interrupt()
                    assert assert_ended(await read_all(turn)).result.reason == "interrupted"
            assert turn.result.reason == "interrupted"
        assert provider.requests == []


@in_virtual_time
async def test_a_token_that_never_comes_ends_in_time() -> None:
    """C5: the wait counts as waiting for the provider."""

    async def token() -> str:
        await asyncio.Event().wait()
        return ""

    async with ScriptedProvider([]) as provider:
        agent = Agent(vertex(provider, token), retry=ONCE, deadlines=Deadlines(first_byte_s=7))
        began = asyncio.get_running_loop().time()
        with pytest.raises(ProviderError) as caught:
            await agent.run("Hi")
        assert caught.value.code == "first_byte_timeout"
        assert 7 <= asyncio.get_running_loop().time() - began < 9


@pytest.mark.parametrize(
    "wrong", [ValueError("s3cret broke"), "line\nbreak", "", 7], ids=["raises", "break", "empty", "no text"]
)
async def test_a_token_that_is_none(wrong: Any) -> None:
    """A typed error that names what failed; P6: not the token itself."""

    async def token() -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    async with ScriptedProvider([]) as provider:
        with pytest.raises(TurnwiseError) as caught:
            await Agent(vertex(provider, token), retry=ONCE).run("Hi")
        assert caught.value.message and "line\nbreak" not in str(caught.value)
        assert provider.requests == []


async def test_missing_credentials_are_told_before_anything_is_sent() -> None:
    """Named by field, for each provider that wants more than a key."""
    from turnwise import Runtime

    async with Runtime(environ={"HOME": "/nonexistent", "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent"}) as runtime:
        for model, field in (
            (Model("bedrock:anthropic.claude-sonnet-4-5-20250929-v1:0"), "bedrock_region"),
            (
                Model("bedrock:amazon.nova-pro-v1:0", bedrock_region="eu-west-1", bedrock_access_key_id="A"),
                "bedrock_secret_access_key",
            ),
            (Model("azure:gpt-5", azure_deployment="d", api_key="k"), "azure_resource"),
            (Model("azure:gpt-5", azure_resource="r", api_key="k"), "azure_deployment"),
        ):
            with pytest.raises(ConfigError) as caught:
                await Agent(model, runtime=runtime).run("Hi")
            assert (caught.value.code, caught.value.info.detail) == ("missing_config", field), caught.value.info


@pytest.mark.parametrize("name", ["bedrock", "vertex"])
async def test_no_secret_is_shown(name: str) -> None:
    """P6."""
    async with ScriptedProvider([fail(403, "No.")]) as scripted:
        agent = PROVIDERS[name].agent(scripted, retry=ONCE)
        with pytest.raises(ProviderError) as caught:
            await agent.run("Hi")
        shown = repr(agent) + repr(caught.value.info) + repr(agent.models) + caught.value.info.for_log()
        assert "a-secret" not in shown and "a-token" not in shown
