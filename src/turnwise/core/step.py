"""One step as those see it who look at a turn from between its steps."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .content import ToolCall
from .messages import AssistantMessage, Message, ToolMessage
from .outcomes import ToolResult
from .usage import Usage


class Step(msgspec.Struct, frozen=True):
    """One model call that was committed, with what came of the calls that it asked for. `number` counts from 1."""

    number: int
    message: AssistantMessage
    results: tuple[ToolResult, ...] = ()

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """What the model asked for."""
        return self.message.tool_calls

    @property
    def usage(self) -> Usage | None:
        return self.message.usage

    @property
    def text(self) -> str:
        return self.message.text


def last_step(history: Sequence[Message], turn: int) -> Step | None:
    """The last step of that turn, if the history ends in it; what was said to the model since does not count."""
    results: tuple[ToolResult, ...] = ()
    for at in range(len(history) - 1, -1, -1):
        message = history[at]
        if message.turn != turn:
            return None
        if type(message) is AssistantMessage:
            return Step(message.step, message, results)
        if type(message) is ToolMessage:
            results = message.results
    return None
