"""What a response of the OpenAI Responses API looks like on the wire: typed shapes of its events and of its document.

Fields that nobody looks at are left out, and so skipped by the reader. What events and items mean is decided in
`fold` and `items`. Source: https://platform.openai.com/docs/api-reference/responses and
/responses-streaming; fields of other hosts (Azure, xAI, DeepSeek, Bedrock) from recorded traffic.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Raw

from ..openai_chat.shapes import CompletionDetails, Counts, PromptDetails

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""What reading raises on bytes that are not what they should be, and on numbers that cannot be written again."""


class _Event(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """Told apart by its `type`."""


class OutputText(_Event, frozen=True, gc=False, tag="response.output_text.delta"):
    """More of part `content_index` of the message that is item `output_index`."""

    delta: str
    output_index: int = 0
    content_index: int = 0


class SummaryText(_Event, frozen=True, gc=False, tag="response.reasoning_summary_text.delta"):
    delta: str
    output_index: int = 0


class ReasoningText(_Event, frozen=True, gc=False, tag="response.reasoning_text.delta"):
    delta: str
    output_index: int = 0


class Arguments(_Event, frozen=True, gc=False, tag="response.function_call_arguments.delta"):
    delta: str
    output_index: int = 0


class CustomInput(_Event, frozen=True, gc=False, tag="response.custom_tool_call_input.delta"):
    """More of the plain text that a custom tool is called with."""

    delta: str
    output_index: int = 0


class Item(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of an output item that begins. `name` and `call_id` are those of a call."""

    type: str
    id: str | None = None
    name: Any = None
    call_id: Any = None


class ItemAdded(_Event, frozen=True, gc=False, tag="response.output_item.added"):
    """An item begins; much of it may still be missing or provisional."""

    item: Item
    output_index: int = 0


class ItemDone(_Event, frozen=True, gc=False, tag="response.output_item.done"):
    """An item as it finally is."""

    item: dict[str, Any]
    output_index: int = 0


class Envelope(msgspec.Struct, frozen=True, gc=False):
    id: Any = None
    model: Any = None


class Created(_Event, frozen=True, gc=False, tag="response.created"):
    response: Envelope


class Response(msgspec.Struct, frozen=True, gc=False):
    """The response as a whole: the document, and what the last event of a stream holds.

    `object` tells it from other documents; hosts that leave it out still have `output`.
    """

    id: Any = None
    model: Any = None
    status: str | None = None
    output: list[Raw] | None = None
    error: Any = None
    incomplete_details: Any = None
    usage: Raw = Raw(b"null")
    message: Any = None
    detail: Any = None


class Completed(_Event, frozen=True, gc=False, tag="response.completed"):
    response: Response


class Incomplete(_Event, frozen=True, gc=False, tag="response.incomplete"):
    response: Response


class Failure(_Event, frozen=True, gc=False, tag="response.failed"):
    response: Response


class Error(_Event, frozen=True, gc=False, tag="error"):
    """Flat in the API's documents; what it really sends is nested under `error`, as in error responses."""

    code: Any = None
    message: Any = None
    param: Any = None
    error: Any = None


class InProgress(_Event, frozen=True, gc=False, tag="response.in_progress"):
    """This and the next ones say nothing that another event does not say."""


class PartAdded(_Event, frozen=True, gc=False, tag="response.content_part.added"):
    pass


class PartDone(_Event, frozen=True, gc=False, tag="response.content_part.done"):
    pass


class TextDone(_Event, frozen=True, gc=False, tag="response.output_text.done"):
    pass


class AnnotationAdded(_Event, frozen=True, gc=False, tag="response.output_text.annotation.added"):
    pass


class ArgumentsDone(_Event, frozen=True, gc=False, tag="response.function_call_arguments.done"):
    pass


class SummaryPartAdded(_Event, frozen=True, gc=False, tag="response.reasoning_summary_part.added"):
    pass


class SummaryPartDone(_Event, frozen=True, gc=False, tag="response.reasoning_summary_part.done"):
    pass


class SummaryDone(_Event, frozen=True, gc=False, tag="response.reasoning_summary_text.done"):
    pass


class ReasoningDone(_Event, frozen=True, gc=False, tag="response.reasoning_text.done"):
    pass


Meant = (
    OutputText
    | SummaryText
    | ReasoningText
    | Arguments
    | CustomInput
    | ItemAdded
    | ItemDone
    | Created
    | Completed
    | Incomplete
    | Failure
    | Error
)
Passed = (
    InProgress
    | PartAdded
    | PartDone
    | TextDone
    | AnnotationAdded
    | ArgumentsDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryDone
    | ReasoningDone
)
StreamEvent = Meant | Passed
MEANT = frozenset([str(kind.__struct_config__.tag) for kind in get_args(Meant)])
"""Types of events that must be of their form: without them the answer would have a hole."""
PASSED = frozenset(get_args(Passed))
"""Events that need not be looked at. Types that are not here either are passed over too, in a slower way."""


class Outline(msgspec.Struct, frozen=True, gc=False):
    """What can be said of an event that has no known form."""

    type: Any = None
    error: Any = None


class _InputDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_outline = msgspec.json.Decoder(Outline).decode
decode_response = msgspec.json.Decoder(Response).decode
decode_item = msgspec.json.Decoder(Item).decode
decode_fields = msgspec.json.Decoder(dict[str, Any]).decode
_decode_usage = msgspec.json.Decoder(_Usage, strict=False).decode


def counts_of(raw: Raw) -> Counts | None:
    """The `usage` object under the names of Chat Completions, which mean the same; None if it says nothing readable."""
    try:
        said = _decode_usage(raw)
    except UNREADABLE:
        return None
    given, made = said.input_tokens_details, said.output_tokens_details
    return Counts(
        said.input_tokens,
        said.output_tokens,
        said.total_tokens,
        None if given is None else PromptDetails(given.cached_tokens, given.cache_write_tokens),
        None if made is None else CompletionDetails(made.reasoning_tokens),
    )
