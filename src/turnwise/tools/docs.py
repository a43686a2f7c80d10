"""Descriptions for the model, from a function's docstring.

A docstring of plain text is taken as it is. Only one that has more to it (a second paragraph, a `:param` field) is parsed,
with docstring-parser, which is imported when it is first needed: it costs more than the rest of making a tool.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

_STRUCTURED = re.compile(r"\n\s*\n|^\s*[:@]\w|^\s*\w+:\s*$", re.MULTILINE)


def read_docstring(docstring: str | None) -> tuple[str, Mapping[str, str]]:
    """The description of a function, and of its parameters by name. Sections other than the parameters are left out."""
    text = inspect.cleandoc(docstring or "")
    if not _STRUCTURED.search(text):
        return " ".join(text.split("\n")), {}
    from docstring_parser import parse

    try:
        parsed = parse(text)
    except Exception:  # a docstring is prose: what no style fits is a description
        return text, {}
    parts = [p for p in (parsed.short_description, parsed.long_description) if p]
    described = {p.arg_name.split(":")[0].lstrip("*"): _one_line(p.description) for p in parsed.params if p.description}
    return "\n\n".join(parts), described


def _one_line(text: str) -> str:
    return " ".join(text.split())
