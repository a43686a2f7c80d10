"""HTTP status and error body in, `ErrorInfo` out: shared by all codecs.

`body_error` digs message, type and code out of an error body of any form and lets `http_error` classify them; a codec with
an error form of its own calls `http_error` itself. What providers' words mean is in `error_tables`: new facts go there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard, cast

import msgspec

from ..core.errors import ErrorInfo
from .error_tables import (
    AUTH,
    FILTER,
    INVALID,
    NO_TOOLS,
    NOT_FOUND,
    OVERFLOW,
    OVERLOADED,
    PERMISSION,
    PHRASES,
    PROTOCOL,
    QUOTA,
    RATE_LIMIT,
    REDIRECT,
    SERVER,
    STATUSES,
    TIMEOUT,
    TOO_LARGE,
    TRUNCATED,
    WEAK_WORDS,
    WORDS,
    Kind,
    Row,
)

__all__ = [
    "AUTH",
    "FILTER",
    "INVALID",
    "MAX_ERROR_BYTES",
    "NOT_FOUND",
    "NO_TOOLS",
    "OVERFLOW",
    "OVERLOADED",
    "PERMISSION",
    "PROTOCOL",
    "QUOTA",
    "RATE_LIMIT",
    "REDIRECT",
    "SERVER",
    "TIMEOUT",
    "TOO_LARGE",
    "TRUNCATED",
    "Kind",
    "body_error",
    "broken",
    "excerpt",
    "http_error",
    "kind_of",
    "retry_after_of",
    "retry_delay_of",
    "row_of",
]

MAX_ERROR_BYTES = 256 * 1024
"""How much of an error body a decoder keeps."""
_MAX_MESSAGE_CHARS = 4000


def kind_of(status: int, *words: str) -> Kind:
    """The class of a failure from its status (0 inside a 200 stream) and the provider's type, code and message."""
    row = row_of(status, *words)
    if row is not None:
        return row.kind
    if 300 <= status < 400:
        return REDIRECT
    return SERVER if status == 0 or status >= 500 else INVALID


def row_of(status: int, *words: str) -> Row | None:
    """The row of `error_tables` that decides; None if only the hundreds of the status are left to go by."""
    said = [w.lower() for w in words]
    text = " ".join(said)
    for row in WORDS:
        if row.said in said and row.status in (0, status):
            return row
    for row in PHRASES:
        if row.said in text and row.status in (0, status) and not (row.kind is OVERFLOW and status == 429):
            return row
    for row in STATUSES:
        if row.status == status:
            return row
    return next((row for row in WEAK_WORDS if row.said in said), None)


def http_error(
    status: int,
    headers: Mapping[str, str],
    message: str,
    *,
    type: str = "",
    code: str = "",
    provider: str = "",
    retry_after_s: float | None = None,
) -> ErrorInfo:
    """A provider's error response as `ErrorInfo`. `status` is 0 for an error inside a 200 stream; `retry_after_s` is a wait
    that the body asks for.

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
        retry_after_of(headers) if retry_after_s is None else retry_after_s,
        status=status or None,
        detail=code or type,
        provider=provider,
    )


def body_error(status: int, headers: Mapping[str, str], body: bytes, *, provider: str = "") -> ErrorInfo:
    """An error body as `ErrorInfo`, whatever its form: the usual JSON shapes, a web page, plain text, nothing."""
    try:
        found: Any = msgspec.json.decode(body.strip().removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return http_error(status, headers, text_of(body), provider=provider)
    if isinstance(found, list) and found:
        found = cast("list[Any]", found)[0]
    if not isinstance(found, dict):
        return http_error(status, headers, excerpt(body), provider=provider)
    outer = cast("dict[str, Any]", found)
    inner = outer.get("error")
    fields = cast("dict[str, Any]", inner) if isinstance(inner, dict) else outer
    details: Any = fields.get("details")
    code = fields.get("code") or (
        cast("dict[str, Any]", details).get("error_code") if isinstance(details, dict) else ""
    )
    message = inner if isinstance(inner, str) else _message_of(fields) or _message_of(outer)
    return http_error(
        status,
        {**_quoted_headers(fields), **_lower(headers)},
        message or excerpt(body),
        type=_word(fields.get("type")),
        code=_word(code),
        provider=provider,
        retry_after_s=retry_delay_of(fields.get("details")),
    )


def broken(kind: Kind, message: str, *, status: int | None = None, provider: str = "") -> ErrorInfo:
    """An error that the provider did not report: the bytes themselves are wrong or missing."""
    return ErrorInfo("provider", kind.code, message, kind.hint, kind.retryable, status=status, provider=provider)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date; without either,
    until a limit that is used up is whole again.

    An HTTP date (RFC 9110, 10.2.3) is measured against the response's own `date` header, so no clock is needed; one in the
    past means now.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        raw = headers.get(name)
        if raw is None:
            continue
        try:
            seconds = float(raw) * scale
        except ValueError:
            seconds = _until(raw, headers.get("date"))
        if _is_sane(seconds):
            return seconds
    return _reset_of(headers)


def retry_delay_of(details: object) -> float | None:
    """Seconds that the details of a Google error ask to wait: the `retryDelay` of `google.rpc.RetryInfo`, a protobuf duration
    in JSON. https://cloud.google.com/apis/design/errors"""
    for detail in cast("list[Any]", details) if isinstance(details, list) else ():
        delay = cast("dict[str, Any]", detail).get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and _is_sane(seconds := _duration(delay)):
            return seconds
    return None


