"""`validate(input=…, output=…)`: what goes in and what comes out has to fit a schema.

Around model calls: what the user said, and what the model answered, as JSON. Around tool calls: the arguments and the result. What does not
fit is an error, and is not tried again because of it; to have a model correct its answer ask for it by `run(…, output=…)`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any, Literal

import msgspec

from ....core.decoded import DecoderEvent, ResponseEnded
from ....core.errors import ErrorInfo, HookError, config_error
from ....core.events import TextDelta
from ....core.outcomes import ToolResult
from ....tools import ArgumentsError
from ....tools.output import OutputSpec, output_spec
from ..requests import ModelRequest, ToolRequest
from ..response import ModelResponse


class Validate:
    """See `validate`."""

    name = "validate"

    def __init__(self, input: Any, output: Any, on: Literal["model", "tool"], tools: Collection[str]) -> None:
        if input is None and output is None:
            raise config_error(
                "invalid_value", "validate() checks nothing.", "Give input=… or output=…, a type or schema."
            )
        if on not in ("model", "tool"):
            raise config_error("invalid_value", f"validate(on={on!r}) means nothing.", "Use model or tool.")
        self._input: OutputSpec | None = None if input is None else output_spec(input)
        self._output: OutputSpec | None = None if output is None else output_spec(output)
        self._tools = frozenset(tools)
        if on == "model":
            self.model = self._around_model
        else:
            self.tool = self._around_tool

    async def _around_model(self, request: ModelRequest, next: Any) -> ModelResponse:
        if self._input is not None:
            for message in request.fresh():
                _check(self._input, message.text, "What the user said")
        response: ModelResponse = await next(request)
        return response if self._output is None else response.through(self._checked)

    async def _checked(self, events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
        """The answer is shown as it comes; it counts when it fits. A step that calls tools is no answer."""
        assert self._output is not None
        said: list[str] = []
        async for event in events:
            if type(event) is TextDelta:
                said.append(event.text)
            elif type(event) is ResponseEnded and event.stop_reason in ("stop", "stop_sequence"):
                _check(self._output, "".join(said), "What the model said")
            yield event

    async def _around_tool(self, request: ToolRequest, next: Any) -> ToolResult:
        if self._tools and request.name not in self._tools:
            return await next(request)
        if self._input is not None:
            _check(self._input, request.call.arguments or "{}", f"The arguments of {request.name}")
        result: ToolResult = await next(request)
        if self._output is not None and not result.is_error:
            _check(self._output, result.text, f"The result of {request.name}")
        return result


def _check(spec: OutputSpec, text: str, what: str) -> None:
    """Raises `HookError` (`not_valid`)."""
    try:
        spec.read(text)
    except (ArgumentsError, msgspec.ValidationError) as error:
        problem = error.problem if isinstance(error, ArgumentsError) else str(error)
        raise HookError(
            ErrorInfo(
                "hook",
                "not_valid",
                f"{what} is not as validate({spec.name}) wants it: {problem}",
                "Correct what was given, or the schema.",
            )
        ) from None


def validate(
    input: Any = None, output: Any = None, *, on: Literal["model", "tool"] = "model", tools: Collection[str] = ()
) -> Validate:
    """Have `input` and `output` fit a type or a JSON Schema (as for `run(…, output=…)`): of model calls, or of calls of `tools` (default:
    all). What does not fit fails the call (`not_valid`): the turn ends with that error, a tool call tells it to the model."""
    return Validate(input, output, on, tools)
