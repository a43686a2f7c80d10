"""Who is asked through aimock: one row per provider API, how it is reached, and what aimock gets wrong or cannot do there.

What a row says of aimock holds for the version in package.json. What it gets wrong is put right by a shim on the way (see `shims`); what
it leaves out is a field of the row, and the tests look at the bytes that we sent instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from tests.aimock.shims import SEAL, BedrockShim, CohereShim, GeminiShim, MistralShim, OllamaShim, Shim


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One API of one provider.

    `path` is where aimock has it and `asked_at` what its journal must say was asked (whole, then streamed if that is another
    path); `connection` is what else the model's connection needs. `ids`, `usage` and `plans`: whether aimock keeps the ids of
    calls, lets its fixtures say the usage, and reads text beside calls. `wraps` is the field that results are wrapped in.
    `invents` is what aimock itself adds to the reasoning before a streamed call.
    `returned` is what of the reasoning the next request must bring back, as it stands in its bytes, and `sealed` whether it
    is signed with what else must come back.
    """

    id: str
    model: str
    path: str
    asked_at: tuple[str, ...]
    connection: Callable[[], dict[str, Any]] = lambda: {"api_key": "sk-test"}
    shim: Callable[[], Shim] | None = None
    ids: bool = True
    usage: bool = True
    plans: bool = True
    wraps: str = ""
    invents: str = ""
    returned: tuple[str, ...] = ()
    sealed: bool = False


_OSLO = "They ask for Oslo. I should look it up."

PROVIDERS = (
    Provider(
        id="openai",
        model="openai:gpt-5-mini",
        path="/v1",
        asked_at=("/v1/chat/completions",),
    ),
    Provider(
        id="openai-responses",
        model="openai-responses:gpt-5-mini",
        path="/v1",
        asked_at=("/v1/responses",),
        sealed=True,
    ),
    Provider(
        id="azure-deployment",
        model="azure:gpt-5-mini",
        path="/openai/deployments/ours",
        asked_at=("/openai/deployments/ours/chat/completions?api-version=2024-10-21",),
        connection=lambda: {"azure_token": lambda: "an-entra-token"},
    ),
    Provider(
        id="azure-v1",
        model="azure:gpt-5-mini",
        path="/openai/v1",
        asked_at=("/openai/v1/chat/completions",),
    ),
    Provider(
        id="azure-responses",
        model="azure-responses:gpt-5-mini",
        path="/openai/v1",
        asked_at=("/openai/v1/responses",),
        sealed=True,
    ),
    Provider(
        id="anthropic",
        model="anthropic:claude-sonnet-4-5",
        path="",
        asked_at=("/v1/messages",),
        returned=(_OSLO,),
        sealed=True,
    ),
    Provider(
        id="mistral",
        model="mistral:magistral-medium-latest",
        shim=MistralShim,
        path="/v1",
        asked_at=("/v1/chat/completions",),
        returned=(_OSLO,),
    ),
    Provider(
        id="gemini",
        model="gemini:gemini-2.5-flash",
        shim=GeminiShim,
        wraps="output",
        returned=(SEAL,),
        path="/v1beta",
        asked_at=(
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
    ),
    Provider(
        id="vertex",
        model="vertex:gemini-2.5-flash",
        path="",
        asked_at=(
            "/v1/projects/ours/locations/europe-west1/publishers/google/models/gemini-2.5-flash:generateContent",
            "/v1/projects/ours/locations/europe-west1/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        connection=lambda: {
            "vertex_project": "ours",
            "vertex_location": "europe-west1",
            "vertex_token": lambda: "a-google-token",
        },
        shim=GeminiShim,
        wraps="output",
        returned=(SEAL,),
    ),
    Provider(
        id="cohere",
        model="cohere:command-a-reasoning-08-2025",
        shim=CohereShim,
        invents="I will use the requested tool.",  # a tool plan, which is reasoning, too
        plans=False,
        returned=(_OSLO,),
        path="",
        asked_at=("/v2/chat",),
    ),
    Provider(
        id="bedrock",
        model="bedrock:us.anthropic.claude-sonnet-4-20250514-v1",
        shim=BedrockShim,
        returned=(_OSLO,),
        sealed=True,
        path="",
        asked_at=(
            "/model/us.anthropic.claude-sonnet-4-20250514-v1/converse",
            "/model/us.anthropic.claude-sonnet-4-20250514-v1/converse-stream",
        ),
        connection=lambda: {
            "bedrock_region": "us-east-1",
            "bedrock_access_key_id": "AKIDEXAMPLE",
            "bedrock_secret_access_key": "an-example-secret",
        },
    ),
    Provider(
        id="ollama",
        model="ollama:qwen3",
        shim=OllamaShim,
        path="",
        asked_at=("/api/chat",),
        ids=False,
        usage=False,
        returned=(_OSLO,),
    ),
    Provider(
        id="ollama-openai",
        model="ollama-openai:qwen3",
        path="/v1",
        asked_at=("/v1/chat/completions",),
    ),
)
