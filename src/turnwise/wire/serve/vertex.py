"""Vertex AI, served: generateContent under another path, with a token instead of a key."""

from __future__ import annotations

import msgspec

from ..serve import gemini
from .response import ApiError

BASE = "/v1/projects/scripted/locations/global/publishers/google"

CODEC = msgspec.structs.replace(
    gemini.CODEC,
    api="vertex.generateContent",
    paths=(BASE + "/models/{model}:generateContent",),
    stream_paths=(BASE + "/models/{model}:streamGenerateContent",),
    base=BASE,
    key_headers=("authorization", "x-goog-api-key"),
    overflow=ApiError(400, "The input token count is {used} but the model only supports up to {limit}."),
)
