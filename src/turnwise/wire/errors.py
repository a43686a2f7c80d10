"""HTTP status and error body in, `ErrorInfo` out: shared by all codecs.

A codec digs message, type and code out of its provider's error body and lets `http_error` classify them. The tables
below are ordered: the first row that fits wins. Wording comes from the providers' documents and recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from ..core.errors import ErrorInfo


class Kind(msgspec.Struct, frozen=True):
    """One class of provider failure."""

    code: str
    retryable: bool
    hint: str


AUTH = Kind("auth", False, "Check the API key: it is missing, mistyped, revoked, or for another endpoint.")
PERMISSION = Kind("permission", False, "The key is valid but may not do this: check its project, model access and region.")
NOT_FOUND = Kind("not_found", False, "Check the model's name and the base URL; the provider lists the models it serves.")
OVERFLOW = Kind("context_overflow", False, "The conversation is longer than the model can read: shorten it.")
QUOTA = Kind("quota", False, "The account's credit or quota is used up: check billing with the provider.")
RATE_LIMIT = Kind("rate_limit", True, "Too many requests: wait, or lower the concurrency.")
OVERLOADED = Kind("overloaded", True, "The provider is overloaded: wait, or use another model.")
TIMEOUT = Kind("provider_timeout", True, "The provider took too long: try again.")
SERVER = Kind("server", True, "The provider failed on its side: try again later.")
FILTER = Kind("content_filter", False, "The provider refused the content.")
TOO_LARGE = Kind("too_large", False, "The request is larger than the provider accepts: send less or smaller attachments.")
INVALID = Kind("invalid_request", False, "The provider refused the request as it is; its message says why.")
PROTOCOL = Kind("protocol", True, "The answer is not what the API promises: check that the base URL is the API's.")
TRUNCATED = Kind("truncated", True, "The connection ended before the answer did: try again.")
REDIRECT = Kind("redirect", False, "Redirects are not followed, so that keys go nowhere else: correct the base URL.")

_BY_WORD: tuple[tuple[str, Kind], ...] = (
    ("context_length_exceeded", OVERFLOW),
    ("prompt is too long", OVERFLOW),
    ("maximum context length", OVERFLOW),
    ("input is too long", OVERFLOW),
    ("context window", OVERFLOW),
    ("insufficient_quota", QUOTA),
    ("credit balance is too low", QUOTA),
    ("billing_error", QUOTA),
    ("overloaded", OVERLOADED),
    ("content_filter", FILTER),
    ("content_policy_violation", FILTER),
    ("rate_limit", RATE_LIMIT),
    ("request_too_large", TOO_LARGE),
    ("authentication_error", AUTH),
    ("invalid_api_key", AUTH),
    ("permission_error", PERMISSION),
    ("not_found_error", NOT_FOUND),
    ("model_not_found", NOT_FOUND),
    ("timeout_error", TIMEOUT),
    ("api_error", SERVER),
    ("server_error", SERVER),
)
_BY_STATUS: dict[int, Kind] = {
    401: AUTH,
    402: QUOTA,
    403: PERMISSION,
    404: NOT_FOUND,
    408: TIMEOUT,
    409: SERVER,
    413: TOO_LARGE,
    424: SERVER,
    425: SERVER,
    429: RATE_LIMIT,
    498: OVERLOADED,
    503: OVERLOADED,
    504: TIMEOUT,
    529: OVERLOADED,
}


def kind_of(status: int, *words: str) -> Kind:
    """The class of a failure from its status (0 inside a 200 stream) and the provider's type, code and message."""
    said = " ".join(words).lower()
    for word, kind in _BY_WORD:
        if word in said and not (kind is OVERFLOW and status == 429):
            return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:
        return REDIRECT
    return SERVER if status == 0 or status >= 500 else INVALID


def http_error(
    status: int,
    headers: Mapping[str, str],
    message: str,
    *,
    type: str = "",
    code: str = "",
    provider: str = "",
) -> ErrorInfo:
    """A provider's error response as `ErrorInfo`. `status` is 0 for an error inside a 200 stream."""
    kind = kind_of(status, type, code, message)
    return ErrorInfo(
        "provider",
        kind.code,
        message.strip() or f"The provider answered with status {status} and no message.",
        kind.hint,
        kind.retryable,
        retry_after_of(headers),
        status=status or None,
        detail=code or type,
        provider=provider,
    )


def broken(kind: Kind, message: str, *, status: int | None = None, provider: str = "") -> ErrorInfo:
    """An error that the provider did not report: the bytes themselves are wrong or missing."""
    return ErrorInfo("provider", kind.code, message, kind.hint, kind.retryable, status=status, provider=provider)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    An HTTP date (RFC 9110, 10.2.3) is measured against the response's own `date` header, so no clock is needed.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        raw = headers.get(name)
        if raw is None:
            continue
        try:
            seconds = float(raw) * scale
        except ValueError:
            seconds = _until(raw, headers.get("date"))
        if seconds is not None and 0 <= seconds < 1e9:
            return seconds
    return None


def _until(then: str, now: str | None) -> float | None:
    try:
        return None if now is None else (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError):
        return None