def _reset_of(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limits of which nothing remains are whole again, the last of them; None if the headers tell of none.

    Limits with something left are passed over: what they lack would not keep the next request out. Names are
    `x-ratelimit-remaining-tokens` (OpenAI and those who follow it) or `anthropic-ratelimit-tokens-remaining`.
    """
    waits: list[float] = []
    headers = _lower(headers)
    for name, remaining in headers.items():
        if "ratelimit" not in name or "remaining" not in name or remaining.strip() not in ("0", "0.0"):
            continue
        raw = headers.get(name.replace("remaining", "reset"))
        if raw is not None and _is_sane(seconds := _reset_time(raw.strip(), headers.get("date"))):
            waits.append(seconds)
    return max(waits, default=None)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES_FROM = 1e9
"""Numbers from here on are a time, not a wait: seconds, or milliseconds, since 1970."""


def _reset_time(raw: str, now: str | None) -> float | None:
    """A wait in seconds (`12.5`), as a duration (`6m0s`), or as a time that the response's own date is taken from."""
    try:
        number = float(raw)
    except ValueError:
        seconds = _duration(raw)
        return _until(raw, now) if seconds is None else seconds
    if not number >= _TIMES_FROM:
        return number
    date = _unix(now)
    then = number / 1000 if number >= 1000 * _TIMES_FROM else number
    return None if date is None else max(0.0, then - date)


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def _duration(raw: str) -> float | None:
    """Seconds of a duration as Go and protobuf write them: `2m59.56s`, `7.66s`, `120ms`, `1h0m0s`."""
    found = _DURATION.fullmatch(raw) if 0 < len(raw) < 40 else None
    return sum(float(n) * unit for n, unit in zip(found.groups(), _UNITS_S, strict=True) if n) if found else None


def _is_sane(seconds: float | None) -> TypeGuard[float]:
    return seconds is not None and 0 <= seconds < 1e9


def excerpt(body: bytes, chars: int = 200) -> str:
    """The beginning of a body, on one line, for an error message."""
    text = " ".join(body[: 4 * chars].decode("utf-8", "replace").split())
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _until(then: str, now: str | None) -> float | None:
    """Seconds from one time to another; None if either is no time."""
    first, last = _unix(now), _unix(then)
    return None if first is None or last is None else max(0.0, last - first)


def _unix(raw: str | None) -> float | None:
    """Unix seconds of an HTTP date or of an RFC 3339 time; one without a time zone is UTC."""
    if raw is None:
        return None
    try:
        time = parsedate_to_datetime(raw)
    except (ValueError, TypeError, OverflowError):
        try:
            time = msgspec.convert(raw, datetime)
        except msgspec.ValidationError:
            return None
    try:
        return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH).total_seconds()
    except OverflowError:
        return None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case: a client's own mapping may keep the spelling of the server."""
    return {name.lower(): value for name, value in headers.items()}


def _quoted_headers(fields: dict[str, Any]) -> dict[str, str]:
    """The limits of the provider behind a router, which the router quotes in the body.
    https://openrouter.ai/docs/api-reference/errors"""
    metadata = fields.get("metadata")
    quoted = cast("dict[str, Any]", metadata).get("headers") if isinstance(metadata, dict) else None
    if not isinstance(quoted, dict):
        return {}
    return {n.lower(): v for n, v in cast("dict[str, Any]", quoted).items() if isinstance(v, str)}


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


def text_of(body: bytes) -> str:
    """What a body that is not JSON says: the title of a web page, or the text itself."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return text
    title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
    return f"The provider answered with a web page: {' '.join(title[1].split()) if title else 'it has no title'}."
