"""Typed answers in a turn: what its models are asked for, what came of it, and the answer as it grows.

A side room of `plan`, `attempt`, `calls` and `actor`, entered only by turns that were asked for an output. What an output is, and by
which strategy a model gives it, is in `tools.output`; whether an answer that does not fit is corrected, the machine decides.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from ..core.content import ToolCall
from ..core.errors import ConfigError, config_error
from ..core.events import (
    AttemptRestarted,
    Event,
    StepStarted,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    TurnFinished,
)
from ..core.inputs import CallEnded
from ..core.messages import AssistantMessage
from ..core.outcomes import InvalidArguments, ToolResult
from ..core.outcomes import result_of as no_result
from ..core.request import ModelSettings, OneTool, OutputFormat, RequestHead, ToolSpec
from ..core.result import TurnResult
from ..models.catalogue import capabilities_of
from ..models.handle import ModelHandle
from ..tools import ArgumentsError
from ..tools.output import (
    ANSWER_TOOL,
    OutputSpec,
    PartialAnswer,
    Strategy,
    answer_tool,
    choose_strategy,
    correction,
    in_words,
    native_format,
)
from ..wire.prompted.codec import PromptedCodec
from . import refusals
from .checked import checked

if TYPE_CHECKING:
    from ..models.catalogue import Overrides
    from .turn import Turn

T = TypeVar("T")
RECEIVED = "Received."
"""What the transcript says of an answer that was given with the tool for it."""
NOT_ANSWERS = frozenset(("pause", "content_filter", "refusal"))
"""Stop reasons of texts that are no answer, nor a failed try at one."""


# --- what is asked for --------------------------------------------------------------------------------------------------


def ask(
    head: RequestHead, handle: ModelHandle, spec: OutputSpec, overrides: Overrides | None = None
) -> tuple[RequestHead, Strategy]:
    """The head that asks a model for this output, and how it does. Raises `ConfigError` (`duplicate_tool`)."""
    spoken = isinstance(handle.codec, PromptedCodec)
    can = capabilities_of(f"{handle.provider}:{handle.model}", overrides)
    strategy = choose_strategy(spec, handle.codec, can, has_tools=_has_tools(head), spoken_tools=spoken)
    settings = msgspec.structs.replace(head.settings, output=None)
    instructions = "\n\n".join([part for part in (head.instructions, in_words(spec, strategy)) if part])
    asked = msgspec.structs.replace(head, instructions=instructions, settings=settings)
    if strategy == "native":
        return _with_format(asked, handle, native_format(spec, handle.codec)), strategy
    return (_with_answer_tool(asked, handle, spec) if strategy == "tool" else asked), strategy


def _with_format(head: RequestHead, handle: ModelHandle, form: OutputFormat) -> RequestHead:
    """Ask the API for the format; hosts that know JSON but no schemas say so by refusing the strict one."""
    strict, lax = [
        msgspec.structs.replace(head, settings=msgspec.structs.replace(head.settings, output=one))
        for one in (form, msgspec.structs.replace(form, strict=False))
    ]
    return strict if _takes(handle, strict) or not _takes(handle, lax) else lax


def _with_answer_tool(head: RequestHead, handle: ModelHandle, spec: OutputSpec) -> RequestHead:
    """Offer the tool for the answer, and make the model call one tool or another where that can be had."""
    if any(tool.name == ANSWER_TOOL for tool in head.tools):
        raise config_error(
            "duplicate_tool",
            f"The agent has a tool named {ANSWER_TOOL!r}, and the answer is given with one of that name.",
            "Give it another name: @tool(name=…).",
        )
    tools: tuple[ToolSpec, ...] = tuple(sorted([*head.tools, answer_tool(spec)], key=lambda tool: tool.name))
    settings = head.settings
    if isinstance(settings.tool_choice, OneTool) or settings.tool_choice == "required":
        return msgspec.structs.replace(head, tools=tools)
    only = len(tools) == 1 or settings.tool_choice == "none"
    offered = msgspec.structs.replace(head, tools=tools, settings=_choosing(settings, None))
    forced = msgspec.structs.replace(
        offered, settings=_choosing(settings, OneTool(ANSWER_TOOL) if only else "required")
    )
    return forced if _forces(handle) and _takes(handle, forced) else offered


_FORCING = ("openai.responses", "anthropic.messages", "gemini.generateContent", "vertex.generateContent")
_FORCING_ORIGINS = ("openai.chat", "azure.chat")


def _forces(handle: ModelHandle) -> bool:
    """Whether the API is known to make its models call a tool when it is told to."""
    codec = handle.codec
    return codec.api in _FORCING or codec.origin in _FORCING_ORIGINS


def _takes(handle: ModelHandle, head: RequestHead) -> bool:
    try:
        handle.codec.encode_head(head)
    except ConfigError:
        return False
    return True


def _choosing(settings: ModelSettings, choice: Any) -> ModelSettings:
    return msgspec.structs.replace(settings, tool_choice=choice)


def _has_tools(head: RequestHead) -> bool:
    """Whether the model may call tools, the provider's own included."""
    extra = head.settings.extra
    extras: Sequence[Any] = extra if isinstance(extra, tuple) else (extra,)
    return bool(head.tools) or any(getattr(one, "server_tools", ()) for one in extras)


