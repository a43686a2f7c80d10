"""The commonest chunks of a Chat Completions stream as narrow types: more text, more reasoning, more of a call's arguments.

What fits one of them fits `shapes.Chunk` too and means the same, at less cost; what fits none is read as that.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class _Nothing(msgspec.Struct, frozen=True, gc=False):
    """The fields of `Delta` that a plain piece of text, reasoning or arguments does not have."""

    refusal: None = None
    function_call: None = None
    reasoning_details: None = None
    images: None = None
    annotations: None = None
    audio: None = None
    extra_content: None = None


class TextDelta(_Nothing, frozen=True, gc=False, kw_only=True):
    """A piece of text and nothing else."""

    content: str
    tool_calls: None = None
    reasoning: None = None
    reasoning_content: None = None


class TextChoice(msgspec.Struct, frozen=True, gc=False):
    delta: TextDelta
    index: Literal[0] = 0
    finish_reason: None = None
    usage: None = None
    error: None = None


class TextChunk(msgspec.Struct, frozen=True, gc=False):
    """The commonest chunk by far, as a narrow type: what fits it fits `Chunk` too and means the same, at less cost."""

    choices: tuple[TextChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


class ThoughtDelta(_Nothing, frozen=True, gc=False, kw_only=True):
    """A piece of reasoning and nothing else, in whichever field the host writes it."""

    reasoning: str | None = None
    reasoning_content: str | None = None
    content: Literal[""] | None = None
    tool_calls: None = None


class ThoughtChoice(msgspec.Struct, frozen=True, gc=False):
    delta: ThoughtDelta
    index: Literal[0] = 0
    finish_reason: None = None
    usage: None = None
    error: None = None


class ThoughtChunk(msgspec.Struct, frozen=True, gc=False):
    """The commonest chunk while a model reasons, as narrow as `TextChunk`."""

    choices: tuple[ThoughtChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


class ArgumentsOnly(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    arguments: str
    name: None = None


class CallFragment(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """More arguments of a call that began before."""

    index: int
    function: ArgumentsOnly
    id: None = None
    type: Literal["function"] | None = None


class FragmentDelta(_Nothing, frozen=True, gc=False, kw_only=True):
    tool_calls: tuple[CallFragment]
    content: Literal[""] | None = None
    reasoning: None = None
    reasoning_content: None = None


class FragmentChoice(msgspec.Struct, frozen=True, gc=False):
    delta: FragmentDelta
    index: Literal[0] = 0
    finish_reason: None = None
    usage: None = None
    error: None = None


class FragmentChunk(msgspec.Struct, frozen=True, gc=False):
    """The commonest chunk of a response that asks for tools, as narrow as `TextChunk`."""

    choices: tuple[FragmentChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


decode_fragment = msgspec.json.Decoder(FragmentChunk).decode
decode_thought = msgspec.json.Decoder(ThoughtChunk).decode
decode_text_chunk = msgspec.json.Decoder(TextChunk).decode
