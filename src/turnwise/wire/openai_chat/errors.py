"""Errors as Chat Completions hosts and routers wrap them, unwrapped for `errors.body_error`, which reads and classifies them.

Here is only what this API's hosts add: errors inside a stream that began with status 200, error responses in the form of
a stream, and routers that quote the provider behind them. Source:
https://platform.openai.com/docs/guides/error-codes, https://openrouter.ai/docs/api-reference/errors and recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import ErrorInfo
from ..errors import body_error
from ..framing.limits import FramingError
from ..framing.sse import SseFramer
from .parts import field_of
from .shapes import UNREADABLE


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
    """The error of a response whose status says that it is one."""
    try:
        return body_error(status, headers, _with_cause(msgspec.json.decode(body)))
    except UNREADABLE:
        return body_error(status, headers, _first_payload(body) or body)


def inner_error(headers: Mapping[str, str], said: Mapping[str, Any]) -> ErrorInfo:
    """The error inside a response that began with status 200 (rule S3). A status that it names helps to classify it, but
    is not the response's own."""
    info = body_error(_named_status(said.get("error") or said), headers, _with_cause(said))
    return msgspec.structs.replace(info, status=None)


def _with_cause(said: Any) -> bytes:
    """The error with what the provider behind a router said added to the router's own message, which often says nothing."""
    error = field_of(said, "error")
    message, raw = field_of(error, "message"), field_of(field_of(error, "metadata"), "raw")
    if isinstance(message, str) and isinstance(raw, str) and raw.strip():
        said = {**said, "error": {**error, "message": f"{message}: {raw}"}}
    return msgspec.json.encode(said)


def _named_status(error: Any) -> int:
    for name in ("status_code", "status", "code"):
        value = field_of(error, name)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return 0


def _first_payload(body: bytes) -> bytes:
    """For hosts that answer a streaming request with a streamed error."""
    framer = SseFramer()
    try:
        return next(iter(framer.feed(body) + framer.finish()), b"")
    except FramingError:
        return b""
