"""AWS Signature Version 4: pure. The time is passed in and the body is hashed in its parts, which botocore's own signer allows for
neither; a test holds the two equal. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

import msgspec

from .auth import Outgoing

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Credentials(msgspec.Struct, frozen=True):
    """Keys of AWS, with the token that goes with temporary ones. Its `repr` shows no secret."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


def sign(
    request: Outgoing, credentials: Credentials, region: str, now: float, *, service: str = "bedrock"
) -> dict[str, str]:
    """The headers that sign this request at `now` (Unix seconds).

    Signed are the host, the content type and all `x-amz-…` headers: what AWS demands, and nothing that a proxy may change. The URL must be
    written as it will be sent.
    """
    time = datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": time}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    signed = {"host": _host(request.url)} | _signable(request.headers) | added
    names = sorted(signed)
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    canonical = "\n".join(
        [
            request.method.upper(),
            _path(request.url),
            _query(request.url),
            *[f"{name}:{' '.join(signed[name].split())}" for name in names],
            "",
            ";".join(names),
            _body_hash(request),
        ]
    )
    to_sign = "\n".join([_ALGORITHM, time, scope, sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    added["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={_mac(key, to_sign).hex()}"
    )
    return added


def _signable(headers: Mapping[str, str]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if name == "content-type" or name.startswith("x-amz-")}


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()


def _body_hash(request: Outgoing) -> str:
    made = sha256()
    for part in request.body:
        made.update(part)
    return made.hexdigest()


def _host(url: str) -> str:
    """The host as HTTP clients send it: a port only if it is not the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _path(url: str) -> str:
    """The path, its dot segments and double slashes taken out, encoded once more than it is sent."""
    path = urlsplit(url).path or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return quote("/" + "/".join(kept) + ("/" if path.endswith("/") and kept else ""), safe="/~")


def _query(url: str) -> str:
    query = urlsplit(url).query
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    return "&".join([f"{name}={value}" for name, value in sorted([(n, v) for n, _, v in pairs])])