def bounds(spec: OutputSpec, retries: int, strategies: Sequence[Strategy | None]) -> tuple[int, str]:
    """How often an answer may be corrected, and the tool that takes it, if one of the models is offered one."""
    return retries if spec.retries is None else spec.retries, ANSWER_TOOL if "tool" in strategies else ""


# --- what came of it ----------------------------------------------------------------------------------------------------


class Answered:
    """The answers of one turn that fit, by their text, so that each is validated once."""

    __slots__ = ("_spec", "_values")

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self._values: dict[str, Any] = {}

    def problem_of(self, message: AssistantMessage, strategy: Strategy | None) -> str | None:
        """What the model is to be told of a text that is not the answer asked for; None if it is, or is none."""
        text = message.text
        if message.tool_calls or message.stop_reason in NOT_ANSWERS:
            return None
        try:
            self._values[text] = self._spec.read(text)
        except ArgumentsError as error:
            problem = error.problem
            if not text.strip():
                problem = "The answer is empty."
            elif strategy == "tool" and "{" not in text:
                problem = "The answer is not given in words."
            return correction(problem, strategy or "prompted")
        return None

    def taken(self, call: ToolCall) -> CallEnded:
        """The outcome of a call that brings the answer."""
        try:
            self._values.setdefault(call.arguments, self._spec.decode(call.arguments))
        except ArgumentsError as error:
            return CallEnded(no_result(call.id, InvalidArguments(error.problem)), final=True)
        return CallEnded(ToolResult(call.id, RECEIVED), final=True)

    def told(self, events: Sequence[Event]) -> list[Event]:
        """The events with the value in the result that ends the turn."""
        return [TurnFinished(self.in_result(e.result)) if type(e) is TurnFinished else e for e in events]

    def in_result(self, result: TurnResult) -> TurnResult:
        """The result with the value that its text stands for; as it is where the turn came to no answer."""
        if result.reason not in ("completed", "limit") or result.stop_reason in NOT_ANSWERS:
            return result
        if result.text not in self._values:
            # The last text of a turn that a limit ended, or one that was resumed: it may be an answer.
            try:
                self._values[result.text] = self._spec.read(result.text)
            except ArgumentsError:
                return result
        return msgspec.structs.replace(result, output=self._values[result.text])


# --- as it grows --------------------------------------------------------------------------------------------------------


class OutputStream(Generic[T]):
    """A turn whose answer is watched as it grows; see `Session.stream_output`.

    Iterating gives what there is of the answer so far as plain data (dicts, lists, text …) of the form asked for: text grows, other values
    and keys come when they are complete. Each is a value of its own and stays as it is. Where an answer does not fit and is
    corrected, or a model call is tried again, the next one begins anew. The iteration ends with the turn, and raises its error
    as `run` does; then `output` is the typed value and `result` the whole account. Leaving the `async with` early interrupts the turn.
    """

    __slots__ = ("_partial", "_spec", "_turn", "_values")

    def __init__(self, turn: Turn) -> None:
        """Raises `ConfigError` (`invalid_value`) for a turn that was asked for no output."""
        spec = turn.wishes.output
        if spec is None:
            raise config_error(
                "invalid_value", "stream_output() was asked for nothing.", "Name a type, or use stream()."
            )
        self._turn = turn
        self._spec = spec
        self._partial: _Growing | None = None
        self._values: deque[Any] = deque()

    async def __aenter__(self) -> Self:
        await self._turn.__aenter__()
        self._partial = _Growing(self._spec, [target.strategy for target in self._turn.plan.targets])
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._turn.__aexit__(*exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._partial is None:
            raise refusals.misuse(
                "turn_not_open", "The turn is not open.", "Write: async with session.stream_output(...) as partials:"
            )
        if self._values:
            return self._values.popleft()
        # A generator of its own each time: one that is cancelled in the midst of waiting is done for.
        async with contextlib.aclosing(self._turn.batches()) as batches:
            async for batch in batches:
                self._values.extend(self._partial.values(batch))
                if self._values:
                    return self._values.popleft()
        checked(self._turn.result)
        raise StopAsyncIteration

    @property
    def result(self) -> TurnResult:
        """The account of the turn. Raises `SessionError` (`turn_running`) while it runs."""
        return self._turn.result

    @property
    def output(self) -> T | None:
        """The typed answer: `result.output`."""
        return self._turn.result.output


class _Growing:
    """What of a turn's events belongs to its answer."""

    def __init__(self, spec: OutputSpec, strategies: Sequence[Strategy | None]) -> None:
        self._partial = PartialAnswer(spec)
        self._reads_text = any(strategy != "tool" for strategy in strategies)
        self._block: int | None = None  # of the call that brings the answer

    def values(self, batch: Sequence[Event]) -> list[Any]:
        """What there is of the answer after these events, if that is more than before; and of one that was given up among them, too."""
        partial, values = self._partial, list[Any]()
        for event in batch:
            if type(event) is TextDelta:
                if self._reads_text and self._block is None:
                    partial.feed(event.text)
            elif type(event) is ToolCallDelta:
                if event.block == self._block:
                    partial.feed(event.arguments)
            elif type(event) is ToolCallStarted:
                if event.name == ANSWER_TOOL and self._block is None:
                    partial.reset()
                    self._block = event.block
            elif type(event) is StepStarted or type(event) is AttemptRestarted:
                if partial.look():
                    values.append(partial.last)
                partial.reset()
                self._block = None
        if partial.look():
            values.append(partial.last)
        return values
