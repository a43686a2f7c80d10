"""HTTP status and error body in, `ErrorInfo` out: shared by all codecs.

`body_error` digs message, type and code out of an error body of any form and lets `http_error` classify them; a codec with
an error form of its own calls `http_error` itself. The first table that has an answer wins: words that mean one thing
whatever the status, phrases of messages, the status, words that only say what the status says better. Sources:
https://platform.claude.com/docs/en/api/errors, https://platform.openai.com/docs/guides/error-codes, and recorded traffic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import msgspec

from ..core.errors import ErrorInfo


class Kind(msgspec.Struct, frozen=True):
    """One class of provider failure."""

    code: str
    retryable: bool
    hint: str


AUTH = Kind("auth", False, "Check the API key: it is missing, mistyped, revoked, or for another endpoint.")
PERMISSION = Kind(
    "permission", False, "The key is valid but may not do this: check its project, model access and region."
)
NOT_FOUND = Kind(
    "not_found", False, "Check the model's name and the base URL; the provider lists the models it serves."
)
OVERFLOW = Kind("context_overflow", False, "The conversation is longer than the model can read: shorten it.")
QUOTA = Kind("quota", False, "The account's credit or quota is used up: check billing with the provider.")
RATE_LIMIT = Kind("rate_limit", True, "Too many requests: wait, or lower the concurrency.")
OVERLOADED = Kind("overloaded", True, "The provider is overloaded: wait, or use another model.")
TIMEOUT = Kind("provider_timeout", True, "The provider took too long: try again.")
SERVER = Kind("server", True, "The provider failed on its side: try again later.")
FILTER = Kind("content_filter", False, "The provider refused the content.")
TOO_LARGE = Kind(
    "too_large", False, "The request is larger than the provider accepts: send less or smaller attachments."
)
INVALID = Kind("invalid_request", False, "The provider refused the request as it is; its message says why.")
PROTOCOL = Kind("protocol", True, "The answer is not what the API promises: check that the base URL is the API's.")
TRUNCATED = Kind("truncated", True, "The connection ended before the answer did: try again.")
REDIRECT = Kind("redirect", False, "Redirects are not followed, so that keys go nowhere else: correct the base URL.")

MAX_ERROR_BYTES = 256 * 1024
"""How much of an error body a decoder keeps."""
_MAX_MESSAGE_CHARS = 4000

_BY_WORD: dict[str, Kind] = {
    "context_length_exceeded": OVERFLOW,
    "exceed_context_size_error": OVERFLOW,
    "too_many_prompt_tokens": OVERFLOW,
    "insufficient_quota": QUOTA,
    "credit_balance_exhausted": QUOTA,
    "billing_hard_limit_reached": QUOTA,
    "billing_not_active": QUOTA,
    "billing_error": QUOTA,
    "enforced_spend_limit_reached": QUOTA,
    "overloaded_error": OVERLOADED,
    "server_is_overloaded": OVERLOADED,
    "service_unavailable_error": OVERLOADED,
    "content_filter": FILTER,
    "content_policy_violation": FILTER,
    "responsibleaipolicyviolation": FILTER,
    "slow_down": RATE_LIMIT,
    "rate_limit_exceeded": RATE_LIMIT,
    "request_too_large": TOO_LARGE,
    "invalid_api_key": AUTH,
    "model_not_found": NOT_FOUND,
    "deploymentnotfound": NOT_FOUND,
}
"""Types and codes that mean one thing whatever the status."""

_BY_PHRASE: tuple[tuple[str, Kind], ...] = (
    ("prompt is too long", OVERFLOW),
    ("input is too long", OVERFLOW),
    ("maximum context length", OVERFLOW),
    ("exceed context limit", OVERFLOW),
    ("exceeds the context window", OVERFLOW),
    ("exceeds the available context size", OVERFLOW),
    ("credit balance is too low", QUOTA),
    ("specified api usage limits", QUOTA),
    ("content management policy", FILTER),
    ("content filtering policy", FILTER),
    ("incorrect api key", AUTH),
    ("api key not valid", AUTH),
    ("invalid api key", AUTH),
)
"""Phrases of messages whose status and type say less. A rate limit is never taken for an overflow."""

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

_BY_WEAK_WORD: dict[str, Kind] = {
    "authentication_error": AUTH,
    "permission_error": PERMISSION,
    "not_found_error": NOT_FOUND,
    "rate_limit_error": RATE_LIMIT,
    "timeout_error": TIMEOUT,
    "invalid_request_error": INVALID,
    "conflict_error": SERVER,
    "api_error": SERVER,
    "server_error": SERVER,
    "internal_server_error": SERVER,
}
"""Types that say what the status says: they count inside a 200 stream and where the status is a vague one."""


def kind_of(status: int, *words: str) -> Kind:
    """The class of a failure from its status (0 inside a 200 stream) and the provider's type, code and message."""
    said = [w.lower() for w in words]
    for word in said:
        if (kind := _BY_WORD.get(word)) is not None:
            return kind
    text = " ".join(said)
    for phrase, kind in _BY_PHRASE:
        if phrase in text and not (kind is OVERFLOW and status == 429):
            return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    for word in said:
        if (kind := _BY_WEAK_WORD.get(word)) is not None:
            return kind
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
    """A provider's error response as `ErrorInfo`. `status` is 0 for an error inside a 200 stream.

    A provider that says `x-should-retry: true` or `false` is taken at its word, as its own clients do.
    """
    kind = kind_of(status, type, code, message)
    advice = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    where = f"with status {status} " if status else "with an error "
    return ErrorInfo(
        "provider",
        kind.code,
        message.strip()[:_MAX_MESSAGE_CHARS] or f"The provider answered {where}and no message.",
        kind.hint,
        kind.retryable if advice is None else advice,
        retry_after_of(headers),
        status=status or None,
        detail=code or type,
        provider=provider,
    )


