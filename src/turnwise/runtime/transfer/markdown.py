"""A session as Markdown, for people. Pure, a `Form`.

What users, models and tools said stands in quotes and code blocks, which it cannot leave: no line of it begins a heading or ends a
section of ours. In quotes it keeps its own Markdown, without what could act on whoever looks at it: HTML is escaped, images are not loaded,
and links lead to web and mail addresses only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from ...core.content import Audio, Document, Image, ToolCall
from ...core.outcomes import ToolResult
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import Remark
from .words import clean, facts_of, file_of, outcome_of, spent, title_of


def head(row: SessionInfo) -> str:
    """What stands before everything."""
    facts = "".join([f"- {what}: {span(value)}\n" for what, value in facts_of(row)])
    return f"# {line(title_of(row))}\n\n{facts}"


def foot(model_calls: int, usage: Usage) -> str:
    """What stands behind everything."""
    return f"\n---\n\n*{spent(model_calls, usage)}*\n"


def turn(number: int, at: str) -> str:
    return f"\n## Turn {number}{f' ({at})' if at else ''}\n"


def remark(told: Remark) -> str:
    return f"\n*{line(told.text)}*\n{_folded('Details', quote(told.detail)) if told.detail else ''}"


def user(who: str) -> str:
    return f"\n### {who}\n"


def model(name: str) -> str:
    return f"\n### Assistant{f' ({span(name)})' if name else ''}\n"


def over(cut_off: bool) -> str:
    return "\n*Cut off here.*\n" if cut_off else ""


def text(text: str) -> str:
    return f"\n{quote(text)}"


def thinking(said: str) -> str:
    return _folded("Thinking", quote(said))


def opaque(kind: str) -> str:
    return f"\n*An item of the provider's own: {line(kind)}*\n"


def file(block: Image | Audio | Document, in_result: bool) -> str:
    return f"\n[{line(file_of(block))}]\n"


def call(call: ToolCall, result: ToolResult | None) -> str:
    problem = outcome_of(result)
    asked = f"\n{fenced(call.arguments, 'json')}" if call.arguments.strip() else ""
    ended = f"\n*{line(problem)}*\n" if problem else ""
    return f"\n**Call** {span(call.name)} ({span(call.id)})\n{asked}{ended}"


def output(text: str) -> str:
    return f"\n{fenced(text, 'text')}"


def artifact(what: str) -> str:
    return f"\n*The whole text: {line(what)}*\n"


def call_over() -> str:
    return ""


def _folded(title: str, inside: str) -> str:
    return f"\n<details><summary>{title}</summary>\n\n{inside}\n</details>\n"


# --- words of others --------------------------------------------------------------------------------------------------

_MARKS = re.compile(r"([\\`*_{}\[\]<>&|~$])")
_FENCE = re.compile(r"(`{3,}(?=[^`]*\Z)|~{3,})")
_TARGET = re.compile(r"\](?P<kind>\(|:)(?P<target>\s*<?[^\s)]*)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_ALLOWED = ("http:", "https:", "mailto:")


def line(text: str) -> str:
    """As part of one line: nothing in it means anything to Markdown."""
    return _MARKS.sub(r"\\\1", " ".join(clean(text).split()))


def span(text: str) -> str:
    """As code in a line."""
    flat = " ".join(clean(text).split())
    ticks = "`" * (_longest(flat, "`") + 1)
    return f"{ticks} {flat} {ticks}" if "`" in flat else f"`{flat}`" if flat else ""


def fenced(text: str, language: str) -> str:
    """As a code block that nothing in it can end."""
    text = clean(text)
    fence = "`" * max(3, _longest(text, "`") + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def quote(text: str) -> str:
    """As a quote: Markdown that keeps its form and does nothing else."""
    return "".join([f"> {one}\n" if one else ">\n" for one in _harmless(clean(text).split("\n"))])


def _harmless(lines: list[str]) -> Iterator[str]:
    """Lines without HTML, images and links that lead elsewhere. Code blocks are left alone as long as it is certain where they begin and
    end: once a fence stands where it may or may not be one (in a list, in a quote, indented), nothing below is taken for code."""
    fence, certain = "", True
    for one in lines:
        if fence:
            bare = one.strip(" \t")
            if len(bare) >= len(fence) and not bare.strip(fence[0]):
                certain = one.startswith(bare)
                fence = ""
            yield one
            continue
        begins = _FENCE.match(one) if certain else None
        if begins is not None:
            fence = begins[1]
        else:
            certain = certain and "```" not in one and "~~~" not in one
        yield _defused(one)


def _defused(one: str) -> str:
    one = one.replace("<", "&lt;").replace("![", "!\\[")
    return _TARGET.sub(_link, one)


def _link(found: re.Match[str]) -> str:
    target = re.sub(r"\\(?=[!-/:-@\[-`{-~])", "", html.unescape(html.unescape(found["target"]))).strip(" <\t")
    scheme = _SCHEME.match(target)
    if scheme is None or scheme[0].lower() in _ALLOWED:
        return found[0]
    return f"]\\{found['kind']}{found['target']}"


def _longest(text: str, mark: str) -> int:
    return max([len(run) for run in re.findall(f"{re.escape(mark)}+", text)], default=0)
