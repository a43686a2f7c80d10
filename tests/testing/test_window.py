"""A scripted provider with a small context window refuses what is longer, in each API's own words."""

from __future__ import annotations

import pytest
from tests.providers import PROVIDERS, Provider

from turnwise import TurnwiseError
from turnwise.testing import ScriptedProvider, reply


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_request_longer_than_the_window(provider: Provider, stream: bool) -> None:
    """X5: the refusal is told apart as an overflow, uses up no reply, and a request that fits is answered."""
    async with ScriptedProvider([reply("Short enough.")], window_tokens=400) as scripted:
        agent = provider.agent(scripted, stream=stream)
        with pytest.raises(TurnwiseError) as caught:
            await agent.run("word " * 400)
        assert (caught.value.code, caught.value.status) == ("context_overflow", 400)
        assert "{" not in caught.value.message
        assert (await agent.run("Hi")).text == "Short enough."
        for request in scripted.requests:
            assert not request.problems
