"""How hosts of the Chat Completions API differ in the requests they take: data, one row per kind of host.

Responses need no profile: the decoder reads them all. A field is here only if the encoder looks at it.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """One kind of host. The defaults describe a server about which nothing is known but that it speaks the API.

    name               as errors call the host
    origin             its signature family: whose sealed reasoning and native items it gets back
    file_origins       whose uploaded files it can read
    max_tokens_field   the field that bounds the output
    instructions_role  the role of the message that holds the instructions
    stream_usage       takes `stream_options: {"include_usage": true}`; others send usage unasked or not at all
    effort             where reasoning effort goes: the field `reasoning_effort`, the object `reasoning` (which also takes a
                       budget in tokens), or nowhere
    reasoning_field    the field of an assistant message in which its own reasoning text goes back; None: it does not
    returned_fields    further fields of an assistant message that go back as they came
    call_ids           "plain": up to 40 characters; "nine": nine letters and digits (Mistral)
    images, audio, documents, parallel_tool_calls, strict, seed
                       whether requests may hold these
    """

    name: str
    origin: str
    file_origins: tuple[str, ...] = ()
    max_tokens_field: str = "max_tokens"
    instructions_role: Literal["system", "developer"] = "system"
    stream_usage: bool = True
    effort: Literal["reasoning_effort", "reasoning"] | None = "reasoning_effort"
    reasoning_field: str | None = None
    returned_fields: tuple[str, ...] = ()
    call_ids: Literal["plain", "nine"] = "plain"
    images: bool = True
    audio: bool = True
    documents: bool = True
    parallel_tool_calls: bool = True
    strict: bool = False
    seed: bool = True


OPENAI = Profile(
    "OpenAI",
    "openai.chat",
    file_origins=("openai",),
    max_tokens_field="max_completion_tokens",
    returned_fields=("refusal",),
    strict=True,
)
"""OpenAI itself. Instructions go as `system`, which all its models take; `developer` is refused by some."""

COMPATIBLE = Profile("The OpenAI-compatible server", "openai.compatible")
"""Any other server, local ones first of all: what it cannot do, it says itself."""

PROFILES: dict[str, Profile] = {"openai": OPENAI, "compatible": COMPATIBLE}
