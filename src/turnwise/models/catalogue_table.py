"""What we know about models ourselves: limits and capabilities, which the package `genai-prices` does not have, and the prices
of the main current models for when it is not installed. Data only.

As of November 2026, from the providers' own pages: https://platform.claude.com/docs/en/models/overview,
https://developers.openai.com/api/docs/models, https://ai.google.dev/gemini-api/docs/models and the pricing pages beside them,
https://docs.x.ai/docs/models, https://docs.cohere.com/docs/models, https://docs.aws.amazon.com/nova/latest/userguide; on structured
output https://platform.claude.com/docs/en/build-with-claude/structured-outputs, …/docs/guides/structured-outputs (OpenAI),
https://ai.google.dev/gemini-api/docs/structured-output, https://docs.cohere.com/docs/structured-outputs. What is not said there is None. Prices that are to change on a date already known are left to the package, which knows dates.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from .prices_rows import Price, Prices, Tier


class Capabilities(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model takes and does; None: not known. `images`, `audio` and `documents` are about input. `structured_output_with_tools`:
    a request may ask for structured output and offer tools, and the model goes on calling them."""

    tools: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    documents: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None
    caching: bool | None = None
    structured_output_with_tools: bool | None = None


class Row(msgspec.Struct, frozen=True):
    """Facts about the models whose bare names match one of `patterns` (globs), wherever they are served. `prices` hold at
    `priced_at`, the model's own provider, and nowhere else."""

    patterns: tuple[str, ...]
    capabilities: Capabilities
    context_window: int | None = None
    max_output_tokens: int | None = None
    prices: Prices | None = None
    priced_at: tuple[str, ...] = ()


def _usd(
    given: str, said: str, read: str | None = None, write: str | None = None, above: tuple[int, str, str] | None = None
) -> Prices:
    """Input, output, cached input, cache writes; `above`: from how many tokens on input and output are multiplied by what, with
    the cache at the factor of the input."""

    def price(usd: str | None, factor: str) -> Price | None:
        if usd is None:
            return None
        base = Decimal(usd)
        return Price(base, (Tier(above[0], base * Decimal(factor)),) if above else ())

    once = above[1] if above else "1"
    return Prices(price(given, once), price(said, above[2] if above else "1"), price(read, once), price(write, once))


_LONG_OPENAI = (272_000, "2", "1.5")
_MILLION = 1_000_000
_NOTHING_KNOWN = Capabilities()

_CLAUDE = Capabilities(True, True, False, True, True, True, True, True)
_CLAUDE_4 = Capabilities(True, True, False, True, True, None, True)
_GPT = Capabilities(True, True, False, True, False, True, True, True)
_GPT_REASONING = Capabilities(True, True, False, True, True, True, True, True)
_GEMINI = Capabilities(True, True, True, True, True, True, True, True)
_GEMINI_2 = Capabilities(True, True, True, True, True, True, True, False)
_COHERE = Capabilities(True, False, False, False, structured_output=True, structured_output_with_tools=False)
_TEXT = Capabilities(True, False, False, False)
_TEXT_REASONING = Capabilities(True, False, False, False, True)


def _claude(name: str, usd: Prices, context: int = _MILLION, most: int | None = 128_000) -> Row:
    return Row((name, f"{name}-????????", f"{name}-latest"), _CLAUDE, context, most, usd, ("anthropic",))


def _gpt(
    name: str, usd: Prices, context: int = 1_050_000, most: int = 128_000, can: Capabilities = _GPT_REASONING
) -> Row:
    return Row((name, f"{name}-????-??-??"), can, context, most, usd, ("openai", "openai-responses"))


def _gemini(name: str, usd: Prices | None = None, can: Capabilities = _GEMINI) -> Row:
    return Row((name,), can, 1_048_576, 65_536, usd, ("gemini",) if usd else ())


