"""Google's request types made strict, and what the tests of generateContent requests have in common.

The client's types are pydantic models that take almost anything; `sdk_problems` walks them strictly: names as on the wire, no
unknown keys, the right types, enumerations to the letter.
"""

from __future__ import annotations

import base64
import enum
import json
import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin

from google.genai import types as sdk
from pydantic import BaseModel

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


ADDED: dict[type, dict[str, Any]] = {sdk.GenerationConfig: {"imageConfig": sdk.ImageConfig}}
"""Fields that the client adds by hand to what its types say."""
BODY: dict[str, Any] = {
    "contents": list[sdk.Content],
    "systemInstruction": sdk.Content,
    "tools": list[sdk.Tool],
    "toolConfig": sdk.ToolConfig,
    "generationConfig": sdk.GenerationConfig,
    "safetySettings": list[sdk.SafetySetting],
    "cachedContent": str,
    "serviceTier": sdk.ServiceTier,
    "labels": dict[str, str],
    "modelArmorConfig": sdk.ModelArmorConfig,
}


def sdk_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong with a request body by the types of google-genai."""
    out = [f"{name}: is no field" for name in body if name not in BODY]
    return out + [p for name, value in body.items() if name in BODY for p in against(BODY[name], value, name)]


def against(type_: Any, value: Any, at: str) -> list[str]:
    origin, args = get_origin(type_), get_args(type_)
    if type_ is Any or type_ is object:
        return []
    if origin in (Union, types.UnionType):
        found = [against(a, value, at) for a in args if a is not type(None)]
        return min(found, key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{at}: is no array"]
        return [p for i, v in enumerate(value) for p in against(args[0], v, f"{at}[{i}]")]
    if origin is dict:
        return [] if isinstance(value, dict) else [f"{at}: is no object"]
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return against_model(type_, value, at)
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return [] if value in [m.value for m in type_] else [f"{at}: {value!r} is none of the enumeration"]
    if type_ is bytes:
        return against_base64(value, at)
    if type_ is float:
        return [] if isinstance(value, int | float) and not isinstance(value, bool) else [f"{at}: is no number"]
    return [] if type(value) is type_ else [f"{at}: {value!r:.40} is no {type_}"]


def against_model(type_: type[BaseModel], value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: is no object"]
    fields = {f.alias or _camel(n): f.annotation for n, f in type_.model_fields.items()} | ADDED.get(type_, {})
    out = [f"{at}.{name}: is no field" for name in value if name not in fields]
    return out + [p for n, v in value.items() if n in fields for p in against(fields[n], v, f"{at}.{n}")]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join([w.capitalize() for w in rest])


def against_base64(value: Any, at: str) -> list[str]:
    try:
        base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, AttributeError):
        return [f"{at}: is not base64"]
    return []


def head(model: str = MODEL, *, stream: bool = True, tools: Sequence[ToolSpec] = (), **fields: Any) -> RequestHead:
    return RequestHead(model, "Be brief.", tuple(tools), ModelSettings(**fields), stream)


def body_of(
    h: RequestHead, *messages: Message, api: str = STUDIO, blobs: dict[str, bytes] | None = None
) -> dict[str, Any]:
    """A request body, held against both checkers on the way."""
    request = encode(api, Request(h, messages or (UserMessage("hi"),)), blobs)
    body = json.loads(request.body)
    assert sdk_problems(body) == []
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
