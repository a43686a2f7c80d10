"""How hosts of the Chat Completions API differ in the requests they take: what a row of `profiles` can say.

Responses need no profile: the decoder reads them all. A field is here only if the encoder looks at it. What a host says no
word about is as OpenAI's API has it; what it is known to refuse, or to pass over in silence, is refused before sending.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ...core.request import Effort

Choice = Literal["auto", "none", "required", "one"]

LEVELS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All effort levels, least first."""


class Profile(msgspec.Struct, frozen=True):
    """One kind of host. The defaults describe a server about which nothing is known but that it speaks the API.

    name               as errors call the host
    origin             its signature family: whose sealed reasoning and native items it gets back
    file_origins       whose uploaded files it can read
    max_tokens_field   the field that bounds the output
    instructions_role  the role of the message that holds the instructions
    stream_usage       takes `stream_options: {"include_usage": true}`; others send usage unasked or not at all
    seed_field         the field of the seed; None: it takes none
    max_stops          how many stop sequences it takes; None: nothing is known of a bound

    effort             where reasoning effort goes: the field `reasoning_effort`, the object `reasoning`, or nowhere
    efforts            the levels it knows, least first; what is asked for is sent as the nearest of them
    switch             the field that turns thinking on and off, beside or in place of a level
    budget             the field that takes a budget in tokens; None: it takes none
    with_reasoning     further fields that go with any wish for reasoning
    reasoning_field    the field of an assistant message in which its own reasoning text goes back; None: it does not
    thinking_parts     its own reasoning goes back as parts of the content instead
    returned_fields    further fields of an assistant message that go back as they came

    tools              takes tools at all
    tool_choices       the choices it honours; `one` is a tool by name
    required_word      what "required" is called
    parallel_tool_calls, strict
                       whether requests may hold these fields
    call_ids           "plain": up to 40 characters; "nine": nine letters and digits

    output             "schema": structured output by JSON Schema; "object": JSON without a schema; None: neither
    images, audio      whether messages may hold these
    documents          the kind of content part that holds a document; None: it takes none
    document_urls      whether a document may be a URL
    alternates         refuses two user messages in a row
    refused_extras     fields of `OpenAIExtra` that it does not take
    """

    name: str
    origin: str
    file_origins: tuple[str, ...] = ()
    max_tokens_field: str = "max_tokens"
    instructions_role: Literal["system", "developer"] = "system"
    stream_usage: bool = True
    seed_field: str | None = "seed"
    max_stops: int | None = None
    effort: Literal["reasoning_effort", "reasoning"] | None = "reasoning_effort"
    efforts: tuple[Effort, ...] = LEVELS
    switch: Literal["thinking", "enable_thinking", "reasoning"] | None = None
    budget: Literal["reasoning", "thinking", "thinking_budget"] | None = None
    with_reasoning: tuple[tuple[str, Any], ...] = ()
    reasoning_field: str | None = None
    thinking_parts: bool = False
    returned_fields: tuple[str, ...] = ()
    tools: bool = True
    tool_choices: tuple[Choice, ...] = ("auto", "none", "required", "one")
    required_word: str = "required"
    parallel_tool_calls: bool = True
    strict: bool = False
    call_ids: Literal["plain", "nine"] = "plain"
    output: Literal["schema", "object"] | None = "schema"
    images: bool = True
    audio: bool = True
    documents: Literal["file", "document_url", "file_url"] | None = "file"
    document_urls: bool = False
    alternates: bool = False
    refused_extras: tuple[str, ...] = ()


OPENAI = Profile(
    "OpenAI",
    "openai.chat",
    file_origins=("openai",),
    max_tokens_field="max_completion_tokens",
    max_stops=4,
    returned_fields=("refusal",),
    strict=True,
    refused_extras=("top_k",),
)
"""OpenAI itself. Instructions go as `system`, which all its models take; `developer` is refused by some.
https://platform.openai.com/docs/api-reference/chat/create"""

COMPATIBLE = Profile("The OpenAI-compatible server", "openai.compatible")
"""Any other server: what it cannot do, it says itself."""


def nearest(asked: Effort, known: tuple[Effort, ...]) -> Effort:
    """The level that comes nearest to what is asked for; of two that are equally near, the higher one. A wish to think is
    not answered with `none`, unless there is nothing else."""
    if asked in known:
        return asked
    at = LEVELS.index(asked)
    willing: list[Effort] = [level for level in known if level != "none"] or list(known)
    return min(willing, key=lambda level: (abs(LEVELS.index(level) - at), -LEVELS.index(level)))
