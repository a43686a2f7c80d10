"""Percent-encoding of one segment of a URL's path, RFC 3986, 2.1. Here because `urllib` brings sockets along."""

from __future__ import annotations

import re

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def encoded(text: str, safe: str = "") -> str:
    """`text` as a path segment; the characters of `safe` (ASCII) stay as they are."""
    kept = _PLAIN | frozenset(safe.encode())
    return "".join([chr(b) if b in kept else f"%{b:02X}" for b in text.encode()])


def decoded(text: str) -> str:
    """The reverse; what is no valid escape stays as it is."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), text.encode()).decode("utf-8", "replace")
