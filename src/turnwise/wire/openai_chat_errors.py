"""What went wrong, dug out of whatever a Chat Completions host answers: JSON of many shapes, HTML, plain text, nothing.

Only the digging; what an error means for the caller is decided in `errors`. Source:
https://platform.openai.com/docs/guides/error-codes; shapes of other hosts from recorded traffic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from ..core.errors import ErrorInfo
from .errors import http_error
from .framing import FramingError, SseFramer
from .openai_chat_shapes import UNREADABLE

MAX_MESSAGE_CHARS = 4000
"""Longer messages are cut: some hosts quote the whole request back."""
_MAX_DEPTH = 4


class Said(msgspec.Struct, frozen=True, gc=False):
    """An error in the host's words. `status` is the HTTP status that a host names inside its answer."""

    message: str = ""
    type: str = ""
    code: str = ""
    status: int = 0


def body_error(status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
    """The error of a response whose status says that it is one."""
    said = _said_in_body(body)
    return http_error(status, headers, said.message, type=said.type, code=said.code)


def inner_error(headers: Mapping[str, str], document: Mapping[str, Any]) -> ErrorInfo:
    """The error inside a response that began with status 200 (rule S3). A status that it names classifies it."""
    said = said_in(document) or Said()
    message = said.message or "The provider reported an error in its answer, without a message."
    info = http_error(said.status, headers, message, type=said.type, code=said.code)
    return msgspec.structs.replace(info, status=None)


def said_in(value: Any, depth: int = 0) -> Said | None:
    """The error that a JSON value tells of; None if it tells of none."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return Said(value[:MAX_MESSAGE_CHARS]) if value.strip() else None
    if isinstance(value, list):
        found = [said_in(v, depth + 1) for v in cast("list[Any]", value)[:8]]
        return _together([s for s in found if s is not None])
    if not isinstance(value, dict):
        return None
    document = cast("dict[str, Any]", value)
    inner = said_in(document.get("error") or document.get("errors"), depth + 1)
    message = next((s.message for s in _messages(document, depth) if s is not None and s.message), "")
    own = Said(message, _word(document.get("type")), _word(document.get("code")), _status(document))
    if inner is None:
        return own if own.message or own.type or own.code else None
    both = f"{inner.message}: {own.message}" if own.message and own.message not in inner.message else inner.message
    return Said(both[:MAX_MESSAGE_CHARS], inner.type or own.type, inner.code or own.code, inner.status or own.status)


def _messages(document: dict[str, Any], depth: int) -> Iterable[Said | None]:
    message = said_in(document.get("message"), depth + 1)
    metadata = document.get("metadata")
    raw = said_in(cast("dict[str, Any]", metadata).get("raw"), depth + 1) if isinstance(metadata, dict) else None
    if message is not None and raw is not None and raw.message not in message.message:
        # A router's own message is often empty of meaning ("Provider returned error"); `raw` is what the provider said.
        yield Said(f"{message.message}: {raw.message}"[:MAX_MESSAGE_CHARS])
    yield message
    for name in ("detail", "msg", "error_description", "title"):
        yield said_in(document.get(name), depth + 1)


def _together(found: list[Said]) -> Said | None:
    if not found:
        return None
    message = "; ".join(dict.fromkeys(s.message for s in found if s.message))
    return Said(message[:MAX_MESSAGE_CHARS], found[0].type, found[0].code, found[0].status)


def _word(value: Any) -> str:
    """A type or code: a word or a number."""
    if isinstance(value, str):
        return value[:200]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else ""


def _status(document: dict[str, Any]) -> int:
    for name in ("status_code", "status", "code"):
        word = _word(document.get(name))
        if len(word) == 3 and word.isdigit() and word[0] in "45":
            return int(word)
    return 0


def _said_in_body(body: bytes) -> Said:
    try:
        return said_in(msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))) or Said()
    except UNREADABLE:
        pass
    for payload in _payloads(body):
        try:
            if (said := said_in(msgspec.json.decode(payload))) is not None:
                return said
        except UNREADABLE:
            pass
    return Said(readable(body))


def _payloads(body: bytes) -> list[bytes]:
    """Events, for hosts that answer a streaming request with a streamed error."""
    framer = SseFramer()
    try:
        return framer.feed(body) + framer.finish()
    except FramingError:
        return []


_TITLE = re.compile(r"<title[^>]*>([^<]{1,500})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,500}>")


def readable(body: bytes) -> str:
    """Text or an HTML page as one short line: the page's title, or what is left without its tags."""
    text = body[:20_000].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        text = title.group(1) if title else _TAG.sub(" ", text)
    return " ".join(text.split())[:MAX_MESSAGE_CHARS]
