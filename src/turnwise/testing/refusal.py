"""How a provider refuses a request by itself, before any script: wrong path, missing key, unknown model, broken rules."""

from __future__ import annotations

import msgspec

from ..wire.serve import ApiError, serve_codec
from .loopback import HttpReceived
from .script import RecordedRequest, Reply

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""Anthropic answers 413 to requests above 32 MB."""
BYTES_PER_TOKEN = 4
"""How scripted providers count: the usage that they report, too (`wire.serve.response.usage_of`)."""


def refusal(request: RecordedRequest, received: HttpReceived, window_tokens: int | None = None) -> Reply | None:
    """How the provider itself would refuse this request; None if it would not. `window_tokens` is what its models can read."""
    error = _access(request, received)
    if error is None and not request.body:
        error = ApiError(400, "The body of the request is not a JSON object.")
    if error is None and request.api == "anthropic.messages":
        error = _anthropic_refusal(request)
    if error is None and (request.body.get("model") == "missing-model" or "/missing-model" in request.path):
        missing = "The model `missing-model` does not exist or you do not have access to it."
        error = ApiError(404, "model: missing-model" if request.api == "anthropic.messages" else missing)
    if error is None and request.problems:
        first = request.problems[0]
        error = ApiError(400, "\n".join(map(str, request.problems)), param=first.where or None)
    if error is None and window_tokens is not None:
        error = _overflow(request, window_tokens)
    return None if error is None else Reply(error)


def _overflow(request: RecordedRequest, limit: int) -> ApiError | None:
    used = len(request.raw) // BYTES_PER_TOKEN
    if used <= limit:
        return None
    said = serve_codec(request.api).overflow
    return msgspec.structs.replace(said, message=said.message.format(used=used, limit=limit, over=used - limit))


def _access(request: RecordedRequest, received: HttpReceived) -> ApiError | None:
    if not request.api:
        return ApiError(404, f"Invalid URL ({received.method} {received.path})", code="unknown_url")
    places = serve_codec(request.api).key_headers
    if not places:
        return None
    sent = next((value for name in places if (value := received.headers.get(name, ""))), "")
    key = sent.removeprefix("Bearer").strip()
    if not key:
        what = (
            "x-api-key header is required" if request.api == "anthropic.messages" else "You didn't provide an API key."
        )
        return ApiError(401, what, code=None if request.api == "anthropic.messages" else "missing_api_key")
    return ApiError(401) if key == "wrong" else None


def _anthropic_refusal(request: RecordedRequest) -> ApiError | None:
    if len(request.raw) > MAX_REQUEST_BYTES:
        return ApiError(413, "Request exceeds the maximum size")
    return None if "anthropic-version" in request.headers else ApiError(400, "anthropic-version: header is required")