TABLE: tuple[Row, ...] = (
    # --- Anthropic
    _claude("claude-fable-5[.-]2", _usd("8", "40", "0.2", "10"), _MILLION, None),
    _claude("claude-fable-5[.-]1", _usd("10", "50", "0.25", "12.5")),
    _claude("claude-fable-5", _usd("10", "50", "1", "12.5")),
    _claude("claude-opus-5[.-]5", _usd("4", "20", "0.2", "5")),
    _claude("claude-opus-5", _usd("5", "25", "0.5", "6.25")),
    _claude("claude-opus-4[.-][678]", _usd("5", "25", "0.5", "6.25")),
    _claude("claude-opus-4[.-]5", _usd("5", "25", "0.5", "6.25"), 200_000, 64_000),
    _claude("claude-sonnet-5[.-]5", _usd("2", "10", "0.1", "2.5")),
    _claude("claude-sonnet-5", _usd("2", "10", "0.2", "2.5")),
    _claude("claude-sonnet-4[.-]6", _usd("3", "15", "0.3", "3.75")),
    _claude("claude-sonnet-4[.-]5", _usd("3", "15", "0.3", "3.75", (200_000, "2", "1.5")), 200_000, 64_000),
    _claude("claude-haiku-5[.-]5", _usd("0.1", "0.5", "0.01", "0.125", (100_000, "5", "5")), _MILLION, 128_000),
    _claude("claude-haiku-4[.-]5", _usd("1", "5", "0.1", "1.25"), 200_000, 64_000),
    Row(("claude-opus-4[.-]1", "claude-opus-4-1-20250805"), _CLAUDE_4, 200_000, 32_000),
    Row(("claude-opus-4", "claude-opus-4-0", "claude-opus-4-20250514"), _CLAUDE_4, 200_000, 32_000),
    Row(("claude-sonnet-4", "claude-sonnet-4-0", "claude-sonnet-4-20250514"), _CLAUDE_4, 200_000, 64_000),
    # --- OpenAI
    _gpt("gpt-6-astra", _usd("10", "50", "1", "12.5", _LONG_OPENAI)),
    _gpt("gpt-6.1-sol", _usd("2", "10", "0.1", "2.5", _LONG_OPENAI)),
    _gpt("gpt-6.1-terra", _usd("1", "5", "0.05", "1.25", _LONG_OPENAI)),
    _gpt("gpt-6-sol", _usd("2", "10", "0.2", "2.5", _LONG_OPENAI)),
    _gpt("gpt-6-luna", _usd("0.1", "0.5", "0.01", "0.125", _LONG_OPENAI)),
    _gpt("gpt-5.4", _usd("2.5", "15", "0.25", None, _LONG_OPENAI)),
    _gpt("gpt-5.4-mini", _usd("0.75", "4.5", "0.075"), 400_000),
    _gpt("gpt-5.4-nano", _usd("0.2", "1.25", "0.02"), 400_000),
    _gpt("gpt-5.2", _usd("1.75", "14", "0.175"), 400_000),
    _gpt("gpt-5.1", _usd("1.25", "10", "0.125"), 400_000),
    _gpt("gpt-5", _usd("1.25", "10", "0.125"), 400_000),
    _gpt("gpt-5-mini", _usd("0.25", "2", "0.025"), 400_000),
    _gpt("gpt-5-nano", _usd("0.05", "0.4", "0.005"), 400_000),
    _gpt("gpt-4.1", _usd("2", "8", "0.5"), 1_047_576, 32_768, _GPT),
    _gpt("gpt-4.1-mini", _usd("0.4", "1.6", "0.1"), 1_047_576, 32_768, _GPT),
    _gpt("gpt-4.1-nano", _usd("0.1", "0.4", "0.025"), 1_047_576, 32_768, _GPT),
    _gpt("gpt-4o-mini", _usd("0.15", "0.6", "0.075"), 128_000, 16_384, _GPT),
    Row(("gpt-4o-2024-05-13",), _GPT, 128_000, 4_096),
    _gpt("gpt-4o", _usd("2.5", "10", "1.25"), 128_000, 16_384, _GPT),
    _gpt("o4-mini", _usd("1.1", "4.4", "0.275"), 200_000, 100_000),
    _gpt("o3", _usd("2", "8", "0.5"), 200_000, 100_000),
    Row(("gpt-oss-*", "gpt-oss:*"), _TEXT_REASONING, 131_072),
    Row(("gpt-6.2-sol", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna"), _GPT_REASONING, 1_050_000, 128_000),
    # --- Google
    Row(("gemini-*-tts*", "gemini-*-image*", "gemini-*live*", "gemini-embedding*", "gemini-omni*"), _NOTHING_KNOWN),
    _gemini("gemini-4-argon"),
    _gemini("gemini-3.[678]-flash"),
    _gemini("gemini-3.5-flash*"),
    _gemini("gemini-3.1-pro-preview*", _usd("2", "12", "0.2", None, (200_000, "2", "1.5"))),
    _gemini("gemini-3.1-flash-lite*"),
    _gemini("gemini-3-flash-preview*"),
    _gemini("gemini-3-pro-preview*"),
    _gemini("gemini-2.5-pro*", _usd("1.25", "10", "0.125", None, (200_000, "2", "1.5")), _GEMINI_2),
    _gemini("gemini-2.5-flash-lite*", _usd("0.1", "0.4", "0.01"), _GEMINI_2),
    _gemini("gemini-2.5-flash", _usd("0.3", "2.5", "0.03"), _GEMINI_2),
    Row(("gemini-2.0-flash*",), Capabilities(True, True, True, True, None, True, True, False), 1_048_576, 8_192),
    # --- others, hosted or local: what they can do, whoever serves them
    Row(("grok-4*",), Capabilities(True, True, False, None, None, True)),
    Row(("grok-3*", "grok-code*"), Capabilities(True, False, False)),
    Row(("deepseek-r1*", "deepseek-reasoner*"), Capabilities(None, False, False, False, True)),
    Row(("deepseek-chat*", "deepseek-v3*"), _TEXT),
    Row(("command-a-vision*",), Capabilities(False, True, False)),
    Row(("command-a-reasoning*",), _TEXT_REASONING),
    Row(("command-a", "command-a-??-????", "command-r*"), _COHERE),
    Row(("nova-micro*",), _TEXT),
    Row(("nova-lite*", "nova-pro*", "nova-premier*"), Capabilities(True, True, False, True)),
    Row(("llama-4*", "llama4*"), Capabilities(True, True, False)),
    Row(("llama-3.2-*vision*", "llama3.2-vision*"), Capabilities(None, True, False)),
    Row(("llama-3.[13]*", "llama3.[13]*"), _TEXT),
    Row(("qwen3-vl*", "qwen2.5-vl*", "qwen2.5vl*"), Capabilities(None, True, False)),
    Row(("qwen3-coder*",), Capabilities(True, False, False, False, False)),
)
"""The first row that matches counts."""
