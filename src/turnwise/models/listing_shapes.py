"""How the lists of models of the providers read. Pure: bytes in, values out.

Every host has its own fields, and hosts that speak the same API differ more here than anywhere; so the shape decides, not the
host. What is absent or of another type than documented is not known. Sources:
https://platform.claude.com/docs/en/api/models-list, https://platform.openai.com/docs/api-reference/models/list,
https://ai.google.dev/api/models, https://docs.cohere.com/reference/list-models, https://openrouter.ai/docs/models,
https://docs.mistral.ai/api/endpoint/models, https://docs.ollama.com/api/tags, https://docs.together.ai/reference/models,
https://learn.microsoft.com/rest/api/azureopenai/models/list,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import quote

import msgspec

from ..wire.anthropic.head import HEADERS as ANTHROPIC_HEADERS
from .catalogue import ModelInfo
from .catalogue_table import Capabilities
from .prices_rows import Price, Prices

FIRST_PAGE: dict[str, str] = {"anthropic": "limit=1000", "gemini": "pageSize=1000", "cohere": "page_size=1000"}
"""What is asked of the first page, by family of APIs: as many as there are."""
HEADERS: dict[str, Mapping[str, str]] = {"anthropic": {"anthropic-version": ANTHROPIC_HEADERS["anthropic-version"]}}
"""What a family of APIs wants with every request."""


class Page(msgspec.Struct, frozen=True):
    """One page of a list. `more` is the query that asks for the next one, `link` its address; both empty: this was the last."""

    models: list[ModelInfo]
    more: str = ""
    link: str = ""


def read_page(provider: str, body: bytes) -> Page | None:
    """The page that a body holds; None if it holds none."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    outer = _Fields(found)
    whole = cast("list[Any]", found) if isinstance(found, list) else None
    entries = outer.first_list("data", "models", "modelSummaries") if whole is None else whole
    if entries is None:
        return None
    given = [info for entry in entries if (info := _model(provider, _Fields(entry))) is not None]
    if entries and not given:
        return None
    return Page(given, _more(outer), outer.inner("links").text("next"))


def _more(page: _Fields) -> str:
    if page.flag("has_more") and (last := page.text("last_id")):
        return f"after_id={quote(last, safe='')}"
    if token := page.text("nextPageToken"):
        return f"pageToken={quote(token, safe='')}"
    if token := page.text("next_page_token"):
        return f"page_token={quote(token, safe='')}"
    return ""


class _Fields:
    """An object of JSON, asked for its fields by the type they should have. Anything else has none."""

    def __init__(self, value: object) -> None:
        self._fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def __bool__(self) -> bool:
        return bool(self._fields)

    def text(self, *names: str) -> str:
        """The first of these fields that is text and not empty."""
        return next((v for n in names if isinstance(v := self._fields.get(n), str) and v), "")

    def count(self, *names: str) -> int | None:
        """The first of these fields that is a number above 0."""
        for name in names:
            value = self._fields.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15:
                return int(value)
        return None

    def flag(self, *names: str) -> bool | None:
        return next((v for n in names if isinstance(v := self._fields.get(n), bool)), None)

    def words(self, *names: str) -> set[str] | None:
        """The first of these fields that is a list: its texts, in lower case."""
        for name in names:
            value = self._fields.get(name)
            if isinstance(value, list):
                return {word.lower() for word in cast("list[Any]", value) if isinstance(word, str)}
        return None

    def first_list(self, *names: str) -> list[Any] | None:
        return next((cast("list[Any]", v) for n in names if isinstance(v := self._fields.get(n), list)), None)

    def inner(self, name: str) -> _Fields:
        return _Fields(self._fields.get(name))

    def dollars(self, name: str, factor: int = 1) -> Decimal | None:
        """An amount, which OpenRouter gives as text; -1 means that it varies."""
        try:
            value = Decimal(self.text(name)) * factor
        except InvalidOperation:
            return None
        return value if value.is_finite() and value >= 0 else None


def _model(provider: str, entry: _Fields) -> ModelInfo | None:
    name = entry.text("id", "modelId", "model", "name").removeprefix("models/")
    if not name:
        return None
    top, lifecycle = entry.inner("top_provider"), entry.inner("modelLifecycle")
    stage = entry.text("lifecycle", "lifecycle_status") or lifecycle.text("status")
    return ModelInfo(
        provider=provider,
        model=name,
        label=entry.text("display_name", "displayName", "modelName") or _if_other(entry.text("name"), name),
        context_window=entry.count(
            "max_input_tokens",
            "inputTokenLimit",
            "context_length",
            "max_context_length",
            "context_window",
            "max_model_len",
        ),
        max_output_tokens=entry.count("max_tokens", "outputTokenLimit", "max_completion_tokens", "max_output_length")
        or top.count("max_completion_tokens"),
        capabilities=_capabilities(entry),
        prices=_prices(entry.inner("pricing")),
        deprecated=_deprecated(entry, stage),
        source="provider",
    )


def _if_other(label: str, name: str) -> str:
    return "" if label.removeprefix("models/") == name else label


def _deprecated(entry: _Fields, stage: str) -> bool | None:
    if stage:
        return stage.lower() in ("deprecated", "deprecating", "retired", "legacy")
    return (
        True
        if entry.text("deprecation", "deprecated_at", "expiration_date")
        else entry.flag("is_deprecated", "deprecated")
    )


def _capabilities(entry: _Fields) -> Capabilities:
    """What the entry says of them: Anthropic's objects, Mistral's flags, the lists of Ollama, Cohere and OpenRouter, Bedrock's and
    OpenRouter's kinds of input, Gemini's `thinking`."""
    own = entry.inner("capabilities")
    words = entry.words("capabilities", "features")
    takes = entry.inner("architecture").words("input_modalities") or entry.words("inputModalities", "input_modalities")
    settings = entry.words("supported_parameters")

    def said(field: str, *flags: str, word: str = "", kind: str = "", setting: str = "") -> bool | None:
        for flag in flags:
            value = own.inner(flag).flag("supported") if own.inner(flag) else own.flag(flag)
            if value is not None:
                return value
        for name, given in ((word, words), (kind, takes), (setting, settings)):
            if name and given is not None:
                return name in given
        return entry.flag(field)

    return Capabilities(
        tools=said("tools", "function_calling", word="tools", setting="tools"),
        images=said("images", "image_input", "vision", word="vision", kind="image"),
        audio=said("audio", "audio", kind="audio"),
        documents=said("documents", "pdf_input", kind="file"),
        reasoning=said("thinking", "thinking", "reasoning", word="thinking", setting="reasoning"),
        structured_output=said("structured_output", "structured_outputs", setting="structured_outputs"),
    )


def _prices(pricing: _Fields) -> Prices | None:
    """OpenRouter's prices: US dollars per token, as text."""
    given, said = pricing.dollars("prompt", 1_000_000), pricing.dollars("completion", 1_000_000)
    if given is None or said is None:
        return None

    def price(name: str) -> Price | None:
        usd = pricing.dollars(name, 1_000_000)
        return None if usd is None else Price(usd)

    return Prices(
        Price(given),
        Price(said),
        price("input_cache_read"),
        price("input_cache_write"),
        price("internal_reasoning") if pricing.dollars("internal_reasoning") else None,
        pricing.dollars("request") or None,
    )
