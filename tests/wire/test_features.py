"""What each API takes and refuses, held against docs/providers.md: a feature is mapped, or refused by name before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.providers import PROVIDERS, Provider

from turnwise import Audio, Document, Image, ModelSettings, OneTool, OutputFormat, Reasoning, UserMessage
from turnwise.core.content import Inline, UserBlock
from turnwise.core.request import RequestHead, ToolSpec
from turnwise.errors import ConfigError
from turnwise.models import resolve_model

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
TOOLS = (
    ToolSpec("look", "Look.", '{"type":"object","properties":{}}'),
    ToolSpec("see", "See.", '{"type":"object","properties":{}}'),
)
SCHEMA = OutputFormat(
    '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
)
ENVIRON: dict[str, str] = {}
OWN = [p for p in PROVIDERS.values() if p.api != "openai.chat"]
"""Providers with an API of their own; hosts of Chat Completions are held against their table in tests/models/test_hosts.py."""

SETTINGS: dict[str, tuple[ModelSettings, bool]] = {
    "effort": (ModelSettings(reasoning=Reasoning(effort="low")), False),
    "budget": (ModelSettings(reasoning=Reasoning(budget_tokens=2048), max_output_tokens=9000), False),
    "auto": (ModelSettings(tool_choice="auto"), True),
    "none": (ModelSettings(tool_choice="none"), True),
    "required": (ModelSettings(tool_choice="required"), True),
    "one": (ModelSettings(tool_choice=OneTool("look")), True),
    "parallel off": (ModelSettings(parallel_tool_calls=False), True),
    "schema": (ModelSettings(output=SCHEMA), False),
    "seed": (ModelSettings(seed=7), False),
    "stop": (ModelSettings(stop=("END",)), False),
}
MEDIA: dict[str, UserBlock] = {
    "images": Image(Inline(b"\x89PNG\r\n\x1a\n", "image/png")),
    "audio": Audio(Inline(b"RIFF....WAVE", "audio/wav")),
    "PDFs": Document(Inline(b"%PDF-1.7", "application/pdf"), "a.pdf"),
}


def takes(provider: Provider, feature: str) -> bool:
    """Whether a request with this feature can be written; what cannot is refused by provider and feature."""
    handle = resolve_model(provider.at("http://127.0.0.1:9"), ENVIRON)
    try:
        if feature in MEDIA:
            handle.codec.encode_messages((UserMessage((MEDIA[feature],)),), 0, {})
        else:
            settings, with_tools = SETTINGS[feature]
            handle.codec.encode_head(RequestHead(handle.model, "", TOOLS if with_tools else (), settings))
    except ConfigError as error:
        assert error.code == "unsupported_feature" and error.hint, error.info
        assert any(word in error.message for word in (handle.host.label, *handle.host.label.split())), error.message
        return False
    return True


def row_of(provider: Provider) -> list[str]:
    """The provider's row of the table, as it behaves."""
    can: Any = {feature: takes(provider, feature) for feature in (*SETTINGS, *MEDIA)}

    def among(*features: str) -> str:
        return " ".join(f for f in features if can[f]) or "-"

    lacks = ", ".join(f for f in ("parallel off", "seed", "stop") if not can[f]) or "-"
    reasoning = ", ".join(f for f in ("effort", "budget") if can[f]) or "no"
    media = ", ".join(f for f in MEDIA if can[f]) or "text"
    return [
        f"`{provider.name}`",
        reasoning,
        among("auto", "none", "required", "one"),
        "schema" if can["schema"] else "no",
        media,
        lacks,
    ]


def test_the_table_is_true() -> None:
    """What the page says of each API is what its codec does."""
    page = PAGE.read_text("utf-8").partition("## What each API of its own takes")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    assert rows == [row_of(provider) for provider in OWN], "\n" + "\n".join(
        "| " + " | ".join(row_of(p)) + " |" for p in OWN
    )


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda p: p.name)
def test_everything_has_tools_stop_and_text(provider: Provider) -> None:
    """What no agent can do without is there everywhere."""
    assert takes(provider, "auto") and takes(provider, "images")
