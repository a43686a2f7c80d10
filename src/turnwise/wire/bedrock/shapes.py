"""What Bedrock Converse sends, as typed values: events of a stream, the whole answer, counts and stop words.

Only the fields that are used are named; the rest (padding, metrics, traces) is skipped while decoding. What may have any form
is kept as raw JSON. Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
API_runtime_ConverseStreamOutput.html.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from ...core.messages import StopReason
from ...core.usage import Provenance, Usage

ORIGIN = "bedrock"
"""The signature family of a model whose vendor is not known; see `bedrock_models.origin_of`."""

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "refusal",
    "pause_turn": "pause",
}
"""`malformed_model_output` and `malformed_tool_use` have no normal form."""


NULL = Raw(b"null")


class InputPart(Struct, frozen=True, gc=False):
    input: str = ""


class ReasoningPart(Struct, frozen=True, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class Delta(Struct, frozen=True, gc=False):
    """One of these, or something that the API added later."""

    text: str | None = None
    toolUse: InputPart | None = None
    reasoningContent: ReasoningPart | None = None
    citation: Raw = NULL


class DeltaEvent(Struct, frozen=True, gc=False):
    delta: Delta
    contentBlockIndex: int = 0


class LooseDeltaEvent(Struct, frozen=True, gc=False):
    """The same read a second time, for blocks that are kept whole."""

    delta: dict[str, Raw]


class StartEvent(Struct, frozen=True, gc=False):
    start: dict[str, Raw]
    contentBlockIndex: int = 0


class StopEvent(Struct, frozen=True, gc=False):
    contentBlockIndex: int = 0


class MessageStop(Struct, frozen=True, gc=False):
    stopReason: str


class Counts(Struct, frozen=True, gc=False):
    """Token counts. `inputTokens` are those that were neither read from the cache nor written to it."""

    inputTokens: int | None = None
    outputTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None


class Metadata(Struct, frozen=True, gc=False):
    usage: Counts | None = None


class ToolUse(Struct, frozen=True, gc=False):
    """A call, or the beginning of one. `type` tells those that Bedrock runs itself (`server_tool_use`)."""

    name: str = ""
    toolUseId: str | None = None
    type: str | None = None
    input: Raw = Raw(b"{}")


class ReasoningText(Struct, frozen=True, gc=False):
    text: str = ""
    signature: str | None = None


class Reasoning(Struct, frozen=True, gc=False):
    reasoningText: ReasoningText | None = None
    redactedContent: str | None = None


class CitedText(Struct, frozen=True, gc=False):
    text: str = ""


class Citations(Struct, frozen=True, gc=False):
    content: list[CitedText] = []
    citations: list[Raw] = []


class ImageSource(Struct, frozen=True, gc=False):
    bytes: str | None = None


class Picture(Struct, frozen=True, gc=False):
    """A picture, the beginning of one (`format`), or more of one."""

    format: str = "png"
    source: ImageSource | None = None


class AnswerMessage(Struct, frozen=True, gc=False):
    content: list[dict[str, Raw]] = []


class Output(Struct, frozen=True, gc=False):
    message: AnswerMessage | None = None


class Answer(Struct, frozen=True, gc=False):
    """An answer in one document."""

    output: Output | None = None
    stopReason: str | None = None
    usage: Counts | None = None


class Problem(Struct, frozen=True, gc=False, rename={"type": "__type", "message_too": "Message"}):
    """What is wrong: an error body, or the payload of an exception in a stream."""

    message: str | None = None
    message_too: str | None = None
    type: str | None = None
    originalMessage: str | None = None
    originalStatusCode: int | None = None

    @property
    def text(self) -> str:
        """The message; that of the model's own server, if it was passed on, behind it."""
        said = self.message or self.message_too or ""
        other = self.originalMessage
        return f"{said} ({other})" if said and other and other not in said else said or other or ""


def usage_of(counts: Counts | None, provenance: Provenance) -> Usage | None:
    """Counts in normal form; None if nothing was said."""
    if counts is None or (counts.inputTokens is None and counts.outputTokens is None):
        return None
    read, written, fresh = counts.cacheReadInputTokens, counts.cacheWriteInputTokens, counts.inputTokens
    total = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(total, counts.outputTokens, read, written, None, provenance)
