"""Looking into the loosely typed corners of Chat Completions messages: content parts, reasoning details, images.

Nothing here raises: what is not of the expected form gives nothing.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, cast

from ...core.content import Inline


def field_of(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def text_in(part: Any, depth: int = 0) -> str:
    """The text of a content part; Mistral nests the texts of a thinking part."""
    if isinstance(part, str):
        return part
    if isinstance(part, list) and depth < 4:
        return "".join([text_in(p, depth + 1) for p in cast("list[Any]", part)])
    if isinstance(part, dict) and depth < 4:
        fields = cast("dict[str, Any]", part)
        return next((t for n in ("text", "thinking", "refusal") if (t := text_in(fields.get(n), depth + 1))), "")
    return ""


def thought_in(details: list[Any]) -> str:
    """Reasoning of hosts that send it in `reasoning_details` alone."""
    texts: list[str] = []
    for detail in details:
        if isinstance(detail, dict):
            fields = cast("dict[str, Any]", detail)
            text = fields.get("text") or fields.get("summary")
            if isinstance(text, str):
                texts.append(text)
    return "".join(texts)


def merged(details: list[Any]) -> list[Any]:
    """Fragments of one reasoning detail put together: neighbours of one type and index. Sealed details arrive whole."""
    groups: list[list[Any]] = []
    running: tuple[Any, Any] | None = None
    for detail in details:
        fields = cast("dict[str, Any]", detail) if isinstance(detail, dict) else {}
        key = (fields.get("type"), fields.get("index"))
        if key == running:
            groups[-1].append(detail)
        else:
            groups.append([detail])
            running = key if key[0] in ("reasoning.text", "reasoning.summary") else None
    return [overlaid(g, ("text", "summary")) if len(g) > 1 else g[0] for g in groups]


def overlaid(values: list[Any], joined: tuple[str, ...] = ("data", "transcript")) -> Any:
    """Objects that arrive in pieces: the texts of fields in `joined` are joined, of others the last that says something
    counts."""
    if not all(isinstance(v, dict) for v in values):
        return values[-1]
    objects = cast("list[dict[str, Any]]", values)
    out: dict[str, Any] = {}
    for name in dict.fromkeys(n for o in objects for n in o):
        said = [o[name] for o in objects if o.get(name) not in (None, "")] or [objects[-1].get(name)]
        out[name] = "".join(said) if name in joined and all(isinstance(v, str) for v in said) else said[-1]
    return out


def inline_of(url: str) -> Inline | None:
    """The bytes of a base64 data URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    try:
        return Inline(b64decode(data, validate=True), head[5:-7].partition(";")[0] or "image/png")
    except (binascii.Error, ValueError):
        return None
