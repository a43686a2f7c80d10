"""What a call costs: exact, nothing counted twice, nothing taken for free that is not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import genai_prices
import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise import Usage
from turnwise.errors import ConfigError
from turnwise.models import Model, Price, Prices, Tier, UnpricedModelWarning, cost, known_models, model_info
from turnwise.models.catalogue import PricesOverride
from turnwise.models.prices_rows import amount, rates_of
from turnwise.testing import no_network

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
FLAT: PricesOverride = {
    "input_mtok": "3",
    "output_mtok": "15",
    "cache_read_mtok": "0.3",
    "cache_write_mtok": "3.75",
}


@st.composite
def usages(draw: st.DrawFn, most: int = 2_000_000) -> Usage:
    """Usage in normal form: cached tokens are part of the input, reasoning is part of the output."""
    size, said = draw(st.integers(0, most)), draw(st.integers(0, most))
    read = draw(st.integers(0, size))
    return Usage(size, said, read, draw(st.integers(0, size - read)), draw(st.integers(0, said)))


def theirs(usage: Usage) -> genai_prices.Usage:
    """The same in the terms of genai-prices, where each whole includes its parts, too."""
    return genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )


ROWS = [
    (provider.id, name)
    for provider in data_snapshot.get_snapshot().providers
    for model in provider.models
    # Some rows have a name that no model has: a prefix, or one that stands for several regions.
    if provider.find_model(name := model.id.replace("regional.", "us.")) is not None
    and provider.id
    in ("anthropic", "openai", "google", "aws", "x-ai", "deepseek", "mistral", "perplexity", "groq", "openrouter")
]
OURS = {"google": "gemini", "aws": "bedrock", "x-ai": "xai"}


@examples(300)
@given(st.sampled_from(ROWS), usages(), st.integers(0, 400))
def test_as_genai_prices_itself_counts(row: tuple[str, str], usage: Usage, day: int) -> None:
    """On every model that it has a price for, at any time: tiers, dates and hours included."""
    provider, model = row
    at = datetime.fromtimestamp(1_760_000_000 + day * 86_400 + day * 3_600, UTC)
    ours = f"{OURS.get(provider, provider)}:{model}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnpricedModelWarning)
        got = cost(usage, ours, at=at)
    found = genai_prices.calc_price(theirs(usage), model, provider_id=provider, genai_request_timestamp=at)
    if got is None:
        row_there = found.model_price
        assert row_there.input_mtok is None or row_there.output_mtok is None, "a price is there, and not taken"
    else:
        assert got == found.total_price


def test_nearly_every_chat_model_is_priced() -> None:
    """So that the comparison above compares something."""
    priced = [info for info in known_models("anthropic", "openai") if info.prices is not None]
    assert len(priced) > 80
    assert all(cost(Usage(1, 1), info) for info in priced if ":free" not in info.name)


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(1_000_000, 0), "3"),
        (Usage(0, 1_000_000), "15"),
        (Usage(1_000_000, 0, 1_000_000), "0.3"),
        (Usage(1_000_000, 0, None, 1_000_000), "3.75"),
        (Usage(1000, 500, 600, 300), "0.009105"),  # 100 x 3 + 600 x 0.3 + 300 x 3.75 + 500 x 15
        (Usage(1000, 500, 600, 300, 400), "0.009105"),  # reasoning is output already
        (Usage(1, 0), "0.000003"),
        (Usage(0, 0), "0"),
    ],
)
def test_each_token_is_paid_once(usage: Usage, expected: str) -> None:
    assert cost(usage, "nobody:m", overrides={"m": {"prices": FLAT}}) == Decimal(expected)


def test_reasoning_with_a_price_of_its_own() -> None:
    row = Prices(Price(Decimal(2)), Price(Decimal(8)), reasoning_mtok=Price(Decimal(3)), request=Decimal("0.005"))
    assert amount(Usage(1_000_000, 1_000_000, reasoning_tokens=400_000), row) == Decimal("2") + Decimal(
        "4.8"
    ) + Decimal("1.2") + Decimal("0.005")


def test_without_a_price_for_cached_tokens_they_cost_what_input_costs() -> None:
    assert amount(Usage(1_000_000, 0, 900_000, 50_000), Prices(Price(Decimal(2)), Price(Decimal(8)))) == 2


@pytest.mark.parametrize(("size", "usd"), [(200_000, 1), (200_001, 2), (500_000, 2), (500_001, 4)])
def test_long_input_raises_the_price_of_all_tokens(size: int, usd: int) -> None:
    """Not only of those above the mark; and it is the input that counts, for the output's price, too."""
    tiers = (Tier(200_000, Decimal(2)), Tier(500_000, Decimal(4)))
    row = Prices(Price(Decimal(1), tiers), Price(Decimal(1), tiers), Price(Decimal(1), tiers))
    assert amount(Usage(size, 1_000_000, size // 2), row) == (size + 1_000_000) * Decimal(usd) / 1_000_000


@given(usages(10**15))
def test_exact_whatever_the_callers_precision(usage: Usage) -> None:
    row = Prices(Price(Decimal("0.0028")), Price(Decimal("1.1")), Price(Decimal("0.00001")), Price(Decimal("7")))
    with localcontext() as context:
        context.prec = 4
        got = amount(usage, row)
    size, said, read, write = (
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.cache_read_tokens or 0,
        usage.cache_write_tokens or 0,
    )
    hundred_thousandths = (size - read - write) * 280 + said * 110_000 + read * 1 + write * 700_000
    assert got is not None
    assert got.as_integer_ratio() == Decimal(hundred_thousandths).scaleb(-11).as_integer_ratio()


@given(usages(), usages())
def test_more_tokens_never_cost_less(one: Usage, other: Usage) -> None:
    row = Prices(Price(Decimal(3)), Price(Decimal(15)), Price(Decimal("0.3")), Price(Decimal("3.75")))
    both, apart = amount(one + other, row), (amount(one, row), amount(other, row))
    assert both is not None and None not in apart
    assert both == sum([part for part in apart if part is not None])


def test_a_server_that_counts_cached_tokens_beside_the_input() -> None:
    """Nothing is paid back for them."""
    row = Prices(Price(Decimal(1)), Price(Decimal(1)), Price(Decimal("0.1")))
    assert amount(Usage(10, 0, 1_000_000), row) == Decimal("0.1")


# --- what is not known ------------------------------------------------------------------------------------------------


def test_no_counts_no_cost() -> None:
    """S4: never a silent zero, nor a part of the sum for the whole."""
    assert cost(Usage(), "openai:gpt-5-mini") is None
    assert cost(Usage(input_tokens=5), "openai:gpt-5-mini") is None
    assert cost(Usage(output_tokens=5), "openai:gpt-5-mini") is None
    assert cost(Usage(input_tokens=1_000_000), "openai:text-embedding-3-small") == Decimal("0.02")


def test_an_unpriced_model_is_told_once() -> None:
    name = "openai:no-such-model-told-once"
    with pytest.warns(UnpricedModelWarning, match=name) as told:
        assert cost(Usage(1, 1), name) is None
    assert told[0].filename == __file__, "the warning must point at the caller"
    assert cost(Usage(1, 1), name) is None, "warnings are errors here: the second one would raise"
    with pytest.warns(UnpricedModelWarning, match="once-2"):
        assert cost(Usage(1, 1), "openai:told-once-2") is None


def test_no_usage_is_no_reason_to_warn() -> None:
    assert cost(Usage(), "openai:no-such-model-quiet") is None


def test_tokens_that_the_row_has_no_price_for() -> None:
    with pytest.warns(UnpricedModelWarning, match="part of its tokens"):
        assert cost(Usage(10, 10), "x:half", overrides={"half": {"prices": {"input_mtok": 1}}}) is None


def test_what_is_free_costs_nothing_and_says_so() -> None:
    for server in ("ollama", "ollama-openai", "vllm", "lmstudio", "llamacpp"):
        assert cost(Usage(10, 10), f"{server}:llama3.2:3b") == 0
    assert cost(Usage(10, 10), "openrouter:deepseek/deepseek-r1:free") == 0


@pytest.mark.parametrize(
    "elsewhere",
    [
        "ollama:gpt-oss:120b-cloud",
        Model("ollama:llama3.2", base_url="https://models.example/v1"),
        "openai:gpt-5@https://models.example/v1",
        Model("openai:gpt-oss-20b", base_url="http://localhost:8000/v1"),
        "google-gemma:gemma-3",
    ],
    ids=str,
)
def test_prices_are_those_of_the_place(elsewhere: str | Model) -> None:
    """A server of somebody else's has prices of its own, whatever the model is called."""
    assert model_info(elsewhere).prices is None


def test_another_provider_by_its_address() -> None:
    there = model_info("openai:deepseek-reasoner@https://api.deepseek.com/v1", at=NOON)
    assert there.prices is not None and there.prices == model_info("deepseek:deepseek-reasoner", at=NOON).prices


def test_a_proxy_before_the_provider_changes_no_price() -> None:
    proxied = Model("anthropic:claude-sonnet-4-5", base_url="https://gateway.example/anthropic")
    assert model_info(proxied).prices == model_info("anthropic:claude-sonnet-4-5").prices is not None


def test_prices_of_the_day() -> None:
    """`at` decides; without a time zone it is UTC."""
    before, after = datetime(2026, 12, 31, 23, 59), datetime(2027, 1, 1)
    million = Usage(1_000_000, 0)
    assert cost(million, "gemini:gemini-3.6-flash", at=before) != cost(million, "gemini:gemini-3.6-flash", at=after)


# --- overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["0.1", 0.1, Decimal("0.1")], ids=repr)
def test_numbers_as_they_are_written(number: str | float | Decimal) -> None:
    usd = cost(Usage(1_000_000, 0), "x:y", overrides={"x:y": {"prices": {"input_mtok": number, "output_mtok": 0}}})
    assert usd == Decimal("0.1")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ({"prices": {"input": 1}}, "input_mtok"),
        ({"prices": {"input_mtok": "cheap"}}, "cheap"),
        ({"prices": {"input_mtok": -1}}, "-1"),
        ({"prices": {"input_mtok": True}}, "True"),
        ({"prices": {"input_mtok": float("nan")}}, "nan"),
        ({"prices": 3}, "mapping"),
        ({"context_windows": 3}, "context_window"),
        ({"context_window": "big"}, "big"),
        ({"context_window": True}, "True"),
        ({"capabilities": {"flying": True}}, "flying"),
        ({"capabilities": {"tools": 1}}, "tools=1"),
    ],
    ids=str,
)
def test_an_override_that_cannot_be_used(override: Any, told: str) -> None:
    with pytest.raises(ConfigError, match="'x:y'") as raised:
        model_info("x:y", overrides={"x:y": override})
    assert raised.value.code == "invalid_override" and told in raised.value.message


