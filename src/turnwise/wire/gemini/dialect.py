"""What differs within Google's generateContent API: between AI Studio and Vertex AI, and from model to model. Data only.

Sources: https://ai.google.dev/api/generate-content, https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thinking,
https://ai.google.dev/gemini-api/docs/thinking, …/thought-signatures, …/structured-output, and which fields Google's own
client (google-genai) refuses for which of the two.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""The documented thought signature for calls that the API did not make itself: Gemini 3 refuses a step whose first call has
none (rule T5). Both platforms take it, earlier models pass over it."""


class Dialect(msgspec.Struct, frozen=True):
    """One of the platforms that serve Gemini.

    name            as errors call it
    origin          its signature family: thought signatures of one platform are not known to the other
    file_prefix     what a file id that is no URI begins with, to become one
    call_ids        which calls are sent with an id: all, or those that came with one. Vertex AI knows ids for some models only,
                    and those give their calls ids themselves
    refused         fields of `GeminiExtra` that the platform does not know
    refused_tools   server-side tools that it does not know, without `_` and in lower case
    """

    name: str
    origin: str
    file_prefix: str = ""
    call_ids: Literal["all", "given"] = "all"
    refused: tuple[str, ...] = ()
    refused_tools: tuple[str, ...] = ()


AI_STUDIO = Dialect(
    "Google Gemini",
    "gemini",
    file_prefix="https://generativelanguage.googleapis.com/v1beta/",
    refused=("labels", "model_armor_config"),
    refused_tools=("retrieval", "enterprisewebsearch", "parallelaisearch", "exaaisearch"),
)
VERTEX = Dialect(
    "Google Vertex AI",
    "vertex",
    call_ids="given",
    refused=("include_server_side_tool_invocations",),
    refused_tools=("filesearch", "mcpservers"),
)


class Traits(msgspec.Struct, frozen=True):
    """What a family of models does with settings.

    levels           the thinking levels it takes, lowest first; none: it thinks by budget, or not at all
    budget           the smallest and the largest thinking budget in tokens
    can_stop         a budget of 0 turns thinking off
    json_with_tools  structured output and function calling may be asked for together
    """

    levels: tuple[str, ...] = ()
    budget: tuple[int, int] | None = None
    can_stop: bool = False
    json_with_tools: bool = False


_PLAIN = Traits()
_FLASH = Traits(("MINIMAL", "LOW", "MEDIUM", "HIGH"), json_with_tools=True)
_MODELS: tuple[tuple[str, Traits], ...] = (
    ("gemini-1", _PLAIN),
    ("gemini-2.0", _PLAIN),
    ("gemini-2.5-flash-image", _PLAIN),
    ("gemini-2.5-flash-lite", Traits(budget=(512, 24576), can_stop=True)),
    ("gemini-2.5-pro", Traits(budget=(128, 32768))),
    ("gemini-2.5", Traits(budget=(1, 24576), can_stop=True)),
    ("gemini-3-pro", Traits(("LOW", "HIGH"), json_with_tools=True)),
    ("gemini-3-flash", _FLASH),
    ("gemini-3.1-flash", _FLASH),
    ("gemini-3.5-flash", _FLASH),
    ("gemini-3.6-flash", _FLASH),
    ("gemma", _PLAIN),
    ("learnlm", _PLAIN),
)
_NEWEST = Traits(("LOW", "MEDIUM", "HIGH"), json_with_tools=True)
"""Models that are not in the table: new ones, aliases such as `gemini-flash-latest`, tuned models."""


def traits_of(model: str) -> Traits:
    """The traits of a model; the first family whose name begins the model's counts."""
    name = model.rpartition("/")[2].lower()
    return next((traits for prefix, traits in _MODELS if name.startswith(prefix)), _NEWEST)
