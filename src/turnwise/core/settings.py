"""What a session may change of its agent while it runs. Data, so that a change is an entry of the journal."""

from __future__ import annotations

import msgspec

from .compaction import Compaction


class SessionSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What holds in one session instead of what its agent says; None: as the agent says.

    `model` is a `provider:model` name and `tools` are names; both take effect, like everything here, with the next model call.
    `max_output_tokens`, `temperature` and `top_p` are those of `ModelSettings`, `stream` asks for streamed responses or not,
    `context_limit` is the window in tokens if the catalogue does not know it or it is to be smaller, and `compaction` is
    when and how the conversation is made shorter; False turns that off. `capabilities` are names, of all that the session has.
    """

    instructions: str | None = None
    tools: tuple[str, ...] | None = None
    model: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    context_limit: int | None = None
    compaction: Compaction | bool | None = None
    capabilities: tuple[str, ...] | None = None


AGENTS_OWN = SessionSettings()
