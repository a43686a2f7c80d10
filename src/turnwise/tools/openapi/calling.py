"""An operation is called: its request sent, its answer told to the model, or its failure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ...core.content import Image
from ...core.errors import ErrorInfo, ToolError
from ..context import ToolContext
from ..http import MAX_ANSWER_BYTES, HttpAnswer, fetch
from .auth import Outgoing, masked, secrets_of
from .operations import Operation
from .serialised import Request, written

ERROR_CHARS = 2_000
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of failures that may pass by themselves."""
_TEXT = ("json", "text/", "xml", "yaml", "javascript", "x-www-form-urlencoded", "csv")


async def call(
    operation: Operation, arguments: Mapping[str, Any], headers: Mapping[str, str], context: ToolContext[Any]
) -> Any:
    """The answer for the model. Raises `ToolError` (`http_error` with its status, or what kept the request from being answered) and
    `ArgumentsError`."""
    request = written(operation, arguments, headers)
    signed = await _signed(operation, request)
    secrets = secrets_of(operation.keys, {**headers, **signed})
    try:
        answer = await fetch(context, request.method, request.url, {**request.headers, **signed}, request.body)
    except ToolError as error:
        if masked(error.message, secrets) != error.message:
            raise ToolError(f"{operation.label} failed on its way.") from None
        raise
    if not 200 <= answer.status < 300:
        raise _failed(operation, answer, secrets)
    return _told(answer, secrets)


async def _signed(operation: Operation, request: Request) -> Mapping[str, str]:
    sign = operation.keys.sign
    if sign is None:
        return {}
    given = sign(Outgoing(*request))
    return await given if inspect.isawaitable(given) else given


def _told(answer: HttpAnswer, secrets: list[str]) -> Any:
    kind = answer.header("content-type").partition(";")[0].strip().lower()
    if kind.startswith("image/") and kind != "image/svg+xml" and not answer.truncated and answer.body:
        return Image.of(answer.body, kind)
    if not answer.body:
        return f"[status {answer.status}, no content]"
    text = _text(answer, kind)
    if text is None:
        return f"[status {answer.status}, {len(answer.body):,} bytes of {kind or 'no known type'}, which is no text]"
    text = masked(text, secrets)
    return f"{text}\n[cut off: more than {MAX_ANSWER_BYTES:,} bytes]" if answer.truncated else text


def _text(answer: HttpAnswer, kind: str) -> str | None:
    """The body as text; None if it is none."""
    charset = answer.header("content-type").lower().partition("charset=")[2].partition(";")[0].strip("\"' ")
    if not kind or any(part in kind for part in _TEXT):
        try:
            return answer.body.decode(charset or "utf-8", "replace")
        except LookupError:
            return answer.body.decode("utf-8", "replace")
    return None


def _failed(operation: Operation, answer: HttpAnswer, secrets: list[str]) -> ToolError:
    kind = answer.header("content-type").partition(";")[0].strip().lower()
    said = masked((_text(answer, kind) or "").strip(), secrets)
    said = said if len(said) <= ERROR_CHARS else f"{said[:ERROR_CHARS]}…"
    message = f"{operation.label} was answered with status {answer.status}" + (f": {said}" if said else ".")
    if 300 <= answer.status < 400:
        message = f"{operation.label} redirects (status {answer.status}), which is not followed."
    after = answer.header("retry-after")
    return ToolError(
        ErrorInfo(
            "tool",
            "http_error",
            message,
            retryable=answer.status in _PASSING,
            retry_after_s=float(after) if after.isdecimal() else None,
            status=answer.status,
        )
    )
