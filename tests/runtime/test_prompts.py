"""What cannot be said is refused at the door, and what slips through ends its turn with an error."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.conftest import Host

from turnwise import Audio, Document, Image, Text, UserMessage
from turnwise.errors import ConfigError
from turnwise.testing import ScriptedProvider, reply


@pytest.mark.parametrize(
    "prompt", [[Image(b"png")], ["look", Audio("x.mp3")], Document(None), [Text(3)], [7], [["a"]]], ids=repr
)  # type: ignore[arg-type]
async def test_what_is_no_content_is_refused(host: Host, prompt: Any) -> None:
    """T2: nothing is journalled or sent, and the session goes on."""
    async with ScriptedProvider([reply("Fine.")]) as provider, host.agent(provider).session() as session:
        with pytest.raises(ConfigError) as raised:
            await session.run(prompt)
        assert raised.value.info.code == "invalid_value" and raised.value.info.hint
        assert (await session.run("Hello")).text == "Fine."
        assert len(session.messages) == 2


async def test_a_request_that_cannot_be_written_ends_its_turn(host: Host) -> None:
    """E10: a history of wrong types is found out when it is written; nobody waits for ever."""
    history = [UserMessage((Image(b"png"),))]  # type: ignore[arg-type]
    async with ScriptedProvider([]) as provider, host.agent(provider).session(history=history) as session:
        with pytest.raises(ConfigError) as raised:
            await session.run("Hello")
        assert raised.value.info.code == "unwritable_request"
