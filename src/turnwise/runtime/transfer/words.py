"""Small things that all readable forms say in the same words: times, sizes, what an outcome is called, what a file is. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from ...core.content import Audio, BlobRef, Document, Image, Inline, ProviderFile, Source, Url
from ...core.messages import UserMessage
from ...core.outcomes import ToolResult, explain
from ...core.store import SessionInfo
from ...core.usage import Usage
from .account import UserSaid

CONTROL: dict[int, str | None] = {
    **{code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\n\t"},
    **dict.fromkeys([*range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\N{REPLACEMENT CHARACTER}"),
}
"""Characters that no document should hold, and what stands for them."""


def clean(text: str) -> str:
    """With line breaks of one kind, and without control characters."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(CONTROL)


def when(at: float | None) -> str:
    """`2026-11-26 03:21:49 UTC`; "" if it is not known, or no time that a calendar has."""
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return ""


def size_of(size: int) -> str:
    """`12.3 kB`."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def who(said: UserSaid) -> str:
    message: UserMessage = said.message
    match message.mark:
        case "summary":
            return "Summary of what came before"
        case "reminder":
            return "Reminder"
        case "problem":
            return "What was wrong with the answer"
        case _:
            return "User, meanwhile" if said.steered else "User"


def outcome_of(result: ToolResult | None) -> str:
    """How a call ended, in a few words; "" if all went well."""
    if result is None:
        return "no outcome yet"
    return explain(result.outcome) if result.is_error else ""


def file_of(block: Image | Audio | Document) -> str:
    """What an attachment is, in words."""
    kind = type(block).__name__.lower()
    name = f" {block.name}" if isinstance(block, Document) and block.name else ""
    return f"{kind}{name}: {_source(block.source)}"


def _source(source: Source) -> str:
    match source:
        case BlobRef(sha256=name, size=size, media_type=media_type):
            return f"{media_type}, {size_of(size)}, sha256 {name}"
        case Url(url=url):
            return url
        case ProviderFile(origin=origin, id=id):
            return f"file {id} of {origin}"
        case Inline(data=data, media_type=media_type):
            return f"{media_type}, {size_of(len(data))}"


def title_of(row: SessionInfo) -> str:
    return row.title or row.name or f"Session {row.id}"


def facts_of(row: SessionInfo) -> list[tuple[str, str]]:
    """What a reader may want to know of the session: (what, value)."""
    known = [
        ("Session", row.id),
        ("Name", row.name or ""),
        ("Agent", row.agent),
        ("Folder", row.folder),
        ("Tags", ", ".join(row.tags)),
        ("Begun", when(row.created_at)),
        ("Last changed", when(row.updated_at)),
        ("Turns", str(row.turns)),
        ("Status", "" if row.status == "idle" else row.status),
    ]
    return [(what, value) for what, value in known if value]


def spent(model_calls: int, usage: Usage) -> str:
    """What all of it came to, in one line."""
    parts = [f"{model_calls} model call{'' if model_calls == 1 else 's'}"]
    if usage.input_tokens is not None:
        parts.append(f"{usage.input_tokens} tokens read")
    if usage.output_tokens is not None:
        parts.append(f"{usage.output_tokens} written")
    if usage.cost_usd is not None:
        parts.append(f"{usage.cost_usd:.4f} US dollars")
    return ", ".join(parts) + "."
