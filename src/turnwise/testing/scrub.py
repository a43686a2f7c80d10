"""What a recording may hold. Fails closed: headers and query parameters are written only if they are known to be harmless.

The values of all others count as secrets, and every occurrence of a secret in URL, bodies and headers is covered with asterisks, as
many as it is long, so that lengths, chunk boundaries and JSON stay what they were. That breaks the checksums of AWS event streams, whose
bodies hold no credentials.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

COVERED = "***"
"""In place of a query parameter's value."""
SHORTEST = 8
"""Values of fewer characters are not looked for in bodies: they would be found inside of words, and no real key is as short."""

_SENT = frozenset(
    (
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "openai-beta",
        "user-agent",
        "x-amzn-bedrock-trace",
    )
)
_RECEIVED = frozenset(
    (
        "content-type",
        "date",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-amzn-errortype",
        "x-amzn-requestid",
        "x-request-id",
        "x-should-retry",
    )
)
_RECEIVED_PREFIXES = ("anthropic-ratelimit-", "ratelimit-", "x-amzn-bedrock-", "x-ratelimit-")
_HARMLESS = frozenset(
    (
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "host",
        "http-referer",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-goog-user-project",
        "x-title",
    )
)
"""Headers that are not written, and whose values are no secrets."""
_QUERY = frozenset(("alt", "api-version", "after_id", "limit", "pagesize", "stream"))


class Scrubber:
    """Knows the secrets seen so far, and covers them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None
        for secret in secrets:
            self._learn(secret, 1)

    def learn(self, url: str, headers: Mapping[str, str]) -> None:
        """Take note of the credentials of a request."""
        for name, value in headers.items():
            if name.lower() not in _SENT and name.lower() not in _HARMLESS:
                for part in _parts(value):
                    self._learn(part)
        parts = urlsplit(url)
        for secret in (parts.username, parts.password):
            self._learn(secret or "")
        for field in parts.query.split("&"):
            name, _, value = field.partition("=")
            if unquote(name).lower() not in _QUERY:
                self._learn(value)
                self._learn(unquote(value))

    def sent(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request that may be written."""
        return {n.lower(): self.text(v) for n, v in sorted(headers.items()) if n.lower() in _SENT}

    def received(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of an answer that may be written."""
        named = {name.lower(): value for name, value in headers.items()}
        return {n: self.text(v) for n, v in named.items() if n in _RECEIVED or n.startswith(_RECEIVED_PREFIXES)}

    def url(self, url: str) -> str:
        """The URL without user and password and with the values of unknown query parameters covered."""
        parts = urlsplit(url)
        fields = [f.partition("=") for f in parts.query.split("&") if f]
        query = "&".join([n + e + (v if unquote(n).lower() in _QUERY else COVERED) for n, e, v in fields])
        return self.text(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, "")))

    def text(self, text: str) -> str:
        return self.bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def bytes(self, data: bytes) -> bytes:
        """`data` with every secret covered."""
        if self._pattern is None:
            return data
        return self._pattern.sub(lambda found: b"*" * len(found[0]), data)

    def chunks(self, chunks: Sequence[bytes]) -> list[bytes]:
        """The same for a body in pieces: a secret that is spread over several is covered, too."""
        whole, out, at = self.bytes(b"".join(chunks)), list[bytes](), 0
        for piece in chunks:
            out.append(whole[at : at + len(piece)])
            at += len(piece)
        return out

    def _learn(self, secret: str, shortest: int = SHORTEST) -> None:
        if len(secret) < shortest:
            return
        said = msgspec.json.encode(secret).decode()[1:-1]
        forms = {form.encode() for form in (secret, quote(secret, safe=""), said, said.replace("/", "\\/"))}
        if forms <= self._secrets:
            return
        self._secrets |= forms
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))


def _parts(value: str) -> list[str]:
    """What of a header's value is a secret: the whole, what follows a scheme, the pairs of a cookie, user and password."""
    if value.startswith("AWS4-"):
        return [value, *re.findall(r"(?:Credential|Signature)=([^/,\s]+)", value)]
    scheme, _, rest = value.partition(" ")
    pairs = [pair.partition("=")[2] for pair in value.split(";")]
    return [value, rest, *pairs, *(_basic(rest) if scheme.lower() == "basic" else ())]


def _basic(encoded: str) -> list[str]:
    try:
        return b64decode(encoded).decode().split(":", 1)
    except ValueError:
        return []
