"""Signatures of AWS, held against botocore's own signer, and against the example in AWS's documents."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pytest
from botocore import auth as botocore_auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.models.auth import Outgoing
from turnwise.models.sigv4 import Credentials, sign

NOW = 1_760_000_000.75


def signed_by_botocore(
    request: Outgoing, keys: Credentials, region: str, now: float, service: str = "bedrock"
) -> Mapping[str, str]:
    """All headers of the request as botocore signs it at that time."""
    made = AWSRequest(request.method, request.url, dict(request.headers), b"".join(request.body))
    signer = SigV4Auth(
        BotocoreCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token), service, region
    )
    frozen = datetime.datetime.fromtimestamp(int(now), datetime.UTC).replace(tzinfo=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore_auth, "get_current_datetime", lambda: frozen)
        signer.add_auth(made)
    return {name.lower(): value for name, value in made.headers.items()}


PATHS = st.sampled_from(
    [
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse",
        "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.x:0/converse-stream",
        "/model/a%3Ab/converse",
        "",
        "/",
        "//a/./b/../c/",
        "/é~ (x)",
    ]
)
QUERIES = st.sampled_from(["", "?a=1", "?b=2&a=1&a=0", "?key", "?a=%20x&Z=", "?b=1&&a=1"])
TEXTS = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "x-amz-target", "X-Amz-Meta-A", "x-amz-z"]), TEXTS.map(str.strip), max_size=3
)
KEYS = st.builds(Credentials, st.just("AKIDEXAMPLE"), TEXTS.filter(bool), st.none() | TEXTS.filter(str.strip))


@given(
    st.sampled_from(["POST", "GET", "delete"]),
    st.sampled_from(
        ["https://bedrock-runtime.us-east-1.amazonaws.com", "http://127.0.0.1:8080", "https://H.example:443"]
    ),
    PATHS,
    QUERIES,
    HEADERS,
    st.lists(st.binary(max_size=50), max_size=3),
    KEYS,
    st.floats(0, 4e9),
)
@examples(300)
def test_the_same_as_botocore(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: list[bytes],
    keys: Credentials,
    now: float,
) -> None:
    request = Outgoing(method, host + path + query, headers, body)
    ours, theirs = sign(request, keys, "us-east-1", now), signed_by_botocore(request, keys, "us-east-1", now)
    assert ours == {name: value for name, value in theirs.items() if name not in {n.lower() for n in headers}}


def test_the_worked_example_of_the_documents() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, as of its IAM ListUsers request."""
    request = Outgoing(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        (),
    )
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    now = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC).timestamp()
    made = sign(request, keys, "us-east-1", now, service="iam")
    assert made["x-amz-date"] == "20150830T123600Z"
    assert made["authorization"].endswith("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")


def test_the_parts_of_a_body_are_not_joined() -> None:
    """The same signature however the body is cut, from whatever holds the bytes."""
    url, keys = "https://h.example/x", Credentials("A", "S", "T")
    whole = sign(Outgoing("POST", url, {}, [b"abcdef"]), keys, "eu-west-1", NOW)
    parts = [b"ab", bytearray(b"cd"), memoryview(b"..ef")[2:]]
    assert sign(Outgoing("POST", url, {}, parts), keys, "eu-west-1", NOW) == whole
    assert sign(Outgoing("POST", url, {}, [b"abcdeX"]), keys, "eu-west-1", NOW) != whole


def test_only_what_must_be_is_signed() -> None:
    """A proxy may change the rest."""
    headers = {"User-Agent": "x", "accept": "y", "Content-Type": "application/json", "X-Amz-A": "1"}
    made = sign(Outgoing("POST", "https://h.example/x", headers, ()), Credentials("A", "S", "T"), "r", NOW)
    assert "SignedHeaders=content-type;host;x-amz-a;x-amz-date;x-amz-security-token," in made["authorization"]
    assert made["x-amz-security-token"] == "T" and made["x-amz-date"] == "20251009T085320Z"


def test_no_secret_is_shown() -> None:
    """P6."""
    assert "secret" not in repr(Credentials("AKID", "secret", "secret-token"))
