"""What Anthropic sends, as typed values: the events of a stream, the whole message, its blocks, counts and stop words.

Only the fields that are used are named; the rest is skipped while decoding. What may have any form is kept as raw JSON.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming and the reference of POST /v1/messages.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from ...core.messages import StopReason
from ...core.usage import Provenance, Usage

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}

NULL = Raw(b"null")


class _OutputDetails(Struct, frozen=True, gc=False):
    thinking_tokens: int | None = None


class Counts(Struct, frozen=True, gc=False):
    """Token counts as Anthropic gives them: `input_tokens` leaves cached tokens out, and every report is a running total."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class TextDeltaPart(Struct, frozen=True, gc=False, tag="text_delta"):
    text: str


class ThinkingDeltaPart(Struct, frozen=True, gc=False, tag="thinking_delta"):
    thinking: str


class SignatureDeltaPart(Struct, frozen=True, gc=False, tag="signature_delta"):
    signature: str


class JsonDeltaPart(Struct, frozen=True, gc=False, tag="input_json_delta"):
    partial_json: str


class CitationDeltaPart(Struct, frozen=True, gc=False, tag="citations_delta"):
    citation: Raw


DeltaPart = TextDeltaPart | ThinkingDeltaPart | SignatureDeltaPart | JsonDeltaPart | CitationDeltaPart


class BlockDelta(Struct, frozen=True, gc=False, tag="content_block_delta"):
    index: int
    delta: DeltaPart


class ContentBlock(Struct, frozen=True, gc=False):
    """A block as it begins, or a whole one."""

    type: str
    text: str | None = None
    citations: list[Raw] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")


class BlockStart(Struct, frozen=True, gc=False, tag="content_block_start"):
    index: int
    content_block: ContentBlock


class BlockFields(Struct, frozen=True, gc=False):
    """The same event read again, for blocks that are kept whole."""

    content_block: dict[str, Raw]


class BlockStop(Struct, frozen=True, gc=False, tag="content_block_stop"):
    index: int


class StopWord(Struct, frozen=True, gc=False):
    stop_reason: str | None = None


class Message(Struct, frozen=True, gc=False):
    """The whole of an answer that is not streamed."""

    id: str | None = None
    model: str | None = None
    content: list[Raw] | None = None
    stop_reason: str | None = None
    usage: Raw = NULL
    error: Raw = NULL


class Opening(Struct, frozen=True, gc=False):
    """As much of the message as a stream begins with."""

    id: str | None = None
    model: str | None = None
    usage: Counts | None = None


class MessageStart(Struct, frozen=True, gc=False, tag="message_start"):
    message: Opening


class LooseUsage(Struct, frozen=True, gc=False):
    """The usage of an event whose counts are not what they should be."""

    message: Message | None = None
    delta: StopWord | None = None
    usage: Raw = NULL


class MessageDelta(Struct, frozen=True, gc=False, tag="message_delta"):
    delta: StopWord
    usage: Counts | None = None


class MessageStop(Struct, frozen=True, gc=False, tag="message_stop"):
    pass


class Ping(Struct, frozen=True, gc=False, tag="ping"):
    pass


class Failure(Struct, frozen=True, gc=False, tag="error"):
    pass


StreamEvent = BlockDelta | BlockStart | BlockStop | MessageStart | MessageDelta | MessageStop | Ping | Failure
KNOWN_EVENTS = frozenset(
    (
        "content_block_start",
        "content_block_stop",
        "content_block_delta",
        "message_start",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    )
)
KNOWN_DELTAS = frozenset(("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"))


class Outline(Struct, frozen=True, gc=False):
    """As much of an event as tells what it is, for those that are none of the above."""

    type: str = ""
    error: Raw = NULL


class LooseDelta(Struct, frozen=True, gc=False):
    """A delta that we do not know, or that goes to a block we do not know."""

    index: int
    delta: dict[str, Raw]


_decode_counts = msgspec.json.Decoder(Counts | None).decode


def read_counts(raw: Raw) -> Counts | None:
    """The counts; None if there are none or they are not what the API promises. Usage is never worth a failed answer."""
    try:
        return _decode_counts(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def later_counts(before: Counts | None, now: Counts | None) -> Counts | None:
    """The counts after another report: what it names replaces what was said before (rule S4)."""
    if before is None or now is None:
        return now or before
    given, made, details = now.input_tokens, now.output_tokens, now.output_tokens_details
    read, written = now.cache_read_input_tokens, now.cache_creation_input_tokens
    return Counts(
        before.input_tokens if given is None else given,
        before.output_tokens if made is None else made,
        before.cache_read_input_tokens if read is None else read,
        before.cache_creation_input_tokens if written is None else written,
        before.output_tokens_details if details is None else details,
    )


def usage_of(counts: Counts | None, provenance: Provenance) -> Usage | None:
    """Counts in normal form: all input together, cached tokens included."""
    if counts is None:
        return None
    total, read, written = counts.input_tokens, counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    if total is not None:
        total += (read or 0) + (written or 0)
    details = counts.output_tokens_details
    thinking = None if details is None else details.thinking_tokens
    return Usage(total, counts.output_tokens, read, written, thinking, provenance)
