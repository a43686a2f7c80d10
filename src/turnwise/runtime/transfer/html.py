"""A session as one HTML page, for people. Pure, a `Form`.

Everything that was said is text: it is escaped, whatever it holds, and shown as it was typed. The page loads nothing from elsewhere and
runs nothing; a policy in its head holds the reader's browser to that. What attachments may be shown is an `Embed`: whoever
has the bytes puts them there.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape

from ...core.content import Audio, BlobRef, Document, Image, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import Remark
from .forms import Embed
from .words import clean, facts_of, file_of, outcome_of, spent, title_of, when

_SHORT_CHARS = 2000
"""Calls with results up to this length are shown unfolded."""

_SHOWN = frozenset(
    ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav", "audio/ogg", "audio/mp4")
)
"""Media types that a browser shows and that cannot hold a script."""


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


def foot(model_calls: int, usage: Usage) -> str:
    """What stands behind everything."""
    return f"<footer>{_text(spent(model_calls, usage))}</footer>\n</main>\n</body>\n</html>\n"


def turn(number: int, at: str) -> str:
    return f"<h2>Turn {number} {_time(at)}</h2>\n"


def remark(told: Remark) -> str:
    kind = "remark error" if told.is_error else "remark"
    more = _folded("Details", text(told.detail)) if told.detail else ""
    return f'<div class="{kind}"><p>{_text(told.text)} {_time(when(told.at))}</p>{more}</div>\n'


def user(who: str) -> str:
    return f'<article class="user">\n<h3>{who}</h3>\n'


def model(name: str) -> str:
    by = f" <small>{_text(name)}</small>" if name else ""
    return f'<article class="assistant">\n<h3>Assistant{by}</h3>\n'


def over(cut_off: bool) -> str:
    return ('<p class="remark">Cut off here.</p>\n' if cut_off else "") + "</article>\n"


def text(text: str) -> str:
    return f'<div class="said" dir="auto">{_text(text)}</div>\n'


def thinking(said: str) -> str:
    return _folded("Thinking", text(said), "thinking")


def opaque(kind: str) -> str:
    return f'<p class="remark">An item of the provider\'s own: {_text(kind)}</p>\n'


def file(block: Image | Audio | Document, in_result: bool) -> str | Embed:
    what = _text(file_of(block))
    named = f'<p class="file">{what}</p>\n'
    ref = block.source
    if not isinstance(ref, BlobRef) or ref.media_type not in _SHOWN:
        return named
    if isinstance(block, Image):
        return Embed(ref, f'<p><img alt="{what}" src="data:{ref.media_type};base64,', '"></p>\n', named)
    return Embed(ref, f'<p><audio controls src="data:{ref.media_type};base64,', '"></audio></p>\n', named)


def call(call: ToolCall, result: ToolResult | None) -> str:
    problem = outcome_of(result)
    length = len(call.arguments) + (0 if result is None else len(result.text))
    unfolded = " open" if length <= _SHORT_CHARS else ""
    kind = "call error" if problem else "call"
    asked = output(call.arguments) if call.arguments.strip() else ""
    ended = f'<p class="remark">{_text(problem)}</p>\n' if problem else ""
    summary = f"<summary><code>{_text(call.name)}</code> <small>{_text(call.id)}</small></summary>"
    return f'<details class="{kind}"{unfolded}>{summary}\n{asked}{ended}'


def output(text: str) -> str:
    return f"<pre>\n{_text(text)}</pre>\n"


def artifact(what: str) -> str:
    return f'<p class="remark">The whole text: {_text(what)}</p>\n'


def call_over() -> str:
    return "</details>\n"


def _folded(title: str, inside: str, kind: str = "") -> str:
    return f'<details class="{kind}"><summary>{title}</summary>\n{inside}</details>\n'


def _time(at: str) -> str:
    return f"<time>{at}</time>" if at else ""


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
