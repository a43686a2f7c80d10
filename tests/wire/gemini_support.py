"""What the tests of generateContent requests have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.wire.official import google_problems

from turnwise.core.content import Native, ToolCall
from turnwise.core.messages import Message, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.request import ModelSettings, Request, RequestHead, ToolSpec
from turnwise.testing import check
from turnwise.wire import encode
from turnwise.wire.base import codec

STUDIO, VERTEX = "gemini.generateContent", "vertex.generateContent"
ORIGINS = {STUDIO: "gemini", VERTEX: "vertex"}
MODEL = "gemini-3-flash-preview"


def head(model: str = MODEL, *, stream: bool = True, tools: Sequence[ToolSpec] = (), **fields: Any) -> RequestHead:
    return RequestHead(model, "Be brief.", tuple(tools), ModelSettings(**fields), stream)


def body_of(
    h: RequestHead, *messages: Message, api: str = STUDIO, blobs: dict[str, bytes] | None = None
) -> dict[str, Any]:
    """A request body, held against both checkers on the way."""
    request = encode(api, Request(h, messages or (UserMessage("hi"),)), blobs)
    body = json.loads(request.body)
    assert google_problems(body) == []
    base = "/v1/projects/p/locations/l/publishers/google" if api == VERTEX else "/v1beta"
    assert check(api, body, path=base + request.path) == []
    return body


def sent(*messages: Message, api: str = STUDIO, blobs: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + codec(api).encode_messages(messages, 0, blobs or {}) + b"]")


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', step: int = 1, **fields: Any) -> ToolCall:
    return ToolCall(f"t1.s{step}.c{n}", "weather", arguments, **fields)


def own(api: str = STUDIO, **fields: Any) -> Native:
    return Native(ORIGINS[api], json.dumps(fields))


def result(n: int = 0, body: Any = "Sun", step: int = 1, **fields: Any) -> ToolResult:
    return ToolResult(f"t1.s{step}.c{n}", body, **fields)
