"""Provider failures told apart: a row per line of the providers' error pages, bodies of every form, waits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from turnwise.core.errors import ErrorInfo, ProviderError, error_of
from turnwise.wire.error_tables import PHRASES, STATUSES, WEAK_WORDS, WORDS, Row
from turnwise.wire.errors import (
    PROTOCOL,
    body_error,
    broken,
    excerpt,
    http_error,
    kind_of,
    retry_after_of,
    row_of,
)

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


def _examples() -> Any:
    spec = importlib.util.spec_from_file_location("error_examples", Path(__file__).with_name("error_examples.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXAMPLES


EXAMPLES = _examples()
TABLE: tuple[Row, ...] = (*WORDS, *PHRASES, *STATUSES, *WEAK_WORDS)


def decider(example: Any) -> Row | None:
    """The row that an example's class comes from."""
    info = body_error(example.status, {}, example.body.encode())
    body: Any = json.loads(example.body) if example.body[:1] == "{" else {}
    inner: Any = body.get("error") if isinstance(body.get("error"), dict) else body
    return row_of(example.status, str(inner.get("type") or ""), info.detail, info.message)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.kind} {e.provider} {e.status}")
def test_answers_of_providers(example: Any) -> None:
    """Overflow, rate limit, quota and the rest are told apart by each provider's own wording and code."""
    info = body_error(example.status, {}, example.body.encode())
    assert info.code == example.kind
    assert info.retryable is (info.code in ("rate_limit", "overloaded", "provider_timeout", "server"))


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r.kind.code} {r.said or r.status}")
def test_every_row_decides_an_answer(row: Row) -> None:
    """A row that decides nothing is dead, or a row before it is too greedy."""
    decided = [e for e in EXAMPLES if decider(e) is row]
    assert decided, f"no example in error_examples.py is decided by {row}"
    assert {e.kind for e in decided} == {row.kind.code}
    assert row.source and row.said == row.said.lower() and (row.said or row.status)


def test_no_row_is_written_twice() -> None:
    for table in (WORDS, PHRASES, STATUSES, WEAK_WORDS):
        assert len({(r.said, r.status) for r in table}) == len(table)


@pytest.mark.parametrize("row", [r for r in PHRASES if r.kind.code == "context_overflow"], ids=lambda r: r.said)
def test_a_rate_limit_is_never_an_overflow(row: Row) -> None:
    assert kind_of(429, "", "", f"Limit reached: {row.said}").code == "rate_limit"


def test_a_model_without_tools_has_a_way_out() -> None:
    info = http_error(400, {}, "registry.ollama.ai/library/x does not support tools")
    assert 'tools="prompted"' in info.hint and not info.retryable


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
USED_UP = {"x-ratelimit-remaining-tokens": "0", "date": DATE}


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
    ],
)
def test_waits(headers: dict[str, str], seconds: float | None) -> None:
    """A date is measured against the response's own clock."""
    assert retry_after_of(headers) == seconds
    assert http_error(429, headers, "slow").retry_after_s == seconds


def test_headers_have_no_case() -> None:
    """HTTP clients keep the capitals that a server writes; an answer's own wait counts before that of its limits."""
    body, limits = (
        b'{"error":{"message":"slow down"}}',
        {"X-RateLimit-Remaining-Tokens": "0", "x-ratelimit-reset-tokens": "6m0s"},
    )

    def read(headers: dict[str, str]) -> ErrorInfo:
        return body_error(429, CIMultiDictProxy(CIMultiDict(headers)), body)

    assert read(limits).retry_after_s == 360.0
    assert read({"Retry-After": "1", **limits}).retry_after_s == 1.0
    assert not read({"X-Should-Retry": "false"}).retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # OpenAI, Groq, Azure OpenAI: durations or seconds
        ({**USED_UP, "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({**USED_UP, "x-ratelimit-reset-tokens": "2m59.56s"}, 179.56),
        ({**USED_UP, "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({**USED_UP, "x-ratelimit-reset-tokens": "1h0m1s"}, 3601.0),
        ({**USED_UP, "x-ratelimit-reset-tokens": "33011.382867"}, 33011.382867),
        ({**USED_UP, "x-ratelimit-reset-tokens": "0"}, 0.0),
        # only limits of which nothing is left, and of these the last
        ({"x-ratelimit-remaining-tokens": "12", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({**USED_UP, "x-ratelimit-reset-requests": "1s"}, None),
        (
            {
                **USED_UP,
                "x-ratelimit-reset-tokens": "7.66s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-images": "5",
                "x-ratelimit-reset-images": "1h",
            },
            7.66,
        ),
        # what the provider says outright goes first
        ({**USED_UP, "x-ratelimit-reset-tokens": "6m0s", "retry-after": "3"}, 3.0),
        # Anthropic: RFC 3339. OpenRouter: milliseconds since 1970
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:42Z",
                "date": DATE,
            },
            42.0,
        ),
        (
            {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:42Z"},
            None,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1792567710000", "date": DATE}, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1792567710", "date": DATE}, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1792567000", "date": DATE}, 0.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1792567710000"}, None),
        # nonsense
        ({**USED_UP, "x-ratelimit-reset-tokens": "soon"}, None),
        ({**USED_UP, "x-ratelimit-reset-tokens": ""}, None),
        ({**USED_UP, "x-ratelimit-reset-tokens": "-3"}, None),
        ({**USED_UP, "x-ratelimit-reset-tokens": "nan"}, None),
        ({**USED_UP, "x-ratelimit-reset-tokens": "1e999"}, None),
    ],
)
def test_waits_for_limits_that_are_used_up(headers: dict[str, str], seconds: float | None) -> None:
    assert http_error(429, headers, "slow").retry_after_s == seconds


def test_waits_that_a_body_asks_for() -> None:
    """Google's RetryInfo, and the limits of a provider behind OpenRouter."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    google: Any = {"error": {"code": 429, "message": "slow", "details": [{"@type": "x"}, 3, info]}}
    assert body_error(429, {}, json.dumps(google).encode()).retry_after_s == 34.5
    assert body_error(429, {"retry-after": "7"}, json.dumps(google).encode()).retry_after_s == 34.5
    google["error"]["details"] = [{"retryDelay": "later"}, {"retryDelay": 3}]
    assert body_error(429, {}, json.dumps(google).encode()).retry_after_s is None
    quoted = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1792567710000", "X-RateLimit-Limit": 3}
    routed = {"error": {"code": 429, "message": "slow", "metadata": {"headers": quoted}}}
    assert body_error(429, {"date": DATE}, json.dumps(routed).encode()).retry_after_s == 30.0
    assert body_error(429, {"date": DATE, "retry-after": "4"}, json.dumps(routed).encode()).retry_after_s == 4.0


@given(st.text(max_size=40) | st.floats().map(str), st.text(max_size=40) | st.datetimes().map(msgspec.to_builtins))
def test_any_reset_is_sane(then: str, now: str) -> None:
    """S8."""
    seconds = retry_after_of({"x-ratelimit-remaining": "0", "x-ratelimit-reset": then, "date": now})
    assert seconds is None or 0 <= seconds < 1e9


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
