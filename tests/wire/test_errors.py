"""Provider failures told apart: a row per line of the providers' error pages, bodies of every form, waits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import ProviderError, error_of
from turnwise.wire.errors import PROTOCOL, body_error, broken, excerpt, http_error, kind_of, retry_after_of

ROWS = [
    # Anthropic: https://platform.claude.com/docs/en/api/errors
    (400, "invalid_request_error", "", "messages: field required", "invalid_request", False),
    (401, "authentication_error", "", "invalid x-api-key", "auth", False),
    (402, "billing_error", "", "There is an issue with your billing.", "quota", False),
    (403, "permission_error", "", "Your key may not use this.", "permission", False),
    (404, "not_found_error", "", "model: claude-sonet-4-5", "not_found", False),
    (409, "conflict_error", "", "The resource changed.", "server", True),
    (413, "request_too_large", "", "Request exceeds the maximum size", "too_large", False),
    (429, "rate_limit_error", "", "Number of requests has exceeded your limit", "rate_limit", True),
    (429, "rate_limit_error", "enforced_spend_limit_reached", "Spend limit reached", "quota", False),
    (500, "api_error", "", "Internal server error", "server", True),
    (504, "timeout_error", "", "Timed out", "provider_timeout", True),
    (529, "overloaded_error", "", "Overloaded", "overloaded", True),
    (500, "overloaded_error", "", "Overloaded", "overloaded", True),
    (400, "invalid_request_error", "", "prompt is too long: 210000 tokens > 200000 maximum", "context_overflow", False),
    (400, "invalid_request_error", "", "input length and `max_tokens` exceed context limit", "context_overflow", False),
    (400, "invalid_request_error", "", "Your credit balance is too low", "quota", False),
    (400, "invalid_request_error", "", "You have reached your specified API usage limits.", "quota", False),
    (400, "invalid_request_error", "", "Output blocked by content filtering policy", "content_filter", False),
    # OpenAI: https://platform.openai.com/docs/guides/error-codes
    (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-***", "auth", False),
    (403, "request_forbidden", "unsupported_country_region_territory", "Not supported.", "permission", False),
    (404, "invalid_request_error", "model_not_found", "The model `x` does not exist", "not_found", False),
    (400, "invalid_request_error", "model_not_found", "The requested model 'x' does not exist.", "not_found", False),
    (429, "requests", "rate_limit_exceeded", "Rate limit reached for gpt", "rate_limit", True),
    (429, "tokens", "rate_limit_exceeded", "Request too large: maximum context length", "rate_limit", True),
    (429, "tokens", "", "Request too large: maximum context length", "rate_limit", True),
    (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota", "quota", False),
    (429, "insufficient_quota", "credit_balance_exhausted", "No credits", "quota", False),
    (429, "rate_limit_error", "slow_down", "Slow down", "rate_limit", True),
    (503, "service_unavailable_error", "server_is_overloaded", "Busy", "overloaded", True),
    (503, "", "", "", "overloaded", True),
    (500, "server_error", "", "The server had an error", "server", True),
    (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "maximum context length is 8192",
        "context_overflow",
        False,
    ),
    (400, "invalid_request_error", "content_policy_violation", "Refused", "content_filter", False),
    (400, "", "content_filter", "Azure content management policy", "content_filter", False),
    # Hosts that speak these APIs
    (400, "", "invalid-argument", "Incorrect API key provided.", "auth", False),
    (400, "too_many_prompt_tokens", "400", "The total length of all messages is too long.", "context_overflow", False),
    (401, "api_error", "", "Unauthorized", "auth", False),
    (404, "", "DeploymentNotFound", "The API deployment does not exist.", "not_found", False),
    (400, "exceed_context_size_error", "", "exceeds the available context size", "context_overflow", False),
    # Statuses alone, and streams, which have none
    (301, "", "", "", "redirect", False),
    (400, "", "", "", "invalid_request", False),
    (408, "", "", "", "provider_timeout", True),
    (422, "", "", "", "invalid_request", False),
    (425, "", "", "", "server", True),
    (498, "", "", "", "overloaded", True),
    (502, "", "", "", "server", True),
    (0, "overloaded_error", "", "Overloaded", "overloaded", True),
    (0, "rate_limit_error", "", "", "rate_limit", True),
    (0, "api_error", "", "", "server", True),
    (0, "invalid_request_error", "", "", "invalid_request", False),
    (0, "authentication_error", "", "", "auth", False),
    (0, "", "", "", "server", True),
]


@pytest.mark.parametrize(("status", "type_", "code", "message", "kind", "retryable"), ROWS)
def test_failures(status: int, type_: str, code: str, message: str, kind: str, retryable: bool) -> None:
    info = http_error(status, {}, message, type=type_, code=code, provider="p")
    assert (info.code, info.retryable) == (kind, retryable)
    assert info.message and info.hint and info.branch == "provider"
    assert info.status == (status or None) and info.detail == (code or type_) and info.provider == "p"
    assert isinstance(error_of(info), ProviderError)


def test_words_count_only_as_types_and_codes() -> None:
    """What a message happens to quote does not decide."""
    assert (
        kind_of(400, "invalid_request_error", "", "tools.0.name: 'overloaded_error' is taken").code == "invalid_request"
    )


@pytest.mark.parametrize(
    ("status", "does"),
    [(401, "Check the API key"), (404, "Check the model's name"), (429, "wait"), (529, "wait"), (301, "base URL")],
)
def test_hints_say_what_to_do(status: int, does: str) -> None:
    assert does in http_error(status, {}, "").hint


def test_an_empty_message_is_replaced() -> None:
    assert http_error(503, {}, "  ").message == "The provider answered with status 503 and no message."
    assert http_error(0, {}, "").message == "The provider answered with an error and no message."


@pytest.mark.parametrize(("said", "retryable"), [("true", True), ("false", False), ("perhaps", False), ("", False)])
def test_the_provider_may_say_whether_to_retry(said: str, retryable: bool) -> None:
    assert http_error(400, {"x-should-retry": said}, "no").retryable is retryable
    assert http_error(529, {"x-should-retry": said}, "no").retryable is (said != "false")


@pytest.mark.parametrize(
    ("body", "message", "detail"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "one"}}, "one", "api_error"),
        ({"error": {"message": "two", "type": None, "code": 429}}, "two", "429"),
        ({"error": {"message": "x", "type": "t", "details": {"error_code": "c"}}}, "x", "c"),
        ({"error": "three", "code": "c"}, "three", "c"),
        ({"message": "four", "type": "t"}, "four", "t"),
        ({"detail": "five"}, "five", ""),
        ({"detail": [{"msg": "six", "loc": ["a"]}, {"msg": "seven"}, 3]}, "six; seven", ""),
        ([{"error": {"message": "eight", "code": 5}}], "eight", "5"),
        ({"error": {}, "message": "nine"}, "nine", ""),
    ],
)
def test_json_bodies(body: object, message: str, detail: str) -> None:
    info = body_error(400, {}, json.dumps(body).encode())
    assert (info.message, info.detail) == (message, detail)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The provider answered with status 502 and no message."),
        (b"upstream connect error\n", "upstream connect error"),
        (b"<html><TITLE>502 Bad\nGateway</TITLE></html>", "The provider answered with a web page: 502 Bad Gateway."),
        (b"<html></html>", "The provider answered with a web page: it has no title."),
        (b'\xef\xbb\xbf{"error":{"message":"marked"}}', "marked"),
        (b'{"strange":1}', '{"strange":1}'),
        (b'"text"', '"text"'),
        (b"[]", "[]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_other_bodies(body: bytes, message: str) -> None:
    info = body_error(502, {}, body)
    assert (info.message, info.code) == (message, "server")


@given(
    st.integers(100, 599),
    st.binary(max_size=100) | st.text(max_size=50).map(lambda t: json.dumps({"error": t}).encode()),
)
def test_any_body_is_an_error_with_words(status: int, body: bytes) -> None:
    """S8."""
    info = body_error(status, {}, body)
    assert info.message.strip() and info.hint and len(info.message) <= 4000


def test_deep_and_long_bodies() -> None:
    """S8."""
    assert body_error(500, {}, b"[" * 100_000).code == "server"
    assert len(body_error(500, {}, b"x" * 100_000).message) == 4000


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "today"}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, None),
    ],
)
def test_waits(headers: dict[str, str], seconds: float | None) -> None:
    """A date is measured against the response's own clock."""
    assert retry_after_of(headers) == seconds
    assert http_error(429, headers, "slow").retry_after_s == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_wait_is_sane(then: str, now: str) -> None:
    """S8."""
    seconds = retry_after_of({"retry-after": then, "date": now})
    assert seconds is None or 0 <= seconds < 1e9


def test_broken_names_what_is_wrong() -> None:
    info = broken(PROTOCOL, "The answer is a poem.", status=200, provider="p")
    assert (info.code, info.status, info.retryable) == ("protocol", 200, True)
    assert "The answer is a poem." in info.for_user() and "base URL" in info.for_user()


def test_excerpts_are_one_short_line() -> None:
    assert excerpt(b" a\n b\t") == "a b"
    assert len(excerpt("é🌸".encode() * 1000)) == 200
