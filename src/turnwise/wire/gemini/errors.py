"""Errors as Google's APIs write them: `{"error": {"code", "message", "status", "details": […]}}`, alone or in an array.

Message and status are classified by the tables of all providers, and how long to wait is read where all waits are read; here
is what only Google has: the words for a status, and which of its quotas was exceeded. Source:
https://ai.google.dev/gemini-api/docs/troubleshooting, https://ai.google.dev/gemini-api/docs/rate-limits and
https://cloud.google.com/apis/design/errors (google.rpc.Status, QuotaFailure, ErrorInfo).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ...core.errors import ErrorInfo
from ..errors import QUOTA, body_error, excerpt, http_error, retry_delay_of
from .shapes import UNREADABLE

_STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each status word: https://cloud.google.com/apis/design/errors#handling_errors"""


def response_error(status: int, headers: Mapping[str, str], body: bytes, provider: str) -> ErrorInfo:
    """The error of a response. `status` is 0 for one inside a 200: then the status it names helps to classify it, but is not
    the response's own."""
    error = _error_in(body)
    if error is None:
        return body_error(status, headers, body, provider=provider)
    word, code, details = _text(error.get("status")), error.get("code"), _details(error)
    named = code if isinstance(code, int) and 400 <= code < 600 else _STATUSES.get(word, 0)
    info = http_error(
        status or named,
        headers,
        _text(error.get("message")) or excerpt(body),
        type=word,
        code=next((r for d in details if (r := _text(d.get("reason")))), ""),
        provider=provider,
        retry_after_s=retry_delay_of(details),
    )
    if info.code == "rate_limit" and _is_daily(details):
        # The delay that comes with it is that of the limits per minute: waiting for it is no use.
        hint = "The quota of the day is used up: wait for tomorrow, or raise it with Google."
        info = msgspec.structs.replace(info, code=QUOTA.code, hint=hint, retryable=False, retry_after_s=None)
    return msgspec.structs.replace(info, status=status or None, detail=word or info.detail)


def _error_in(body: bytes) -> dict[str, Any] | None:
    """The error object of a body; None if it is not in Google's form."""
    try:
        found: Any = msgspec.json.decode(body.strip().removeprefix(b"\xef\xbb\xbf"))
    except UNREADABLE:
        return None
    if isinstance(found, list) and found:
        found = cast("list[Any]", found)[0]
    error: Any = cast("dict[str, Any]", found).get("error") if isinstance(found, dict) else None
    return cast("dict[str, Any]", error) if isinstance(error, dict) else None


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    found = cast("list[Any]", details) if isinstance(details, list) else []
    return [cast("dict[str, Any]", d) for d in found if isinstance(d, dict)]


def _is_daily(details: list[dict[str, Any]]) -> bool:
    """Whether a quota of the day was exceeded; others are of the minute and come back by themselves."""
    for detail in details:
        violations = detail.get("violations")
        for violation in cast("list[Any]", violations) if isinstance(violations, list) else []:
            if isinstance(violation, dict) and "PerDay" in _text(cast("dict[str, Any]", violation).get("quotaId")):
                return True
    return False


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
