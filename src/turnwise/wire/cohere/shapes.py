"""What an answer of Cohere's chat API, version 2, looks like on the wire: typed shapes of its events and of a whole answer.

Fields that nothing is decided by are left out. What they mean is decided in `fold`. Source:
https://docs.cohere.com/reference/chat, /reference/chat-stream, /docs/streaming, and recorded traffic (`error` and
`error_type` at the end, `content_index` of citations, `reasoning_tokens`).
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Raw


class Function(msgspec.Struct, frozen=True, gc=False):
    """Name and arguments of a call, or a fragment of them; the arguments are JSON text."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call in a whole answer, or as it begins in a stream."""

    id: str | None = None
    function: Function = Function()


class Part(msgspec.Struct, frozen=True, gc=False):
    """A content block of a known type: "text" or "thinking"; a fragment has no type."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class PartKind(msgspec.Struct, frozen=True, gc=False):
    """A content block of any type."""

    type: str | None = None


class Place(msgspec.Struct, frozen=True, gc=False):
    """Which content block a citation is of."""

    content_index: int | None = None


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """Numbers are floats in the API's own types."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    reasoning_tokens: float | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    """The `usage` object, billed units aside."""

    tokens: Tokens | None = None
    cached_tokens: float | None = None


# --- events -----------------------------------------------------------------------------------------------------------


class MessageStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="message-start"):
    id: str | None = None


class StartContent(msgspec.Struct, frozen=True, gc=False):
    content: Raw


class StartContentDelta(msgspec.Struct, frozen=True, gc=False):
    message: StartContent


class ContentStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="content-start"):
    index: int
    delta: StartContentDelta


class MoreContent(msgspec.Struct, frozen=True, gc=False):
    content: Part


class MoreContentDelta(msgspec.Struct, frozen=True, gc=False):
    message: MoreContent


class ContentDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="content-delta"):
    index: int
    delta: MoreContentDelta


class Plan(msgspec.Struct, frozen=True, gc=False):
    tool_plan: str | None = None


class PlanMessage(msgspec.Struct, frozen=True, gc=False):
    message: Plan


class PlanDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="tool-plan-delta"):
    delta: PlanMessage


class CallFragment(msgspec.Struct, frozen=True, gc=False):
    tool_calls: Call


class CallMessage(msgspec.Struct, frozen=True, gc=False):
    message: CallFragment


class CallStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="tool-call-start"):
    index: int
    delta: CallMessage


class CallDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="tool-call-delta"):
    index: int
    delta: CallMessage


class Cited(msgspec.Struct, frozen=True, gc=False):
    citations: Raw


class CitedMessage(msgspec.Struct, frozen=True, gc=False):
    message: Cited


class CitationStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="citation-start"):
    delta: CitedMessage


class EndDelta(msgspec.Struct, frozen=True, gc=False):
    finish_reason: str | None = None
    usage: Counts | None = None
    error: str | None = None
    error_type: str | None = None


class MessageEnd(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="message-end"):
    delta: EndDelta = EndDelta()


class ContentEnd(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="content-end"):
    """This and the next two say nothing that another event does not say."""


class CallEnd(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="tool-call-end"):
    pass


class CitationEnd(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="citation-end"):
    pass


Meant = MessageStart | ContentStart | ContentDelta | PlanDelta | CallStart | CallDelta | CitationStart | MessageEnd
Passed = ContentEnd | CallEnd | CitationEnd
Event = Meant | Passed
KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Meant))
"""Types whose events must be as above; of any other type (debug, what comes later) nothing is needed."""
PASSED = frozenset(get_args(Passed))


class Outline(msgspec.Struct, frozen=True, gc=False):
    """What an event that is none of the known ones is told by. An error has a message and no type that goes on."""

    type: str | None = None
    message: Any = None
    error: Any = None


# --- a whole answer ---------------------------------------------------------------------------------------------------


class Message(msgspec.Struct, frozen=True, gc=False):
    content: list[Raw] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: list[Raw] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    message: Message
    id: str | None = None
    finish_reason: str | None = None
    usage: Counts | None = None
    error: str | None = None
    error_type: str | None = None


decode_event = msgspec.json.Decoder(Event).decode
decode_outline = msgspec.json.Decoder(Outline).decode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_part = msgspec.json.Decoder(Part).decode
decode_kind = msgspec.json.Decoder(PartKind).decode
decode_place = msgspec.json.Decoder(Place).decode
