"""What is known about a model: whatever it is called, from whichever layer, and never an error for one that is not known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import turnwise.models
from turnwise.errors import ConfigError
from turnwise.models import Capabilities, Model, ModelInfo, Overrides, Price, Prices, known_models, model_info
from turnwise.models.catalogue import merged
from turnwise.models.catalogue_names import bare_name, names_of
from turnwise.models.hosts import HOSTS

# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry", "usd"),
    [
        ("anthropic:claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "3"),
        ("bedrock:anthropic.claude-sonnet-4-5-20250929-v1:0", "regional.anthropic.claude-sonnet-4-5", "3.3"),
        ("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", "regional.anthropic.claude-sonnet-4-5", "3.3"),
        ("bedrock:eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "regional.anthropic.claude-sonnet-4-5", "3.3"),
        ("bedrock:apac.anthropic.claude-sonnet-4-20250514-v1:0", "regional.anthropic.claude-sonnet-4-2", "3"),
        ("bedrock:us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "regional.anthropic.claude-sonnet-4-5", "3.3"),
        ("bedrock:global.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-sonnet-4-5", "3"),
        (
            "bedrock:arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
            "regional.anthropic.claude-haiku-4-5",
            "1.1",
        ),
        (
            "bedrock:arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
            "amazon.nova-lite",
            "0.06",
        ),
        ("vertex:claude-sonnet-4-5@20250929", "claude-sonnet-4-5", "3"),
        ("vertex:publishers/anthropic/models/claude-opus-4-5@20251101", "claude-opus-4-5", "5"),
        ("vertex:projects/p/locations/us-east5/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash", "0.3"),
        ("gemini:models/gemini-2.5-flash", "gemini-2.5-flash", "0.3"),
        ("azure:gpt-5-mini", "gpt-5-mini", "0.25"),
        ("azure-responses:gpt-5-mini-2025-08-07", "gpt-5-mini", "0.25"),
        ("openai-responses:gpt-5-mini", "gpt-5-mini", "0.25"),
        ("openrouter:anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5", "3"),
        ("litellm:anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "3"),
        ("litellm:bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "regional.anthropic.claude-sonnet-4-5", "3.3"),
        ("xai:grok-4", "grok-4-0709", "3"),
    ],
)
def test_a_model_is_found_under_all_its_names(name: str, entry: str, usd: str) -> None:
    info = model_info(name)
    assert (info.entry or info.model).startswith(entry)
    assert info.source == "genai-prices"
    assert info.prices is not None and info.prices.input_mtok is not None
    assert info.prices.input_mtok.usd == Decimal(usd)
    assert info.capabilities.tools is True, "our own facts are found by the same name"


@pytest.mark.parametrize(
    ("provider", "model", "bare"),
    [
        ("anthropic", "claude-opus-4-5", "claude-opus-4-5"),
        ("bedrock", "us.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5-20251101"),
        ("bedrock", "meta.llama3-1-70b-instruct-v1:0:128k", "llama3-1-70b-instruct"),
        ("bedrock", "amazon.nova-pro-v1:0", "nova-pro"),
        ("vertex", "claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("openrouter", "openai/gpt-oss-20b:free", "gpt-oss-20b"),
        ("huggingface", "openai/gpt-oss-20b:groq", "gpt-oss-20b"),
        ("ollama", "gpt-oss:20b", "gpt-oss:20b"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "gpt-oss-120b"),
    ],
)
def test_bare_names(provider: str, model: str, bare: str) -> None:
    assert bare_name(provider, model) == bare


def test_the_router_says_who_serves_the_model() -> None:
    """Hugging Face: the same model costs what the provider after the colon takes."""
    one = model_info("huggingface:openai/gpt-oss-120b:groq").prices
    other = model_info("huggingface:openai/gpt-oss-120b:novita").prices
    assert one is not None and other is not None and one != other
    assert model_info("huggingface:openai/gpt-oss-120b").prices is None


@given(st.text(max_size=40), st.text(max_size=60))
@example("", "")
@example("bedrock", "us.")
@example("vertex", "@")
@example("huggingface", ":")
@example("openai", "[")
def test_no_name_is_an_error(provider: str, model: str) -> None:
    """Whatever text: an unknown model is accepted, and nothing is claimed of it that is not known."""
    info = model_info(f"{provider}:{model}")
    assert info.model
    if info.source == "unknown":
        assert info == ModelInfo(provider=info.provider, model=info.model)
    assert names_of(provider, model) == tuple(dict.fromkeys(names_of(provider, model)))


def test_a_name_without_a_provider() -> None:
    info = model_info("gpt-5-mini")
    assert (info.provider, info.model, info.name, info.prices) == ("", "gpt-5-mini", "gpt-5-mini", None)


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "window", "most", "yes", "no"),
    [
        ("anthropic:claude-opus-5-5", 1_000_000, 128_000, "tools images documents reasoning caching", "audio"),
        ("anthropic:claude-sonnet-4-5", 200_000, 64_000, "tools images documents structured_output", "audio"),
        ("openai:gpt-5-mini", 400_000, 128_000, "tools images reasoning structured_output", "audio"),
        ("openai:gpt-4o", 128_000, 16_384, "tools images", "audio reasoning"),
        ("gemini:gemini-2.5-flash", 1_048_576, 65_536, "tools images audio documents reasoning", ""),
        ("ollama:gpt-oss:20b", 131_072, None, "tools reasoning", "images audio documents"),
        ("gemini:gemini-2.5-flash-image", 1_000_000, None, "", ""),
        ("openai:brand-new", None, None, "", ""),
    ],
)
def test_limits_and_capabilities(name: str, window: int | None, most: int | None, yes: str, no: str) -> None:
    info = model_info(name)
    assert (info.context_window, info.max_output_tokens) == (window, most)
    can = info.capabilities
    assert [f for f in yes.split() if getattr(can, f) is not True] == []
    assert [f for f in no.split() if getattr(can, f) is not False] == []
    if not yes:
        assert can == Capabilities()


def test_every_model_of_the_catalogue_is_found_by_the_name_it_is_listed_under() -> None:
    listed = list(known_models())
    assert len(listed) > 100
    assert len({info.name for info in listed}) == len(listed)
    assert {info.provider for info in listed} >= {"anthropic", "openai"}
    assert {info.provider for info in listed} <= set(HOSTS)
    assert all(info.prices is not None and model_info(info.name).prices is not None for info in listed)


def test_names_that_a_provider_does_not_take_are_not_listed() -> None:
    names = [info.name for info in known_models()]
    assert not [name for name in names if name.startswith("gemini:claude") or ":regional." in name]
    assert all("/" in name for name in names if name.startswith("openrouter:"))


def test_some_providers_only() -> None:
    assert {info.provider for info in known_models("anthropic", "nobody")} == {"anthropic"}


# --- overrides --------------------------------------------------------------------------------------------------------


def test_overrides_win_field_by_field() -> None:
    known = model_info("openai:gpt-5-mini")
    info = model_info(
        "openai:gpt-5-mini",
        overrides={
            "openai:*": {"context_window": 1, "max_output_tokens": 2, "label": "first"},
            "gpt-5-*": {"context_window": 3},
            "openai:gpt-5-mini": {"label": "mine", "capabilities": {"images": False}},
            "openai:gpt-4*": {"label": "other"},
        },
    )
    assert (info.context_window, info.max_output_tokens, info.label) == (3, 2, "mine")
    assert (info.capabilities.images, info.capabilities.tools) == (False, True)
    assert info.prices == known.prices, "what is not overridden stays"
    assert (info.source, known.source) == ("override", "genai-prices")


def test_an_exact_name_beats_a_glob_wherever_it_stands() -> None:
    info = model_info("x:y", overrides={"x:y": {"label": "exact"}, "*": {"label": "glob"}})
    assert info.label == "exact"


def test_a_deployment_is_like_the_model_it_is_made_of() -> None:
    """Azure and Bedrock let people name things; only they know what is behind a name."""
    arn = "bedrock:arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
    overrides: Overrides = {
        "azure:prod": {"like": "azure:gpt-5-mini", "label": "Ours"},
        arn: {"like": "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
    }
    assert model_info(arn).source == model_info("azure:prod").source == "unknown"
    ours = model_info("azure:prod", overrides=overrides)
    model = model_info("azure:gpt-5-mini")
    assert (ours.name, ours.label, ours.source, ours.entry) == ("azure:prod", "Ours", "override", "azure:gpt-5-mini")
    assert (ours.prices, ours.context_window, ours.capabilities) == (
        model.prices,
        model.context_window,
        model.capabilities,
    )
    assert model_info(Model(arn), overrides=overrides).prices is not None


def test_prices_replace_the_whole_row() -> None:
    """Half of one row and half of another would be nobody's price."""
    info = model_info(
        "anthropic:claude-opus-4-5", overrides={"claude-*": {"prices": {"input_mtok": 1, "output_mtok": "2"}}}
    )
    assert info.prices == Prices(Price(Decimal(1)), Price(Decimal(2)))
    given = Prices(Price(Decimal(9)))
    assert model_info("a:b", overrides={"a:b": {"prices": given}}).prices is given
    assert model_info("openai:gpt-5", overrides={"openai:gpt-5": {"prices": None}}).prices is None