def body_error(status: int, headers: Mapping[str, str], body: bytes, *, provider: str = "") -> ErrorInfo:
    """An error body as `ErrorInfo`, whatever its form: the usual JSON shapes, a web page, plain text, nothing."""
    try:
        found: Any = msgspec.json.decode(body.strip().removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return http_error(status, headers, _text_of(body), provider=provider)
    if isinstance(found, list) and found:
        found = cast("list[Any]", found)[0]
    if not isinstance(found, dict):
        return http_error(status, headers, excerpt(body), provider=provider)
    outer = cast("dict[str, Any]", found)
    inner = outer.get("error")
    fields = cast("dict[str, Any]", inner) if isinstance(inner, dict) else outer
    details = fields.get("details")
    code = fields.get("code") or (
        cast("dict[str, Any]", details).get("error_code") if isinstance(details, dict) else ""
    )
    message = inner if isinstance(inner, str) else _message_of(fields) or _message_of(outer)
    return http_error(
        status, headers, message or excerpt(body), type=_word(fields.get("type")), code=_word(code), provider=provider
    )


def broken(kind: Kind, message: str, *, status: int | None = None, provider: str = "") -> ErrorInfo:
    """An error that the provider did not report: the bytes themselves are wrong or missing."""
    return ErrorInfo("provider", kind.code, message, kind.hint, kind.retryable, status=status, provider=provider)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    An HTTP date (RFC 9110, 10.2.3) is measured against the response's own `date` header, so no clock is needed; one
    in the past means now. The providers' `…-ratelimit-…-reset` headers are no substitute and are not read: they tell
    when a limit is whole again, long after the next request would be let in.
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


def excerpt(body: bytes, chars: int = 200) -> str:
    """The beginning of a body, on one line, for an error message."""
    text = " ".join(body[: 4 * chars].decode("utf-8", "replace").split())
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _until(then: str, now: str | None) -> float | None:
    try:
        seconds = None if now is None else (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return None if seconds is None else max(0.0, seconds)


def _message_of(fields: dict[str, Any]) -> str:
    """The message of an error object; `detail` is where some servers put it, as text or as a list of problems."""
    for name in ("message", "detail"):
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list):
            problems = [cast("dict[str, Any]", p).get("msg") for p in cast("list[Any]", value) if isinstance(p, dict)]
            if said := "; ".join([p for p in problems if isinstance(p, str)]):
                return said
    return ""


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _text_of(body: bytes) -> str:
    """What a body that is not JSON says: the title of a web page, or the text itself."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return text
    title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
    return f"The provider answered with a web page: {' '.join(title[1].split()) if title else 'it has no title'}."
