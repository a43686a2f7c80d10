"""What extensions give in place of what a provider says, and what they raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ...core.messages import AssistantMessage

if TYPE_CHECKING:
    from .provider import Said

Where = tuple[str, int, int]
"""A session, a turn and a step."""


def model_name(api: str) -> str:
    """As its agent calls it."""
    from .process import MODELS

    return f"{api}:{MODELS[api][1]}"


class Trouble(Exception):
    """What an extension raises."""


class Given(msgspec.Struct, frozen=True):
    """An answer that no provider gave: its text, or what becomes of the provider's; `calls` are (name, arguments), None for those that the provider asked for."""

    text: str | None = None
    calls: tuple[tuple[str, str], ...] | None = None
    louder: bool = False

    def louder_too(self) -> Given:
        """The same when another one around it has made it louder."""
        return self if self.text is None else msgspec.structs.replace(self, text=self.text.upper())

    def fits(self, message: AssistantMessage, said: Said | None) -> bool:
        """Whether this is what the message says."""
        told = "" if said is None else said.answer.text
        wanted = self.text if self.text is not None else told.upper() if self.louder else told
        if message.text != wanted:
            return False
        if self.calls is None:
            return said is not None and len(message.tool_calls) == len(said.answer.calls)
        return tuple([(call.name, call.arguments) for call in message.tool_calls]) == self.calls