def test_what_the_provider_says_comes_before_what_is_known() -> None:
    said = ModelInfo(
        provider="openai",
        model="gpt-5-mini",
        context_window=5,
        capabilities=Capabilities(images=False),
        source="provider",
    )
    both = merged(said, model_info("openai:gpt-5-mini"))
    assert (both.context_window, both.capabilities.images, both.source) == (5, False, "provider")
    assert (both.max_output_tokens, both.capabilities.tools) == (128_000, True)
    assert both.prices is not None


# --- the public face --------------------------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    names = turnwise.models.__all__
    assert names == sorted(set(names))
    assert {"Model", "AnthropicExtra", "OpenAIExtra", "cost", "model_info", "list_models", "resolve_model"} <= set(
        names
    )
    for name in names:
        assert getattr(turnwise.models, name) is not None
    assert set(names) <= set(dir(turnwise.models))


def test_every_extra_is_public() -> None:
    import turnwise.wire.extras as extras

    there = {name for name in vars(extras) if name.endswith("Extra") and name != "Extra"}
    assert there <= set(turnwise.models.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="prces"):
        turnwise.models.prces  # noqa: B018


def test_conflicting_addresses_are_told_here_too() -> None:
    with pytest.raises(ConfigError, match="names an address"):
        model_info(Model("openai:m@https://a.example/v1", base_url="https://b.example/v1"))