# --- without the package ----------------------------------------------------------------------------------------------

_WITHOUT = """
import sys, warnings
sys.modules["genai_prices"] = None
from turnwise import Usage
from turnwise.models import cost, known_models, model_info
u = Usage(1000, 500, 600, 300)
print(cost(u, "anthropic:claude-opus-5-5"), cost(u, "openai:gpt-5-mini-2025-08-07"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print(cost(u, "groq:llama-3.3-70b-versatile"), len(told))
print(model_info("anthropic:claude-opus-5-5").source, len(list(known_models())) > 20)
"""


def test_without_the_package_the_main_models_are_priced() -> None:
    """I1. 100 x 4 + 600 x 0.2 + 300 x 5 + 500 x 20; 400 x 0.25 + 600 x 0.025 + 500 x 2 (writes are input there)."""
    done = subprocess.run(
        (sys.executable, "-W", "error", "-c", _WITHOUT), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    first, second = lines[0].split()
    assert (Decimal(first), Decimal(second)) == (Decimal("0.01202"), Decimal("0.001115"))
    assert lines[1:] == ["None 1", "turnwise True"]


def test_our_own_prices_are_those_of_the_package() -> None:
    """Facts that are written down twice agree."""
    from turnwise.models.catalogue_table import TABLE

    compared = 0
    for row in TABLE:
        for provider in row.priced_at:
            name = row.patterns[0].replace("[.-]", "-").replace("[678]", "8").rstrip("*")
            found = model_info(f"{provider}:{name}", at=NOON)
            assert found.source == "genai-prices" and row.prices is not None
            assert (found.entry or found.model, found.prices) == (found.entry or found.model, row.prices)
            assert row.context_window is None or found.context_window is not None
            compared += 1
    assert compared > 40


@no_network()
def test_nothing_is_fetched() -> None:
    assert cost(Usage(1, 1), "anthropic:claude-sonnet-4-5") is not None


# --- as floats ----------------------------------------------------------------------------------------------------------

exact_dollars = st.decimals(0, 1000, places=4)
tiers = st.lists(st.builds(Tier, st.integers(0, 1_000_000), exact_dollars), max_size=2, unique_by=lambda t: t.above)
dollars = st.none() | st.builds(Price, exact_dollars, tiers.map(lambda ts: tuple(sorted(ts, key=lambda t: t.above))))
rows = st.builds(
    Prices,
    input_mtok=dollars,
    output_mtok=dollars,
    cache_read_mtok=dollars,
    cache_write_mtok=dollars,
    reasoning_mtok=dollars,
    request=st.none() | st.decimals(0, 1, places=4),
)
counts = st.none() | st.integers(0, 2_000_000)


@given(rows, st.builds(Usage, counts, counts, counts, counts, counts))
def test_rates_say_what_the_exact_way_says(row: Prices, usage: Usage) -> None:
    """What runs are billed with at every step: None in the same cases, and the same number to fifteen digits."""
    rates, exact = rates_of(row), amount(usage, row)
    got = rates.cost(usage)
    assert (got is None) == (exact is None)
    assert exact is None or got == pytest.approx(float(exact), rel=1e-12, abs=1e-15)
