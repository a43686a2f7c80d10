"""What generateContent sends, as typed values: chunks (a whole response is one), candidates, parts, counts, words.

Only the fields that are used are named; the rest is skipped while decoding. What may have any form is kept as raw JSON.
Source: https://ai.google.dev/api/generate-content#GenerateContentResponse and https://ai.google.dev/api/caching#Part
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ...core.messages import StopReason
from ...core.usage import Provenance, Usage

STOP_REASONS: dict[str, StopReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
"""Finish reasons in normal form. `UNEXPECTED_TOOL_CALL` comes with the call, which the runtime answers; others say that the model
produced nothing usable (`MALFORMED_FUNCTION_CALL`, `OTHER`, `LANGUAGE` …) and have no better word than unknown."""
CALLS_COUNT = ("STOP", "UNEXPECTED_TOOL_CALL")
"""Finish reasons after which calls are whole, so that they are the reason."""

NULL = Raw(b"null")


class Counts(Struct, frozen=True, gc=False):
    """Token counts so far. The prompt's hold what was cached; thoughts are counted apart. What tools that Google ran itself read
    (`toolUsePromptTokenCount`) is in neither and not in the normal form."""

    promptTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    thoughtsTokenCount: int | None = None
    cachedContentTokenCount: int | None = None


# --- the commonest chunk of a stream: more text and nothing else ------------------------------------------------------


class TextOnly(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    text: str


class TextContent(Struct, frozen=True, gc=False):
    parts: tuple[TextOnly]


class TextCandidate(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    content: TextContent
    index: Literal[0] = 0


class TextChunk(Struct, frozen=True, gc=False):
    candidates: tuple[TextCandidate]
    usageMetadata: Counts | None = None
    promptFeedback: None = None
    error: None = None


# --- any chunk --------------------------------------------------------------------------------------------------------


class Content(Struct, frozen=True, gc=False):
    parts: list[Raw] | None = None


class AnyCandidate(Struct, frozen=True, gc=False):
    finishReason: str | None = None
    finishMessage: str | None = None
    index: int | None = None
    groundingMetadata: Raw = NULL
    citationMetadata: Raw = NULL
    urlContextMetadata: Raw = NULL
    logprobsResult: Raw = NULL


class Candidate(AnyCandidate, frozen=True, gc=False):
    content: Content | None = None


class Feedback(Struct, frozen=True, gc=False):
    blockReason: str | None = None


class AnyChunk(Struct, frozen=True, gc=False):
    promptFeedback: Raw = NULL
    modelVersion: Any = None
    responseId: Any = None
    error: Raw = NULL


class Chunk(AnyChunk, frozen=True, gc=False):
    candidates: list[Candidate] | None = None
    usageMetadata: Raw = NULL


class FunctionCall(Struct, frozen=True, gc=False):
    name: str | None = None
    args: Raw = NULL
    id: str | None = None
    partialArgs: Raw = NULL
    willContinue: bool | None = None


class Blob(Struct, frozen=True, gc=False):
    mimeType: str = ""
    data: str = ""


class UsualPart(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A part that is nothing but text, reasoning or a call."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: FunctionCall | None = None


class Part(UsualPart, frozen=True, gc=False, forbid_unknown_fields=False):
    """A part of any kind. What is not named here is read from its fields."""

    inlineData: Blob | None = None


# --- a chunk whose parts are all of the usual kinds, read in one go ---------------------------------------------------


class UsualContent(Struct, frozen=True, gc=False):
    parts: list[UsualPart] | None = None


class UsualCandidate(AnyCandidate, frozen=True, gc=False):
    content: UsualContent | None = None


class UsualChunk(AnyChunk, frozen=True, gc=False):
    candidates: list[UsualCandidate] | None = None
    usageMetadata: Counts | None = None


decode_text_chunk = msgspec.json.Decoder(TextChunk).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_usual_chunk = msgspec.json.Decoder(UsualChunk).decode
decode_feedback = msgspec.json.Decoder(Feedback | None).decode
decode_part = msgspec.json.Decoder(Part).decode
decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_counts = msgspec.json.Decoder(Counts | None).decode

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes that are no JSON, are not UTF-8, or are nested too deep."""


def read_counts(raw: Raw) -> Counts | None:
    """The counts; None if there are none or they are not what the API promises. Usage is never worth a failed answer."""
    try:
        return _decode_counts(raw)
    except UNREADABLE:
        return None


def later(before: Counts | None, now: Counts | None) -> Counts | None:
    """The counts after another report. Reports are running totals, but not each names them all (rule S4)."""
    if before is None or now is None:
        return now or before
    made, thought = now.candidatesTokenCount, now.thoughtsTokenCount
    return Counts(
        before.promptTokenCount if now.promptTokenCount is None else now.promptTokenCount,
        before.candidatesTokenCount if made is None else made,
        before.thoughtsTokenCount if thought is None else thought,
        before.cachedContentTokenCount if now.cachedContentTokenCount is None else now.cachedContentTokenCount,
    )


def usage_of(counts: Counts | None, provenance: Provenance) -> Usage | None:
    """Counts in normal form: output with thoughts. None if nothing was said."""
    if counts is None or counts == _UNSAID:
        return None
    made, thought = counts.candidatesTokenCount, counts.thoughtsTokenCount
    if made is not None or thought is not None:
        made = (made or 0) + (thought or 0)
    return Usage(counts.promptTokenCount, made, counts.cachedContentTokenCount, None, thought, provenance)


_UNSAID = Counts()
