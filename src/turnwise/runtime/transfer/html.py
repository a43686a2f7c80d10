"""A session as one HTML page, for people. Pure: values of `account` in, text out.

Everything that was said is text: it is escaped, whatever it holds, and shown as it was typed. The page loads nothing from elsewhere and
runs nothing; a policy in its head holds the reader's browser to that. What attachments may be shown is an `Embed`: whoever
has the bytes puts them there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape

import msgspec

from ...core.content import Audio, BlobRef, Block, Document, Image, Opaque, Text, Thinking, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import ModelSaid, Remark, Told, TurnBegins, UserSaid
from .words import clean, facts_of, file_of, outcome_of, spent, title_of, when, who

_SHORT_CHARS = 2000
"""Calls with results up to this length are shown unfolded."""

_SHOWN = frozenset(
    ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav", "audio/ogg", "audio/mp4")
)
"""Media types that a browser shows and that cannot hold a script."""


class Embed(msgspec.Struct, frozen=True):
    """A place for the bytes of a blob, in base64, between `before` and `after`; `instead` is shown if they cannot be had."""

    ref: BlobRef
    before: str
    after: str
    instead: str


def head(row: SessionInfo) -> str:
    """What stands before everything."""
    facts = "".join([f"<dt>{_text(what)}</dt><dd>{_text(value)}</dd>" for what, value in facts_of(row)])
    title = _text(title_of(row))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<dl>{facts}</dl>\n"
    )


def body(told: Told) -> Iterator[str | Embed]:
    """One thing that is told, in pieces."""
    match told:
        case TurnBegins(number=number, at=at):
            yield f"<h2>Turn {number} {_time(at)}</h2>\n"
        case UserSaid(message=message):
            yield f'<article class="user">\n<h3>{who(told)}</h3>\n'
            for block in message.content:
                yield from _block(block)
            yield "</article>\n"
        case ModelSaid():
            yield from _model(told)
        case Remark(text=text, at=at, is_error=is_error, detail=detail):
            kind = "remark error" if is_error else "remark"
            more = _folded("Details", _said(detail)) if detail else ""
            yield f'<div class="{kind}"><p>{_text(text)} {_time(at)}</p>{more}</div>\n'


def foot(model_calls: int, usage: Usage) -> str:
    """What stands behind everything."""
    return f"<footer>{_text(spent(model_calls, usage))}</footer>\n</main>\n</body>\n</html>\n"


def _model(told: ModelSaid) -> Iterator[str | Embed]:
    message = told.message
    by = f" <small>{_text(message.model)}</small>" if message.model else ""
    yield f'<article class="assistant">\n<h3>Assistant{by}</h3>\n'
    for block in message.content:
        if isinstance(block, ToolCall):
            yield from _call(block, told.results.get(block.id))
        else:
            yield from _block(block)
    if message.partial:
        yield '<p class="remark">Cut off here.</p>\n'
    yield "</article>\n"


def _call(call: ToolCall, result: ToolResult | None) -> Iterator[str | Embed]:
    problem = outcome_of(result)
    length = len(call.arguments) + (0 if result is None else len(result.text))
    unfolded = " open" if length <= _SHORT_CHARS else ""
    kind = "call error" if problem else "call"
    yield f'<details class="{kind}"{unfolded}><summary><code>{_text(call.name)}</code> <small>{_text(call.id)}</small></summary>\n'
    if call.arguments.strip():
        yield _code(call.arguments)
    if problem:
        yield f'<p class="remark">{_text(problem)}</p>\n'
    for block in () if result is None else result.content:
        if isinstance(block, Text):
            yield _code(block.text) if block.text else ""
        else:
            yield from _block(block)
    if result is not None and result.artifact is not None:
        yield f'<p class="remark">The whole text: {_text(file_of(Document(result.artifact)))}</p>\n'
    yield "</details>\n"


def _block(block: Block) -> Iterator[str | Embed]:
    match block:
        case Text(text=text):
            if text:
                yield _said(text)
        case Thinking():
            said = "Some of it is sealed by the provider." if block.redacted else block.text
            if said:
                yield _folded("Thinking", _said(said), "thinking")
        case Image() | Audio() | Document():
            yield _media(block)
        case Opaque(kind=kind):
            yield f'<p class="remark">An item of the provider\'s own: {_text(kind)}</p>\n'
        case ToolCall():
            pass


def _media(block: Image | Audio | Document) -> str | Embed:
    what = _text(file_of(block))
    named = f'<p class="file">{what}</p>\n'
    ref = block.source
    if not isinstance(ref, BlobRef) or ref.media_type not in _SHOWN:
        return named
    if isinstance(block, Image):
        return Embed(ref, f'<p><img alt="{what}" src="data:{ref.media_type};base64,', '"></p>\n', named)
    return Embed(ref, f'<p><audio controls src="data:{ref.media_type};base64,', '"></audio></p>\n', named)


def _folded(title: str, inside: str, kind: str = "") -> str:
    return f'<details class="{kind}"><summary>{title}</summary>\n{inside}</details>\n'


def _said(text: str) -> str:
    return f'<div class="said" dir="auto">{_text(text)}</div>\n'


def _code(text: str) -> str:
    return f"<pre>\n{_text(text)}</pre>\n"


def _time(at: float | None) -> str:
    return f"<time>{when(at)}</time>" if when(at) else ""


def _text(text: str) -> str:
    """Text of any origin, fit for element and attribute alike."""
    return escape(clean(text), quote=True)


_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:50rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}h3{font-size:.9rem;margin:0 0 .3rem}
time,small,footer,.remark,.file{font-size:.8rem;font-weight:400;opacity:.7}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.85rem}dd{margin:0;overflow-wrap:anywhere}
article{border-left:3px solid #888;padding:.2rem .8rem;margin:.8rem 0}
.user{border-color:#27c}.error{border-color:#c33;color:#c33}
.said{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;margin:.4rem 0}
.thinking .said{font-style:italic;opacity:.8}
pre{background:#8882;padding:.5rem;overflow:auto;max-height:30rem;unicode-bidi:plaintext}
details{margin:.4rem 0}summary{cursor:pointer}
img,audio{max-width:100%}
"""

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; media-src data:; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)
